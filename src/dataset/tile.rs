//! Windows of an image.

use super::spec::Tile;
use crate::error::{Error, Result};

/// A window of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

impl Tile {
    /// Checks the values.
    ///
    /// # Errors
    /// When one is zero.
    pub fn check(&self) -> Result<()> {
        if self.size == 0 || self.stride == Some(0) {
            return Err(Error::key("dataset.tile", "size and stride must be at least 1", "tile = { size = 160 }"));
        }
        Ok(())
    }
}

/// The windows of an image: as many as fit, row by row, what is left over at both ends alike. Without a tile the whole
/// image; none where the image is smaller than one tile.
pub fn windows(width: usize, height: usize, tile: Option<Tile>) -> Vec<Window> {
    let Some(Tile { size, stride }) = tile else { return vec![Window { x: 0, y: 0, width, height }] };
    let starts = |length: usize| {
        let step = stride.unwrap_or(size);
        let room = length.checked_sub(size);
        let offset = room.map_or(0, |r| r % step / 2);
        room.map_or(0..0, |r| 0..r / step + 1).map(move |i| offset + i * step).collect::<Vec<_>>()
    };
    let columns = starts(width);
    let row = |y: usize| columns.iter().map(move |x| Window { x: *x, y, width: size, height: size });
    starts(height).into_iter().flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_lies_at_both_ends() {
        let found = windows(480, 360, Some(Tile { size: 160, stride: None }));
        let corners: Vec<(usize, usize)> = found.iter().map(|w| (w.x, w.y)).collect();
        assert_eq!(corners, [(0, 20), (160, 20), (320, 20), (0, 180), (160, 180), (320, 180)]);
    }

    #[test]
    fn strides_overlap_and_small_images_have_none() {
        let found = windows(100, 60, Some(Tile { size: 50, stride: Some(25) }));
        assert_eq!(found.iter().map(|w| (w.x, w.y)).collect::<Vec<_>>(), [(0, 5), (25, 5), (50, 5)]);
        assert!(windows(40, 100, Some(Tile { size: 50, stride: None })).is_empty());
        assert_eq!(windows(40, 30, None), [Window { x: 0, y: 0, width: 40, height: 30 }]);
    }
}
