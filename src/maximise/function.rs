//! A function of one tensor with its transposed derivative, as a candle operation: less to write for each.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, backend::BackendStorage};

use crate::ops::{Real, composed, to_vec, unsupported, values};

/// A differentiable function of one contiguous tensor.
pub(super) trait Function: Sized + Send + Sync + 'static {
    /// Its name in messages.
    const NAME: &'static str;

    /// The result's shape for an argument's shape.
    fn shape(&self, x: &[usize]) -> Result<Vec<usize>>;

    /// The result's values, in CPU memory.
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T>;

    /// The gradient of the argument, from the result `y` and its gradient.
    fn backward<T: Real>(&self, y: &[T], gradient: &[T]) -> Vec<T>;

    /// The function out of candle's operations, for a contiguous tensor in any memory.
    fn composed(self, x: &Tensor) -> Result<Tensor>;
}

/// Applies a function to a tensor; its device decides how.
pub(super) fn apply(x: &Tensor, function: impl Function) -> Result<Tensor> {
    function.shape(x.dims())?;
    let x = x.contiguous()?;
    if composed::wanted(&x) { function.composed(&x) } else { x.apply_op1(Operation(function)) }
}

/// A table of constants in x's type and memory.
pub(super) fn constant(values: &[f64], shape: &[usize], x: &Tensor) -> Result<Tensor> {
    Tensor::from_slice(values, shape, x.device())?.to_dtype(x.dtype())
}

struct Operation<F>(F);

impl<F: Function> CustomOp1 for Operation<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = self.0.shape(layout.dims())?;
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.0.forward(values(x, layout, F::NAME)?)),
            CpuStorage::F64(_) => CpuStorage::F64(self.0.forward(values(x, layout, F::NAME)?)),
            other => return Err(unsupported(F::NAME, other.dtype())),
        };
        Ok((y, shape.into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => transposed::<F, f32>(&self.0, x, y, gradient).map(Some),
            DType::F64 => transposed::<F, f64>(&self.0, x, y, gradient).map(Some),
            other => Err(unsupported(F::NAME, other)),
        }
    }
}

fn transposed<F: Function, T: Real>(function: &F, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let to_x = function.backward(&to_vec::<T>(y)?, &to_vec::<T>(gradient)?);
    Tensor::from_vec(to_x, x.dims(), x.device())
}
