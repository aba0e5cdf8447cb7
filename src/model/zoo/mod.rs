//! The networks cavern can build: from a file, from random numbers, or as an outline. A network is one line in [`MODELS`], a
//! family one file.

mod convnext;
mod efficientnet;
mod elements_cnn;
#[cfg(test)]
mod golden;
mod googlenet;
mod labels;
mod mlp;
mod mobilenet;
mod parts;
mod plan;
mod positions;
mod resnet;
mod series;
mod source;
mod table;
mod vgg;
mod vit;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::card::Card;
use super::graph::Graph;
use super::hub;
use super::train::Curve;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::seed::Seed;
pub use labels::read_labels;
pub use plan::Options;
use plan::{Choice, Plan};
pub(super) use source::Fold;
use source::{Blank, Random, Source};
pub use table::{MODELS, ModelInfo, Outputs};

/// The entry of [`MODELS`] with this name.
///
/// # Errors
/// When there is none: the message has the nearest names.
pub fn info(name: &str) -> Result<&'static ModelInfo> {
    let found = MODELS.iter().find(|m| m.name == name);
    found.ok_or_else(|| Error::unknown("model", name, MODELS.iter().map(|m| m.name)))
}

/// The course of the training of the weights that cavern brings along; none for other networks.
///
/// # Errors
/// When the text is damaged.
pub fn curve(name: &str) -> Result<Option<Curve>> {
    let curve = info(name).ok().and_then(|info| info.curve).map(serde_json::from_str).transpose();
    curve.map_err(|e| Error::Failure(format!("the learning curve of {name}: {e}")))
}

/// Builds a network with weights from a file, or with those cavern brings along where no file is given. A model card beside
/// the file (see [`Card::beside`]) says how pictures become its input.
///
/// # Errors
/// When there is no such network, it needs a file and none is given, or the file is not of this network.
pub fn build(name: &str, weights: Option<&Path>, device: &Device) -> Result<Graph> {
    build_with(name, weights, &Options::default(), device)
}

/// The same with choices.
///
/// # Errors
/// As [`build`], or when the network does not allow a choice.
pub fn build_with(name: &str, weights: Option<&Path>, options: &Options, device: &Device) -> Result<Graph> {
    let info = info(name)?;
    match (weights, info.bytes) {
        (Some(path), _) => {
            let card = Card::beside(&hub::local(path)?)?;
            build_from(name, &Weights::read(path, device)?, card.as_ref(), options, device)
        }
        (None, Some(bytes)) => {
            from_weights_with(name, &Weights::from_safetensors(bytes, Path::new(name), device)?, options, device)
        }
        (None, None) => {
            let hint = "give the file by --set model.weights=PATH (or --weights PATH)";
            Err(Error::key("model.weights", format!("`{name}` needs a weights file"), hint))
        }
    }
}

/// Builds a network from tensors and the model card that came with them.
///
/// # Errors
/// As [`from_weights_with`], or when the card does not fit.
pub fn build_from(
    name: &str,
    weights: &Weights,
    card: Option<&Card>,
    options: &Options,
    device: &Device,
) -> Result<Graph> {
    let Some(card) = card else { return from_weights_with(name, weights, options, device) };
    let channels = info(name)?.input[0];
    let input = options.input.or_else(|| card.size().map(|size| [channels, size, size]));
    let mut graph = from_weights_with(name, weights, &Options { input, ..options.clone() }, device)?;
    card.apply(&mut graph)?;
    Ok(graph)
}

/// Builds a network from tensors in memory; trainable ones stay so.
///
/// # Errors
/// When there is no such network, or the tensors are not its own.
pub fn from_weights(name: &str, weights: &Weights, device: &Device) -> Result<Graph> {
    from_weights_with(name, weights, &Options::default(), device)
}

