//! Augmented views of a picture, all of which keep the concept.

mod motion;
pub(crate) mod pixels;

use std::str::FromStr;

use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use motion::{Motion, Whereabouts, whereabouts};

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
    /// Moved right by the amount as a share of the width, rounded to whole pixels.
    Pan,
    /// Enlarged about the centre by the amount (below 1: made smaller).
    Scale,
    /// Turned about the centre by the amount in degrees, counter-clockwise.
    Rotate,
    /// A random square whose side is that share of the picture's, enlarged to the whole; it keeps at least 80 % of the area
    /// of every concept in the picture, and grows where it cannot. A picture with a concept that has no mask stays as it is.
    Crop,
    /// Values multiplied by the amount.
    Brightness,
    /// Distance from the picture's mean grey multiplied by the amount.
    Contrast,
    /// Distance from the pixel's own grey multiplied by the amount.
    Saturation,
    /// Hue turned by the amount, in turns of the colour circle.
    Hue,
    /// Gaussian blur of that standard deviation in pixels.
    Blur,
    /// Gaussian noise of that standard deviation, in levels of 255.
    Noise,
    /// Written as a JPEG file of that quality and read again.
    Jpeg,
}

/// Every transform with its name, and the amounts it takes.
const TRANSFORMS: [(Transform, &str, f32, f32); 13] = [
    (Transform::Hflip, "hflip", 0.0, 0.0),
    (Transform::Shift, "shift", -4096.0, 4096.0),
    (Transform::Pan, "pan", -1.0, 1.0),
    (Transform::Scale, "scale", 0.1, 10.0),
    (Transform::Rotate, "rotate", -360.0, 360.0),
    (Transform::Crop, "crop", 0.1, 1.0),
    (Transform::Brightness, "brightness", 0.0, 10.0),
    (Transform::Contrast, "contrast", 0.0, 10.0),
    (Transform::Saturation, "saturation", 0.0, 10.0),
    (Transform::Hue, "hue", -0.5, 0.5),
    (Transform::Blur, "blur", 0.01, 100.0),
    (Transform::Noise, "noise", 0.0, 255.0),
    (Transform::Jpeg, "jpeg", 1.0, 100.0),
];

/// A short list of views, one or two strengths of each kind.
#[rustfmt::skip]
const FEW: [&str; 12] = [
    "hflip", "shift 14", "shift -14", "scale 0.8", "scale 1.25", "rotate 15", "rotate -15", "brightness 0.8",
    "brightness 1.2", "contrast 0.8", "blur 2", "noise 12",
];

/// Every kind of view at three strengths, both ways where there are two (our choice of numbers).
#[rustfmt::skip]
const ALL: [&str; 51] = [
    "hflip", "pan 0.04", "pan -0.04", "pan 0.08", "pan -0.08", "pan 0.16", "pan -0.16", "scale 0.8", "scale 0.87",
    "scale 0.93", "scale 1.07", "scale 1.15", "scale 1.25", "rotate 5", "rotate -5", "rotate 15", "rotate -15",
    "rotate 30", "rotate -30", "crop 0.9", "crop 0.8", "crop 0.7", "brightness 0.9", "brightness 1.1",
    "brightness 0.8", "brightness 1.2", "brightness 0.6", "brightness 1.4", "contrast 0.9", "contrast 1.1",
    "contrast 0.8", "contrast 1.2", "contrast 0.6", "contrast 1.4", "saturation 0.9", "saturation 1.1",
    "saturation 0.8", "saturation 1.2", "saturation 0.6", "saturation 1.4", "hue 0.05", "hue -0.05", "blur 1",
    "blur 2", "blur 4", "noise 5.1", "noise 12.75", "noise 25.5", "jpeg 75", "jpeg 50", "jpeg 25",
];

/// The lists of views that have a name, `few` and `all`.
const PRESETS: [(&str, &[&str]); 2] = [("few", &FEW), ("all", &ALL)];

