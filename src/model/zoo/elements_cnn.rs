//! A small network for Elements: six 3x3 convolutions, the mean over positions, one logit an attribute.

use super::parts::{around, conv, linear};
use super::plan::{Plan, Published};
use crate::dataset::elements::{ATTRIBUTES, CANVAS};
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, Op};
use crate::ops::Activation;

/// Height and width of the input.
pub(super) const INPUT: usize = CANVAS;

/// Channels and stride of the convolutions: the positions of the last stand 8 pixels apart.
const CONVS: [(usize, usize); 6] = [(16, 1), (32, 2), (48, 1), (64, 2), (96, 1), (128, 2)];

/// The network from tensors `convN.weight` `[out, in, 3, 3]`, `convN.bias`, `logits.weight` and `logits.bias`.
///
/// Layers: `conv1` to `conv6`, each after its ReLU; `mean`, `logits`.
pub(super) fn assemble(plan: &Plan) -> Result<Graph> {
    plan.takes_pictures(8, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let (mut node, mut channels) = (0, 3);
    for (i, (out, stride)) in CONVS.into_iter().enumerate() {
        let name = format!("conv{}", i + 1);
        let op = conv(source, &name, &[out, channels, 3, 3], around(3, stride, Activation::Relu))?;
        node = graph.add(name, op, &[node]);
        channels = out;
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    graph.add("logits", linear(source, "logits", [ATTRIBUTES.len(), channels], Activation::None)?, &[node]);
    // White becomes zero, which is what convolutions see beyond the border: the canvas has no edge.
    let published = Published { filter: Filter::Bilinear, crop: None, mean: [1.0; 3], std: [0.5; 3] };
    plan.finish(graph, &published, ATTRIBUTES.map(|a| a.name().to_owned()).to_vec())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::dataset::elements::{self, elements_labels};
    use crate::dataset::{Dataset, DatasetSpec, Format, World};
    use crate::model::zoo;
    use crate::seed::Seed;

    #[test]
    fn the_embedded_weights_name_what_is_in_pictures_they_never_saw() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let logits = graph.layer("logits").unwrap();
        let spec = DatasetSpec { world: Some(World::E1), count: Some(100), ..DatasetSpec::of(Format::Elements) };
        let data = elements::open(&spec, Seed(99)).unwrap();
        let (mut right, mut all) = (0, 0);
        for (i, sample) in data.samples().iter().enumerate() {
            let mut input = vec![0.0; 3 * INPUT * INPUT];
            let preprocess = graph.preprocess();
            preprocess.normalise(&preprocess.picture(&data.image(i).unwrap()).unwrap(), &mut input);
            let x = Tensor::from_vec(input, (1, 3, INPUT, INPUT), &Device::Cpu).unwrap();
            let values = graph.forward(&x, &[logits]).unwrap()[0].get(0).unwrap().to_vec1::<f32>().unwrap();
            for (value, has) in values.iter().zip(elements_labels(sample)) {
                (all, right) = (all + 1, right + usize::from((*value > 0.0) == has));
            }
        }
        assert!(right * 100 >= all * 98, "{right} of {all} labels");
    }
}
