//! Where a network comes from: a name of the zoo or an ONNX file, its weights, and the choices both leave.

use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::Serialize;

use super::card::Card;
use super::graph::Graph;
use super::head::Head;
use super::hub;
use super::onnx;
use super::train::Curve;
use super::weights::{self, Weights};
use super::zoo;
use crate::error::{Error, Result};
use crate::store::digest::Digest;
use crate::store::file::Stamp;

/// Everything a network is built from.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// A name of the zoo, or the path of an ONNX file.
    pub name: String,
    /// The weights: a file, an index of files, a folder, or an address on the hub.
    pub weights: Option<PathBuf>,
    /// Which tensors of the weights are taken, and under which names.
    pub tensors: weights::Options,
    /// `[channel, height, width]` of the input, where the network leaves a choice.
    pub input: Option<[usize; 3]>,
    /// Channels that all others are multiples of, where the network leaves a choice.
    pub width: Option<usize>,
    /// How many blocks, where the network leaves a choice.
    pub depth: Option<usize>,
    /// A linear head on one of its layers, as `cavern train` writes it.
    pub head: Option<PathBuf>,
    /// A file with the name of a class on every line.
    pub labels: Option<PathBuf>,
}

/// Whether a model's name is the path of an ONNX file.
pub fn is_onnx(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
}