/// A transform and its strength; in study files and tables it is text: `hflip`, `shift PIXELS`, `pan SHARE`, `scale FACTOR`,
/// `rotate DEGREES`, `crop SHARE`, `brightness FACTOR`, `contrast FACTOR`, `saturation FACTOR`, `hue TURNS`, `blur PIXELS`,
/// `noise LEVELS` (of 255), `jpeg QUALITY`. `rotate ~15` has a strength drawn up to that; in tables ` #2` is the second draw of a
/// view that has something random.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^(hflip|(shift|pan|scale|rotate|crop|brightness|contrast|saturation|hue|blur|noise|jpeg) +~?-?[0-9.]+)$"))]
pub struct View {
    /// What is done.
    pub transform: Transform,
    /// How much.
    pub amount: f32,
    /// Whether the strength is drawn for every picture, with the amount as the most of it.
    pub drawn: bool,
    /// Which draw it is, from 1, where something is random; 1 for others.
    pub draw: u32,
}

impl View {
    /// The views of a named list.
    ///
    /// # Errors
    /// When no list has this name.
    pub fn preset(name: &str) -> Result<Vec<Self>> {
        let found = PRESETS.iter().find(|(preset, _)| *preset == name);
        let (_, views) = found.ok_or_else(|| Error::unknown("list of views", name, PRESETS.iter().map(|p| p.0)))?;
        views.iter().map(|text| text.parse()).collect()
    }

    /// Whether pixels move; otherwise their values change.
    pub fn is_geometric(&self) -> bool {
        use Transform::{Crop, Hflip, Pan, Rotate, Scale, Shift};
        matches!(self.transform, Hflip | Shift | Pan | Scale | Rotate | Crop)
    }

    /// Whether something of it is drawn at random: of the others, all draws are the same.
    pub fn is_random(&self) -> bool {
        self.drawn || matches!(self.transform, Transform::Crop | Transform::Noise)
    }

    /// The view in `count` draws; once where nothing is random.
    pub fn draws(self, count: u32) -> impl Iterator<Item = Self> {
        let last = if self.is_random() { count } else { 1 };
        (1..=last).map(move |draw| Self { draw, ..self })
    }

    /// How much of a sample's view: the amount a, or where it is drawn, evenly, from -a to a (shift, pan, rotate, hue), from a
    /// to what changes nothing (blur, noise, crop, jpeg), or by its logarithm from 1/a to a (factors).
    fn strength(&self, seed: Seed, id: &str) -> f32 {
        use Transform::{
            Blur, Brightness, Contrast, Crop, Hflip, Hue, Jpeg, Noise, Pan, Rotate, Saturation, Scale, Shift,
        };
        let a = self.amount;
        if !self.drawn {
            return a;
        }
        let part: f32 = seed.stream(&format!("view/{self}/{id}/amount")).random_range(0.0..=1.0);
        let both_ways = 2.0 * part - 1.0;
        match self.transform {
            Hflip | Shift => (a * both_ways).round(),
            Pan | Rotate | Hue => a * both_ways,
            Scale | Brightness | Contrast | Saturation => a.powf(both_ways),
            Crop => 1.0 + (a - 1.0) * part,
            Blur => (a * part).max(0.01),
            Noise => a * part,
            Jpeg => (100.0 + (a - 100.0) * part).round(),
        }
    }

    /// Whether it depends on where the concepts are.
    pub fn sees_masks(&self) -> bool {
        self.transform == Transform::Crop
    }

    /// Where the pixels of a geometric view of a picture of `size` pixels come from; `None` where they stay. `id` names the
    /// sample: a crop is drawn from the stream of seed, sample and view, and heeds `masks`.
    pub fn motion(&self, size: usize, seed: Seed, id: &str, masks: &Whereabouts) -> Option<Motion> {
        let a = self.strength(seed, id);
        match self.transform {
            Transform::Hflip => Some(Motion::MIRROR),
            Transform::Shift => Some(Motion::right(a)),
            Transform::Pan => Some(Motion::right(a * size as f32)),
            Transform::Scale => Some(Motion::enlarged(a)),
            Transform::Rotate => Some(Motion::turned(a)),
            Transform::Crop => Some(motion::crop(size, a, masks, &mut self.stream(seed, id))),
            _ => None,
        }
    }

