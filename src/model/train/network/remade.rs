//! Nodes whose operation is made anew from the parameters at every step: layer norms, and the class token with its
//! embeddings.

use std::sync::Arc;

use candle_core::Tensor;

use super::names::named;
use crate::error::{Error, Result};
use crate::model::graph::op::rows;
use crate::model::graph::{Graph, Op};
use crate::model::train::Parameters;
use crate::model::zoo::Draft;
use crate::ops::norm::layer_norm_weight_gradient;

/// Such a node.
pub(super) struct Remade {
    kind: Kind,
    /// Of its two tensors, in the order of [`Op::weights`].
    pub(super) names: [String; 2],
}

/// What it computes; a norm with what it adds to the variance.
#[derive(Clone, Copy)]
enum Kind {
    LayerNorm(f64),
    ChannelNorm(f64),
    Tokens,
}

impl Remade {
    /// A node of a graph, where it is one of these and its tensors are parameters.
    pub(super) fn of(graph: &Graph, node: usize, draft: &Draft) -> Option<Self> {
        let (kind, first, second) = match graph.op(node) {
            Op::LayerNorm { weight, bias, epsilon } => (Kind::LayerNorm(*epsilon), weight, bias),
            Op::ChannelNorm { weight, bias, epsilon } => (Kind::ChannelNorm(*epsilon), weight, bias),
            Op::Tokens { class, position } => (Kind::Tokens, class, position),
            _ => return None,
        };
        Some(Self { kind, names: [named(draft, first)?, named(draft, second)?] })
    }

    fn op(&self, parameters: &Parameters) -> Result<Op> {
        let [weight, bias] = [&self.names[0], &self.names[1]].map(|name| parameters.tensor(name).cloned());
        let (weight, bias) = (weight?, bias?);
        Ok(match self.kind {
            Kind::LayerNorm(epsilon) => Op::LayerNorm { weight, bias, epsilon },
            Kind::ChannelNorm(epsilon) => Op::ChannelNorm { weight, bias, epsilon },
            Kind::Tokens => Op::Tokens { class: weight, position: bias },
        })
    }

    pub(super) fn run(&self, parameters: &Parameters, x: &Tensor) -> Result<Tensor> {
        Ok(self.op(parameters)?.run(&[x], &Arc::default())?)
    }

    /// The gradient of the input x from that of the result y; `sum`, what the input's other users have passed, is added.
    pub(super) fn to_input(
        &self,
        parameters: &Parameters,
        x: &Tensor,
        (y, gradient): (&Tensor, &Tensor),
        sum: Option<Tensor>,
    ) -> Result<Tensor> {
        let parts = self.op(parameters)?.pull_back(&[x], (y, gradient), &[sum], &Arc::default())?;
        parts.into_iter().next().ok_or_else(|| Error::Failure(format!("`{}` passed no gradient", self.names[0])))
    }

    /// The gradients of its two tensors.
    pub(super) fn to_parameters(&self, x: &Tensor, gradient: &Tensor) -> Result<[Tensor; 2]> {
        Ok(match self.kind {
            Kind::LayerNorm(epsilon) => layer_norm_weight_gradient(x, epsilon, gradient)?.into(),
            Kind::ChannelNorm(epsilon) => layer_norm_weight_gradient(&rows(x)?, epsilon, &rows(gradient)?)?.into(),
            Kind::Tokens => {
                // Every picture has the same ones.
                let to_position = gradient.sum_keepdim(0)?;
                let before = to_position.dim(1)? - x.dims()[2..].iter().product::<usize>();
                [to_position.narrow(1, 0, before)?.contiguous()?, to_position]
            }
        })
    }
}
