//! One step of a chain: text in study files.

use std::str::FromStr;

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::affine::Canvas;
use super::{Drawn, between};
use crate::seed::gaussian;

/// Steps of a scale, between its ends.
const SCALES: u32 = 10;
/// Where windows lie: standard deviation of their centre about the middle, in sides (Xplique's).
const SPREAD: f64 = 0.15;

/// A step, as text: `pad 12`, `jitter 8`, `scale 0.9 1.1`, `rotate 10`, `crop 0.05 0.5`, `flip`, `blur 0.5 1`, `noise 0.08`. Pixels
/// are those of a picture 224 pixels wide; smaller networks get their share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^(flip|(pad|jitter|rotate|noise) +[0-9.]+|(scale|crop|blur) +[0-9.]+( +[0-9.]+)?)$"))]
pub enum Transform {
    /// A grey border of so many pixels: `pad 12`.
    Pad(f64),
    /// A cut by so many pixels in all, at a random place: `jitter 8`.
    Jitter(f64),
    /// Resized by one of eleven factors between two: `scale 0.9 1.1`.
    Scale(f64, f64),
    /// Turned by whole degrees up to so many either way, or with five more chances not at all: `rotate 10`.
    Rotate(f64),
    /// A window of between two shares of the side, made as large as the whole: `crop 0.05 0.5`.
    Crop(f64, f64),
    /// Mirrored left to right, every other time: `flip`.
    Flip,
    /// Gaussian blur with a standard deviation between two, in the network's pixels: `blur 0.5 1`.
    Blur(f64, f64),
    /// Normal noise of so many levels of \[0, 1\]: `noise 0.08`.
    Noise(f64),
}

impl Transform {
    /// Lets it happen; `share` is what of its pixels this network gets.
    pub(super) fn apply(self, canvas: &mut Canvas, drawn: &mut Drawn, share: f64, rng: &mut impl rand::Rng) {
        match self {
            Self::Pad(pixels) => canvas.pad((pixels * share).floor()),
            Self::Jitter(pixels) => {
                let most = (pixels * share).floor();
                let mut place = || f64::from(rng.random_range(0..=most as u32));
                let at = (place(), place());
                canvas.cut(most, at);
            }
            Self::Scale(low, high) => {
                canvas.scale(low + (high - low) * f64::from(rng.random_range(0..=SCALES)) / f64::from(SCALES));
            }
            Self::Rotate(most) => {
                let most = most.floor() as i32;
                // 2 most + 1 angles, and five more chances of none.
                let angle = rng.random_range(-most..=most + 5);
                canvas.rotate(if angle > most { 0.0 } else { f64::from(angle).to_radians() });
            }
            Self::Crop(low, high) => {
                let mut centre = || 0.5 + SPREAD * gaussian(rng);
                let at = (centre(), centre());
                canvas.window(between(rng, low, high), at);
            }
            Self::Flip => {
                if rng.random::<bool>() {
                    canvas.flip();
                }
            }
            Self::Blur(low, high) => drawn.blur = drawn.blur.hypot(between(rng, low, high)),
            Self::Noise(deviation) => drawn.noise = drawn.noise.hypot(deviation),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pad(_) => "pad",
            Self::Jitter(_) => "jitter",
            Self::Scale(..) => "scale",
            Self::Rotate(_) => "rotate",
            Self::Crop(..) => "crop",
            Self::Flip => "flip",
            Self::Blur(..) => "blur",
            Self::Noise(_) => "noise",
        }
    }
}

impl From<Transform> for String {
    fn from(step: Transform) -> Self {
        use Transform::{Blur, Crop, Flip, Jitter, Noise, Pad, Rotate, Scale};
        match step {
            Pad(v) | Jitter(v) | Rotate(v) | Noise(v) => format!("{} {v}", step.name()),
            Scale(low, high) | Crop(low, high) | Blur(low, high) => format!("{} {low} {high}", step.name()),
            Flip => step.name().to_owned(),
        }
    }
}

impl TryFrom<String> for Transform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Transform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let wrong = |wanted: &str| format!("transform `{text}`: wanted {wanted}");
        let numbers = words.map(str::parse::<f64>).collect::<Result<Vec<_>, _>>().map_err(|_| wrong("numbers"))?;
        let one = |least: f64, most: f64, example: &str| match numbers[..] {
            [v] if (least..=most).contains(&v) => Ok(v),
            _ => Err(wrong(&format!("a number from {least} to {most}, as in `{example}`"))),
        };
        let two = |least: f64, most: f64, example: &str| match numbers[..] {
            [v] if (least..=most).contains(&v) => Ok((v, v)),
            [low, high] if least <= low && low <= high && high <= most => Ok((low, high)),
            _ => Err(wrong(&format!("two rising numbers from {least} to {most}, as in `{example}`"))),
        };
        match name {
            "pad" => one(0.0, 1000.0, "pad 12").map(Self::Pad),
            "jitter" => one(0.0, 1000.0, "jitter 8").map(Self::Jitter),
            "scale" => two(0.1, 10.0, "scale 0.9 1.1").map(|(low, high)| Self::Scale(low, high)),
            "rotate" => one(0.0, 180.0, "rotate 10").map(Self::Rotate),
            "crop" => two(0.01, 1.0, "crop 0.05 0.5").map(|(low, high)| Self::Crop(low, high)),
            "flip" if numbers.is_empty() => Ok(Self::Flip),
            "blur" => two(0.0, 50.0, "blur 0.5 1").map(|(low, high)| Self::Blur(low, high)),
            "noise" => one(0.0, 10.0, "noise 0.08").map(Self::Noise),
            _ => Err(wrong("pad, jitter, scale, rotate, crop, flip, blur or noise with its numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_written_as_they_are_read() {
        for text in
            ["pad 12", "jitter 8", "scale 0.9 1.1", "rotate 10", "crop 0.05 0.5", "flip", "blur 1 1.5", "noise 0.1"]
        {
            assert_eq!(String::from(text.parse::<Transform>().unwrap()), text);
        }
        for text in ["pad", "pad -1", "scale 1.1 0.9", "crop 0 1", "flip 2", "noise nan", "twist 3", ""] {
            assert!(text.parse::<Transform>().unwrap_err().contains("wanted"), "{text}");
        }
    }
}
