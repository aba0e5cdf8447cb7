//! Differentiable operations that candle lacks, gets wrong or does slowly. Each gradient is checked against central
//! differences in f64. Callers see functions of tensors; which kernel runs is decided by shape and device.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod linear;
pub mod norm;
pub mod pool;
pub mod resize;

pub(crate) mod across;
pub(crate) mod batch_norm;
pub(crate) mod blocked;
pub(crate) mod composed;
pub(crate) mod memory;
pub(crate) mod prepared;
pub(crate) mod product;
pub(crate) mod tile;
pub(crate) mod value;
pub(crate) mod vector;

#[cfg(test)]
pub(crate) mod check;

pub use activation::Activation;
pub use conv::{Conv2d, Padding, conv2d};
pub(crate) use conv::{conv2d_input_gradient, conv2d_prepared, conv2d_weight_gradient};
pub(crate) use prepared::Prepared;

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, WithDType};

use value::Value;

/// The number types kernels are written for: f32 for work, f64 for checks.
pub(crate) trait Real:
    WithDType + std::iter::Sum + tile::Operand<Sum = Self> + conv::winograd::Fast + Value<Sum = Self, Operand = Self>
{
    /// `e` to this power.
    fn exp(self) -> Self;

    /// The square root.
    fn root(self) -> Self;

    /// From a small constant.
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Real for f32 {
    /// To two units in the last place, without branches, so that loops of it are vectorised.
    #[inline(always)]
    fn exp(self) -> Self {
        // e^x = 2^k e^r with |r| <= ln(2) / 2. Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest
        // bits.
        const ROUND: f32 = 12_582_912.0;
        // ln 2 in two parts: the first has so few digits that its product with k is exact.
        const HIGH: f32 = 355.0 / 512.0;
        const LOW: f32 = (std::f64::consts::LN_2 - 355.0 / 512.0) as f32;
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let rounded = x * std::f32::consts::LOG2_E + ROUND;
        let k = rounded - ROUND;
        let r = (x - k * HIGH) - k * LOW;
        let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
        let power = 1.0 + (r + r * r * (0.5 + r * tail));
        power * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}

/// The values of a contiguous tensor in CPU memory.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [T]> {
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::Msg(format!("{op}: the tensor is not contiguous")))?;
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// Refuses a tensor of another shape: kernels write no more than what their operands have.
pub(crate) fn expect_shape(what: &str, tensor: &Tensor, wanted: &[usize]) -> Result<()> {
    if tensor.dims() == wanted {
        return Ok(());
    }
    candle_core::bail!("{what} is {:?}, wanted {wanted:?}", tensor.dims())
}

/// Whether nothing here needs a gradient of candle's.
pub(crate) fn is_constant(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| !t.track_op())
}

/// The numbers of a tensor in CPU memory, row-major, while `f` runs.
pub(crate) fn with_values<V: Value, R>(tensor: &Tensor, f: impl FnOnce(&[V]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(values::<V>(storage, layout, "a kernel")?),
        _ => candle_core::bail!("a kernel: a tensor is not on the CPU"),
    }
}

/// The same of a tensor that need not be there.
pub(crate) fn with_option<V: Value, R>(
    tensor: Option<&Tensor>,
    f: impl FnOnce(Option<&[V]>) -> Result<R>,
) -> Result<R> {
    match tensor {
        None => f(None),
        Some(tensor) => with_values(tensor, |values| f(Some(values))),
    }
}

/// Memory for `len` values that `write` has to write in full.
pub(crate) fn written<T: Copy>(len: usize, write: impl FnOnce(&mut [MaybeUninit<T>]) -> Result<()>) -> Result<Vec<T>> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len])?;
    // SAFETY: the capacity is at least `len`, and every kernel here writes all of what it is given: products and
    // depthwise results cover each plane, folded gradients start from written zeros. Zeroing first costs a tenth of the
    // forward pass.
    unsafe { values.set_len(len) };
    Ok(values)
}

/// A copy of a tensor's values, row-major.
pub(crate) fn to_vec<T: WithDType>(tensor: &Tensor) -> Result<Vec<T>> {
    tensor.contiguous()?.flatten_all()?.to_vec1::<T>()
}

pub(crate) fn unsupported(op: &str, dtype: DType) -> Error {
    Error::Msg(format!("{op}: {dtype:?} is not supported on the CPU, f32 and f64 are"))
}
