//! ResNets for ImageNet by torchvision's names, with every batch norm folded into its convolution. A bottleneck strides in
//! its 3x3 convolution (version 1.5), as torchvision's does.

use candle_core::Device;

use super::Source;
use super::parts::{IMAGENET_MEAN, IMAGENET_STD, Norm, folded, imagenet_classes, linear};
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::pool::{Pool2d, Reduce};
use crate::ops::{Activation, Conv2d, Padding};

/// Height and width of the input.
pub(super) const INPUT: usize = 224;
const STEM: usize = 64;
const EPSILON: f64 = 1e-5;
/// A bottleneck's channels out over those of its 3x3 convolution.
const EXPANSION: usize = 4;

/// One residual block.
struct Block {
    name: String,
    bottleneck: bool,
    input: usize,
    /// Channels of its 3x3 convolutions.
    inner: usize,
    stride: usize,
}

/// A convolution's channels out and in, its square kernel and its stride.
#[derive(Clone, Copy)]
struct Shape([usize; 2], usize, usize);

/// ResNet-18: two blocks of two 3x3 convolutions a stage.
pub(super) fn resnet18(source: &dyn Source, device: &Device) -> Result<Graph> {
    assemble(source, "resnet18", [2; 4], false, device)
}

/// ResNet-50: bottlenecks.
pub(super) fn resnet50(source: &dyn Source, device: &Device) -> Result<Graph> {
    assemble(source, "resnet50", [3, 4, 6, 3], true, device)
}

/// Layers: `conv1`, `maxpool`; for every block `layerS.N.convK`, each after its norm and, but for the last, its ReLU,
/// `layerS.N.downsample` where the sum needs one, and `layerS.N` after the sum and its ReLU; `mean`, `logits`.
fn assemble(source: &dyn Source, name: &str, blocks: [usize; 4], bottleneck: bool, device: &Device) -> Result<Graph> {
    let mut graph = GraphBuilder::new([3, INPUT, INPUT]);
    let mut node = graph.add("conv1", conv(source, "conv1", "bn1", Shape([STEM, 3], 7, 2), Activation::Relu)?, &[0]);
    let pool = Pool2d { reduce: Reduce::Max, kernel: [3, 3], stride: 2, padding: 1 };
    node = graph.add("maxpool", Op::Pool2d(pool), &[node]);
    let mut input = STEM;
    for (stage, count) in blocks.into_iter().enumerate() {
        for i in 0..count {
            let (name, stride) = (format!("layer{}.{i}", stage + 1), if stage > 0 && i == 0 { 2 } else { 1 });
            let block = Block { name, bottleneck, input, inner: STEM << stage, stride };
            node = add(source, &mut graph, node, &block)?;
            input = block.output();
        }
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    let classes = imagenet_classes();
    graph.add("logits", linear(source, "fc", [classes.len(), input], Activation::None)?, &[node]);
    let (filter, crop) = (Filter::Bilinear, Some(256));
    let preprocess = Preprocess { size: INPUT, filter, crop, mean: IMAGENET_MEAN, std: IMAGENET_STD };
    graph.finish(name, preprocess, classes, device)
}

impl Block {
    fn output(&self) -> usize {
        self.inner * if self.bottleneck { EXPANSION } else { 1 }
    }

    fn convs(&self) -> Vec<Shape> {
        let (input, inner, stride) = (self.input, self.inner, self.stride);
        if self.bottleneck {
            let ends = [Shape([inner, input], 1, 1), Shape([self.output(), inner], 1, 1)];
            vec![ends[0], Shape([inner, inner], 3, stride), ends[1]]
        } else {
            vec![Shape([inner, input], 3, stride), Shape([inner, inner], 3, 1)]
        }
    }
}

/// Adds a block and returns the node of its output.
fn add(source: &dyn Source, graph: &mut GraphBuilder, input: usize, block: &Block) -> Result<usize> {
    let name = &block.name;
    let convs = block.convs();
    let mut node = input;
    for (i, shape) in convs.iter().enumerate() {
        let activation = if i + 1 < convs.len() { Activation::Relu } else { Activation::None };
        let layer = format!("{name}.conv{}", i + 1);
        let op = conv(source, &layer, &format!("{name}.bn{}", i + 1), *shape, activation)?;
        node = graph.add(layer, op, &[node]);
    }
    let mut shortcut = input;
    if block.stride > 1 || block.input != block.output() {
        let layer = format!("{name}.downsample");
        let shape = Shape([block.output(), block.input], 1, block.stride);
        let op = conv(source, &format!("{layer}.0"), &format!("{layer}.1"), shape, Activation::None)?;
        shortcut = graph.add(layer, op, &[input]);
    }
    Ok(graph.add(name.as_str(), Op::Add(Activation::Relu), &[node, shortcut]))
}

/// A convolution that keeps the size but for its stride, its norm and its non-linearity.
fn conv(source: &dyn Source, conv: &str, norm: &str, shape: Shape, activation: Activation) -> Result<Op> {
    let Shape([out, input], kernel, stride) = shape;
    let geometry = Conv2d { stride, padding: Padding::Explicit([kernel / 2; 4]), activation, ..Conv2d::default() };
    folded(source, conv, Norm(norm, EPSILON), &[out, input, kernel, kernel], geometry)
}

#[cfg(test)]
mod tests {
    use super::super::golden::{Formula, agrees};
    use super::*;

    #[test]
    fn layers_are_named_and_shaped() {
        let graph = resnet50(&Formula, &Device::Cpu).unwrap();
        let shape = |name: &str| graph.shape(graph.layer(name).unwrap()).to_vec();
        assert_eq!(shape("conv1"), [64, 112, 112]);
        assert_eq!(shape("maxpool"), [64, 56, 56]);
        assert_eq!(shape("layer1.0.downsample"), [256, 56, 56]);
        assert_eq!(shape("layer2.0.conv1"), [128, 56, 56]);
        assert_eq!(shape("layer2.0.conv2"), [128, 28, 28]);
        assert_eq!(shape("layer3.5"), [1024, 14, 14]);
        assert_eq!(shape("layer4.2.conv3"), [2048, 7, 7]);
        assert_eq!(graph.classes()[282], "tiger cat");
        assert!(graph.layer("layer1.1.downsample").is_err() && graph.layer("layer1.3").is_err());
    }

    #[test]
    fn resnet18_agrees_with_torchvision() {
        let graph = resnet18(&Formula, &Device::Cpu).unwrap();
        agrees(&graph, include_bytes!("../../../tests/golden/zoo_resnet18.npz"));
        assert!(graph.layer("layer1.0.downsample").is_err());
    }

    #[test]
    fn resnet50_agrees_with_torchvision() {
        let graph = resnet50(&Formula, &Device::Cpu).unwrap();
        agrees(&graph, include_bytes!("../../../tests/golden/zoo_resnet50.npz"));
    }
}
