//! A model card: how pictures become a network's input, and what its logits mean, told by a file beside the weights.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::graph::Graph;
use super::zoo::read_labels;
use crate::dataset::preprocess::{Filter, Preprocess};
use crate::error::{Error, Result};

/// What a card says; what it does not say stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    path: PathBuf,
    size: Option<usize>,
    crop: Option<Crop>,
    filter: Option<Filter>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
    labels: Option<Vec<String>>,
}

/// What is kept of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
enum Crop {
    /// The centre, after the short side has been made so many pixels; the whole picture, stretched, where it is false.
    Whole(bool),
    /// The short side in pixels.
    Short(usize),
    /// The input's side over the short side.
    Share(f64),
}

/// The keys of a card in TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    size: Option<usize>,
    crop: Option<Crop>,
    interpolation: Option<Filter>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    labels: Option<PathBuf>,
}

impl Card {
    /// The card of a weights file, if there is one: `FILE.toml`, `FILE.card.toml` or, without the file's extension,
    /// `NAME.card.toml`, in TOML; or timm's `config.json` in the same folder. In a folder of weights, `card.toml`.
    ///
    /// TOML has the keys `size` (pixels), `crop` (the short side before the centre crop in pixels, or `false`: the whole
    /// picture, stretched), `interpolation` (`nearest`, `bilinear` or `bicubic`), `mean` and `std` (of values in [0, 1]: one
    /// number or three), and `labels` (a file beside the card with a class name on every line). All may be left out.
    ///
    /// # Errors
    /// When the card cannot be read, or says something that cannot be: the message has the file and the key.
    pub fn beside(weights: &Path) -> Result<Option<Self>> {
        if weights.is_dir() {
            return Self::at(&[weights.join("card.toml")], &weights.join("config.json"));
        }
        let Some(name) = weights.file_name().and_then(|n| n.to_str()) else { return Ok(None) };
        let stem = weights.file_stem().and_then(|n| n.to_str()).unwrap_or(name);
        let cards = [format!("{name}.toml"), format!("{name}.card.toml"), format!("{stem}.card.toml")];
        let cards = cards.map(|name| weights.with_file_name(name));
        Self::at(&cards, &weights.with_file_name("config.json"))
    }

    /// The first of these cards that there is, or timm's configuration.
    fn at(cards: &[PathBuf], config: &Path) -> Result<Option<Self>> {
        match cards.iter().find(|path| path.is_file()) {
            Some(path) => Self::from_toml(path, &read(path)?).map(Some),
            None if config.is_file() => Self::from_json(config, &read(config)?),
            None => Ok(None),
        }
    }

