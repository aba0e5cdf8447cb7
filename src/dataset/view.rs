//! Augmented views of a picture, all of which keep the concept.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::preprocess::Picture;
use crate::error::{Error, Result};
use crate::seed::{Seed, gaussian};

/// What a view does. Lengths are pixels of the network's input; what moves in from outside is the picture reflected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transform {
    /// Left and right swapped; the amount is not used.
    Hflip,
    /// Moved right by the amount in whole pixels.
    Shift,
    /// Enlarged about the centre by the amount (below 1: made smaller).
    Scale,
    /// Turned about the centre by the amount in degrees, counter-clockwise.
    Rotate,
    /// Values multiplied by the amount.
    Brightness,
    /// Distance from the picture's mean grey multiplied by the amount.
    Contrast,
    /// Gaussian blur of that standard deviation in pixels.
    Blur,
    /// Gaussian noise of that standard deviation, in levels of 255.
    Noise,
}

/// Every transform with its name, and the amounts it takes.
const TRANSFORMS: [(Transform, &str, f32, f32); 8] = [
    (Transform::Hflip, "hflip", 0.0, 0.0),
    (Transform::Shift, "shift", -4096.0, 4096.0),
    (Transform::Scale, "scale", 0.1, 10.0),
    (Transform::Rotate, "rotate", -360.0, 360.0),
    (Transform::Brightness, "brightness", 0.0, 10.0),
    (Transform::Contrast, "contrast", 0.0, 10.0),
    (Transform::Blur, "blur", 0.01, 100.0),
    (Transform::Noise, "noise", 0.0, 255.0),
];

/// A transform and its strength; in study files and tables it is text, as in `shift -14` or `hflip`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct View {
    /// What is done.
    pub transform: Transform,
    /// How much.
    pub amount: f32,
}

impl View {
    /// Whether pixels move; otherwise their values change.
    pub fn is_geometric(&self) -> bool {
        matches!(self.transform, Transform::Hflip | Transform::Shift | Transform::Scale | Transform::Rotate)
    }

    /// The view of a picture. `id` names the sample: noise is drawn from the stream of seed, sample and view.
    pub fn apply(&self, picture: &Picture, seed: Seed, id: &str) -> Picture {
        let (size, a) = (picture.size, self.amount);
        let last = size as f32 - 1.0;
        let centre = last / 2.0;
        match self.transform {
            Transform::Hflip => sample(picture, |y, x| (y, last - x)),
            Transform::Shift => sample(picture, |y, x| (y, x - a.round())),
            Transform::Scale => sample(picture, |y, x| (centre + (y - centre) / a, centre + (x - centre) / a)),
            Transform::Rotate => {
                let (sin, cos) = a.to_radians().sin_cos();
                // Rows grow downwards: the inverse of a counter-clockwise turn.
                sample(picture, |y, x| {
                    let (dy, dx) = (y - centre, x - centre);
                    (centre + cos * dy + sin * dx, centre + cos * dx - sin * dy)
                })
            }
            Transform::Brightness => map(picture, |v| v * a),
            Transform::Contrast => {
                let grey = mean_grey(picture);
                map(picture, |v| grey + a * (v - grey))
            }
            Transform::Blur => blur(picture, a),
            Transform::Noise => {
                let mut rng = seed.stream(&format!("view/{self}/{id}"));
                let pixels = picture.pixels.iter();
                let noisy = pixels.map(|v| (v + a / 255.0 * gaussian(&mut rng) as f32).clamp(0.0, 1.0));
                Picture { size, pixels: noisy.collect() }
            }
        }
    }
}

fn map(picture: &Picture, f: impl Fn(f32) -> f32) -> Picture {
    Picture { size: picture.size, pixels: picture.pixels.iter().map(|v| f(*v).clamp(0.0, 1.0)).collect() }
}

/// Mean over the picture of .299 red + .587 green + .114 blue (ITU-R BT.601).
fn mean_grey(picture: &Picture) -> f32 {
    let plane = (picture.size * picture.size).max(1);
    let means = picture.pixels.chunks_exact(plane).map(|c| c.iter().map(|v| f64::from(*v)).sum::<f64>() / plane as f64);
    means.zip([0.299, 0.587, 0.114]).map(|(m, w)| m * w).sum::<f64>() as f32
}

/// An index beyond the picture, reflected without repeating the edge.
fn reflect(at: isize, size: usize) -> usize {
    let period = (2 * size as isize - 2).max(1);
    let at = at.rem_euclid(period);
    (if at >= size as isize { period - at } else { at }).max(0) as usize
}

/// A picture whose pixel (y, x) is the old one at `from(y, x)`, bilinear between pixels.
fn sample(picture: &Picture, from: impl Fn(f32, f32) -> (f32, f32)) -> Picture {
    let size = picture.size;
    let plane = size * size;
    let mut pixels = vec![0.0; 3 * plane];
    for i in 0..plane {
        let (y, x) = from((i / size) as f32, (i % size) as f32);
        let (top, left) = (y.floor(), x.floor());
        let (dy, dx) = (y - top, x - left);
        let rows = [0, 1].map(|k| reflect(top as isize + k, size) * size);
        let columns = [0, 1].map(|k| reflect(left as isize + k, size));
        for c in 0..3 {
            let v = |r: usize, k: usize| picture.pixels[c * plane + rows[r] + columns[k]];
            let upper = if dx == 0.0 { v(0, 0) } else { v(0, 0) * (1.0 - dx) + v(0, 1) * dx };
            pixels[c * plane + i] =
                if dy == 0.0 { upper } else { upper * (1.0 - dy) + (v(1, 0) * (1.0 - dx) + v(1, 1) * dx) * dy };
        }
    }
    Picture { size, pixels }
}

