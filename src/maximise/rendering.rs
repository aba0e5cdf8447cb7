//! What an ascent gives, and what is remembered on its way.

use std::io::Cursor;

use image::{RgbImage, RgbaImage};

use crate::error::{Error, Result};

/// Rows that a series of one row is shown with.
const STRIP: usize = 32;
/// A picture whose values deviate less than this from their mean is grey.
const GREY: f64 = 0.01;

/// A picture's values, in \[0, 1\].
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    /// `[channel, height, width]`.
    pub shape: [usize; 3],
    /// The values, plane by plane.
    pub values: Vec<f32>,
}

impl Planes {
    /// Eight bits a channel: three channels in colour, others one below the other in grey. A series is a band.
    pub fn image(&self) -> RgbImage {
        let [channels, height, width] = self.shape;
        let byte = |c: usize, y: usize, x: usize| {
            (self.values[(c * height + y) * width + x].clamp(0.0, 1.0) * 255.0).round() as u8
        };
        let band = if height == 1 { STRIP } else { 1 };
        let row = |y: u32| y as usize / band;
        if channels == 3 {
            return RgbImage::from_fn(width as u32, (height * band) as u32, |x, y| {
                image::Rgb([0, 1, 2].map(|c| byte(c, row(y), x as usize)))
            });
        }
        RgbImage::from_fn(width as u32, (channels * height * band) as u32, |x, y| {
            image::Rgb([byte(row(y) / height, row(y) % height, x as usize); 3])
        })
    }

    /// Where this picture differs from an earlier one, `[channel, height, width]`: the mean over channels of `|x - before|`, as
    /// one plane. Of a photograph that an ascent started from, an attribution map: what the objective would change. Our
    /// definition.
    #[must_use]
    pub fn change(&self, before: &[f32]) -> Self {
        let [channels, height, width] = self.shape;
        let mut values = vec![0f32; height * width];
        let planes = self.values.chunks_exact(height * width).zip(before.chunks_exact(height * width));
        for (after, before) in planes {
            for (v, (after, before)) in values.iter_mut().zip(after.iter().zip(before)) {
                *v += (after - before).abs() / channels as f32;
            }
        }
        Self { shape: [1, height, width], values }
    }

    /// The same with its largest value 1, to be looked at; as it is where nothing is above 0.
    #[must_use]
    pub fn stretched(mut self) -> Self {
        let largest = self.values.iter().copied().fold(0f32, f32::max);
        if largest > 0.0 {
            self.values.iter_mut().for_each(|v| *v /= largest);
        }
        self
    }

    /// [`Planes::image`] with a plane of transparency, `[1, height, width]`, 0 for what is seen through, as a PNG file.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn transparent_png(&self, alpha: &Self) -> Result<Vec<u8>> {
        let [_, height, width] = self.shape;
        let (picture, band) = (self.image(), if height == 1 { STRIP } else { 1 });
        let opaque = |x: u32, y: u32| alpha.values[y as usize / band % height * width + x as usize].clamp(0.0, 1.0);
        let picture = RgbaImage::from_fn(picture.width(), picture.height(), |x, y| {
            let [r, g, b] = picture.get_pixel(x, y).0;
            image::Rgba([r, g, b, (opaque(x, y) * 255.0).round() as u8])
        });
        encode(|bytes| picture.write_to(bytes, image::ImageFormat::Png))
    }

    /// [`Planes::image`] as a PNG file.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        png(&self.image())
    }

    fn deviation(&self) -> f64 {
        let count = self.values.len().max(1) as f64;
        let mean = self.values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        (self.values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

/// A picture as a PNG file.
///
/// # Errors
/// When it cannot be encoded.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    encode(|bytes| picture.write_to(bytes, image::ImageFormat::Png))
}

fn encode(write: impl FnOnce(&mut Cursor<Vec<u8>>) -> image::ImageResult<()>) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    write(&mut bytes).map_err(|e| Error::Failure(format!("cannot encode a picture: {e}")))?;
    Ok(bytes.into_inner())
}

/// A picture that was made for an objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendering {
    /// The picture after the last step.
    pub picture: Planes,
    /// The unshaken picture with the highest score, of every eighth step and the last.
    pub best: Planes,
    /// The objective at every step, of the shaken picture: what is climbed, noisy by the shaking. Penalties are not in it.
    pub trace: Vec<f32>,
    /// Score of the last picture, unshaken, with plain products: as probes have it, without their offset.
    pub final_score: f32,
    /// The same of the best picture.
    pub best_score: f32,
    /// Steps made before the best picture.
    pub best_step: usize,
    /// Where the picture matters to the objective, `[1, height, width]` in \[0, 1\]: the mean over steps and channels of the
    /// size of the objective's gradient at the unshaken picture, over its 99th percentile, cut at 1 (the transparency of
    /// MaCo, Fel et al. 2023, scaled by a definition of ours). `None` where there was no gradient.
    pub transparency: Option<Planes>,
    /// What is wrong with the picture, where something is: "gradient is zero", "never active" or "grey".
    pub diagnosis: Option<String>,
}

/// What is remembered of one picture.
#[derive(Default)]
pub(super) struct Track {
    trace: Vec<f32>,
    best: Option<Look>,
    last: Option<Look>,
    /// By pixel, the sum over steps and channels of the size of the gradient at the picture.
    saliency: Vec<f64>,
    /// Whether any step had a gradient.
    pub(super) moved: bool,
}

/// An unshaken picture on the way.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) step: usize,
    pub(super) score: f64,
    pub(super) picture: Planes,
}

impl Track {
    /// A copy's part of a step's objective; the first copy begins the step.
    pub(super) fn note(&mut self, copy: usize, value: f32) {
        match self.trace.last_mut() {
            Some(last) if copy > 0 => *last += value,
            _ => self.trace.push(value),
        }
    }

