//! EfficientNet-Lite0 (no squeeze-and-excitation, ReLU6), with every batch norm folded into its convolution.

use candle_core::{Device, Tensor};

use super::Source;
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::norm::BatchNorm;
use crate::ops::{Activation, Conv2d, Padding};

/// Height and width of the input.
pub(super) const INPUT: usize = 224;

/// ImageNet's classes in the order of the logits, one a line.
const CLASSES: &str = include_str!("../../../datasets/imagenet_classes.txt");
const STEM: usize = 32;
const HEAD: usize = 1280;

/// Blocks alike: how many, kernel, stride of the first, expansion, channels out.
struct Stage(usize, usize, usize, usize, usize);

const STAGES: [Stage; 7] = [
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
];

/// One inverted residual block.
struct Block {
    number: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    input: usize,
    output: usize,
}

/// The network from the tensors of `efficientnet-lite0-57934424.pth`.
///
/// Layers: `stem`; for every block `blocks.N.expand`, `blocks.N.depthwise` and, where a sum follows, `blocks.N.project`;
/// `blocks.N`, the block's output; `head`, `mean`, `logits`.
pub(super) fn assemble(source: &dyn Source, device: &Device) -> Result<Graph> {
    let mut graph = GraphBuilder::new([3, INPUT, INPUT]);
    let strided = Conv2d { stride: 2, padding: Padding::Same, activation: Activation::Relu6, ..Conv2d::default() };
    let stem = folded(source, "_conv_stem", "_bn0", &[STEM, 3, 3, 3], strided)?;
    let mut node = graph.add("stem", stem, &[0]);
    let (mut number, mut channels) = (0, STEM);
    for Stage(count, kernel, stride, expansion, output) in STAGES {
        for i in 0..count {
            let stride = if i == 0 { stride } else { 1 };
            node = block(source, &mut graph, node, &Block { number, kernel, stride, expansion, input: channels, output })?;
            (number, channels) = (number + 1, output);
        }
    }
    node = graph.add("head", folded(source, "_conv_head", "_bn1", &[HEAD, channels, 1, 1], pointwise(true))?, &[node]);
    node = graph.add("mean", Op::GlobalMean, &[node]);
    let classes: Vec<String> = CLASSES.lines().map(str::to_owned).collect();
    let weight = source.take("_fc.weight", &[classes.len(), HEAD])?;
    let bias = source.take("_fc.bias", &[classes.len()])?;
    graph.add("logits", Op::Linear(weight, bias), &[node]);
    let (mean, std) = ([127.0 / 255.0; 3], [128.0 / 255.0; 3]);
    let preprocess = Preprocess { size: INPUT, filter: Filter::Bicubic, crop: Some(256), mean, std };
    graph.finish("efficientnet_lite0", preprocess, classes, device)
}

/// Adds a block and returns the node of its output.
fn block(source: &dyn Source, graph: &mut GraphBuilder, input: usize, block: &Block) -> Result<usize> {
    let tensors = format!("_blocks.{}", block.number);
    let layer = format!("blocks.{}", block.number);
    let inner = block.input * block.expansion;
    let mut node = input;
    if block.expansion > 1 {
        let shape = [inner, block.input, 1, 1];
        let names = (format!("{tensors}._expand_conv"), format!("{tensors}._bn0"));
        let expand = folded(source, &names.0, &names.1, &shape, pointwise(true))?;
        node = graph.add(format!("{layer}.expand"), expand, &[node]);
    }
    let depthwise = Conv2d {
        stride: block.stride,
        groups: inner,
        padding: Padding::Same,
        activation: Activation::Relu6,
        ..Conv2d::default()
    };
    let names = (format!("{tensors}._depthwise_conv"), format!("{tensors}._bn1"));
    let depthwise = folded(source, &names.0, &names.1, &[inner, 1, block.kernel, block.kernel], depthwise)?;
    node = graph.add(format!("{layer}.depthwise"), depthwise, &[node]);
    let names = (format!("{tensors}._project_conv"), format!("{tensors}._bn2"));
    let project = folded(source, &names.0, &names.1, &[block.output, inner, 1, 1], pointwise(false))?;
    if block.stride == 1 && block.input == block.output {
        node = graph.add(format!("{layer}.project"), project, &[node]);
        Ok(graph.add(layer, Op::Add, &[node, input]))
    } else {
        Ok(graph.add(layer, project, &[node]))
    }
}

fn pointwise(relu6: bool) -> Conv2d {
    Conv2d { activation: if relu6 { Activation::Relu6 } else { Activation::None }, ..Conv2d::default() }
}

/// A convolution without bias and the batch norm after it, as one.
fn folded(source: &dyn Source, conv: &str, norm: &str, shape: &[usize], geometry: Conv2d) -> Result<Op> {
    let channels = [shape[0]];
    let part = |name: &str| -> Result<Tensor> { source.take(&format!("{norm}.{name}"), &channels) };
    let norm = BatchNorm {
        weight: part("weight")?,
        bias: part("bias")?,
        mean: part("running_mean")?,
        variance: part("running_var")?,
        epsilon: 1e-3,
    };
    let (weight, bias) = norm.fold(&source.take(&format!("{conv}.weight"), shape)?)?;
    Ok(Op::Conv2d(geometry, weight, bias))
}
