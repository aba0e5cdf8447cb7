//! Vision transformers (Dosovitskiy et al. 2021) by the names of timm, which are DINOv2's, or of torchvision, with each
//! LayerScale folded into the projection before it.

use candle_core::Tensor;

use super::parts::{affine, layer_norm, linear};
use super::plan::{Plan, Published};
use super::positions::{Resampling, resample};
use super::source::{Renamed, Source};
use crate::dataset::preprocess::Filter;
use crate::error::{Error, Result};
use crate::model::graph::{Graph, GraphBuilder, Op};
use crate::ops::{Activation, Conv2d};

const EPSILON: f64 = 1e-6;

/// Who published it: names, the way embeddings go to another size, what there is where no file says it, preprocessing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// timm (and DINO): a head unless the file has none.
    Timm,
    /// DINOv2: LayerScale, no head.
    Dinov2,
    /// torchvision's `vit_b_16`.
    Torchvision,
    /// Trained here: timm's names, pictures of any number of channels.
    Mini,
}

/// Channels, pixels of a patch's side, blocks, channels of a head where there are several.
pub(super) struct Vit {
    pub(super) width: usize,
    pub(super) patch: usize,
    pub(super) depth: usize,
    pub(super) head: usize,
}

pub(super) const TINY: usize = 192;
pub(super) const SMALL: usize = 384;
pub(super) const BASE: usize = 768;

/// The layers are those of [`assemble`].
pub(super) fn published(plan: &Plan, width: usize, patch: usize, from: Origin) -> Result<Graph> {
    assemble(plan, &Vit { width, patch, depth: 12, head: 64 }, from)
}

/// For small pictures: patches of 4 pixels, heads of 32 channels. Our definition.
pub(super) fn mini(plan: &Plan) -> Result<Graph> {
    let source = plan.source;
    let width = plan.width.size(source.shape_of("patch_embed.proj.weight").and_then(|s| s.first().copied()))?;
    let blocks: Vec<_> = (0..).map_while(|i| source.shape_of(&format!("blocks.{i}.norm1.weight"))).collect();
    let depth = plan.depth.size((!blocks.is_empty()).then_some(blocks.len()))?;
    let vit = Vit { width, patch: 4, depth, head: 32 };
    if width > vit.head && width % vit.head != 0 {
        let hint = format!("choose up to {0}, or a multiple of {0}: heads have {0} channels", vit.head);
        return Err(Error::key("model.width", format!("is {width}"), hint));
    }
    assemble(plan, &vit, Origin::Mini)
}

/// Layers: `patch_embed`, `tokens`; for every block `blocks.N.norm1`, `.attn.qkv`, `.attn.heads` (before the projection),
/// `.attn.proj`, `.attended` (the sum), `.norm2`, `.mlp.fc1` (after GELU), `.mlp.fc2` and `blocks.N`, its output; `norm`,
/// `class_token`; `logits`, if there is a head. `patch_embed` is a map, `class_token` and `logits` are vectors, all others
/// `[token, channel]`, the class token first, then registers, if there are any.
pub(super) fn assemble(plan: &Plan, vit: &Vit, from: Origin) -> Result<Graph> {
    if from == Origin::Mini {
        plan.takes_squares(vit.patch, vit.patch)?;
    } else {
        plan.takes_pictures(vit.patch, vit.patch)?;
    }
    let renamed = Renamed(plan.source, torchvision_name);
    let source: &dyn Source = if from == Origin::Torchvision { &renamed } else { plan.source };
    let (width, patch, mut graph) = (vit.width, vit.patch, plan.graph());
    let (weight, bias) = affine(source, "patch_embed.proj", &[width, plan.input[0], patch, patch])?;
    let patches = Conv2d { stride: patch, ..Conv2d::default() };
    let mut node = graph.add("patch_embed", Op::Conv2d(patches, weight, bias), &[0]);
    node = graph.add("tokens", tokens(source, plan.input[1] / patch, width, from)?, &[node]);
    let scaled = source.has("blocks.0.ls1.gamma", from == Origin::Dinov2);
    for number in 0..vit.depth {
        let heads = (width / vit.head).max(1);
        let block = Block { source, name: format!("blocks.{number}"), width, heads, scaled };
        node = block.add(&mut graph, node)?;
    }
    node = graph.add("norm", layer_norm(source, "norm", width, EPSILON)?, &[node]);
    node = graph.add("class_token", Op::Token(0), &[node]);
    let mut classes = Vec::new();
    if source.has("head.weight", from != Origin::Dinov2) {
        let head = if from == Origin::Torchvision { "heads.head" } else { "head" };
        classes = plan.classes(head, if from == Origin::Mini { 10 } else { 1000 });
        graph.add("logits", linear(source, "head", [classes.len(), width], Activation::None)?, &[node]);
    }
    plan.finish(graph, &from.preprocessing(), classes)
}

