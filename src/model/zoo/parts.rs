//! What several networks are made of: layers from their tensors, and ImageNet's classes and statistics.

use candle_core::Tensor;

use super::Source;
use crate::error::Result;
use crate::model::graph::Op;
use crate::ops::norm::BatchNorm;
use crate::ops::{Activation, Conv2d};

/// ImageNet's classes in the order of the logits, one a line.
const IMAGENET: &str = include_str!("../../../datasets/imagenet_classes.txt");
/// Mean and standard deviation of ImageNet's pixels in [0, 1], red, green, blue: torchvision's constants.
pub(super) const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
pub(super) const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Names of ImageNet's 1000 classes.
pub(super) fn imagenet_classes() -> Vec<String> {
    IMAGENET.lines().map(str::to_owned).collect()
}

/// A batch norm's tensors: their name before `.weight`, and what is added to the variance.
pub(super) struct Norm<'a>(pub(super) &'a str, pub(super) f64);

/// The convolution `conv.weight` without bias and the batch norm after it, as one.
pub(super) fn folded(
    source: &dyn Source,
    conv: &str,
    Norm(name, epsilon): Norm<'_>,
    shape: &[usize],
    geometry: Conv2d,
) -> Result<Op> {
    let part = |part: &str| source.take(&format!("{name}.{part}"), &shape[..1]);
    let norm = BatchNorm {
        weight: part("weight")?,
        bias: part("bias")?,
        mean: part("running_mean")?,
        variance: part("running_var")?,
        epsilon,
    };
    source.folds(conv, name, epsilon);
    let (weight, bias) = norm.fold(&source.take(&format!("{conv}.weight"), shape)?)?;
    Ok(Op::Conv2d(geometry, weight, bias))
}

/// The linear layer `name.weight` `[out, in]` and `name.bias`.
pub(super) fn linear(source: &dyn Source, name: &str, shape: [usize; 2], activation: Activation) -> Result<Op> {
    let (weight, bias) = affine(source, name, &shape)?;
    Ok(Op::Linear(activation, weight, bias))
}

/// The layer norm `name.weight` and `name.bias`, each `[channels]`.
pub(super) fn layer_norm(source: &dyn Source, name: &str, channels: usize, epsilon: f64) -> Result<Op> {
    let (weight, bias) = affine(source, name, &[channels])?;
    Ok(Op::LayerNorm { weight, bias, epsilon })
}

/// `name.weight` in this shape, and `name.bias` with one value for each of its first dimension.
pub(super) fn affine(source: &dyn Source, name: &str, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    Ok((source.take(&format!("{name}.weight"), shape)?, source.take(&format!("{name}.bias"), &shape[..1])?))
}
