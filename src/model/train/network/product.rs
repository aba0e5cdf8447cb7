//! A layer that multiplies: a convolution or a linear layer, with its bias or its batch norm.

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::model::train::Parameters;
use crate::ops::linear::{linear_input_gradient, linear_prepared, linear_weight_gradient};
use crate::ops::{Activation, Conv2d, Prepared, conv2d_input_gradient, conv2d_prepared, conv2d_weight_gradient};

/// A node with weights, a bias or a batch norm.
pub(super) struct Layer {
    pub(super) product: Product,
    /// The non-linearity of the node by itself.
    pub(super) activation: Activation,
    /// Name of its weights, and their shape here: a network may hold them in another. A norm by itself has none.
    pub(super) weight: Option<(String, Vec<usize>)>,
    pub(super) shift: Shift,
}

/// What a layer computes from its weights.
#[derive(Clone, Copy)]
pub(super) enum Product {
    /// A convolution without its non-linearity.
    Conv(Conv2d),
    Linear,
    /// The input itself.
    Nothing,
}

/// What follows.
pub(super) enum Shift {
    /// The bias of this name.
    Bias(String),
    /// The batch norm of this name, and what it adds to the variance.
    Norm(String, f64),
}

impl Layer {
    pub(super) fn weight(&self, parameters: &Parameters) -> Result<Option<Tensor>> {
        let weight = self.weight.as_ref();
        weight.map(|(name, shape)| Ok(parameters.tensor(name)?.reshape(shape.as_slice())?)).transpose()
    }
}

impl Product {
    /// A layer without weights is its input.
    pub(super) fn run(
        self,
        x: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        residual: Option<&Tensor>,
        activation: Activation,
    ) -> candle_core::Result<Tensor> {
        let Some(weight) = weight else { return Ok(x.clone()) };
        let none = Tensor::zeros(weight.dim(0)?, x.dtype(), x.device())?;
        let bias = bias.unwrap_or(&none);
        match self {
            Self::Conv(conv) => {
                conv2d_prepared(x, weight, bias, residual, &Conv2d { activation, ..conv }, &Arc::default())
            }
            Self::Linear => linear_prepared(x, weight, bias, residual, activation, &Prepared::default()),
            Self::Nothing => Ok(x.clone()),
        }
    }

    pub(super) fn to_weights(
        self,
        x: &Tensor,
        weight: &Tensor,
        bias: bool,
        gradient: &Tensor,
    ) -> candle_core::Result<(Tensor, Option<Tensor>)> {
        match self {
            Self::Conv(conv) => conv2d_weight_gradient(x, weight.dims(), bias, gradient, &conv),
            Self::Linear | Self::Nothing => {
                linear_weight_gradient(x, gradient).map(|(to_weight, to_bias)| (to_weight, Some(to_bias)))
            }
        }
    }

    pub(super) fn to_input(
        self,
        x: &Tensor,
        weight: Option<&Tensor>,
        gradient: &Tensor,
        sum: Option<&Tensor>,
    ) -> Result<Tensor> {
        let prepared = Prepared::default();
        let Some(weight) = weight else { return Ok(sum.map_or_else(|| Ok(gradient.clone()), |sum| sum + gradient)?) };
        match self {
            Self::Nothing => Ok(gradient.clone()),
            Self::Conv(conv) => conv2d_input_gradient(x.dims(), weight, (gradient, gradient), sum, &conv, &prepared)?
                .ok_or_else(|| Error::Failure("networks are trained on the CPU".into())),
            Self::Linear => Ok(linear_input_gradient(weight, gradient, sum, &prepared)?),
        }
    }
}