/// The tokens of a grid of patches; a file's position embeddings may be of another one. Registers (Darcet et al. 2024) come
/// after the class token and have no embedding; timm's networks with registers have none for the class token either.
fn tokens(source: &dyn Source, side: usize, width: usize, from: Origin) -> Result<Op> {
    let registers = ["reg_token", "register_tokens"].into_iter().find(|name| source.has(name, false));
    let usual = 1 + side * side;
    let count = source.shape_of("pos_embed").and_then(|s| s.get(1).copied()).unwrap_or(usual);
    let whole = registers == Some("reg_token") && count.isqrt().pow(2) == count;
    let is_grid = whole || (count > 0 && (count - 1).isqrt().pow(2) == count - 1);
    let mut class = source.take("cls_token", &[1, 1, width])?;
    let mut position = source.take("pos_embed", &[1, if is_grid { count } else { usual }, width])?;
    if whole {
        position = Tensor::cat(&[&class.zeros_like()?, &position], 1)?;
    }
    let dinov2 = from == Origin::Dinov2 && registers.is_none();
    position = resample(&position, side, if dinov2 { Resampling::Dinov2 } else { Resampling::Antialiased })?;
    if let Some(name) = registers {
        let registers = source.shape_of(name).and_then(|s| s.get(1).copied()).unwrap_or_default();
        let extra = source.take(name, &[1, registers, width])?;
        class = Tensor::cat(&[&class, &extra], 1)?;
        let [first, patches] = [position.narrow(1, 0, 1)?, position.narrow(1, 1, side * side)?];
        position = Tensor::cat(&[&first, &extra.zeros_like()?, &patches], 1)?;
    }
    Ok(Op::Tokens { class, position })
}

impl Origin {
    fn preprocessing(self) -> Published {
        match self {
            Self::Timm => Published::symmetric(Filter::Bicubic, Some(248)),
            Self::Dinov2 => Published { filter: Filter::Bicubic, ..Published::torchvision(256) },
            Self::Torchvision => Published::torchvision(256),
            Self::Mini => Published::SMALL,
        }
    }
}

/// Where a block's tensors come from.
struct Block<'a> {
    source: &'a dyn Source,
    name: String,
    width: usize,
    heads: usize,
    scaled: bool,
}

