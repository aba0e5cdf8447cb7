//! MobileNetV2 by torchvision's names, with every batch norm folded into its convolution.

use super::parts::{Inverted, Norm, around, folded, linear};
use super::plan::{Plan, Published};
use crate::error::Result;
use crate::model::graph::{Graph, Op};
use crate::ops::{Activation, Padding};

const STEM: usize = 32;
const HEAD: usize = 1280;
const EPSILON: f64 = 1e-5;

/// Blocks alike: expansion, channels out, how many, stride of the first.
struct Stage(usize, usize, usize, usize);

const STAGES: [Stage; 7] = [
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
];

/// Layers: `features.0`; for every block `features.N.expand`, `features.N.depthwise`, `features.N.project` where a sum
/// follows, and `features.N`, its output; `features.18`, `mean`, `logits`.
pub(super) fn v2(plan: &Plan) -> Result<Graph> {
    plan.takes_pictures(32, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let norm = Norm("features.0.1", EPSILON);
    let stem = folded(source, "features.0.0", norm, &[STEM, 3, 3, 3], around(3, 2, Activation::Relu6))?;
    let (mut node, mut channels, mut number) = (graph.add("features.0", stem, &[0]), STEM, 1);
    for Stage(expansion, output, count, stride) in STAGES {
        for i in 0..count {
            let stride = if i == 0 { stride } else { 1 };
            node = block(number, expansion, stride, [channels, output]).add(source, &mut graph, node)?;
            (channels, number) = (output, number + 1);
        }
    }
    let name = format!("features.{number}");
    let norm = format!("{name}.1");
    let geometry = around(1, 1, Activation::Relu6);
    let head = folded(source, &format!("{name}.0"), Norm(&norm, EPSILON), &[HEAD, channels, 1, 1], geometry)?;
    node = graph.add(name, head, &[node]);
    node = graph.add("mean", Op::GlobalMean, &[node]);
    let classes = plan.classes("classifier.1", 1000);
    graph.add("logits", linear(source, "classifier.1", [classes.len(), HEAD], Activation::None)?, &[node]);
    plan.finish(graph, &Published::torchvision(256), classes)
}

/// Its convolutions are `conv.0` and so on, each with its norm as `.0` and `.1`, but for the last, whose norm is the next.
fn block(number: usize, expansion: usize, stride: usize, [input, output]: [usize; 2]) -> Inverted {
    let layer = format!("features.{number}");
    let pair = |i: usize| (format!("{layer}.conv.{i}.0"), format!("{layer}.conv.{i}.1"));
    let last = |i: usize| (format!("{layer}.conv.{i}"), format!("{layer}.conv.{}", i + 1));
    let widens = expansion > 1;
    let (expand, depthwise, project) =
        if widens { (Some(pair(0)), pair(1), last(2)) } else { (None, pair(0), last(1)) };
    let channels = [input, input * expansion, output];
    let padding = Padding::Explicit([1; 4]);
    Inverted { layer, expand, depthwise, project, kernel: 3, stride, channels, padding, epsilon: EPSILON }
}

#[cfg(test)]
mod tests {
    use super::super::golden::agrees_at;

    #[test]
    fn mobilenet_v2_agrees_with_torchvision() {
        agrees_at("mobilenet_v2", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_mobilenet_v2.npz"));
    }
}
