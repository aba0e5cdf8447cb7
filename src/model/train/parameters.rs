//! The numbers of a network in training, by name.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::Activation;
use crate::ops::batch_norm::Affine;

/// Gradients by the names of what they belong to.
pub(super) type Parts = BTreeMap<String, Tensor>;

/// Every tensor of a network, running averages included.
#[derive(Debug, Clone)]
pub(super) struct Parameters(pub(super) BTreeMap<String, Tensor>);

impl Parameters {
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).ok_or_else(|| Error::Failure(format!("there is no parameter `{name}`")))
    }

    /// Scale and shift of a batch norm.
    pub(super) fn affine(&self, norm: &str, epsilon: f64, activation: Activation) -> Result<Affine<'_>> {
        let part = |part: &str| self.tensor(&format!("{norm}.{part}"));
        Ok(Affine { weight: part("weight")?, bias: part("bias")?, epsilon, activation })
    }

    /// Replaces every number of a tensor by a function of its place and itself.
    pub(super) fn update(&mut self, name: &str, mut f: impl FnMut(usize, f64) -> f64) -> Result<()> {
        let old = self.tensor(name)?;
        let kind = old.dtype();
        let values = old.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let values: Vec<f64> = values.into_iter().enumerate().map(|(i, v)| f(i, v)).collect();
        let new = Tensor::from_vec(values, old.dims(), old.device())?.to_dtype(kind)?;
        self.0.insert(name.to_owned(), new);
        Ok(())
    }
}