    /// A card that tells nothing but the names of the classes, from a file with one on every line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of_labels(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), labels: Some(read_labels(path)?), ..Self::default() })
    }

    /// Height and width of the input in pixels, if the card tells.
    pub fn size(&self) -> Option<usize> {
        self.size
    }

    /// Makes a network take pictures as the card says, and names its classes. Where the network was built for another size
    /// than the card's, the crop keeps its share of the picture.
    ///
    /// # Errors
    /// When there are more or fewer labels than logits.
    pub fn apply(&self, graph: &mut Graph) -> Result<()> {
        let before = graph.preprocess().clone();
        let size = before.size;
        let crop = match self.crop {
            None => before.crop,
            Some(Crop::Whole(_)) => None,
            Some(Crop::Short(short)) => Some(short * size / self.size.unwrap_or(size)),
            Some(Crop::Share(share)) => Some((size as f64 / share).floor() as usize),
        };
        let filter = self.filter.unwrap_or(before.filter);
        let (mean, std) = (self.mean.unwrap_or(before.mean), self.std.unwrap_or(before.std));
        graph.prepare(Preprocess { size, filter, crop, mean, std });
        let Some(labels) = &self.labels else { return Ok(()) };
        graph.name_classes(labels.clone()).map_err(|e| self.wrong("labels", e.to_string()))
    }

    fn from_toml(path: &Path, text: &str) -> Result<Self> {
        let keys: Keys = toml::from_str(text).map_err(|e| {
            let hint = "keys of a model card: size, crop, interpolation, mean, std, labels";
            Error::file(path, e.to_string().trim_end().to_owned(), hint)
        })?;
        let mut card = Self { path: path.to_path_buf(), size: keys.size, crop: keys.crop, ..Self::default() };
        card.filter = keys.interpolation;
        card.mean = keys.mean.map(|v| card.three("mean", &v)).transpose()?;
        card.std = keys.std.map(|v| card.three("std", &v)).transpose()?;
        card.labels = keys.labels.map(|file| read_labels(&path.with_file_name(file))).transpose()?;
        card.checked()
    }

    /// From timm's `config.json`: `pretrained_cfg` with `input_size`, `crop_pct`, `crop_mode`, `interpolation`, `mean` and
    /// `std`, and `label_names`. Other files of this name are not of timm, and no cards.
    fn from_json(path: &Path, text: &str) -> Result<Option<Self>> {
        let mut card = Self { path: path.to_path_buf(), ..Self::default() };
        let root: Value = serde_json::from_str(text)
            .map_err(|e| Error::file(path, format!("is no JSON: {e}"), "download it again"))?;
        let config = root.get("pretrained_cfg").unwrap_or(&root);
        if config.get("input_size").is_none() {
            return Ok(None);
        }
        card.size = card.value::<[usize; 3]>(config, "input_size")?.map(|[_, _, width]| width);
        card.filter = card.value(config, "interpolation")?;
        let share: Option<f64> = card.value(config, "crop_pct")?;
        let mode: Option<String> = card.value(config, "crop_mode")?;
        card.crop = match (mode.as_deref(), share) {
            (None | Some("center"), share) => share.map(Crop::Share),
            (Some("squash"), None | Some(1.0)) => Some(Crop::Whole(false)),
            (Some(mode), _) => return Err(card.wrong("crop_mode", format!("`{mode}` is not one cavern knows"))),
        };
        card.mean = card.value::<Vec<f32>>(config, "mean")?.map(|v| card.three("mean", &v)).transpose()?;
        card.std = card.value::<Vec<f32>>(config, "std")?.map(|v| card.three("std", &v)).transpose()?;
        let labels = [config, &root].into_iter().map(|part| card.value(part, "label_names"));
        card.labels = labels.collect::<Result<Vec<_>>>()?.into_iter().flatten().next();
        card.checked().map(Some)
    }

    fn value<T: serde::de::DeserializeOwned>(&self, config: &Value, key: &str) -> Result<Option<T>> {
        let Some(value) = config.get(key).filter(|v| !v.is_null()) else { return Ok(None) };
        T::deserialize(value).map(Some).map_err(|e| self.wrong(key, e.to_string()))
    }

    fn three(&self, key: &str, values: &[f32]) -> Result<[f32; 3]> {
        match *values {
            [one] => Ok([one; 3]),
            [red, green, blue] => Ok([red, green, blue]),
            _ => Err(self.wrong(key, format!("has {} numbers, wanted one or three", values.len()))),
        }
    }

    /// Refuses what cannot be.
    fn checked(self) -> Result<Self> {
        let (finite, positive) = (|v: &f32| v.is_finite(), |v: &f32| v.is_finite() && *v > 0.0);
        if self.size.is_some_and(|size| !(1..=MAX).contains(&size)) {
            return Err(self.wrong("size", format!("is not from 1 to {MAX} pixels")));
        }
        match self.crop {
            Some(Crop::Whole(true)) => return Err(self.wrong("crop", "is true: give the short side in pixels")),
            Some(Crop::Short(short)) if !(self.size.unwrap_or(1)..=MAX).contains(&short) => {
                return Err(self.wrong("crop", format!("is {short}: wanted at least `size` and at most {MAX} pixels")));
            }
            Some(Crop::Share(share)) if !(share > 0.01 && share <= 1.0) => {
                return Err(self.wrong("crop", format!("is {share}, which is no share of the picture")));
            }
            _ => {}
        }
        if !self.mean.iter().flatten().all(finite) {
            return Err(self.wrong("mean", "is not finite"));
        }
        if !self.std.iter().flatten().all(positive) {
            return Err(self.wrong("std", "is not positive"));
        }
        Ok(self)
    }

    fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> Error {
        let hint = "the model card says how pictures become the network's input: mend it, or take it away";
        Error::file(&self.path, format!("`{key}`: {problem}"), hint)
    }
}

