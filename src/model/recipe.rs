//! Where a network comes from: a name of the zoo or an ONNX file, its weights, and the choices both leave.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::card::Card;
use super::graph::Graph;
use super::head::Head;
use super::hub;
use super::onnx;
use super::weights::{self, Weights};
use super::zoo;
use crate::error::{Error, Result};

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
    /// A linear head on one of its layers, as `cavern train` writes it.
    pub head: Option<PathBuf>,
    /// A file with the name of a class on every line.
    pub labels: Option<PathBuf>,
}

/// Whether a model's name is the path of an ONNX file.
pub fn is_onnx(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
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

    fn onnx(&self, device: &Device) -> Result<Graph> {
        let given = [
            ("model.weights", self.weights.is_some()),
            ("model.key", self.tensors.key.is_some()),
            ("model.rename", !self.tensors.rename.is_empty()),
            ("model.input", self.input.is_some()),
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
        let options = zoo::Options { input: self.input, ..zoo::Options::default() };
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
}