    /// The view of a picture. `id` names the sample: what is random is drawn from the stream of seed, sample and view.
    /// `masks` are looked at where [`View::sees_masks`].
    ///
    /// # Errors
    /// When a JPEG cannot be written.
    pub fn apply(&self, picture: &Picture, seed: Seed, id: &str, masks: &Whereabouts) -> Result<Picture> {
        if let Some(motion) = self.motion(picture.size, seed, id, masks) {
            return Ok(motion.apply(picture));
        }
        let a = self.strength(seed, id);
        Ok(match self.transform {
            Transform::Brightness => pixels::map(picture, |v| v * a),
            Transform::Contrast => pixels::contrast(picture, a),
            Transform::Saturation => pixels::saturation(picture, a),
            Transform::Hue => pixels::hue(picture, a),
            Transform::Blur => pixels::blur(picture, a),
            Transform::Noise => {
                let mut rng = self.stream(seed, id);
                pixels::map(picture, |v| v + a / 255.0 * gaussian(&mut rng) as f32)
            }
            Transform::Jpeg => pixels::jpeg(picture, a)?,
            // The geometric ones, which have moved it above.
            _ => picture.clone(),
        })
    }

    fn stream(self, seed: Seed, id: &str) -> rand_chacha::ChaCha8Rng {
        seed.stream(&format!("view/{self}/{id}"))
    }
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
        f.write_str(name)?;
        if self.transform != Transform::Hflip {
            write!(f, " {}{}", if self.drawn { "~" } else { "" }, self.amount)?;
        }
        if self.draw > 1 { write!(f, " #{}", self.draw) } else { Ok(()) }
    }
}

impl FromStr for View {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (view, draw) = text.trim().split_once(" #").unwrap_or((text.trim(), "1"));
        let (name, amount) = view.split_once(' ').unwrap_or((view, "0"));
        let found = TRANSFORMS.iter().find(|t| t.1 == name);
        let (transform, _, low, high) =
            *found.ok_or_else(|| Error::unknown("view", name, TRANSFORMS.iter().map(|t| t.1)))?;
        let (amount, drawn) = amount.trim().strip_prefix('~').map_or((amount.trim(), false), |amount| (amount, true));
        let amount: f32 = amount.parse().unwrap_or(f32::NAN);
        let whole = matches!(transform, Transform::Shift | Transform::Jpeg);
        // Strengths between 1/a and a need an a, and those of `hflip` are none.
        let undrawable = drawn && (transform == Transform::Hflip || amount == 0.0);
        if !(low..=high).contains(&amount) || undrawable || (whole && amount.fract() != 0.0) {
            let hint = if transform == Transform::Hflip {
                "write `hflip` alone".to_owned()
            } else {
                format!(
                    "write `{name} AMOUNT` with an amount from {low} to {high}, a whole number for `shift` and `jpeg`; \
                     `{name} ~AMOUNT` draws it"
                )
            };
            return Err(Error::key("score.views", format!("`{text}` is no view"), hint));
        }
        let view = Self { transform, amount, drawn, draw: draw.parse().unwrap_or(0) };
        if view.draw == 0 || (view.draw > 1 && !view.is_random()) {
            let hint = "draws are counted from 1, of `crop`, `noise` and what has a `~`: write `score.draws` for several of each";
            return Err(Error::key("score.views", format!("`{text}` is no view"), hint));
        }
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(size: usize) -> Picture {
        let mut rng = Seed(3).stream("picture");
        Picture { size, pixels: (0..3 * size * size).map(|_| rng.random()).collect() }
    }

    fn view(text: &str, picture: &Picture) -> Picture {
        text.parse::<View>().unwrap().apply(picture, Seed(1), "id", &None).unwrap()
    }