impl Block<'_> {
    /// Adds it and returns the node of its output.
    fn add(&self, graph: &mut GraphBuilder, input: usize) -> Result<usize> {
        let (source, width) = (self.source, self.width);
        let mut add = |part: &str, op: Op, inputs: &[usize]| graph.add(format!("{}.{part}", self.name), op, inputs);
        let name = |part: &str| format!("{}.{part}", self.name);
        let mut node = add("norm1", layer_norm(source, &name("norm1"), width, EPSILON)?, &[input]);
        let qkv = linear(source, &name("attn.qkv"), [3 * width, width], Activation::None)?;
        node = add("attn.qkv", qkv, &[node]);
        node = add("attn.heads", Op::Attention { heads: self.heads }, &[node]);
        node = add("attn.proj", self.project("attn.proj", width, "ls1")?, &[node]);
        let attended = add("attended", Op::Add(Activation::None), &[input, node]);
        node = add("norm2", layer_norm(source, &name("norm2"), width, EPSILON)?, &[attended]);
        let widened = linear(source, &name("mlp.fc1"), [4 * width, width], Activation::Gelu)?;
        node = add("mlp.fc1", widened, &[node]);
        node = add("mlp.fc2", self.project("mlp.fc2", 4 * width, "ls2")?, &[node]);
        Ok(graph.add(self.name.as_str(), Op::Add(Activation::None), &[attended, node]))
    }

    /// A linear layer to the network's width and the LayerScale after it, if there is one.
    fn project(&self, part: &str, input: usize, scale: &str) -> Result<Op> {
        let (weight, bias) = affine(self.source, &format!("{}.{part}", self.name), &[self.width, input])?;
        if !self.scaled {
            return Ok(Op::Linear(Activation::None, weight, bias));
        }
        let gamma = self.source.take(&format!("{}.{scale}.gamma", self.name), &[self.width])?;
        let weight = weight.broadcast_mul(&gamma.reshape((self.width, 1))?)?;
        Ok(Op::Linear(Activation::None, weight, bias.mul(&gamma)?))
    }
}

