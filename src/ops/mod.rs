//! Differentiable operations that candle lacks, gets wrong or does slowly. Each gradient is checked against central
//! differences in f64. Callers see functions of tensors; which kernel runs is decided by shape and device.

pub mod activation;
pub mod conv;
pub mod norm;
pub mod pool;
pub mod resize;

pub(crate) mod composed;
mod depthwise;
pub(crate) mod product;
pub(crate) mod vector;

#[cfg(test)]
pub(crate) mod check;

pub use activation::Activation;
pub(crate) use conv::conv2d_input_gradient;
pub use conv::{Conv2d, Padding, conv2d};

use candle_core::{CpuStorage, DType, Error, Layout, Result, Tensor, WithDType};

/// The number types kernels are written for: f32 for work, f64 for checks.
pub(crate) trait Real: WithDType + std::iter::Sum {
    /// From a small constant.
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Real for f32 {}
impl Real for f64 {}

/// The values of a contiguous tensor in CPU memory.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [T]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg(format!("{op}: the tensor is not contiguous")))?;
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// A copy of a tensor's values, row-major.
pub(crate) fn to_vec<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    tensor.contiguous()?.flatten_all()?.to_vec1::<T>()
}

pub(crate) fn unsupported(op: &str, dtype: DType) -> Error {
    Error::Msg(format!("{op}: {dtype:?} is not supported on the CPU, f32 and f64 are"))
}