/// The same with choices.
///
/// # Errors
/// As [`from_weights`], or when the network does not allow a choice.
pub fn from_weights_with(name: &str, weights: &Weights, options: &Options, device: &Device) -> Result<Graph> {
    weights.ignore(is_unused);
    let info = info(name)?;
    let graph = (info.assemble)(&plan_of(info, weights, options, device)?)?;
    weights.finish(name)?;
    Ok(graph)
}

/// Whether a tensor of a checkpoint has to do with training only: counters, DINOv2's mask, GoogLeNet's side classifiers.
fn is_unused(name: &str) -> bool {
    name.ends_with("num_batches_tracked")
        || name == "mask_token"
        || name.starts_with("aux1.")
        || name.starts_with("aux2.")
}

fn plan_of<'a>(info: &ModelInfo, source: &'a dyn Source, options: &Options, device: &'a Device) -> Result<Plan<'a>> {
    let (usual, classes) = (info.input, options.classes);
    let (width, depth) = (Choice::width(options.width, info.width), Choice::depth(options.depth, info.depth));
    [width, depth].iter().try_for_each(|choice| choice.check(info.name))?;
    let input = options.input.unwrap_or(usual);
    Ok(Plan { name: info.name, input, usual, classes, width, depth, source, device })
}

/// Builds a network with random weights: as a control without anything learnt, or to time it.
///
/// # Errors
/// When there is no such network.
pub fn random(name: &str, seed: Seed) -> Result<Graph> {
    random_with(name, &Options::default(), seed)
}

/// The same with choices.
///
/// # Errors
/// When there is no such network, or it does not allow a choice.
pub fn random_with(name: &str, options: &Options, seed: Seed) -> Result<Graph> {
    let info = info(name)?;
    (info.assemble)(&plan_of(info, &Random::new(seed), options, &Device::Cpu)?)
}

/// Builds a network whose weights are zeros: to look at its layers.
///
/// # Errors
/// When there is no such network, or it does not allow a choice.
pub fn outline(name: &str, options: &Options) -> Result<Graph> {
    let info = info(name)?;
    (info.assemble)(&plan_of(info, &Blank, options, &Device::Cpu)?)
}

/// Random tensors to start training from, by name.
///
/// # Errors
/// When there is no such network.
pub fn initial(name: &str, seed: Seed) -> Result<BTreeMap<String, Tensor>> {
    initial_with(name, &Options::default(), seed)
}

/// The same with choices: an input, a number of classes, a width and a depth of one's own.
///
/// # Errors
/// When there is no such network, or it does not allow a choice.
pub fn initial_with(name: &str, options: &Options, seed: Seed) -> Result<BTreeMap<String, Tensor>> {
    let (info, source) = (info(name)?, Random::new(seed));
    (info.assemble)(&plan_of(info, &source, options, &Device::Cpu)?)?;
    Ok(source.into_drawn())
}

/// A network at the start of its training.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) graph: Graph,
    /// Its random tensors by name.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Its batch norms.
    pub(super) folds: Vec<Fold>,
}

