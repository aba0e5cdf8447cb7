//! ConvNeXt (Liu et al. 2022) by torchvision's names, with each layer scale folded into the layer before it.

use super::parts::{affine, channel_norm, conv, layer_norm, linear};
use super::plan::{Plan, Published};
use super::source::Source;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d, Padding};

const EPSILON: f64 = 1e-6;
/// Blocks and channels of the stages.
const TINY: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

/// Layers: `features.0.conv`, `features.0` (after its norm); for every block of the stages 1, 3, 5 and 7
/// `features.S.N.depthwise`, `.norm`, `.expand` (before GELU), `.gelu`, `.project` and `features.S.N`, its output; between
/// stages `features.S.norm` and `features.S`; `mean`, `norm`, `logits`.
pub(super) fn tiny(plan: &Plan) -> Result<Graph> {
    plan.takes_pictures(32, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let mut channels = TINY[0].1;
    let patches = Conv2d { stride: 4, ..Conv2d::default() };
    let mut node = graph.add("features.0.conv", conv(source, "features.0.0", &[channels, 3, 4, 4], patches)?, &[0]);
    node = graph.add("features.0", channel_norm(source, "features.0.1", channels, EPSILON)?, &[node]);
    for (stage, (count, width)) in TINY.into_iter().enumerate() {
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            let norm = channel_norm(source, &format!("{name}.0"), channels, EPSILON)?;
            node = graph.add(format!("{name}.norm"), norm, &[node]);
            let halved = Conv2d { stride: 2, ..Conv2d::default() };
            let op = conv(source, &format!("{name}.1"), &[width, channels, 2, 2], halved)?;
            node = graph.add(name, op, &[node]);
            channels = width;
        }
        for i in 0..count {
            node = block(source, &mut graph, node, &format!("features.{}.{i}", 2 * stage + 1), width)?;
        }
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    node = graph.add("norm", layer_norm(source, "classifier.0", channels, EPSILON)?, &[node]);
    let classes = plan.classes("classifier.2", 1000);
    graph.add("logits", linear(source, "classifier.2", [classes.len(), channels], Activation::None)?, &[node]);
    plan.finish(graph, &Published::torchvision(236), classes)
}

/// Adds a block and returns the node of its output. The linear layers over channels are convolutions of 1x1.
fn block(source: &dyn Source, graph: &mut GraphBuilder, input: usize, name: &str, width: usize) -> Result<usize> {
    let mut add = |part: &str, op: Op, from: usize| graph.add(format!("{name}.{part}"), op, &[from]);
    let around = Conv2d { groups: width, padding: Padding::Explicit([3; 4]), ..Conv2d::default() };
    let mut node = add("depthwise", conv(source, &format!("{name}.block.0"), &[width, 1, 7, 7], around)?, input);
    node = add("norm", channel_norm(source, &format!("{name}.block.2"), width, EPSILON)?, node);
    let (weight, bias) = affine(source, &format!("{name}.block.3"), &[4 * width, width])?;
    let weight = weight.reshape((4 * width, width, 1, 1))?;
    node = add("expand", Op::Conv2d(Conv2d::default(), weight, bias), node);
    node = add("gelu", Op::Activation(Activation::Gelu), node);
    let (weight, bias) = affine(source, &format!("{name}.block.5"), &[width, 4 * width])?;
    let scale = source.take(&format!("{name}.layer_scale"), &[width, 1, 1])?.reshape((width, 1))?;
    let (weight, bias) = (weight.broadcast_mul(&scale)?, bias.mul(&scale.flatten_all()?)?);
    let weight = weight.reshape((width, 4 * width, 1, 1))?;
    node = add("project", Op::Conv2d(Conv2d::default(), weight, bias), node);
    Ok(graph.add(name, Op::Add(Activation::None), &[input, node]))
}

#[cfg(test)]
mod tests {
    use super::super::golden::agrees_at;

    #[test]
    fn convnext_tiny_agrees_with_torchvision() {
        agrees_at("convnext_tiny", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_convnext_tiny.npz"));
    }
}
