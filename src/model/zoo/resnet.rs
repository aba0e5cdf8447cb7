//! ResNets by torchvision's names, with every batch norm folded into its convolution. A bottleneck strides in its 3x3
//! convolution (version 1.5), as torchvision's does.

use candle_core::{DType, Device, Tensor};

use super::parts::{Norm, around, folded, largest, linear};
use super::plan::{Plan, Published};
use super::source::Source;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d};

const EPSILON: f64 = 1e-5;
/// A bottleneck's channels out over those of its 3x3 convolution.
const EXPANSION: usize = 4;

/// What follows the stem.
struct Body<'a> {
    /// Channels of the stem and of the first stage's 3x3 convolutions.
    width: usize,
    /// Blocks a stage.
    blocks: &'a [usize],
    /// A block is a bottleneck, not two 3x3 convolutions.
    bottleneck: bool,
    /// A shortcut may do without weights.
    padded: bool,
}

/// One residual block.
struct Block {
    name: String,
    bottleneck: bool,
    padded: bool,
    input: usize,
    /// Channels of its 3x3 convolutions.
    inner: usize,
    stride: usize,
}

/// A convolution's channels out and in, its square kernel and its stride.
#[derive(Clone, Copy)]
struct Shape([usize; 2], usize, usize);

/// For ImageNet, of blocks a stage; a block is two 3x3 convolutions or a bottleneck.
///
/// Layers: `conv1`, `maxpool`; for every block `layerS.N.convK`, each after its norm and, but for the last, its ReLU,
/// `layerS.N.downsample` where the sum needs one, and `layerS.N` after the sum and its ReLU; `mean`, `logits`.
pub(super) fn imagenet(plan: &Plan, blocks: [usize; 4], bottleneck: bool) -> Result<Graph> {
    plan.takes_pictures(32, 1)?;
    let mut graph = plan.graph();
    let stem = conv(plan.source, "conv1", "bn1", Shape([64, 3], 7, 2), Activation::Relu)?;
    let conv1 = graph.add("conv1", stem, &[0]);
    let node = graph.add("maxpool", largest(3, 2, 1, false), &[conv1]);
    let last = Body { width: 64, blocks: &blocks, bottleneck, padded: false }.add(plan, &mut graph, node)?;
    let classes = plan.classes("fc", 1000);
    end(plan, &mut graph, last, classes.len())?;
    plan.finish(graph, &Published::torchvision(256), classes)
}

/// For small pictures (He et al. 2016, section 4.2): a 3x3 stem without pooling, three stages of 1, 2 and 4 times the width
/// (16 as published) with this many blocks each, `6 blocks + 2` layers. Where a stage begins, the shortcut takes every other position and has
/// zeros for the channels that are new, as many before as behind (option A); where the weights have a `downsample`, it is
/// that (option B). Any number of channels and any size.
pub(super) fn cifar(plan: &Plan, blocks: usize) -> Result<Graph> {
    let mut graph = plan.graph();
    let width = plan.width.size(plan.source.shape_of("conv1.weight").and_then(|s| s.first().copied()))?;
    let stem = conv(plan.source, "conv1", "bn1", Shape([width, plan.input[0]], 3, 1), Activation::Relu)?;
    let node = graph.add("conv1", stem, &[0]);
    let body = Body { width, blocks: &[blocks; 3], bottleneck: false, padded: true };
    let last = body.add(plan, &mut graph, node)?;
    let classes = plan.classes("fc", 10);
    end(plan, &mut graph, last, classes.len())?;
    plan.finish(graph, &Published::SMALL, classes)
}

impl Body<'_> {
    /// Adds the stages; returns the last node and its channels.
    fn add(&self, plan: &Plan, graph: &mut GraphBuilder, mut node: usize) -> Result<(usize, usize)> {
        let &Self { width, bottleneck, padded, .. } = self;
        let mut input = width;
        for (stage, count) in self.blocks.iter().enumerate() {
            for i in 0..*count {
                let (name, stride) = (format!("layer{}.{i}", stage + 1), if stage > 0 && i == 0 { 2 } else { 1 });
                let block = Block { name, bottleneck, padded, input, inner: width << stage, stride };
                node = add(plan, graph, node, &block)?;
                input = block.output();
            }
        }
        Ok((node, input))
    }
}

