//! What a node computes, forwards.

use std::sync::Arc;

use candle_core::Tensor;

use super::TensorOp;
use crate::ops::attention::attention;
use crate::ops::linear::linear_prepared;
use crate::ops::norm::layer_norm;
use crate::ops::pool::{Pool2d, global_mean, pool2d};
use crate::ops::{Activation, Conv2d, Prepared, activation, conv2d_prepared};

/// What a node computes from its inputs.
#[derive(Debug, Clone)]
pub enum Op {
    /// The network's input.
    Input,
    /// Convolution with its bias and non-linearity.
    Conv2d(Conv2d, Tensor, Tensor),
    /// `x w^T + b` and its non-linearity on `[batch, in]` or `[batch, token, in]`: weights `[out, in]`, bias `[out]`.
    Linear(Activation, Tensor, Tensor),
    /// Sum of two nodes, then a non-linearity.
    Add(Activation),
    /// A non-linearity by itself.
    Activation(Activation),
    /// Max or average pooling.
    Pool2d(Pool2d),
    /// Mean over all positions: `[batch, channel]`.
    GlobalMean,
    /// Softmax over the last dimension.
    Softmax,
    /// Layer norm over the last dimension.
    LayerNorm {
        /// Scale, `[channel]`.
        weight: Tensor,
        /// Shift, `[channel]`.
        bias: Tensor,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Attention on `[batch, token, 3 * heads * dim]`: see [`attention`].
    Attention {
        /// How many heads.
        heads: usize,
    },
    /// `[batch, channel, height, width]` to `[batch, k + height * width, channel]`: a class token and others that stand for
    /// no place, then the positions row by row, each with its embedding added.
    Tokens {
        /// The class token and the others, `[1, k, channel]`.
        class: Tensor,
        /// Embeddings of the positions, theirs first: `[1, k + height * width, channel]`.
        position: Tensor,
    },
    /// One token: `[batch, token, channel]` to `[batch, channel]`.
    Token(usize),
    /// The channels of several nodes, one node's after the other's.
    Concat,
    /// All values of a picture as a vector: `[batch, channel * height * width]`.
    Flatten,
    /// Layer norm over the channels of every position of `[batch, channel, height, width]`.
    ChannelNorm {
        /// Scale, `[channel]`.
        weight: Tensor,
        /// Shift, `[channel]`.
        bias: Tensor,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Any other operation of arrays.
    Tensor(TensorOp),
}

impl Op {
    /// Its name and settings, without weights: a part of the graph's digest.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Conv2d(conv, ..) => format!("conv2d {conv:?}"),
            Self::Linear(activation, ..) => format!("linear {activation:?}"),
            Self::LayerNorm { epsilon, .. } => format!("layer norm {epsilon}"),
            Self::ChannelNorm { epsilon, .. } => format!("channel norm {epsilon}"),
            Self::Tokens { .. } => "tokens".to_owned(),
            Self::Pool2d(pool) => format!("{pool:?}"),
            Self::Tensor(op) => op.describe(),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn weights(&self) -> Vec<&Tensor> {
        match self {
            Self::Conv2d(_, w, b) | Self::Linear(_, w, b) => vec![w, b],
            Self::LayerNorm { weight, bias, .. } | Self::ChannelNorm { weight, bias, .. } => vec![weight, bias],
            Self::Tokens { class, position } => vec![class, position],
            Self::Tensor(op) => op.weights(),
            _ => Vec::new(),
        }
    }

    pub(in crate::model) fn run(&self, inputs: &[&Tensor], prepared: &Arc<Prepared>) -> candle_core::Result<Tensor> {
        match (self, inputs) {
            (Self::Conv2d(conv, w, b), [x]) => conv2d_prepared(x, w, b, None, conv, prepared),
            (Self::Linear(f, w, b), [x]) => linear_prepared(x, w, b, None, *f, prepared),
            (Self::Add(f), [a, b]) => f.apply(&a.add(b)?),
            (Self::Activation(f), [x]) => f.apply(x),
            (Self::Pool2d(pool), [x]) => pool2d(x, pool),
            (Self::GlobalMean, [x]) => global_mean(x),
            (Self::Softmax, [x]) => activation::softmax(x),
            (Self::LayerNorm { weight, bias, epsilon }, [x]) => layer_norm(x, weight, bias, *epsilon),
            (Self::Attention { heads }, [x]) => attention(x, *heads),
            (Self::Tokens { class, position }, [x]) => tokens(x, class, position),
            (Self::Token(i), [x]) => x.narrow(1, *i, 1)?.squeeze(1),
            (Self::Concat, [_, ..]) => Tensor::cat(inputs, 1),
            (Self::Flatten, [x]) => x.contiguous()?.flatten_from(1),
            (Self::ChannelNorm { weight, bias, epsilon }, [x]) => {
                planes(&layer_norm(&rows(x)?, weight, bias, *epsilon)?, x.dims())
            }
            (Self::Tensor(op), inputs) => op.run(inputs),
            _ => candle_core::bail!("{} cannot run on {} inputs", self.describe(), inputs.len()),
        }
    }

    /// A convolution or linear layer whose result nobody else needs, as one with what follows: the sum of it and a
    /// residual, or a non-linearity alone.
    pub(super) fn run_with(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        f: Activation,
        prepared: &Arc<Prepared>,
    ) -> candle_core::Result<Tensor> {
        match self {
            Self::Conv2d(conv, w, b) => {
                conv2d_prepared(x, w, b, residual, &Conv2d { activation: f, ..*conv }, prepared)
            }
            Self::Linear(_, w, b) => linear_prepared(x, w, b, residual, f, prepared),
            _ => candle_core::bail!("{} is no product", self.describe()),
        }
    }
}

/// See [`Op::Tokens`].
fn tokens(x: &Tensor, class: &Tensor, position: &Tensor) -> candle_core::Result<Tensor> {
    let patches = x.flatten_from(2)?.transpose(1, 2)?;
    let (batch, _, channels) = patches.dims3()?;
    Tensor::cat(&[&class.broadcast_as((batch, class.dim(1)?, channels))?, &patches], 1)?.broadcast_add(position)
}

/// `[batch, channel, height, width]` to `[batch, position, channel]`.
pub(in crate::model) fn rows(x: &Tensor) -> candle_core::Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

/// The way back, to the given shape.
pub(super) fn planes(rows: &Tensor, shape: &[usize]) -> candle_core::Result<Tensor> {
    rows.transpose(1, 2)?.contiguous()?.reshape(shape)
}