    #[test]
    fn text_and_view_are_one() {
        for text in FEW.into_iter().chain(ALL).chain([
            "crop 0.75",
            "hue -0.05",
            "jpeg 50",
            "pan 0.16",
            "noise 12 #3",
            "rotate ~15",
            "scale ~1.25 #2",
        ]) {
            assert_eq!(text.parse::<View>().unwrap().to_string(), text);
        }
        for bad in [
            "flip",
            "shift 1.5",
            "shift",
            "shift x",
            "hflip 3",
            "scale 0",
            "blur -1",
            "noise 300",
            "jpeg 0.5",
            "hue 1",
            "crop 2",
            "crop 0.9 #0",
            "crop 0.9 #x",
            "shift 4 #2",
            "hflip ~0",
            "contrast ~0",
            "shift ~1.5",
            "",
        ] {
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
        for text in ALL.into_iter().filter(|t| !t.starts_with("noise") && !t.starts_with("brightness")) {
            // JPEG has 255 levels.
            assert!(view(text, &p).pixels.iter().all(|v| (v - 0.5).abs() < 2e-3), "{text}");
        }
    }

    #[test]
    fn values_stay_in_range_and_noise_is_named() {
        let p = picture(9);
        for text in ["brightness 1.9", "contrast 3", "saturation 3", "hue 0.3", "noise 80"] {
            assert!(view(text, &p).pixels.iter().all(|v| (0.0..=1.0).contains(v)), "{text}");
        }
        let noise: View = "noise 12".parse().unwrap();
        let of = |id: &str| noise.apply(&p, Seed(1), id, &None).unwrap();
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        let draws: Vec<_> = noise.draws(3).map(|v| v.apply(&p, Seed(1), "a", &None).unwrap()).collect();
        assert_eq!(draws[0], of("a"));
        assert!(draws[1] != draws[0] && draws[1] != draws[2] && draws.len() == 3);
        assert_eq!("blur 2".parse::<View>().unwrap().draws(8).count(), 1);
    }

    #[test]
    fn drawn_strengths_fill_their_range() {
        let of = |text: &str| -> Vec<f32> {
            let view: View = text.parse().unwrap();
            (0..500).map(|i| view.strength(Seed(1), &i.to_string())).collect()
        };
        let ranges = [
            ("rotate ~15", -15.0, 15.0),
            ("scale ~1.25", 0.8, 1.25),
            ("scale ~0.8", 0.8, 1.25),
            ("crop ~0.7", 0.7, 1.0),
        ];
        let further =
            [("blur ~2", 0.01, 2.0), ("jpeg ~25", 25.0, 100.0), ("shift ~4", -4.0, 4.0), ("hue ~0.05", -0.05, 0.05)];
        for (text, low, high) in ranges.into_iter().chain(further) {
            let drawn = of(text);
            let (least, most) = drawn.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            let slack = 0.02 * (high - low);
            assert!(
                least >= low - 1e-6 && least <= low + slack && most <= high + 1e-6 && most >= high - slack,
                "{text}"
            );
        }
        assert_eq!(of("rotate 15"), [15.0; 500]);
        assert!(of("shift ~4").iter().all(|v| v.fract() == 0.0));
        // Each draw has a strength of its own, and the view and its motion have the same.
        let (first, second) = ("rotate ~15".parse::<View>().unwrap(), "rotate ~15 #2".parse::<View>().unwrap());
        assert_ne!(first.strength(Seed(1), "a"), second.strength(Seed(1), "a"));
        assert_eq!(first.draws(2).last(), Some(second));
    }

    #[test]
    fn contrast_turns_about_the_mean_grey() {
        let p = Picture { size: 1, pixels: vec![1.0, 0.5, 0.0] };
        let grey = 0.299 + 0.587 * 0.5;
        for (got, v) in view("contrast 0.5", &p).pixels.iter().zip([1.0, 0.5, 0.0]) {
            assert!((got - (grey + 0.5 * (v - grey))).abs() < 1e-6);
        }
    }

    fn colour(rgb: [f32; 3], text: &str) -> [f32; 3] {
        view(text, &Picture { size: 1, pixels: rgb.to_vec() }).pixels.try_into().unwrap()
    }

    fn assert_close(a: [f32; 3], b: [f32; 3]) {
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }

    /// Values of tests/golden/views.py, made with torchvision.
    #[test]
    fn colours_are_those_of_torchvision() {
        let golden: std::collections::BTreeMap<String, Vec<f32>> =
            serde_json::from_str(include_str!("../../tests/golden/views.json")).unwrap();
        let p = Picture { size: 4, pixels: golden["colours"].clone() };
        for (text, wanted) in golden.iter().filter(|(text, _)| *text != "colours") {
            for (got, wanted) in view(text, &p).pixels.iter().zip(wanted) {
                // torchvision's weights of green and blue end in the fourth digit too.
                assert!((got - wanted).abs() < 2e-4, "{text}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn saturation_turns_about_the_pixels_own_grey() {
        let grey = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2;
        assert_close(colour([0.8, 0.4, 0.2], "saturation 0"), [grey; 3]);
        assert_close(colour([0.8, 0.4, 0.2], "saturation 1"), [0.8, 0.4, 0.2]);
        assert_close(colour([0.6, 0.4, 0.3], "saturation 1.1").map(|v| v - 0.4), {
            let grey = 0.299 * 0.6 + 0.587 * 0.4 + 0.114 * 0.3;
            [0.6, 0.4, 0.3].map(|v| grey + 1.1 * (v - grey) - 0.4)
        });
    }

    #[test]
    fn hues_turn_round_the_circle() {
        let (third, sixth) = (1.0f32 / 3.0, 1.0f32 / 6.0);
        let turned = |rgb: [f32; 3], turns: f32| {
            let view = View { transform: Transform::Hue, amount: turns, drawn: false, draw: 1 };
            let picture = Picture { size: 1, pixels: rgb.to_vec() };
            view.apply(&picture, Seed(1), "id", &None).unwrap().pixels.try_into().unwrap()
        };
        assert_close(turned([0.9, 0.1, 0.1], third), [0.1, 0.9, 0.1]);
        assert_close(turned([0.9, 0.1, 0.1], -third), [0.1, 0.1, 0.9]);
        assert_close(turned([0.9, 0.1, 0.1], sixth), [0.9, 0.9, 0.1]);
        assert_close(turned([0.3, 0.7, 0.5], 0.0), [0.3, 0.7, 0.5]);
        assert_close(turned([0.4, 0.4, 0.4], 0.2), [0.4, 0.4, 0.4]);
        // Orange is a twelfth from red and from yellow.
        assert_close(turned([0.9, 0.5, 0.1], sixth / 2.0), [0.9, 0.9, 0.1]);
        assert_close(turned(turned([0.2, 0.6, 0.9], 0.05), -0.05), [0.2, 0.6, 0.9]);
    }

    #[test]
    fn a_poorer_jpeg_is_farther_from_the_picture() {
        let size = 32;
        let smooth = |i: usize| 0.5 + 0.4 * ((i % size) as f32 * 0.3).sin() * ((i / size % size) as f32 * 0.2).cos();
        let p = Picture { size, pixels: (0..3 * size * size).map(smooth).collect() };
        let error = |text: &str| -> f32 {
            view(text, &p).pixels.iter().zip(&p.pixels).map(|(a, b)| (a - b).abs()).sum::<f32>() / p.pixels.len() as f32
        };
        let errors = ["jpeg 100", "jpeg 75", "jpeg 25"].map(error);
        assert!(errors[0] < 0.005 && errors[0] < errors[1] && errors[1] < errors[2] && errors[2] < 0.05, "{errors:?}");
    }

    #[test]
    fn a_crop_is_named_and_a_pan_is_a_shift() {
        let p = picture(20);
        assert_eq!(view("pan 0.1", &p), view("shift 2", &p));
        let crop: View = "crop 0.5".parse().unwrap();
        let of = |id: &str| crop.apply(&p, Seed(1), id, &Some(Vec::new())).unwrap();
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        assert_eq!(crop.apply(&p, Seed(1), "a", &None).unwrap(), p);
    }

    #[test]
    fn lists_of_views_have_names() {
        assert_eq!(View::preset("all").unwrap().len(), ALL.len());
        assert!(View::preset("al").unwrap_err().to_string().contains("`all`"));
    }
}
