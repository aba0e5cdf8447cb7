//! Binary concept masks.

/// Which pixels show the concept: row-major, one flag a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width` flags, row by row.
    pub pixels: Vec<bool>,
}

impl Mask {
    /// Share of pixels set, in [0, 1].
    pub fn coverage(&self) -> f32 {
        if self.pixels.is_empty() {
            return 0.0;
        }
        self.pixels.iter().filter(|p| **p).count() as f32 / self.pixels.len() as f32
    }
}
