//! The networks cavern can build. A network is one file and one line in [`MODELS`].

mod dinov2;
mod efficientnet_lite0;
mod elements_cnn;
#[cfg(test)]
mod golden;
mod parts;
mod resnet;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, RngExt};

use super::graph::Graph;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// How a network's logits become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// One class a picture: softmax.
    Exclusive,
    /// Any number of labels a picture: a logistic function each.
    Independent,
}

/// A network of the zoo.
pub struct ModelInfo {
    /// Its name in study files and on the command line.
    pub name: &'static str,
    /// One line for `cavern ls models`.
    pub about: &'static str,
    /// Whether cavern brings the weights along.
    pub embedded: bool,
    /// Height and width of its input in pixels.
    pub input: usize,
    /// What its logits mean.
    pub outputs: Outputs,
    assemble: fn(&dyn Source, &Device) -> Result<Graph>,
    bytes: Option<&'static [u8]>,
}

/// Every network.
pub static MODELS: [ModelInfo; 6] = [
    ModelInfo {
        name: "resnet20",
        about: "temporary",
        embedded: false,
        input: 28,
        outputs: Outputs::Exclusive,
        assemble: resnet::resnet20,
        bytes: None,
    },
    ModelInfo {
        name: "elements_cnn",
        about: "six convolutions, trained on Elements (world e1) to name shapes, colours and textures",
        embedded: true,
        input: elements_cnn::INPUT,
        outputs: Outputs::Independent,
        assemble: elements_cnn::assemble,
        bytes: Some(include_bytes!("../../../datasets/elements_cnn.safetensors")),
    },
    ModelInfo {
        name: "efficientnet_lite0",
        about: "EfficientNet-Lite0 for ImageNet's 1000 classes, as in efficientnet-lite0-57934424.pth",
        embedded: false,
        input: efficientnet_lite0::INPUT,
        outputs: Outputs::Exclusive,
        assemble: efficientnet_lite0::assemble,
        bytes: None,
    },
    ModelInfo {
        name: "resnet18",
        about: "ResNet-18 for ImageNet's 1000 classes, by torchvision's names",
        embedded: false,
        input: resnet::INPUT,
        outputs: Outputs::Exclusive,
        assemble: resnet::resnet18,
        bytes: None,
    },
    ModelInfo {
        name: "resnet50",
        about: "ResNet-50 (v1.5) for ImageNet's 1000 classes, by torchvision's names",
        embedded: false,
        input: resnet::INPUT,
        outputs: Outputs::Exclusive,
        assemble: resnet::resnet50,
        bytes: None,
    },
    ModelInfo {
        name: "vit_small_patch14",
        about: "ViT-S/14 by DINOv2's names, with position embeddings for 224 pixels; no classes",
        embedded: false,
        input: dinov2::INPUT,
        outputs: Outputs::Exclusive,
        assemble: dinov2::small_patch14,
        bytes: None,
    },
];

/// Where a network's tensors come from: a file, or random numbers.
trait Source {
    /// The tensor with this name, in this shape.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor>;

    /// Is told of a convolution and the batch norm after it that become one.
    fn folds(&self, _conv: &str, _norm: &str, _epsilon: f64) {}
}

/// The convolution `conv.weight`, and the batch norm `norm.*` with what it adds to the variance, that a layer is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub(super) conv: String,
    pub(super) norm: String,
    pub(super) epsilon: f64,
}

/// A network at the start of its training.
pub(super) struct Draft {
    pub(super) graph: Graph,
    /// Its random tensors by name.
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) folds: Vec<Fold>,
}

impl Source for Weights {
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Weights::take(self, name, shape)
    }
}

/// Tensors drawn when they are asked for, each from a random stream of its own.
struct Random {
    seed: Seed,
    drawn: RefCell<BTreeMap<String, Tensor>>,
    folds: RefCell<Vec<Fold>>,
}

impl Random {
    fn new(seed: Seed) -> Self {
        Self { seed, drawn: RefCell::default(), folds: RefCell::default() }
    }
}

impl Source for Random {
    /// He's normal initialisation for matrices and kernels; ones for scales and variances, zeros for the rest.
    fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let count = shape.iter().product();
        let values = if shape.len() > 1 {
            let deviation = (2.0 / shape[1..].iter().product::<usize>().max(1) as f64).sqrt();
            let mut rng = self.seed.stream(&format!("weights/{name}"));
            (0..count).map(|_| (normal(&mut rng) * deviation) as f32).collect()
        } else if ["weight", "running_var", "gamma"].iter().any(|end| name.ends_with(end)) {
            vec![1.0; count]
        } else {
            vec![0.0; count]
        };
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.drawn.borrow_mut().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn folds(&self, conv: &str, norm: &str, epsilon: f64) {
        self.folds.borrow_mut().push(Fold { conv: conv.to_owned(), norm: norm.to_owned(), epsilon });
    }
}

