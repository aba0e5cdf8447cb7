//! Networks for time series (Wang, Yan and Oates 2017) by tsai's names: the fully convolutional one and the ResNet. A series
//! of several channels is a map one row high, `[channel, 1, length]`; tensors are those of one-dimensional convolutions,
//! `[out, in, tap]`. With an even number of taps the odd zero stands at the end, as in Keras and PyTorch's `same`.

use candle_core::DType;

use super::parts::{Norm, linear};
use super::plan::{Plan, Published};
use crate::dataset::preprocess::Filter;
use crate::error::{Error, Result};
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d, Padding};

const EPSILON: f64 = 1e-5;
/// Taps of the three convolutions, where no file says otherwise.
const TAPS: [usize; 3] = [8, 5, 3];
/// Nothing is done to a series.
const PLAIN: Published = Published { filter: Filter::Nearest, crop: None, mean: [0.0; 3], std: [1.0; 3] };

/// Layers: `convblock1` to `convblock3`, `mean`, `logits`.
pub(super) fn fcn(plan: &Plan) -> Result<Graph> {
    let mut net = Net::new(plan)?;
    let mut channels = plan.input[0];
    let mut node = 0;
    for (i, width) in [128, 256, 128].into_iter().enumerate() {
        let name = format!("convblock{}", i + 1);
        node = net.conv(node, &name, [width, channels], TAPS[i], Activation::Relu)?;
        channels = width;
    }
    net.finish(node, channels)
}

/// Layers: for every block `resblockN.convblock1` to `3`, `resblockN.shortcut`, `resblockN` after the sum and its ReLU;
/// `mean`, `logits`.
pub(super) fn resnet(plan: &Plan) -> Result<Graph> {
    let mut net = Net::new(plan)?;
    let mut channels = plan.input[0];
    let mut node = 0;
    for (i, width) in [64, 128, 128].into_iter().enumerate() {
        let block = format!("resblock{}", i + 1);
        let (input, mut inner) = (node, channels);
        for (j, taps) in TAPS.into_iter().enumerate() {
            let activation = if j < 2 { Activation::Relu } else { Activation::None };
            node = net.conv(node, &format!("{block}.convblock{}", j + 1), [width, inner], taps, activation)?;
            inner = width;
        }
        let shortcut = format!("{block}.shortcut");
        let shortcut = if channels == width {
            net.norm(input, &shortcut, channels)?
        } else {
            net.conv(input, &shortcut, [width, channels], 1, Activation::None)?
        };
        node = net.graph.add(block, Op::Add(Activation::Relu), &[node, shortcut]);
        channels = width;
    }
    net.finish(node, channels)
}

struct Net<'a> {
    plan: &'a Plan<'a>,
    graph: GraphBuilder,
}

impl<'a> Net<'a> {
    fn new(plan: &'a Plan<'a>) -> Result<Self> {
        let [channels, height, length] = plan.input;
        if height != 1 {
            let problem = format!("{channels} x {height} x {length} is no series");
            let hint = "wanted [channel, 1, length]";
            return Err(Error::data(format!("the input of `{}`", plan.name), problem, hint));
        }
        Ok(Self { plan, graph: plan.graph() })
    }

    /// A convolution `NAME.0` that keeps the length, and its norm `NAME.1`.
    fn conv(&mut self, from: usize, name: &str, [out, input]: [usize; 2], taps: usize, f: Activation) -> Result<usize> {
        let source = self.plan.source;
        let conv = format!("{name}.0.weight");
        let taps = source.shape_of(&conv).and_then(|s| s.get(2).copied()).unwrap_or(taps);
        let weight = source.take(&conv, &[out, input, taps])?.unsqueeze(2)?;
        let norm = format!("{name}.1");
        source.folds(Some(&format!("{name}.0")), &norm, EPSILON);
        let (weight, bias) = Norm(&norm, EPSILON).take(source, out)?.fold(&weight)?;
        let geometry = Conv2d { padding: Padding::Same, activation: f, ..Conv2d::default() };
        Ok(self.graph.add(name, Op::Conv2d(geometry, weight, bias), &[from]))
    }

    /// A norm by itself: a convolution of every channel with one number.
    fn norm(&mut self, from: usize, name: &str, channels: usize) -> Result<usize> {
        let ones = candle_core::Tensor::ones((channels, 1, 1, 1), DType::F32, self.plan.device)?;
        self.plan.source.folds(None, name, EPSILON);
        let (weight, bias) = Norm(name, EPSILON).take(self.plan.source, channels)?.fold(&ones)?;
        let geometry = Conv2d { groups: channels, ..Conv2d::default() };
        Ok(self.graph.add(name, Op::Conv2d(geometry, weight, bias), &[from]))
    }

    fn finish(mut self, node: usize, channels: usize) -> Result<Graph> {
        let mean = self.graph.add("mean", Op::GlobalMean, &[node]);
        let classes = self.plan.classes("fc", 2);
        let logits = linear(self.plan.source, "fc", [classes.len(), channels], Activation::None)?;
        self.graph.add("logits", logits, &[mean]);
        self.plan.finish(self.graph, &PLAIN, classes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::agrees_at;
    use super::super::{Options, outline};

    #[test]
    fn networks_for_series_agree_with_pytorch() {
        agrees_at("fcn", [2, 1, 50], include_bytes!("../../../tests/golden/zoo_fcn.npz"));
        agrees_at("resnet1d", [2, 1, 50], include_bytes!("../../../tests/golden/zoo_resnet1d.npz"));
    }

    #[test]
    fn a_picture_is_no_series() {
        let options = Options { input: Some([3, 8, 8]), classes: Some(4), ..Options::default() };
        let message = outline("fcn", &options).unwrap_err().to_string();
        assert!(message.contains("no series") && message.contains("[channel, 1, length]"), "{message}");
    }
}
