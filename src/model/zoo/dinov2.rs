//! DINOv2's vision transformers by the names of its checkpoints, with each LayerScale folded into the projection before
//! it.

use candle_core::{Device, Tensor};

use super::Source;
use super::parts::{IMAGENET_MEAN, IMAGENET_STD, affine, layer_norm, linear};
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::Result;
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d};

/// Height and width of the input.
pub(super) const INPUT: usize = 224;
const PATCH: usize = 14;
const TOKENS: usize = 1 + (INPUT / PATCH) * (INPUT / PATCH);
const DEPTH: usize = 12;
const WIDTH: usize = 384;
const HEADS: usize = 6;
const EPSILON: f64 = 1e-6;

/// ViT-S/14 with position embeddings for 224 pixels.
///
/// Layers: `patch_embed`, `tokens`; for every block `blocks.N.norm1`, `.attn.qkv`, `.attn.heads` (before the projection),
/// `.attn.proj`, `.attended` (the sum), `.norm2`, `.mlp.fc1` (after GELU), `.mlp.fc2` and `blocks.N`, its output; `norm`,
/// `class_token`. All but the first and the last are `[token, channel]`, the class token first.
pub(super) fn small_patch14(source: &dyn Source, device: &Device) -> Result<Graph> {
    let mut graph = GraphBuilder::new([3, INPUT, INPUT]);
    let (weight, bias) = affine(source, "patch_embed.proj", &[WIDTH, 3, PATCH, PATCH])?;
    let patches = Conv2d { stride: PATCH, ..Conv2d::default() };
    let mut node = graph.add("patch_embed", Op::Conv2d(patches, weight, bias), &[0]);
    let class = source.take("cls_token", &[1, 1, WIDTH])?;
    let position = source.take("pos_embed", &[1, TOKENS, WIDTH])?;
    node = graph.add("tokens", Op::Tokens { class, position }, &[node]);
    for number in 0..DEPTH {
        node = block(source, &mut graph, node, &format!("blocks.{number}"))?;
    }
    node = graph.add("norm", layer_norm(source, "norm", WIDTH, EPSILON)?, &[node]);
    graph.add("class_token", Op::Token(0), &[node]);
    let (filter, crop) = (Filter::Bicubic, Some(256));
    let preprocess = Preprocess { size: INPUT, filter, crop, mean: IMAGENET_MEAN, std: IMAGENET_STD };
    graph.finish("vit_small_patch14", preprocess, Vec::new(), device)
}

/// Adds a block and returns the node of its output.
fn block(source: &dyn Source, graph: &mut GraphBuilder, input: usize, name: &str) -> Result<usize> {
    let mut node = input;
    let mut add = |part: &str, op: Op, inputs: &[usize]| graph.add(format!("{name}.{part}"), op, inputs);
    let tensors = |part: &str| format!("{name}.{part}");
    node = add("norm1", layer_norm(source, &tensors("norm1"), WIDTH, EPSILON)?, &[node]);
    node = add("attn.qkv", linear(source, &tensors("attn.qkv"), [3 * WIDTH, WIDTH], Activation::None)?, &[node]);
    node = add("attn.heads", Op::Attention { heads: HEADS }, &[node]);
    node = add("attn.proj", scaled(source, &tensors("attn.proj"), WIDTH, &tensors("ls1"))?, &[node]);
    let attended = add("attended", Op::Add(Activation::None), &[input, node]);
    node = add("norm2", layer_norm(source, &tensors("norm2"), WIDTH, EPSILON)?, &[attended]);
    node = add("mlp.fc1", linear(source, &tensors("mlp.fc1"), [4 * WIDTH, WIDTH], Activation::Gelu)?, &[node]);
    node = add("mlp.fc2", scaled(source, &tensors("mlp.fc2"), 4 * WIDTH, &tensors("ls2"))?, &[node]);
    Ok(graph.add(name, Op::Add(Activation::None), &[attended, node]))
}

/// A linear layer to the network's width and the LayerScale after it, as one.
fn scaled(source: &dyn Source, name: &str, input: usize, scale: &str) -> Result<Op> {
    let (weight, bias): (Tensor, Tensor) = affine(source, name, &[WIDTH, input])?;
    let gamma = source.take(&format!("{scale}.gamma"), &[WIDTH])?;
    Ok(Op::Linear(Activation::None, weight.broadcast_mul(&gamma.reshape((WIDTH, 1))?)?, bias.mul(&gamma)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use candle_core::DType;

    use super::super::golden::{Formula, agrees};
    use super::*;
    use crate::model::{Weights, zoo};
    use crate::seed::Seed;

    #[test]
    fn layers_are_named_and_shaped_and_agree_with_pytorch() {
        let graph = small_patch14(&Formula, &Device::Cpu).unwrap();
        let shape = |name: &str| graph.shape(graph.layer(name).unwrap()).to_vec();
        assert_eq!(shape("patch_embed"), [384, 16, 16]);
        assert_eq!(shape("tokens"), [257, 384]);
        assert_eq!(shape("blocks.3.attn.qkv"), [257, 1152]);
        assert_eq!(shape("blocks.11.mlp.fc1"), [257, 1536]);
        assert_eq!(shape("blocks.11"), [257, 384]);
        assert_eq!(shape("class_token"), [384]);
        agrees(&graph, include_bytes!("../../../tests/golden/zoo_vit_small_patch14.npz"));
    }

    #[test]
    fn a_checkpoint_may_hold_a_mask_token() {
        let mut tensors: BTreeMap<String, Tensor> = zoo::initial("vit_small_patch14", Seed(1)).unwrap();
        tensors.insert("mask_token".into(), Tensor::zeros((1, WIDTH), DType::F32, &Device::Cpu).unwrap());
        let build = |tensors| {
            zoo::from_weights("vit_small_patch14", &Weights::from_tensors(Path::new("w"), tensors), &Device::Cpu)
        };
        build(tensors.clone()).unwrap();
        tensors.insert("head.weight".into(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        assert!(build(tensors).unwrap_err().to_string().contains("unexpected: head.weight"));
    }
}