/// Separable Gaussian blur to three standard deviations.
fn blur(picture: &Picture, sigma: f32) -> Picture {
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

impl TryFrom<String> for View {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<View> for String {
    fn from(view: View) -> Self {
        view.to_string()
    }
}

impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = TRANSFORMS.iter().find(|t| t.0 == self.transform).map_or("", |t| t.1);
        if self.transform == Transform::Hflip { f.write_str(name) } else { write!(f, "{name} {}", self.amount) }
    }
}

impl FromStr for View {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, amount) = text.trim().split_once(' ').unwrap_or((text.trim(), "0"));
        let found = TRANSFORMS.iter().find(|t| t.1 == name);
        let (transform, _, low, high) =
            *found.ok_or_else(|| Error::unknown("view", name, TRANSFORMS.iter().map(|t| t.1)))?;
        let amount: f32 = amount.trim().parse().unwrap_or(f32::NAN);
        if !(low..=high).contains(&amount) || (transform == Transform::Shift && amount.fract() != 0.0) {
            let hint = if transform == Transform::Hflip {
                "write `hflip` alone".to_owned()
            } else {
                format!("write `{name} AMOUNT` with an amount from {low} to {high}, whole pixels for `shift`")
            };
            return Err(Error::key("score.views", format!("`{text}` is no view"), hint));
        }
        Ok(Self { transform, amount })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    fn picture(size: usize) -> Picture {
        let mut rng = Seed(3).stream("picture");
        Picture { size, pixels: (0..3 * size * size).map(|_| rng.random()).collect() }
    }

    fn view(text: &str, picture: &Picture) -> Picture {
        text.parse::<View>().unwrap().apply(picture, Seed(1), "id")
    }

    #[test]
    fn text_and_view_are_one() {
        for text in
            ["hflip", "shift -14", "scale 1.25", "rotate 15", "brightness 0.6", "contrast 1.4", "blur 2", "noise 12"]
        {
            assert_eq!(text.parse::<View>().unwrap().to_string(), text);
        }
        for bad in ["flip", "shift 1.5", "shift", "shift x", "hflip 3", "scale 0", "blur -1", "noise 300", ""] {
            assert!(bad.parse::<View>().is_ok() == (bad == "shift"), "{bad}");
        }
        assert!("rotat 5".parse::<View>().unwrap_err().to_string().contains("`rotate`"));
    }

    #[test]
    fn flips_and_shifts_are_exact() {
        let p = picture(7);
        assert_eq!(view("hflip", &view("hflip", &p)), p);
        let moved = view("shift 2", &p);
        for y in 0..7 {
            assert_eq!(moved.pixels[y * 7 + 2..y * 7 + 7], p.pixels[y * 7..y * 7 + 5]);
            assert_eq!(moved.pixels[y * 7 + 1], p.pixels[y * 7 + 1], "one beyond the edge is one inside");
            assert_eq!(moved.pixels[y * 7], p.pixels[y * 7 + 2]);
        }
    }

    #[test]
    fn a_quarter_turn_is_a_transposition() {
        let p = picture(8);
        let turned = view("rotate 90", &p);
        for y in 0..8 {
            for x in 0..8 {
                // Counter-clockwise: the right column becomes the top row.
                let (got, wanted) = (turned.pixels[y * 8 + x], p.pixels[x * 8 + 7 - y]);
                assert!((got - wanted).abs() < 1e-4, "{y} {x}");
            }
        }
    }

    #[test]
    fn a_constant_picture_stays_constant() {
        let p = Picture { size: 9, pixels: vec![0.5; 243] };
        for text in ["hflip", "shift 3", "scale 0.7", "rotate 31", "contrast 0.2", "blur 1.5", "brightness 1"] {
            assert!(view(text, &p).pixels.iter().all(|v| (v - 0.5).abs() < 1e-5), "{text}");
        }
    }

    #[test]
    fn values_stay_in_range_and_noise_is_named() {
        let p = picture(9);
        for text in ["brightness 1.9", "contrast 3", "noise 80"] {
            assert!(view(text, &p).pixels.iter().all(|v| (0.0..=1.0).contains(v)), "{text}");
        }
        let noise: View = "noise 12".parse().unwrap();
        assert_eq!(noise.apply(&p, Seed(1), "a"), noise.apply(&p, Seed(1), "a"));
        assert_ne!(noise.apply(&p, Seed(1), "a"), noise.apply(&p, Seed(1), "b"));
    }

    #[test]
    fn contrast_turns_about_the_mean_grey() {
        let p = Picture { size: 1, pixels: vec![1.0, 0.5, 0.0] };
        let grey = 0.299 + 0.587 * 0.5;
        for (got, v) in view("contrast 0.5", &p).pixels.iter().zip([1.0, 0.5, 0.0]) {
            assert!((got - (grey + 0.5 * (v - grey))).abs() < 1e-6);
        }
    }
}
