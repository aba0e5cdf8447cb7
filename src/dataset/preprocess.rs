//! From a picture to a network's input: resize, crop, normalise.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::resample::resample;
use crate::error::{Error, Result};

/// How pixels between pixels are made; filters widen when they shrink (Pillow's `antialias`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Triangle filter, Pillow's `BILINEAR`.
    Bilinear,
    /// Cubic filter with a = -1/2, Pillow's `BICUBIC`.
    Bicubic,
}

/// How pictures become the input of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Height and width of the input in pixels.
    pub size: usize,
    /// The resizing filter.
    pub filter: Filter,
    /// The short side before a centre crop of `size`; `None` stretches the whole picture to the input.
    pub crop: Option<usize>,
    /// Per channel, subtracted from values in [0, 1].
    pub mean: [f32; 3],
    /// Per channel, divided by.
    pub std: [f32; 3],
}

/// A picture as the network sees it, before it is normalised: `[3, size, size]`, values in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Height and width.
    pub size: usize,
    /// `3 * size * size` values: red plane, green plane, blue plane.
    pub pixels: Vec<f32>,
}

impl Preprocess {
    /// Resizes and crops a picture.
    ///
    /// # Errors
    /// When the picture is empty.
    pub fn picture(&self, image: &RgbImage) -> Result<Picture> {
        if image.width() == 0 || image.height() == 0 {
            return Err(Error::data("a picture", "it has no pixels", "remove it"));
        }
        let (width, height, left, top) = self.resized(image.width() as usize, image.height() as usize);
        let resized = resample(image, width, height, self.filter);
        let bytes = resized.as_raw();
        let mut pixels = Vec::with_capacity(3 * self.size * self.size);
        for c in 0..3 {
            for y in top..top + self.size {
                let row = &bytes[(y * width + left) * 3..][..self.size * 3];
                pixels.extend(row.iter().skip(c).step_by(3).map(|v| f32::from(*v) / 255.0));
            }
        }
        Ok(Picture { size: self.size, pixels })
    }

    /// Width and height of the resized picture, and the left and upper edge of the part that is kept; whole pixels, in
    /// torchvision's rounding (`Resize` of the short side, then `CenterCrop`).
    fn resized(&self, width: usize, height: usize) -> (usize, usize, usize, usize) {
        let Some(short) = self.crop else { return (self.size, self.size, 0, 0) };
        let (short, least) = (short.max(self.size), width.min(height).max(1));
        let (width, height) = (width * short / least, height * short / least);
        let edge = |length: usize| (length.saturating_sub(self.size) as f64 / 2.0).round_ties_even() as usize;
        (width, height, edge(width), edge(height))
    }

    /// The same values in \[0, 1\]: what a network of `channels` without a mean and with deviation one would get,
    /// `[channel, size, size]`.
    pub fn levels(&self, picture: &Picture, channels: usize) -> Vec<f32> {
        let mut out = vec![0f32; channels * picture.size * picture.size];
        Self { mean: [0.0; 3], std: [1.0; 3], ..self.clone() }.normalise(picture, &mut out);
        out
    }

    /// What is subtracted from a channel's values and what they are divided by, in a network of so many channels: with other
    /// than three, those of the first for all.
    pub fn scale_of(&self, channel: usize, channels: usize) -> (f32, f32) {
        let at = if channels == 3 { channel } else { 0 };
        (self.mean[at], self.std[at])
    }

    /// The part of a picture that the network sees: left, top, width, height, in the picture's pixels.
    pub fn window(&self, width: usize, height: usize) -> (f64, f64, f64, f64) {
        let (w, h, left, top) = self.resized(width, height);
        let (across, down) = (width as f64 / w as f64, height as f64 / h as f64);
        let size = self.size as f64;
        (left as f64 * across, top as f64 * down, size * across, size * down)
    }

    /// Writes the normalised input `[3, size, size]`; where there is room for one plane, `[1, size, size]`: the luminance of
    /// ITU-R BT.601, as Pillow's, normalised by the first mean and deviation.
    pub fn normalise(&self, picture: &Picture, out: &mut [f32]) {
        let plane = (picture.size * picture.size).max(1);
        if out.len() == plane {
            let (reds, rest) = picture.pixels.split_at(plane.min(picture.pixels.len()));
            let (greens, blues) = rest.split_at(plane.min(rest.len()));
            let colours = reds.iter().zip(greens.iter().zip(blues));
            out.iter_mut().zip(colours).for_each(|(o, (r, (g, b)))| {
                // Grey stays what it is, to the bit.
                *o = (r + 0.587 * (g - r) + 0.114 * (b - r) - self.mean[0]) / self.std[0];
            });
            return;
        }
        let planes = out.chunks_exact_mut(plane).zip(picture.pixels.chunks_exact(plane));
        for ((out, values), (mean, std)) in planes.zip(self.mean.iter().zip(&self.std)) {
            out.iter_mut().zip(values).for_each(|(o, v)| *o = (v - mean) / std);
        }
    }
}