/// Adds the mean and the logits.
fn end(plan: &Plan, graph: &mut GraphBuilder, (node, channels): (usize, usize), classes: usize) -> Result<()> {
    let mean = graph.add("mean", Op::GlobalMean, &[node]);
    graph.add("logits", linear(plan.source, "fc", [classes, channels], Activation::None)?, &[mean]);
    Ok(())
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

    /// What takes the input to the sum's shape, if something has to.
    fn shortcut(&self, plan: &Plan) -> Result<Option<Op>> {
        let (layer, output) = (format!("{}.downsample", self.name), self.output());
        if self.stride == 1 && self.input == output {
            return Ok(None);
        }
        if self.padded && !plan.source.has(&format!("{layer}.0.weight"), false) {
            return padded(self.input, output, self.stride, plan.device).map(Some);
        }
        let shape = Shape([output, self.input], 1, self.stride);
        conv(plan.source, &format!("{layer}.0"), &format!("{layer}.1"), shape, Activation::None).map(Some)
    }
}

/// Adds a block and returns the node of its output.
fn add(plan: &Plan, graph: &mut GraphBuilder, input: usize, block: &Block) -> Result<usize> {
    let name = &block.name;
    let convs = block.convs();
    let mut node = input;
    for (i, shape) in convs.iter().enumerate() {
        let activation = if i + 1 < convs.len() { Activation::Relu } else { Activation::None };
        let layer = format!("{name}.conv{}", i + 1);
        let op = conv(plan.source, &layer, &format!("{name}.bn{}", i + 1), *shape, activation)?;
        node = graph.add(layer, op, &[node]);
    }
    let shortcut = match block.shortcut(plan)? {
        Some(op) => graph.add(format!("{name}.downsample"), op, &[input]),
        None => input,
    };
    Ok(graph.add(name.as_str(), Op::Add(Activation::Relu), &[node, shortcut]))
}

/// A convolution that keeps the size but for its stride, its norm and its non-linearity.
fn conv(source: &dyn Source, conv: &str, norm: &str, shape: Shape, activation: Activation) -> Result<Op> {
    let Shape([out, input], kernel, stride) = shape;
    folded(source, conv, Norm(norm, EPSILON), &[out, input, kernel, kernel], around(kernel, stride, activation))
}

/// Every `stride`-th position, the channels in the middle of more: a convolution whose weights are ones and zeros.
fn padded(input: usize, output: usize, stride: usize, device: &Device) -> Result<Op> {
    let before = (output - input) / 2;
    let mut weight = vec![0f32; output * input];
    (0..input).for_each(|c| weight[(before + c) * input + c] = 1.0);
    let weight = Tensor::from_vec(weight, (output, input, 1, 1), device)?;
    let bias = Tensor::zeros(output, DType::F32, device)?;
    Ok(Op::Conv2d(Conv2d { stride, ..Conv2d::default() }, weight, bias))
}

#[cfg(test)]
mod tests {
    use super::super::golden::agrees_at;
    use super::super::{Options, outline};

    #[test]
    fn layers_are_named_and_shaped() {
        let graph = outline("resnet50", &Options::default()).unwrap();
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
        agrees_at("resnet18", [3, 224, 224], include_bytes!("../../../tests/golden/zoo_resnet18.npz"));
        assert!(outline("resnet18", &Options::default()).unwrap().layer("layer1.0.downsample").is_err());
    }

    #[test]
    fn resnet50_agrees_with_torchvision() {
        agrees_at("resnet50", [3, 224, 224], include_bytes!("../../../tests/golden/zoo_resnet50.npz"));
    }

    #[test]
    fn resnets_at_another_size_agree_with_torchvision() {
        agrees_at("resnet34", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_resnet34.npz"));
        agrees_at("resnet101", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_resnet101.npz"));
    }

    #[test]
    fn small_resnets_agree_with_pytorch() {
        agrees_at("resnet20", [3, 32, 32], include_bytes!("../../../tests/golden/zoo_resnet20.npz"));
        agrees_at("resnet8", [1, 28, 28], include_bytes!("../../../tests/golden/zoo_resnet8.npz"));
    }
}
