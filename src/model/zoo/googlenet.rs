//! GoogLeNet, the first Inception network (Szegedy et al. 2015), by torchvision's names: with batch norms, which are folded
//! into their convolutions, and with 3x3 convolutions where the paper has 5x5, as torchvision's. The auxiliary classifiers
//! of a checkpoint are not built.

use super::parts::{Norm, around, folded, largest, linear};
use super::plan::{Plan, Published};
use super::source::Source;
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::Activation;

const EPSILON: f64 = 1e-3;

/// A block's name and channels: those of the first branch; of the second, reduced and out; of the third, reduced and out;
/// of the one after the pooling.
struct Inception(&'static str, usize, [usize; 2], [usize; 2], usize);

const STAGES: [&[Inception]; 3] = [
    &[Inception("inception3a", 64, [96, 128], [16, 32], 32), Inception("inception3b", 128, [128, 192], [32, 96], 64)],
    &[
        Inception("inception4a", 192, [96, 208], [16, 48], 64),
        Inception("inception4b", 160, [112, 224], [24, 64], 64),
        Inception("inception4c", 128, [128, 256], [24, 64], 64),
        Inception("inception4d", 112, [144, 288], [32, 64], 64),
        Inception("inception4e", 256, [160, 320], [32, 128], 128),
    ],
    &[
        Inception("inception5a", 256, [160, 320], [32, 128], 128),
        Inception("inception5b", 384, [192, 384], [48, 128], 128),
    ],
];

/// Layers: `conv1`, `maxpool1`, `conv2`, `conv3`, `maxpool2`; for every block its branches `inception3a.branch1`,
/// `.branch2.0`, `.branch2.1`, `.branch3.0`, `.branch3.1`, `.branch4.0` (the pooling), `.branch4.1`, and `inception3a`,
/// their channels one after the other; `maxpool3`, `maxpool4`; `mean`, `logits`.
///
/// Published weights were trained on values from -1 to 1. torchvision takes ImageNet's normalisation and turns it into that
/// within the network (`transform_input`); here the preprocessing makes those values at once.
pub(super) fn v1(plan: &Plan) -> Result<Graph> {
    plan.takes_pictures(32, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let mut node = basic(source, &mut graph, 0, "conv1", [64, 3, 7, 2])?;
    node = graph.add("maxpool1", largest(3, 2, 0, true), &[node]);
    node = basic(source, &mut graph, node, "conv2", [64, 64, 1, 1])?;
    node = basic(source, &mut graph, node, "conv3", [192, 64, 3, 1])?;
    node = graph.add("maxpool2", largest(3, 2, 0, true), &[node]);
    let mut channels = 192;
    for (stage, blocks) in STAGES.iter().enumerate() {
        if stage > 0 {
            let kernel = if stage == 1 { 3 } else { 2 };
            node = graph.add(format!("maxpool{}", stage + 2), largest(kernel, 2, 0, true), &[node]);
        }
        for block in *blocks {
            node = block.add(source, &mut graph, node, channels)?;
            channels = block.output();
        }
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    let classes = plan.classes("fc", 1000);
    graph.add("logits", linear(source, "fc", [classes.len(), channels], Activation::None)?, &[node]);
    plan.finish(graph, &Published::symmetric(Filter::Bilinear, Some(256)), classes)
}

impl Inception {
    fn output(&self) -> usize {
        self.1 + self.2[1] + self.3[1] + self.4
    }

    fn add(&self, source: &dyn Source, graph: &mut GraphBuilder, input: usize, channels: usize) -> Result<usize> {
        let Self(name, first, second, third, pooled) = self;
        let branch1 = basic(source, graph, input, &format!("{name}.branch1"), [*first, channels, 1, 1])?;
        let mut branches = vec![branch1];
        for (branch, [reduced, out]) in [(2, second), (3, third)] {
            let name = format!("{name}.branch{branch}");
            let node = basic(source, graph, input, &format!("{name}.0"), [*reduced, channels, 1, 1])?;
            branches.push(basic(source, graph, node, &format!("{name}.1"), [*out, *reduced, 3, 1])?);
        }
        let pool = graph.add(format!("{name}.branch4.0"), largest(3, 1, 1, true), &[input]);
        branches.push(basic(source, graph, pool, &format!("{name}.branch4.1"), [*pooled, channels, 1, 1])?);
        Ok(graph.add(*name, Op::Concat, &branches))
    }
}

/// Adds a convolution, its norm and ReLU: channels out and in, kernel, stride.
fn basic(
    source: &dyn Source,
    graph: &mut GraphBuilder,
    input: usize,
    name: &str,
    [out, channels, kernel, stride]: [usize; 4],
) -> Result<usize> {
    let (shape, geometry) = ([out, channels, kernel, kernel], around(kernel, stride, Activation::Relu));
    let norm = format!("{name}.bn");
    let op = folded(source, &format!("{name}.conv"), Norm(&norm, EPSILON), &shape, geometry)?;
    Ok(graph.add(name, op, &[input]))
}

#[cfg(test)]
mod tests {
    use super::super::golden::agrees_at;
    use super::super::{Options, outline};

    #[test]
    fn googlenet_agrees_with_torchvision() {
        agrees_at("googlenet", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_googlenet.npz"));
    }

    #[test]
    fn layers_are_named_and_shaped() {
        let graph = outline("googlenet", &Options::default()).unwrap();
        let shape = |name: &str| graph.shape(graph.layer(name).unwrap()).to_vec();
        assert_eq!(shape("maxpool2"), [192, 28, 28]);
        assert_eq!(shape("inception4c.branch3.1"), [64, 14, 14]);
        assert_eq!(shape("inception5b"), [1024, 7, 7]);
    }
}
