//! VGG by torchvision's names, with and without batch norms, which are folded into their convolutions.

use candle_core::Tensor;

use super::parts::{Norm, affine, around, conv, largest, linear};
use super::plan::{Plan, Published};
use crate::error::Result;
use crate::model::graph::{Graph, Op};
use crate::ops::Activation;

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];
/// Height and width of the map that the classifier sees, whatever the picture's size.
const SEEN: usize = 7;
/// Channels of the hidden layers of the classifier, as published.
const HIDDEN: usize = 4096;
const EPSILON: f64 = 1e-5;

/// Layers of convolutions a stage, of configurations A, B, D and E (Simonyan and Zisserman 2015).
pub(super) const VGG11: [usize; 5] = [1, 1, 2, 2, 2];
pub(super) const VGG13: [usize; 5] = [2; 5];
pub(super) const VGG16: [usize; 5] = [2, 2, 3, 3, 3];
pub(super) const VGG19: [usize; 5] = [2, 2, 4, 4, 4];

/// Layers: `convS_N` (after its ReLU) and `poolS` of every stage; `flatten`, `fc6`, `fc7`, `logits`.
pub(super) fn assemble(plan: &Plan, counts: [usize; 5], normed: bool) -> Result<Graph> {
    plan.takes_pictures(32, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let (mut node, mut channels, mut place) = (0, 3, 0);
    for (stage, (width, count)) in WIDTHS.into_iter().zip(counts).enumerate() {
        for i in 1..=count {
            let (name, norm) = (format!("features.{place}"), format!("features.{}", place + 1));
            let (shape, geometry) = ([width, channels, 3, 3], around(3, 1, Activation::Relu));
            let (mut weight, mut bias) = affine(source, &name, &shape)?;
            if normed {
                (weight, bias) = Norm(&norm, EPSILON).take(source, width)?.fold_with(&weight, &bias)?;
            }
            let op = Op::Conv2d(geometry, weight, bias);
            node = graph.add(format!("conv{}_{i}", stage + 1), op, &[node]);
            channels = width;
            place += if normed { 3 } else { 2 };
        }
        node = graph.add(format!("pool{}", stage + 1), largest(2, 2, 0, false), &[node]);
        place += 1;
    }
    node = graph.add("flatten", Op::Flatten, &[node]);
    let hidden = |name: &str| source.shape_of(name).and_then(|s| s.first().copied()).unwrap_or(HIDDEN);
    let (first, second) = (hidden("classifier.0.weight"), hidden("classifier.3.weight"));
    let (weight, bias) = affine(source, "classifier.0", &[first, channels * SEEN * SEEN])?;
    let weight = averaged(&weight, channels, plan.input[1] / 32)?;
    node = graph.add("fc6", Op::Linear(Activation::Relu, weight, bias), &[node]);
    node = graph.add("fc7", linear(source, "classifier.3", [second, first], Activation::Relu)?, &[node]);
    let classes = plan.classes("classifier.6", 1000);
    graph.add("logits", linear(source, "classifier.6", [classes.len(), second], Activation::None)?, &[node]);
    plan.finish(graph, &Published::torchvision(256), classes)
}

/// For small pictures: three stages of two 3x3 convolutions with ReLUs, of 1, 2 and 4 times the width, and the largest of
/// 2x2 positions between them; no batch norms, a mean over positions instead of the classifier. Our definition; VGG's names,
/// and `classifier` for the last layer.
///
/// Layers: `convS_N` (after its ReLU) of every stage, `poolS` of the first two, `mean`, `logits`.
pub(super) fn mini(plan: &Plan) -> Result<Graph> {
    plan.takes_squares(4, 1)?;
    let (source, mut graph) = (plan.source, plan.graph());
    let width = plan.width.size(source.shape_of("features.0.weight").and_then(|s| s.first().copied()))?;
    let (mut node, mut channels, mut place) = (0, plan.input[0], 0);
    for stage in 1..=3 {
        for i in 1..=2 {
            let (name, out) = (format!("features.{place}"), width << (stage - 1));
            let op = conv(source, &name, &[out, channels, 3, 3], around(3, 1, Activation::Relu))?;
            node = graph.add(format!("conv{stage}_{i}"), op, &[node]);
            channels = out;
            place += 2;
        }
        if stage < 3 {
            node = graph.add(format!("pool{stage}"), largest(2, 2, 0, false), &[node]);
            place += 1;
        }
    }
    node = graph.add("mean", Op::GlobalMean, &[node]);
    let classes = plan.classes("classifier", 10);
    graph.add("logits", linear(source, "classifier", [classes.len(), channels], Activation::None)?, &[node]);
    plan.finish(graph, &Published::SMALL, classes)
}

/// The weights `[out, channels * 7 * 7]` for a map of `side` positions a side: adaptive mean pooling to 7 positions is
/// linear, so it is folded into them.
fn averaged(weight: &Tensor, channels: usize, side: usize) -> Result<Tensor> {
    if side == SEEN {
        return Ok(weight.clone());
    }
    let mut shares = vec![0f32; SEEN * side];
    for (i, row) in shares.chunks_exact_mut(side).enumerate() {
        let window = i * side / SEEN..((i + 1) * side).div_ceil(SEEN);
        let share = 1.0 / window.len() as f32;
        row[window].fill(share);
    }
    let shares = Tensor::from_vec(shares, (SEEN, side), weight.device())?;
    let out = weight.dim(0)?;
    let along_rows = weight.reshape((out * channels * SEEN, SEEN))?.matmul(&shares)?;
    let turned = along_rows.reshape((out * channels, SEEN, side))?.transpose(1, 2)?.contiguous()?;
    let along_both = turned.reshape((out * channels * side, SEEN))?.matmul(&shares)?;
    let turned = along_both.reshape((out * channels, side, side))?.transpose(1, 2)?.contiguous()?;
    Ok(turned.reshape((out, channels * side * side))?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::golden::{agrees_at, agrees_with};
    use super::super::{Options, outline};
    use super::*;
    use crate::ops::check::{distance, random};

    /// The classifier's hidden layers are narrow in the goldens.
    const NARROW: [(&str, &[usize]); 2] =
        [("classifier.0.weight", &[96, 512 * 49]), ("classifier.3.weight", &[64, 96])];

    #[test]
    fn layers_are_named_and_shaped() {
        let graph = outline("vgg16", &Options::default()).unwrap();
        let shape = |name: &str| graph.shape(graph.layer(name).unwrap()).to_vec();
        assert_eq!(shape("conv1_2"), [64, 224, 224]);
        assert_eq!(shape("conv5_3"), [512, 14, 14]);
        assert_eq!(shape("pool5"), [512, 7, 7]);
        assert_eq!(shape("flatten"), [25088]);
        assert_eq!(shape("fc7"), [4096]);
    }

    #[test]
    fn vgg_agrees_with_torchvision() {
        let golden = include_bytes!("../../../tests/golden/zoo_vgg11.npz");
        agrees_with("vgg11", [3, 32, 32], &NARROW, golden);
        let golden = include_bytes!("../../../tests/golden/zoo_vgg13_bn.npz");
        agrees_with("vgg13_bn", [3, 64, 64], &NARROW, golden);
    }

    #[test]
    fn the_small_one_agrees_with_pytorch() {
        agrees_at("vgg_mini", [1, 28, 28], include_bytes!("../../../tests/golden/zoo_vgg_mini.npz"));
        let options = Options { input: Some([2, 9, 9]), width: Some(6), ..Options::default() };
        let graph = outline("vgg_mini", &options).unwrap();
        assert_eq!(graph.shape(graph.layer("conv3_2").unwrap()), [24, 2, 2]);
        let message = outline("vgg_mini", &Options { input: Some([3, 3, 3]), ..options }).unwrap_err().to_string();
        assert!(message.contains("4 pixels or more"), "{message}");
    }

    #[test]
    fn folded_pooling_is_adaptive_pooling() {
        // torch.nn.functional.adaptive_avg_pool2d gives these windows of 5 and of 9 positions.
        let windows = |side: usize| (0..7).map(move |i| (i * side / 7, ((i + 1) * side).div_ceil(7)));
        for side in [1, 5, 9, 14] {
            let x = random(&[2, side, side], 1);
            let weight = random(&[3, 2 * 49], 2).to_dtype(DType::F32).unwrap();
            let pooled: Vec<f64> = (0..2)
                .flat_map(|c| windows(side).flat_map(move |r| windows(side).map(move |w| (c, r, w))))
                .map(|(c, rows, columns)| {
                    let part = x.get(c).unwrap().narrow(0, rows.0, rows.1 - rows.0).unwrap();
                    let part = part.narrow(1, columns.0, columns.1 - columns.0).unwrap();
                    part.mean_all().unwrap().to_scalar::<f64>().unwrap()
                })
                .collect();
            let pooled = Tensor::from_vec(pooled, (98, 1), &Device::Cpu).unwrap();
            let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let wanted = double(&weight).matmul(&pooled).unwrap();
            let got =
                double(&averaged(&weight, 2, side).unwrap()).matmul(&x.flatten_all().unwrap().unsqueeze(1).unwrap());
            assert!(distance(&wanted, &got.unwrap()) < 1e-5, "{side}");
        }
    }
}