/// A file a network was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceFile {
    /// The study key that names it.
    pub key: &'static str,
    /// What stands there.
    pub given: String,
    /// The file's own name: of a folder or an index, one of several.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// blake3 of its bytes.
    pub digest: Digest,
    /// The commit it is of, where it comes from the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Recipe {
    /// Builds the network. A model card beside its file (see [`Card::beside`]) says how pictures become its input.
    ///
    /// # Errors
    /// When there is no such network, a file cannot be read, or the parts do not fit each other.
    pub fn build(&self, device: &Device) -> Result<Graph> {
        let mut graph = if is_onnx(&self.name) { self.onnx(device)? } else { self.zoo(device)? };
        if let Some(head) = &self.head {
            graph = Head::read(head)?.on(&graph, device)?;
        }
        if let Some(labels) = &self.labels {
            Card::of_labels(labels)?.apply(&mut graph)?;
        }
        Ok(graph)
    }

    /// The files it is built from, with their digests: what a run's manifest says of them.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>> {
        let source = |(key, given, path): (&'static str, PathBuf, PathBuf)| {
            Ok(SourceFile {
                key,
                given: given.display().to_string(),
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: std::fs::metadata(&path).map_err(Error::io("read", &path))?.len(),
                digest: Digest::of_file(&path)?,
                commit: hub::is_address(&given).then(|| hub::commit_of(&path)).flatten(),
            })
        };
        self.paths()?.into_iter().map(source).collect()
    }

    /// What the files it is built from look like now; to be taken before it is built.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn stamps(&self) -> Result<Vec<Stamp>> {
        self.paths()?.iter().map(|(_, _, path)| Stamp::of(path)).collect()
    }

    /// Every file: its key in the study, as it was given, and where it lies.
    fn paths(&self) -> Result<Vec<(&'static str, PathBuf, PathBuf)>> {
        let onnx = is_onnx(&self.name).then(|| PathBuf::from(&self.name));
        let named = [
            ("model.name", &onnx),
            ("model.weights", &self.weights),
            ("model.head", &self.head),
            ("model.labels", &self.labels),
        ];
        let mut files = Vec::new();
        for (key, given) in named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            let local = hub::local(given)?;
            let all = if key == "model.weights" { weights::files(&local)? } else { vec![local.to_path_buf()] };
            files.extend(all.into_iter().map(|path| (key, given.clone(), path)));
        }
        Ok(files)
    }

    /// The course of the training that made the head, or else the weights, where `cavern train` left it beside them or
    /// cavern brings it along.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn curve(&self) -> Result<Option<Curve>> {
        let Some(path) = self.head.as_ref().or(self.weights.as_ref()) else { return zoo::curve(&self.name) };
        let path = path.with_extension("curve.json");
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let curve = serde_json::from_slice(&text).map_err(|e| {
            let hint = "train again, or move it away: it is only shown in the report";
            Error::file(&path, format!("is no learning curve of `cavern train`: {e}"), hint)
        });
        curve.map(Some)
    }

    /// What is chosen of a network of the zoo; its number of classes is not.
    pub fn choices(&self) -> zoo::Options {
        zoo::Options { input: self.input, width: self.width, depth: self.depth, classes: None }
    }

    fn onnx(&self, device: &Device) -> Result<Graph> {
        let given = [
            ("model.weights", self.weights.is_some()),
            ("model.key", self.tensors.key.is_some()),
            ("model.rename", !self.tensors.rename.is_empty()),
            ("model.input", self.input.is_some()),
            ("model.width", self.width.is_some()),
            ("model.depth", self.depth.is_some()),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            return Err(Error::key(*key, "an ONNX file brings its weights and its input along", "leave it out"));
        }
        let path = Path::new(&self.name);
        let mut graph = onnx::read(path, device)?;
        if let Some(card) = Card::beside(path)? {
            card.apply(&mut graph)?;
        }
        Ok(graph)
    }

    fn zoo(&self, device: &Device) -> Result<Graph> {
        let options = self.choices();
        let Some(weights) = &self.weights else {
            if self.tensors.key.is_some() || !self.tensors.rename.is_empty() {
                let hint = "set model.weights, or leave model.key and model.rename out";
                return Err(Error::key("model.weights", "names of weights are changed that are not named", hint));
            }
            return zoo::build_with(&self.name, None, &options, device);
        };
        let tensors = Weights::open(weights, &self.tensors, device)?;
        zoo::build_from(&self.name, &tensors, Card::beside(&hub::local(weights)?)?.as_ref(), &options, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn parts_that_do_not_fit_are_told_by_key() {
        let message = |recipe: Recipe| recipe.build(&Device::Cpu).unwrap_err().to_string();
        let named = |name: &str| Recipe { name: name.to_owned(), ..Recipe::default() };
        let input = Some([3, 32, 32]);
        assert!(message(Recipe { input, ..named("net.ONNX") }).contains("model.input"));
        assert!(message(Recipe { depth: Some(2), ..named("net.ONNX") }).contains("model.depth"));
        assert!(message(Recipe { width: Some(2), ..named("elements_cnn") }).contains("model.width"));
        let tensors = weights::Options { key: Some("teacher".into()), ..weights::Options::default() };
        assert!(message(Recipe { tensors, ..named("elements_cnn") }).contains("model.weights"));
        assert!(message(named("no/such/file.onnx")).contains("no/such/file.onnx"));
    }

    #[test]
    fn labels_name_the_classes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, labels) = (dir.path().join("w.safetensors"), dir.path().join("labels.txt"));
        let options = zoo::Options { classes: Some(3), ..zoo::Options::default() };
        zoo::save(&zoo::initial_with("resnet8", &options, Seed(1)).unwrap(), &path).unwrap();
        let recipe =
            Recipe { name: "resnet8".into(), weights: Some(path), labels: Some(labels.clone()), ..Recipe::default() };
        std::fs::write(&labels, "cat\ndog\nroad\n").unwrap();
        assert_eq!(recipe.build(&Device::Cpu).unwrap().classes(), ["cat", "dog", "road"]);
        std::fs::write(&labels, "cat\ndog\n").unwrap();
        assert!(recipe.build(&Device::Cpu).unwrap_err().to_string().contains("labels.txt"));
    }

    #[test]
    fn the_manifest_names_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [("a.safetensors", "a"), ("b.safetensors", "bb"), ("labels.txt", "cat")] {
            std::fs::write(at(name), text).unwrap();
        }
        let index = r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#;
        std::fs::write(at("model.safetensors.index.json"), index).unwrap();
        let recipe = Recipe {
            name: "resnet8".into(),
            weights: Some(dir.path().to_path_buf()),
            labels: Some(at("labels.txt")),
            ..Recipe::default()
        };
        let files = recipe.files().unwrap();
        let said: Vec<(&str, &str, u64)> = files.iter().map(|f| (f.key, f.name.as_str(), f.bytes)).collect();
        let wanted = [
            ("model.weights", "model.safetensors.index.json", index.len() as u64),
            ("model.weights", "a.safetensors", 1),
            ("model.weights", "b.safetensors", 2),
            ("model.labels", "labels.txt", 3),
        ];
        assert_eq!(said, wanted);
        assert_eq!(files[1].digest, Digest::of(b"a"));
        assert!(files.iter().all(|f| f.commit.is_none()));
        let embedded = Recipe { name: "elements_cnn".into(), ..Recipe::default() };
        assert_eq!(embedded.files().unwrap(), []);
    }

    #[test]
    fn the_course_of_a_training_lies_beside_its_weights() {
        let dir = tempfile::tempdir().unwrap();
        let weights = Some(dir.path().join("resnet8.safetensors"));
        let recipe = Recipe { name: "resnet8".into(), weights, ..Recipe::default() };
        assert_eq!(recipe.curve().unwrap(), None);
        let curve = Recipe { name: "elements_cnn".into(), ..Recipe::default() }.curve().unwrap().unwrap();
        let path = dir.path().join("resnet8.curve.json");
        std::fs::write(&path, crate::store::file::to_json(&curve).unwrap()).unwrap();
        assert_eq!(recipe.curve().unwrap().unwrap(), curve);
        std::fs::write(&path, "{").unwrap();
        assert!(recipe.curve().unwrap_err().to_string().contains("resnet8.curve.json"));
    }
}
