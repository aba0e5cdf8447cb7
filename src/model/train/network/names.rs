//! What the parameters of a node are called: those whose values it holds.

use candle_core::{DType, Tensor};

use super::product::{Layer, Product, Shift};
use crate::error::{Error, Result};
use crate::model::graph::{Graph, Op};
use crate::model::zoo::{Draft, Fold};
use crate::ops::{Activation, Conv2d};

/// The weights that a graph holds for a convolution and its norm.
pub(super) fn folded(draft: &Draft, fold: &Fold) -> Result<Tensor> {
    let tensor = |name: String| {
        draft.tensors.get(&name).cloned().ok_or_else(|| Error::Failure(format!("`{name}` was never drawn")))
    };
    let part = |part: &str| tensor(format!("{}.{part}", fold.norm));
    let norm = crate::ops::norm::BatchNorm {
        weight: part("weight")?,
        bias: part("bias")?,
        mean: part("running_mean")?,
        variance: part("running_var")?,
        epsilon: fold.epsilon,
    };
    let weight = match &fold.conv {
        Some(conv) => tensor(format!("{conv}.weight"))?,
        None => norm.weight.ones_like()?,
    };
    // One row an output channel, whatever dimensions there are.
    Ok(norm.fold(&weight.reshape((weight.dim(0)?, (), 1, 1))?)?.0)
}

/// The name of the very tensor that a node holds.
pub(super) fn named(draft: &Draft, tensor: &Tensor) -> Option<String> {
    draft.tensors.iter().find(|(_, t)| t.id() == tensor.id()).map(|(name, _)| name.clone())
}

/// What the parameters of a layer are called: those whose values, random and so unlike any others, it holds. `None` where
/// it has none, or constants. Norms that are found are taken off the list: those without a convolution are alike.
pub(super) fn layer(
    graph: &Graph,
    node: usize,
    draft: &Draft,
    folded: &mut Vec<(&Fold, Tensor)>,
) -> Result<Option<Layer>> {
    let (weight, bias, product, activation) = match graph.op(node) {
        Op::Conv2d(conv, weight, bias) => {
            let plain = Conv2d { activation: Activation::None, ..*conv };
            (weight, bias, Product::Conv(plain), conv.activation)
        }
        Op::Linear(f, weight, bias) => (weight, bias, Product::Linear, *f),
        _ => return Ok(None),
    };
    let shape = weight.dims().to_vec();
    if let (Some(weight), Some(bias)) = (named(draft, weight), named(draft, bias)) {
        let (weight, shift) = (Some((weight, shape)), Shift::Bias(bias));
        return Ok(Some(Layer { product, activation, weight, shift }));
    }
    for i in 0..folded.len() {
        if activation.fuses() && same(&folded[i].1, weight)? {
            let (fold, _) = folded.remove(i);
            let shift = Shift::Norm(fold.norm.clone(), fold.epsilon);
            let weight = fold.conv.as_ref().map(|conv| (format!("{conv}.weight"), shape));
            let product = if weight.is_some() { product } else { Product::Nothing };
            return Ok(Some(Layer { product, activation, weight, shift }));
        }
    }
    Ok(None)
}

fn same(a: &Tensor, b: &Tensor) -> Result<bool> {
    let values = |t: &Tensor| t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    Ok(a.elem_count() == b.elem_count() && values(a)? == values(b)?)
}
