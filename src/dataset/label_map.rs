//! Pictures whose colours are numbers of classes.

use std::collections::BTreeSet;
use std::path::Path;

use super::decode::decode;
use super::mask::Mask;

/// A class for every pixel, row by row; 0 where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    width: usize,
    height: usize,
    classes: Vec<u32>,
}

impl LabelMap {
    /// Reads a picture; `class` makes a number of red, green and blue. Values are taken as they stand: transparency is
    /// passed over, and neither colour profiles nor scaling change them.
    ///
    /// # Errors
    /// A reason for people: not readable, or not of eight bits a colour.
    pub fn read(path: &Path, class: impl Fn([u8; 3]) -> u32) -> Result<Self, String> {
        let name = |problem: String| format!("its labels {}: {problem}", path.display());
        let image = decode(path).map_err(name)?;
        let color = image.color();
        if color.bytes_per_pixel() != color.channel_count() || color.channel_count() == 2 {
            return Err(name(format!("are of {color:?}, wanted eight bits each of red, green and blue")));
        }
        let image = image.to_rgb8();
        let classes = image.pixels().map(|p| class(p.0)).collect();
        Ok(Self { width: image.width() as usize, height: image.height() as usize, classes })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The classes that occur, without 0.
    pub fn classes(&self) -> BTreeSet<u32> {
        // Neighbours are alike: of every run only the first is looked up.
        let starts = (0..self.classes.len()).filter(|i| *i == 0 || self.classes[*i] != self.classes[i - 1]);
        starts.map(|i| self.classes[i]).filter(|c| *c != 0).collect()
    }

    /// Share of pixels whose class `is`, in [0, 1].
    pub fn share(&self, is: impl Fn(u32) -> bool) -> f32 {
        self.classes.iter().filter(|c| is(**c)).count() as f32 / self.classes.len().max(1) as f32
    }

    /// Share of pixels that have a class, in [0, 1].
    pub fn labelled(&self) -> f32 {
        self.share(|class| class != 0)
    }

    /// Sets the pixels of a class in a mask of the picture, which may be of another size: every pixel has the class of
    /// the label at the same place.
    pub fn paint(&self, class: u32, mask: &mut Mask) {
        let columns: Vec<usize> = (0..mask.width).map(|x| x * self.width / mask.width).collect();
        for (y, row) in mask.pixels.chunks_exact_mut(mask.width.max(1)).enumerate() {
            let labels = &self.classes[y * self.height / mask.height * self.width..][..self.width];
            for (pixel, x) in row.iter_mut().zip(&columns) {
                *pixel |= labels[*x] == class;
            }
        }
    }
}

/// An empty mask of a picture of `size` (width, height).
pub fn blank(size: (u32, u32)) -> Mask {
    let (width, height) = (size.0 as usize, size.1 as usize);
    Mask { width, height, pixels: vec![false; width * height] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgb, RgbaImage};

    #[test]
    fn colours_are_numbers_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        let colour = |x: u32| image::Rgba([x as u8, 2, 253 + x as u8, x as u8]);
        RgbaImage::from_fn(2, 1, |x, _| colour(x)).save(&path).unwrap();
        let map = LabelMap::read(&path, |[r, g, b]| u32::from(r) + 256 * u32::from(g) + 65536 * u32::from(b)).unwrap();
        assert_eq!(map.classes(), [512 + 253 * 65536, 513 + 254 * 65536].into());
        ImageBuffer::<Rgb<u16>, _>::from_pixel(2, 1, Rgb([1u16, 2, 3])).save(&path).unwrap();
        assert!(LabelMap::read(&path, |_| 0).unwrap_err().contains("wanted eight bits"));
        std::fs::write(&path, "text").unwrap();
        assert!(LabelMap::read(&path, |_| 0).unwrap_err().contains("m.png"));
    }

    #[test]
    fn a_map_of_half_the_size_fills_the_picture() {
        let map = LabelMap { width: 2, height: 1, classes: vec![0, 7] };
        let mut mask = blank((5, 2));
        map.paint(7, &mut mask);
        assert_eq!(mask.pixels, [false, false, false, true, true].repeat(2));
        assert_eq!((map.labelled(), map.classes()), (0.5, [7].into()));
    }
}