/// torchvision's name of a tensor.
fn torchvision_name(name: &str) -> String {
    let whole = [
        ("cls_token", "class_token"),
        ("pos_embed", "encoder.pos_embedding"),
        ("patch_embed.proj.", "conv_proj."),
        ("norm.", "encoder.ln."),
        ("head.", "heads.head."),
    ];
    if let Some((ours, theirs)) = whole.iter().find(|(ours, _)| name.starts_with(ours)) {
        return name.replacen(ours, theirs, 1);
    }
    let parts = [
        ("blocks.", "encoder.layers.encoder_layer_"),
        (".norm1.", ".ln_1."),
        (".norm2.", ".ln_2."),
        (".attn.qkv.", ".self_attention.in_proj_"),
        (".attn.proj.", ".self_attention.out_proj."),
        (".mlp.fc1.", ".mlp.0."),
        (".mlp.fc2.", ".mlp.3."),
    ];
    parts.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use candle_core::{DType, Device};

    use super::super::golden::{Formula, agrees, agrees_at};
    use super::super::plan::Choice;
    use super::super::{Options, outline};
    use super::*;
    use crate::model::{Weights, zoo};
    use crate::seed::Seed;

    #[test]
    fn layers_are_named_and_shaped() {
        let graph = outline("vit_small_patch14", &Options::default()).unwrap();
        let shape = |name: &str| graph.shape(graph.layer(name).unwrap()).to_vec();
        assert_eq!(shape("patch_embed"), [384, 16, 16]);
        assert_eq!(shape("tokens"), [257, 384]);
        assert_eq!(shape("blocks.3.attn.qkv"), [257, 1152]);
        assert_eq!(shape("blocks.11.mlp.fc1"), [257, 1536]);
        assert_eq!(shape("blocks.11"), [257, 384]);
        assert_eq!(shape("class_token"), [384]);
    }

    #[test]
    fn dinov2_agrees_with_pytorch() {
        agrees_at(
            "vit_small_patch14",
            [3, 224, 224],
            include_bytes!("../../../tests/golden/zoo_vit_small_patch14.npz"),
        );
    }

    #[test]
    fn a_transformer_with_a_head_agrees_with_pytorch() {
        agrees_at("vit_tiny_patch16", [3, 64, 64], include_bytes!("../../../tests/golden/zoo_vit_tiny_patch16.npz"));
    }

    #[test]
    fn the_small_one_agrees_with_pytorch() {
        agrees_at("vit_mini", [1, 28, 28], include_bytes!("../../../tests/golden/zoo_vit_mini.npz"));
    }

    #[test]
    fn torchvisions_names_agree_with_torchvision() {
        let graph = two_blocks(&Formula::default(), Origin::Torchvision);
        agrees(&graph, include_bytes!("../../../tests/golden/zoo_vit_torchvision.npz"));
    }

    fn two_blocks(source: &Formula, from: Origin) -> Graph {
        let (input, usual, classes, device) = ([3, 48, 48], [3, 224, 224], Some(10), &Device::Cpu);
        let (width, depth) = (Choice::width(None, None), Choice::depth(None, None));
        let plan = Plan { name: "two blocks", input, usual, classes, width, depth, source, device };
        assemble(&plan, &Vit { width: 128, patch: 16, depth: 2, head: 64 }, from).unwrap()
    }

    #[test]
    fn registers_agree_with_pytorch() {
        for shapes in [&TIMM, &DINOV2] {
            let graph = two_blocks(&Formula(shapes), Origin::Dinov2);
            assert_eq!(graph.shape(graph.layer("tokens").unwrap()), [14, 128]);
            let golden: &[u8] = if shapes[0].0 == "reg_token" {
                include_bytes!("../../../tests/golden/zoo_vit_registers_timm.npz")
            } else {
                include_bytes!("../../../tests/golden/zoo_vit_registers.npz")
            };
            agrees(&graph, golden);
        }
    }

    const TIMM: [(&str, &[usize]); 2] = [("reg_token", &[1, 4, 128]), ("pos_embed", &[1, 25, 128])];
    const DINOV2: [(&str, &[usize]); 2] = [("register_tokens", &[1, 4, 128]), ("pos_embed", &[1, 26, 128])];

    fn built(name: &str, tensors: BTreeMap<String, Tensor>, options: &Options) -> Result<Graph> {
        zoo::from_weights_with(name, &Weights::from_tensors(Path::new("w"), tensors), options, &Device::Cpu)
    }

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_file_says_what_there_is() {
        let usual = Options::default();
        let mut tensors = zoo::initial("vit_tiny_patch16", Seed(1)).unwrap();
        assert_eq!(built("vit_tiny_patch16", tensors.clone(), &usual).unwrap().classes()[282], "tiger cat");
        tensors.insert("head.weight".into(), zeros(&[3, TINY]));
        tensors.insert("head.bias".into(), zeros(&[3]));
        let graph = built("vit_tiny_patch16", tensors.clone(), &usual).unwrap();
        assert_eq!(graph.classes(), ["class 0", "class 1", "class 2"]);
        tensors.retain(|name, _| !name.starts_with("head"));
        let graph = built("vit_tiny_patch16", tensors.clone(), &usual).unwrap();
        assert_eq!(graph.layers().last().unwrap().name, "class_token");
        tensors.insert("pos_embed".into(), zeros(&[1, 6, TINY]));
        let message = built("vit_tiny_patch16", tensors, &usual).unwrap_err().to_string();
        assert!(message.contains("pos_embed is [1, 6, 192], wanted [1, 197, 192]"), "{message}");
    }

    #[test]
    fn a_checkpoint_of_dinov2_for_518_pixels_loads_at_other_sizes() {
        let mut tensors = zoo::initial("vit_small_patch14", Seed(1)).unwrap();
        tensors.insert("mask_token".into(), zeros(&[1, SMALL]));
        tensors.insert("pos_embed".into(), zeros(&[1, 1370, SMALL]));
        for (side, tokens) in [(224, 257), (28, 5)] {
            let options = Options { input: Some([3, side, side]), ..Options::default() };
            let graph = built("vit_small_patch14", tensors.clone(), &options).unwrap();
            assert_eq!(graph.shape(graph.layer("blocks.11").unwrap()), [tokens, SMALL]);
            assert_eq!(graph.preprocess().crop, Some(side * 256 / 224));
        }
        let options = Options { input: Some([3, 100, 100]), ..Options::default() };
        let message = built("vit_small_patch14", tensors.clone(), &options).unwrap_err().to_string();
        assert!(message.contains("multiples of 14"), "{message}");
        tensors.insert("heads.weight".into(), zeros(&[1]));
        let message = built("vit_small_patch14", tensors, &Options::default()).unwrap_err().to_string();
        assert!(message.contains("unexpected: heads.weight"), "{message}");
    }
}