/// A network with random tensors, and what its layers are made of: to train it.
///
/// # Errors
/// When there is no such network, or it does not allow a choice.
pub(super) fn draft(name: &str, options: &Options, seed: Seed) -> Result<Draft> {
    let (info, source) = (info(name)?, Random::new(seed));
    let graph = (info.assemble)(&plan_of(info, &source, options, &Device::Cpu)?)?;
    let (tensors, folds) = source.into_parts();
    Ok(Draft { graph, tensors, folds })
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

    /// Zeros, and narrow hidden layers for VGG.
    struct Narrow;

    impl Source for Narrow {
        fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
            Blank.take(name, shape)
        }

        fn shape_of(&self, name: &str) -> Option<&[usize]> {
            ["classifier.0.weight", "classifier.3.weight"].contains(&name).then_some(&[8])
        }
    }

    #[test]
    fn every_model_has_layers_without_its_weights() {
        for model in MODELS {
            // Smaller than usual, where that takes long; a multiple of every patch.
            let input = if model.input[1] >= 224 { [3, 112, 112] } else { model.input };
            let options = Options { input: Some(input), ..Options::default() };
            let graph = (model.assemble)(&plan_of(model, &Narrow, &options, &Device::Cpu).unwrap()).unwrap();
            assert_eq!(graph.input_shape(), input);
            // The last layer is a vector: the logits, where there are classes.
            let layers = graph.layers();
            let last = layers.last().unwrap();
            assert_eq!(last.shape.len(), 1, "{}", model.name);
            assert!(graph.classes().is_empty() || (last.name == "logits" && last.shape == [graph.classes().len()]));
            assert_eq!(model.embedded, model.bytes.is_some());
            let names: std::collections::BTreeSet<&str> = layers.iter().map(|l| l.name.as_str()).collect();
            assert_eq!(names.len(), layers.len(), "{}: two layers of one name", model.name);
        }
    }

    #[test]
    fn an_input_and_classes_of_ones_own() {
        let options = Options { input: Some([1, 28, 28]), classes: Some(7), ..Options::default() };
        let tensors = initial_with("resnet20", &options, Seed(1)).unwrap();
        let weights = Weights::from_tensors(Path::new("w"), tensors);
        let graph = from_weights_with("resnet20", &weights, &options, &Device::Cpu).unwrap();
        assert_eq!((graph.input_shape(), graph.classes().len()), ([1, 28, 28], 7));
        let message = outline("resnet18", &options).unwrap_err().to_string();
        assert!(message.contains("resnet18") && message.contains("3 channels"), "{message}");
        let options = Options { input: Some([3, 320, 320]), ..Options::default() };
        let graph = outline("resnet18", &options).unwrap();
        assert_eq!(graph.shape(graph.layer("layer4.1").unwrap()), [512, 10, 10]);
        assert_eq!(graph.preprocess().crop, Some(365));
    }

    #[test]
    fn a_width_and_a_depth_of_ones_own() {
        let shape = |graph: &Graph, layer: &str| graph.shape(graph.layer(layer).unwrap()).to_vec();
        let sized = |width, depth| Options { width, depth, ..Options::default() };
        let of_file = |name: &str, start: &Options, options: &Options| {
            let weights = Weights::from_tensors(Path::new("w"), initial_with(name, start, Seed(1)).unwrap());
            from_weights_with(name, &weights, options, &Device::Cpu)
        };
        assert_eq!(shape(&outline("resnet8", &sized(Some(4), None)).unwrap(), "layer3.0"), [16, 8, 8]);
        assert_eq!(shape(&outline("vit_mini", &Options::default()).unwrap(), "blocks.3"), [65, 64]);
        // A file says by itself; a choice may only agree.
        for (name, width, depth) in [("resnet20", 4, None), ("vgg_mini", 8, None), ("vit_mini", 96, Some(2))] {
            let start = sized(Some(width), depth);
            let graph = of_file(name, &start, &Options::default()).unwrap();
            assert_eq!(graph.digest(), of_file(name, &start, &start).unwrap().digest());
            let message = of_file(name, &start, &sized(Some(5), None)).unwrap_err().to_string();
            assert!(message.contains("model.width") && message.contains(&width.to_string()), "{message}");
        }
        let message = |name, options| outline(name, &options).unwrap_err().to_string();
        assert!(message("resnet50", sized(Some(16), None)).contains("model.width"));
        assert!(message("vgg_mini", sized(None, Some(3))).contains("model.depth"));
        assert!(message("vit_mini", sized(Some(80), None)).contains("multiple of 32"));
        assert!(message("vit_mini", sized(None, Some(0))).contains("1 to 64"));
        assert!(
            message("vit_mini", Options { input: Some([1, 30, 30]), ..Options::default() }).contains("multiples of 4")
        );
        let start = sized(Some(32), Some(3));
        assert!(of_file("vit_mini", &start, &sized(None, Some(2))).unwrap_err().to_string().contains("model.depth"));
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
        assert!(message(random("resnet_50", Seed(0))).contains("`resnet50`"));
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
