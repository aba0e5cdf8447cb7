//! Max and average pooling with any kernel, stride and padding. candle's own gradients are wrong or missing here.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::{Real, composed, to_vec, unsupported, values};

/// What a window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Reduce {
    /// The largest value; the first at a tie.
    Max,
    /// The mean of the window's values; padding is not counted.
    Mean,
}

/// Geometry of a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pool2d {
    /// What a window gives.
    pub reduce: Reduce,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: usize,
    /// Border on every side; it holds no values.
    pub padding: usize,
}

/// Pools `[batch, channel, height, width]`; the output size is `floor((size + 2 padding - kernel) / stride) + 1`.
///
/// # Errors
/// When the window does not fit, or the tensor is not on the CPU.
pub fn pool2d(x: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    pool.sizes(x.dims())?;
    if composed::wanted(x) { composed::pool::pool2d(x, pool) } else { x.contiguous()?.apply_op1(*pool) }
}

/// Mean over all positions: `[batch, channel, height, width]` to `[batch, channel]`.
///
/// # Errors
/// When candle fails.
pub fn global_mean(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(2)
}

impl Pool2d {
    /// Batch times channels, input size and output size.
    fn sizes(&self, x: &[usize]) -> Result<(usize, [usize; 2], [usize; 2])> {
        let &[batch, channels, height, width] = x else {
            candle_core::bail!("pool2d: wanted [batch, channel, height, width], got {x:?}")
        };
        let out = |size: usize, kernel: usize| {
            let room = (size + 2 * self.padding).checked_sub(kernel);
            room.filter(|_| self.padding < kernel).map(|r| r / self.stride + 1)
        };
        match (out(height, self.kernel[0]), out(width, self.kernel[1])) {
            (Some(rows), Some(columns)) => Ok((batch * channels, [height, width], [rows, columns])),
            _ => candle_core::bail!("pool2d: {self:?} does not fit an input of {height}x{width}"),
        }
    }

    /// The window's rows or columns that lie inside the input.
    fn window(&self, index: usize, axis: usize, size: usize) -> std::ops::Range<usize> {
        let start = index * self.stride;
        let end = (start + self.kernel[axis]).saturating_sub(self.padding).min(size);
        start.saturating_sub(self.padding).min(end)..end
    }

    /// Calls `visit(output index, inputs of its window)` for one plane.
    fn for_each_window(&self, input: [usize; 2], output: [usize; 2], mut visit: impl FnMut(usize, &[usize])) {
        let mut cells = Vec::with_capacity(self.kernel[0] * self.kernel[1]);
        for r in 0..output[0] {
            for c in 0..output[1] {
                cells.clear();
                for y in self.window(r, 0, input[0]) {
                    cells.extend(self.window(c, 1, input[1]).map(|x| y * input[1] + x));
                }
                visit(r * output[1] + c, &cells);
            }
        }
    }

    fn forward<T: Real>(&self, x: &[T], (_, input, output): (usize, [usize; 2], [usize; 2]), y: &mut [T]) {
        let planes = x.par_chunks_exact(input[0] * input[1]).zip(y.par_chunks_exact_mut(output[0] * output[1]));
        planes.for_each(|(x, y)| {
            self.for_each_window(input, output, |at, cells| {
                y[at] = match self.reduce {
                    Reduce::Max => x[largest(x, cells)],
                    Reduce::Mean => cells.iter().map(|c| x[*c]).sum::<T>() / T::of(cells.len() as f64),
                }
            });
        });
    }

    fn backward<T: Real>(&self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (planes, input, output) = self.sizes(x.dims())?;
        let (values, g) = (to_vec::<T>(x)?, to_vec::<T>(gradient)?);
        let size = input[0] * input[1];
        let mut out = vec![T::zero(); planes * size];
        let planes = out.par_chunks_exact_mut(size).zip(values.par_chunks_exact(size));
        planes.zip(g.par_chunks_exact(output[0] * output[1])).for_each(|((out, x), g)| {
            self.for_each_window(input, output, |at, cells| match self.reduce {
                Reduce::Max => out[largest(x, cells)] += g[at],
                Reduce::Mean => cells.iter().for_each(|c| out[*c] += g[at] / T::of(cells.len() as f64)),
            });
        });
        Tensor::from_vec(out, x.dims(), x.device())
    }
}

fn largest<T: Real>(x: &[T], cells: &[usize]) -> usize {
    cells.iter().copied().reduce(|best, c| if x[c] > x[best] { c } else { best }).unwrap_or(0)
}

impl CustomOp1 for Pool2d {
    fn name(&self) -> &'static str {
        "cavern-pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout.dims())?;
        let count = sizes.0 * sizes.2[0] * sizes.2[1];
        let storage = match x {
            CpuStorage::F32(_) => {
                let mut y = vec![0f32; count];
                self.forward(values(x, layout, self.name())?, sizes, &mut y);
                CpuStorage::F32(y)
            }
            CpuStorage::F64(_) => {
                let mut y = vec![0f64; count];
                self.forward(values(x, layout, self.name())?, sizes, &mut y);
                CpuStorage::F64(y)
            }
            other => return Err(unsupported(self.name(), candle_core::backend::BackendStorage::dtype(other))),
        };
        let d = layout.dims();
        Ok((storage, (d[0], d[1], sizes.2[0], sizes.2[1]).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => self.backward::<f32>(x, gradient).map(Some),
            DType::F64 => self.backward::<f64>(x, gradient).map(Some),
            other => Err(unsupported(self.name(), other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};

    const CASES: [([usize; 2], usize, usize); 6] =
        [([2, 2], 2, 0), ([3, 3], 2, 1), ([3, 3], 1, 1), ([2, 2], 3, 0), ([3, 2], 2, 1), ([9, 9], 1, 0)];

    #[test]
    fn gradients_are_those_of_central_differences() {
        for reduce in [Reduce::Max, Reduce::Mean] {
            for (kernel, stride, padding) in CASES {
                let pool = Pool2d { reduce, kernel, stride, padding };
                gradient(&random(&[2, 2, 9, 9], 7), 1e-6, |x| pool2d(x, &pool));
            }
        }
    }

    #[test]
    fn kernel_and_composed_form_agree() {
        for reduce in [Reduce::Max, Reduce::Mean] {
            for (kernel, stride, padding) in CASES {
                let pool = Pool2d { reduce, kernel, stride, padding };
                let x = random(&[2, 3, 9, 10], 8);
                let (a, b) = (pool2d(&x, &pool).unwrap(), composed::pool::pool2d(&x, &pool).unwrap());
                assert!(distance(&a, &b) < 1e-12, "{pool:?}");
                gradient(&random(&[1, 2, 9, 9], 7), 1e-6, |x| composed::pool::pool2d(x, &pool));
            }
        }
    }

    #[test]
    fn a_tie_gives_its_gradient_to_one_place() {
        let x =
            candle_core::Var::from_tensor(&Tensor::ones((1, 1, 2, 2), DType::F64, &candle_core::Device::Cpu).unwrap());
        let x = x.unwrap();
        let pool = Pool2d { reduce: Reduce::Max, kernel: [2, 2], stride: 2, padding: 0 };
        let grad = pool2d(&x, &pool).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(to_vec::<f64>(grad.get(&x).unwrap()).unwrap(), [1.0, 0.0, 0.0, 0.0]);
    }
}