/// A standard normal number, by Box and Muller's transform.
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// The entry of [`MODELS`] with this name.
///
/// # Errors
/// When there is none: the message has the nearest names.
pub fn info(name: &str) -> Result<&'static ModelInfo> {
    let found = MODELS.iter().find(|m| m.name == name);
    found.ok_or_else(|| Error::unknown("model", name, MODELS.iter().map(|m| m.name)))
}

/// Builds a network with weights from a file, or with those cavern brings along where no file is given.
///
/// # Errors
/// When there is no such network, it needs a file and none is given, or the file is not of this network.
pub fn build(name: &str, weights: Option<&Path>, device: &Device) -> Result<Graph> {
    let info = info(name)?;
    let weights = match (weights, info.bytes) {
        (Some(path), _) => Weights::read(path, device)?,
        (None, Some(bytes)) => Weights::from_safetensors(bytes, Path::new(name), device)?,
        (None, None) => {
            let hint = "give the file by --set model.weights=PATH (or --weights PATH)";
            return Err(Error::key("model.weights", format!("`{name}` needs a weights file"), hint));
        }
    };
    from_weights(name, &weights, device)
}

/// Builds a network from tensors in memory; trainable ones stay so.
///
/// # Errors
/// When there is no such network, or the tensors are not its own.
pub fn from_weights(name: &str, weights: &Weights, device: &Device) -> Result<Graph> {
    weights.ignore(|n| n.ends_with("num_batches_tracked") || n == "mask_token");
    let graph = (info(name)?.assemble)(weights, device)?;
    weights.finish(name)?;
    Ok(graph)
}

/// Builds a network with random weights: to look at its layers, or as a control without anything learnt.
///
/// # Errors
/// When there is no such network.
pub fn random(name: &str, seed: Seed) -> Result<Graph> {
    let source = Random::new(seed);
    (info(name)?.assemble)(&source, &Device::Cpu)
}

/// Random tensors to start training from, by name.
///
/// # Errors
/// When there is no such network.
pub fn initial(name: &str, seed: Seed) -> Result<BTreeMap<String, Tensor>> {
    let source = Random::new(seed);
    (info(name)?.assemble)(&source, &Device::Cpu)?;
    Ok(source.drawn.into_inner())
}

/// A network with random tensors, and what its layers are made of: to train it.
///
/// # Errors
/// When there is no such network.
pub(super) fn draft(name: &str, seed: Seed) -> Result<Draft> {
    let source = Random::new(seed);
    let graph = (info(name)?.assemble)(&source, &Device::Cpu)?;
    Ok(Draft { graph, tensors: source.drawn.into_inner(), folds: source.folds.into_inner() })
}

/// Writes tensors as a safetensors file, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn save(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<()> {
    let mut owned = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        owned.push((name.as_str(), tensor.dims(), values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()));
    }
    let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("the weights cannot be written: {e}"));
    let views = owned.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes);
        Ok((*name, view.map_err(failure)?))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    crate::store::file::write_atomic(path, &safetensors::serialize(views, None).map_err(failure)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_layers_without_its_weights() {
        for model in &MODELS {
            let graph = random(model.name, Seed(1)).unwrap();
            assert_eq!(graph.input_shape(), [3, model.input, model.input]);
            // The last layer is a vector: the logits, where there are classes.
            let layers = graph.layers();
            let last = layers.last().unwrap();
            assert_eq!(last.shape.len(), 1, "{}", model.name);
            assert!(graph.classes().is_empty() || (last.name == "logits" && last.shape == [graph.classes().len()]));
            assert_eq!(model.embedded, model.bytes.is_some());
        }
    }

    #[test]
    fn random_weights_follow_from_the_seed() {
        let [a, b, c] = [1, 1, 2].map(|seed| random("elements_cnn", Seed(seed)).unwrap().digest().clone());
        assert!(a == b && a != c);
    }

    #[test]
    fn names_and_missing_weights_are_told() {
        let message = |r: Result<Graph>| r.unwrap_err().to_string();
        assert!(message(build("elements_cn", None, &Device::Cpu)).contains("`elements_cnn`"));
        assert!(message(build("efficientnet_lite0", None, &Device::Cpu)).contains("model.weights"));
        assert!(message(random("resnet", Seed(0))).contains("`resnet50`"));
    }

    #[test]
    fn saved_weights_build_the_same_network_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        save(&initial("elements_cnn", Seed(3)).unwrap(), &path).unwrap();
        let graph = build("elements_cnn", Some(&path), &Device::Cpu).unwrap();
        assert_eq!(graph.digest(), random("elements_cnn", Seed(3)).unwrap().digest());
        let message = build("efficientnet_lite0", Some(&path), &Device::Cpu).unwrap_err().to_string();
        assert!(message.contains("missing") && message.contains("w.safetensors"), "{message}");
    }
}