/// The largest size in pixels.
const MAX: usize = 1 << 14;

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::file(path, format!("cannot be read: {e}"), "check the model card"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::{self, Options};

    fn card(name: &str, text: &str) -> Result<Option<Card>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("labels.txt"), "a\nb\n").unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
        Card::beside(&dir.path().join("net.safetensors"))
    }

    fn prepared(card: &Card, options: &Options) -> Preprocess {
        let mut graph = zoo::outline("resnet18", options).unwrap();
        card.apply(&mut graph).unwrap();
        graph.preprocess().clone()
    }

    #[test]
    fn a_card_in_toml_overrides_what_it_says() {
        let text = "size = 224\ncrop = 232\ninterpolation = \"bicubic\"\nmean = [0.5]\nstd = [0.1, 0.2, 0.3]\n";
        for name in ["net.safetensors.toml", "net.safetensors.card.toml", "net.card.toml"] {
            let p = prepared(&card(name, text).unwrap().unwrap(), &Options::default());
            let (filter, crop) = (Filter::Bicubic, Some(232));
            assert_eq!(p, Preprocess { size: 224, filter, crop, mean: [0.5; 3], std: [0.1, 0.2, 0.3] });
        }
        let p = prepared(&card("net.card.toml", "crop = false").unwrap().unwrap(), &Options::default());
        assert_eq!((p.crop, p.filter, p.std), (None, Filter::Bilinear, [0.229, 0.224, 0.225]));
        let labels = card("net.card.toml", "labels = \"labels.txt\"").unwrap().unwrap();
        let mut graph = zoo::outline("mlp", &Options { classes: Some(2), ..Options::default() }).unwrap();
        labels.apply(&mut graph).unwrap();
        assert_eq!(graph.classes(), ["a", "b"]);
        let message = labels.apply(&mut zoo::outline("mlp", &Options::default()).unwrap()).unwrap_err().to_string();
        assert!(message.contains("net.card.toml") && message.contains("2 names for 10 logits"), "{message}");
    }

    #[test]
    fn timms_config_is_a_card() {
        let text = r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 224, 224],
            "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center", "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25], "first_conv": "conv1"}}"#;
        let read = card("config.json", text).unwrap().unwrap();
        let p = prepared(&read, &Options::default());
        assert_eq!((p.crop, p.filter, p.mean, p.std), (Some(235), Filter::Bicubic, [0.5; 3], [0.25; 3]));
        let larger = prepared(&read, &Options { input: Some([3, 288, 288]), ..Options::default() });
        assert_eq!((larger.size, larger.crop), (288, Some(303)));
        assert!(card("config.json", r#"{"model_type": "bert"}"#).unwrap().is_none());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        assert_eq!(Card::beside(dir.path()).unwrap().unwrap().size(), Some(224));
        std::fs::write(dir.path().join("card.toml"), "size = 64").unwrap();
        assert_eq!(Card::beside(dir.path()).unwrap().unwrap().size(), Some(64));
        assert!(card("other.toml", "").unwrap().is_none());
    }

    #[test]
    fn a_wrong_card_names_the_file_and_the_key() {
        for (name, text, wanted) in [
            ("net.card.toml", "sizes = 3", "sizes"),
            ("net.card.toml", "size = 0", "`size`"),
            ("net.card.toml", "size = -1", "size"),
            ("net.card.toml", "size = 224\ncrop = 200", "`crop`"),
            ("net.card.toml", "crop = true", "`crop`"),
            ("net.card.toml", "interpolation = \"lanczos\"", "interpolation"),
            ("net.card.toml", "mean = [0.1, 0.2]", "`mean`"),
            ("net.card.toml", "mean = [nan]", "`mean`"),
            ("net.card.toml", "std = [0.0]", "`std`"),
            ("net.card.toml", "labels = \"none.txt\"", "none.txt"),
            ("config.json", "{", "JSON"),
            ("config.json", r#"{"input_size": [3, 224]}"#, "`input_size`"),
            ("config.json", r#"{"input_size": [3, 224, 224], "crop_pct": 1.5}"#, "`crop`"),
            ("config.json", r#"{"input_size": [3, 224, 224], "crop_mode": "border"}"#, "`crop_mode`"),
            ("config.json", r#"{"input_size": [3, 224, 224], "interpolation": "random"}"#, "`interpolation`"),
            ("config.json", r#"{"input_size": [3, 224, 224], "std": "x"}"#, "`std`"),
        ] {
            let error = card(name, text).unwrap_err();
            assert!(error.is_users_mistake(), "{error}");
            let message = error.to_string();
            assert!(message.contains(wanted) && (message.contains(name) || wanted == "none.txt"), "{text}: {message}");
        }
    }

    #[test]
    fn a_network_is_built_as_its_card_says() {
        let dir = tempfile::tempdir().unwrap();
        let weights = dir.path().join("w.safetensors");
        zoo::save(&zoo::initial("resnet8", crate::seed::Seed(1)).unwrap(), &weights).unwrap();
        let built = |options: &Options| zoo::build_with("resnet8", Some(&weights), options, &candle_core::Device::Cpu);
        let before = built(&Options::default()).unwrap();
        std::fs::write(dir.path().join("w.card.toml"), "size = 40\ncrop = 44\nstd = [1.0]").unwrap();
        let after = built(&Options::default()).unwrap();
        assert_eq!((before.input_shape(), after.input_shape()), ([3, 32, 32], [3, 40, 40]));
        assert_eq!((after.preprocess().size, after.preprocess().crop), (40, Some(44)));
        let asked = built(&Options { input: Some([3, 80, 80]), ..Options::default() }).unwrap();
        assert_eq!((asked.preprocess().size, asked.preprocess().crop), (80, Some(88)));
    }
}
