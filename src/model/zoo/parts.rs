//! What several networks are made of: layers from their tensors.

use candle_core::Tensor;

use super::source::Source;
use crate::error::Result;
use crate::model::graph::{GraphBuilder, Op};
use crate::ops::norm::BatchNorm;
use crate::ops::pool::{Pool2d, Reduce};
use crate::ops::{Activation, Conv2d, Padding};

/// A batch norm's tensors: their name before `.weight`, and what is added to the variance.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a>(pub(super) &'a str, pub(super) f64);

impl Norm<'_> {
    /// Its tensors, each `[channels]`.
    pub(super) fn take(&self, source: &dyn Source, channels: usize) -> Result<BatchNorm> {
        let part = |name: &str| source.take(&format!("{}.{name}", self.0), &[channels]);
        Ok(BatchNorm {
            weight: part("weight")?,
            bias: part("bias")?,
            mean: part("running_mean")?,
            variance: part("running_var")?,
            epsilon: self.1,
        })
    }
}

/// The convolution `conv.weight` without bias and the batch norm after it, as one.
pub(super) fn folded(source: &dyn Source, conv: &str, norm: Norm<'_>, shape: &[usize], geometry: Conv2d) -> Result<Op> {
    source.folds(Some(conv), norm.0, norm.1);
    let (weight, bias) = norm.take(source, shape[0])?.fold(&source.take(&format!("{conv}.weight"), shape)?)?;
    Ok(Op::Conv2d(geometry, weight, bias))
}

/// The convolution `name.weight` `[out, in / groups, kh, kw]` with `name.bias`.
pub(super) fn conv(source: &dyn Source, name: &str, shape: &[usize], geometry: Conv2d) -> Result<Op> {
    let (weight, bias) = affine(source, name, shape)?;
    Ok(Op::Conv2d(geometry, weight, bias))
}

/// A convolution's geometry that keeps the size but for its stride, for a square kernel of odd size.
pub(super) fn around(kernel: usize, stride: usize, activation: Activation) -> Conv2d {
    Conv2d { stride, padding: Padding::Explicit([kernel / 2; 4]), activation, ..Conv2d::default() }
}

/// The largest of each window of a square kernel.
pub(super) fn largest(kernel: usize, stride: usize, padding: usize, ceil: bool) -> Op {
    Op::Pool2d(Pool2d { reduce: Reduce::Max, kernel: [kernel; 2], stride, padding, ceil })
}

/// The linear layer `name.weight` `[out, in]` and `name.bias`.
pub(super) fn linear(source: &dyn Source, name: &str, shape: [usize; 2], activation: Activation) -> Result<Op> {
    let (weight, bias) = affine(source, name, &shape)?;
    Ok(Op::Linear(activation, weight, bias))
}

/// The layer norm `name.weight` and `name.bias`, each `[channels]`, over the last dimension.
pub(super) fn layer_norm(source: &dyn Source, name: &str, channels: usize, epsilon: f64) -> Result<Op> {
    let (weight, bias) = affine(source, name, &[channels])?;
    Ok(Op::LayerNorm { weight, bias, epsilon })
}

/// The same over the channels of maps.
pub(super) fn channel_norm(source: &dyn Source, name: &str, channels: usize, epsilon: f64) -> Result<Op> {
    let (weight, bias) = affine(source, name, &[channels])?;
    Ok(Op::ChannelNorm { weight, bias, epsilon })
}

/// `name.weight` in this shape, and `name.bias` with one value for each of its first dimension.
pub(super) fn affine(source: &dyn Source, name: &str, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    Ok((source.take(&format!("{name}.weight"), shape)?, source.take(&format!("{name}.bias"), &shape[..1])?))
}

/// An inverted residual block with ReLU6 (Sandler et al. 2018): widened, filtered channel by channel, narrowed; its input
/// is added where the shape allows.
pub(super) struct Inverted {
    /// The layers' name.
    pub(super) layer: String,
    /// Names of a convolution and its norm; `None` where nothing is widened.
    pub(super) expand: Option<(String, String)>,
    pub(super) depthwise: (String, String),
    pub(super) project: (String, String),
    pub(super) kernel: usize,
    pub(super) stride: usize,
    /// Channels that come in, between, and go out.
    pub(super) channels: [usize; 3],
    pub(super) padding: Padding,
    /// Of the norms.
    pub(super) epsilon: f64,
}

impl Inverted {
    /// Adds `LAYER.expand`, `LAYER.depthwise`, `LAYER.project` where a sum follows, and LAYER, whose node is returned.
    pub(super) fn add(&self, source: &dyn Source, graph: &mut GraphBuilder, input: usize) -> Result<usize> {
        let [narrow, wide, output] = self.channels;
        let part = |(conv, norm): &(String, String), shape: &[usize], geometry: Conv2d| {
            folded(source, conv, Norm(norm, self.epsilon), shape, geometry)
        };
        let relu6 = Conv2d { activation: Activation::Relu6, ..Conv2d::default() };
        let mut node = input;
        if let Some(expand) = &self.expand {
            node = graph.add(format!("{}.expand", self.layer), part(expand, &[wide, narrow, 1, 1], relu6)?, &[node]);
        }
        let depthwise = Conv2d { stride: self.stride, groups: wide, padding: self.padding, ..relu6 };
        let filter = part(&self.depthwise, &[wide, 1, self.kernel, self.kernel], depthwise)?;
        node = graph.add(format!("{}.depthwise", self.layer), filter, &[node]);
        let project = part(&self.project, &[output, wide, 1, 1], Conv2d::default())?;
        if self.stride > 1 || narrow != output {
            return Ok(graph.add(self.layer.as_str(), project, &[node]));
        }
        node = graph.add(format!("{}.project", self.layer), project, &[node]);
        Ok(graph.add(self.layer.as_str(), Op::Add(Activation::None), &[node, input]))
    }
}