impl Picture {
    /// The picture in eight bits a channel.
    pub fn to_image(&self) -> RgbImage {
        let plane = self.size * self.size;
        RgbImage::from_fn(self.size as u32, self.size as u32, |x, y| {
            let at = y as usize * self.size + x as usize;
            image::Rgb([0, 1, 2].map(|c| (self.pixels[c * plane + at].clamp(0.0, 1.0) * 255.0).round() as u8))
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use ndarray_npy::NpzReader;

    use super::*;
    use crate::dataset::decode::decode;

    fn preprocess(size: usize, crop: Option<usize>, filter: Filter) -> Preprocess {
        Preprocess { size, filter, crop, mean: [0.5; 3], std: [0.25, 0.5, 1.0] }
    }

    #[test]
    fn a_picture_of_the_right_size_is_not_changed() {
        let image = RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8 * 60, y as u8 * 60, 255]));
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
            assert_eq!(preprocess(4, None, filter).picture(&image).unwrap().to_image(), image);
        }
    }

    #[test]
    fn a_crop_sees_the_centre() {
        let p = preprocess(224, Some(256), Filter::Bicubic);
        assert_eq!(p.window(512, 256), (144.0, 16.0, 224.0, 224.0));
        assert_eq!(preprocess(8, None, Filter::Bicubic).window(10, 20), (0.0, 0.0, 10.0, 20.0));
    }

    /// The picture of tests/golden/preprocess.py, through a PNG.
    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 12345u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let image = RgbImage::from_fn(width, height, |_, _| image::Rgb([next(), next(), next()]));
        let mut png = std::io::Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("noise.png");
        std::fs::write(&path, png.into_inner()).unwrap();
        decode(&path).unwrap().to_rgb8()
    }

    #[test]
    fn inputs_are_those_of_torchvision() {
        let file: &[u8] = include_bytes!("../../tests/golden/preprocess.npz");
        let mut golden = NpzReader::new(std::io::Cursor::new(file)).unwrap();
        let names = golden.names().unwrap();
        assert_eq!(names.len(), 15);
        for name in names {
            let wanted: Array1<f32> = golden.by_name(&name).unwrap();
            let fields: Vec<&str> = name.split(' ').collect();
            let [width, height, size, short] = [0, 1, 2, 3].map(|i| fields[i].parse::<usize>().unwrap());
            let filter = serde_json::from_value(fields[4].into()).unwrap();
            let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
            let preprocess = Preprocess { size, filter, crop: (short > 0).then_some(short), mean, std };
            let mut out = vec![0.0; 3 * size * size];
            preprocess.normalise(&preprocess.picture(&noise(width as u32, height as u32)).unwrap(), &mut out);
            let worst = out.iter().step_by(3).zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{name}: {worst}");
        }
    }

    #[test]
    fn values_are_normalised_by_channel() {
        let image = RgbImage::from_pixel(2, 2, image::Rgb([255, 0, 255]));
        let p = preprocess(2, None, Filter::Bilinear);
        let mut out = vec![0.0; 12];
        p.normalise(&p.picture(&image).unwrap(), &mut out);
        assert_eq!(out, [[2.0; 4], [-1.0; 4], [0.5; 4]].concat());
    }

    #[test]
    fn one_channel_is_the_luminance() {
        let p = preprocess(2, None, Filter::Bilinear);
        let grey = |colour: [u8; 3]| {
            let mut out = vec![0.0; 4];
            p.normalise(&p.picture(&RgbImage::from_pixel(2, 2, image::Rgb(colour))).unwrap(), &mut out);
            out[3] * 0.25 + 0.5
        };
        // PIL.Image.new("RGB", (2, 2), (200, 100, 50)).convert("L") is 124.
        assert!((grey([200, 100, 50]) * 255.0 - 124.2).abs() < 1e-3);
        for level in 0..=255 {
            let mut colour = vec![0.0; 12];
            let picture = p.picture(&RgbImage::from_pixel(2, 2, image::Rgb([level; 3]))).unwrap();
            p.normalise(&picture, &mut colour);
            let mut out = vec![0.0; 4];
            p.normalise(&picture, &mut out);
            assert_eq!(out, colour[..4]);
        }
    }
}