    /// Adds a step's gradient at the network's input `[channel, height, width]`, of which a level of the picture is `level`.
    pub(super) fn notice(&mut self, gradient: &[f32], level: &[f64]) {
        let plane = gradient.len() / level.len().max(1);
        self.saliency.resize(plane, 0.0);
        for (gradient, level) in gradient.chunks_exact(plane.max(1)).zip(level) {
            self.saliency.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += (f64::from(*g) * level).abs());
        }
    }

    pub(super) fn see(&mut self, look: Look) {
        if self.best.as_ref().is_none_or(|best| look.score > best.score) {
            self.best = Some(look.clone());
        }
        self.last = Some(look);
    }

    /// `None` before the first look, which every ascent has.
    pub(super) fn finish(self) -> Option<Rendering> {
        let (best, last) = (self.best?, self.last?);
        let diagnosis = match (self.moved, best.score > 0.0, last.picture.deviation() < GREY) {
            (false, ..) => Some("gradient is zero"),
            (true, false, _) => Some("never active"),
            (true, true, true) => Some("grey"),
            (true, true, false) => None,
        };
        let transparency = transparency(&self.saliency, last.picture.shape);
        Some(Rendering {
            transparency,
            picture: last.picture,
            best: best.picture,
            trace: self.trace,
            final_score: last.score as f32,
            best_score: best.score as f32,
            best_step: best.step,
            diagnosis: diagnosis.map(str::to_owned),
        })
    }
}

/// Values over their 99th percentile, cut at 1; over the largest where that percentile is zero.
fn transparency(saliency: &[f64], [_, height, width]: [usize; 3]) -> Option<Planes> {
    let mut sorted = saliency.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (0.99 * sorted.len() as f64).ceil() as usize;
    let full = [sorted.get(rank.max(1) - 1), sorted.last()].into_iter().flatten().find(|v| **v > 0.0)?;
    let values = saliency.iter().map(|v| (v / full).min(1.0) as f32).collect();
    Some(Planes { shape: [1, height, width], values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_colours_or_stand_below_each_other() {
        let colour = Planes { shape: [3, 1, 2], values: vec![0.0, 1.0, 0.5, 0.0, 0.0, 2.0] };
        assert_eq!(colour.image().dimensions(), (2, 32));
        assert_eq!(colour.image().get_pixel(0, 31).0, [0, 128, 0]);
        let two = Planes { shape: [2, 2, 1], values: vec![0.0, 0.2, 0.4, 1.0] };
        assert_eq!(two.image().dimensions(), (1, 4));
        assert_eq!(two.image().get_pixel(0, 3).0, [255; 3]);
        assert_eq!(image::load_from_memory(&two.png().unwrap()).unwrap().to_rgb8(), two.image());
    }

    #[test]
    fn a_change_is_the_mean_over_channels_of_what_moved() {
        let after = Planes { shape: [2, 1, 2], values: vec![0.5, 0.25, 1.0, 0.0] };
        let change = after.change(&[0.25, 0.25, 0.5, 0.5]);
        assert_eq!((change.shape, change.values.as_slice()), ([1, 1, 2], [0.375, 0.25].as_slice()));
        assert_eq!(change.stretched().values, [1.0, 0.25 / 0.375]);
        assert_eq!(after.change(&after.values).stretched().values, [0.0; 2]);
    }

    #[test]
    fn transparency_is_the_size_of_gradients_over_their_99th_percentile() {
        let mut track = Track::default();
        let look = Look { step: 0, score: 1.0, picture: Planes { shape: [2, 10, 20], values: vec![0.5; 400] } };
        track.see(look);
        // One of 200 pixels is far above the others, which rise evenly.
        let rise = |i: usize| if i == 199 { 1e3 } else { i as f32 };
        let gradient: Vec<f32> = (0..200).map(rise).chain((0..200).map(|i| -2.0 * rise(i))).collect();
        track.notice(&gradient, &[4.0, 0.5]);
        track.notice(&gradient, &[4.0, 0.5]);
        let alpha = track.finish().unwrap().transparency.unwrap();
        assert_eq!(alpha.shape, [1, 10, 20]);
        assert_eq!(alpha.values[199], 1.0);
        assert!(alpha.values[..198].iter().enumerate().all(|(i, v)| (v - i as f32 / 197.0).abs() < 1e-2));
        let picture = Planes { shape: [1, 1, 2], values: vec![0.0, 1.0] };
        let png = picture.transparent_png(&Planes { shape: [1, 1, 2], values: vec![0.2, 1.0] }).unwrap();
        let png = image::load_from_memory(&png).unwrap().to_rgba8();
        assert_eq!(
            (png.dimensions(), png.get_pixel(0, 31).0, png.get_pixel(1, 0).0),
            ((2, 32), [0, 0, 0, 51], [255; 4])
        );
    }

    #[test]
    fn a_picture_of_one_level_is_called_grey() {
        let look = |score: f64, values: Vec<f32>| Look { step: 0, score, picture: Planes { shape: [1, 1, 4], values } };
        let diagnosis = |moved: bool, look: Look| {
            let mut track = Track { moved, ..Track::default() };
            track.see(look);
            track.finish().unwrap().diagnosis
        };
        assert_eq!(diagnosis(true, look(1.0, vec![0.5; 4])).as_deref(), Some("grey"));
        assert_eq!(diagnosis(true, look(1.0, vec![0.0, 1.0, 0.0, 1.0])), None);
        assert_eq!(diagnosis(false, look(1.0, vec![0.5; 4])).as_deref(), Some("gradient is zero"));
    }
}
