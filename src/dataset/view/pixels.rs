//! Views that change values and leave pixels where they are.

use image::codecs::jpeg::JpegEncoder;

use super::motion::reflect;
use crate::dataset::decode::decode_bytes;
use crate::dataset::preprocess::Picture;
use crate::error::{Error, Result};

/// Weights of red, green and blue in a grey (ITU-R BT.601).
const LUMINANCE: [f32; 3] = [0.299, 0.587, 0.114];

/// Every value mapped, and kept in [0, 1].
pub(super) fn map(picture: &Picture, mut f: impl FnMut(f32) -> f32) -> Picture {
    Picture { size: picture.size, pixels: picture.pixels.iter().map(|v| f(*v).clamp(0.0, 1.0)).collect() }
}

/// Every pixel `[red, green, blue]` mapped, and kept in [0, 1].
fn map_colours(picture: &Picture, f: impl Fn([f32; 3]) -> [f32; 3]) -> Picture {
    let plane = picture.size * picture.size;
    let mut pixels = picture.pixels.clone();
    for i in 0..plane {
        let colour = f([0, 1, 2].map(|c| picture.pixels[c * plane + i]));
        (0..3).for_each(|c| pixels[c * plane + i] = colour[c].clamp(0.0, 1.0));
    }
    Picture { size: picture.size, pixels }
}

fn grey(colour: [f32; 3]) -> f32 {
    colour.iter().zip(LUMINANCE).map(|(v, w)| v * w).sum()
}

/// Distance from the picture's mean grey multiplied.
pub(super) fn contrast(picture: &Picture, factor: f32) -> Picture {
    let plane = (picture.size * picture.size).max(1);
    let means = picture.pixels.chunks_exact(plane).map(|c| c.iter().map(|v| f64::from(*v)).sum::<f64>() / plane as f64);
    let grey = means.zip(LUMINANCE).map(|(m, w)| m * f64::from(w)).sum::<f64>() as f32;
    map(picture, |v| grey + factor * (v - grey))
}

/// Distance from the pixel's own grey multiplied.
pub(super) fn saturation(picture: &Picture, factor: f32) -> Picture {
    map_colours(picture, |colour| colour.map(|v| grey(colour) + factor * (v - grey(colour))))
}

/// Hue turned round the colour circle (HSV), 1 being all the way.
pub(super) fn hue(picture: &Picture, turns: f32) -> Picture {
    map_colours(picture, |colour| {
        let high = colour.into_iter().fold(f32::MIN, f32::max);
        let low = colour.into_iter().fold(f32::MAX, f32::min);
        let chroma = high - low;
        if chroma <= 0.0 {
            return colour;
        }
        let [r, g, b] = colour;
        // Sixths of the circle: red 0, green 2, blue 4.
        let sixths = if high == r {
            (g - b) / chroma
        } else if high == g {
            2.0 + (b - r) / chroma
        } else {
            4.0 + (r - g) / chroma
        };
        let turned = sixths + 6.0 * turns;
        // Each channel falls off with its distance on the circle from the two sixths where it is full.
        [0.0, 2.0, 4.0].map(|full| {
            let away = (turned - full + 3.0).rem_euclid(6.0) - 3.0;
            low + chroma * (2.0 - away.abs()).clamp(0.0, 1.0)
        })
    })
}

/// Separable Gaussian blur to three standard deviations; `sigma` in pixels.
pub(crate) fn blur(picture: &Picture, sigma: f32) -> Picture {
    let size = picture.size;
    let radius = (3.0 * sigma).ceil() as isize;
    let weights: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let pass = |pixels: &[f32], step: usize, across: usize| {
        let mut out = vec![0.0; pixels.len()];
        for (out, plane) in out.chunks_exact_mut(size * size).zip(pixels.chunks_exact(size * size)) {
            for line in 0..size {
                for at in 0..size {
                    let tap = |(k, w): (usize, &f32)| {
                        let from = reflect(at as isize + k as isize - radius, size);
                        w * plane[line * across + from * step]
                    };
                    out[line * across + at * step] = weights.iter().enumerate().map(tap).sum::<f32>() / total;
                }
            }
        }
        out
    };
    let rows = pass(&picture.pixels, 1, size);
    Picture { size, pixels: pass(&rows, size, 1) }
}

/// Written as JPEG of that quality, 1 to 100, and read again.
pub(super) fn jpeg(picture: &Picture, quality: f32) -> Result<Picture> {
    let failure = |reason: String| Error::Failure(format!("cannot make a JPEG view: {reason}"));
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality as u8);
    picture.to_image().write_with_encoder(encoder).map_err(|e| failure(e.to_string()))?;
    let image = decode_bytes(&bytes).map_err(failure)?.to_rgb8();
    let plane = |c: usize| image.pixels().map(move |p| f32::from(p.0[c]) / 255.0);
    Ok(Picture { size: picture.size, pixels: (0..3).flat_map(plane).collect() })
}
