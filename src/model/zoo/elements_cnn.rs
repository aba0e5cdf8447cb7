//! A small network for Elements: six 3x3 convolutions, the mean over positions, one logit an attribute.

use candle_core::Device;

use super::Source;
use super::parts::{affine, linear};
use crate::dataset::Preprocess;
use crate::dataset::elements::{ATTRIBUTES, CANVAS};
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d, Padding};

/// Height and width of the input.
pub(super) const INPUT: usize = CANVAS;

/// Channels and stride of the convolutions: the positions of the last stand 8 pixels apart.
const CONVS: [(usize, usize); 6] = [(16, 1), (32, 2), (48, 1), (64, 2), (96, 1), (128, 2)];

/// The network from tensors `convN.weight` `[out, in, 3, 3]`, `convN.bias`, `logits.weight` and `logits.bias`.
pub(super) fn assemble(source: &dyn Source, device: &Device) -> Result<Graph> {
    let mut graph = GraphBuilder::new([3, INPUT, INPUT]);
    let (mut node, mut channels) = (0, 3);
    for (i, (out, stride)) in CONVS.into_iter().enumerate() {
        let name = format!("conv{}", i + 1);
        let (weight, bias) = affine(source, &name, &[out, channels, 3, 3])?;
        let padding = Padding::Explicit([1; 4]);
        let conv = Conv2d { stride, padding, activation: Activation::Relu, ..Conv2d::default() };
        node = graph.add(name, Op::Conv2d(conv, weight, bias), &[node]);
        channels = out;
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    graph.add("logits", linear(source, "logits", [ATTRIBUTES.len(), channels], Activation::None)?, &[node]);
    // White becomes zero, which is what convolutions see beyond the border: the canvas has no edge.
    let preprocess = Preprocess { size: INPUT, filter: Filter::Bilinear, crop: None, mean: [1.0; 3], std: [0.5; 3] };
    graph.finish("elements_cnn", preprocess, ATTRIBUTES.map(|a| a.name().to_owned()).to_vec(), device)
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;
    use crate::dataset::elements::{self, elements_labels};
    use crate::dataset::{Dataset, DatasetSpec, Format, World};
    use crate::model::zoo;
    use crate::seed::Seed;

    #[test]
    fn the_embedded_weights_name_what_is_in_pictures_they_never_saw() {
        let graph = zoo::build("elements_cnn", None, &Device::Cpu).unwrap();
        let logits = graph.layer("logits").unwrap();
        let spec = DatasetSpec {
            format: Format::Elements,
            root: None,
            concepts: Vec::new(),
            present_from: 0.02,
            tile: None,
            max_skipped: 0.0,
            group_until: None,
            world: Some(World::E1),
            count: Some(100),
        };
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
