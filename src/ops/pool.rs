//! Max and average pooling with any kernel, stride and padding. candle's own gradients are wrong or missing here.

mod kernel;

use std::ops::Range;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, Var};
use half::bf16;
use rayon::prelude::*;
use serde::Serialize;

use super::value::Value;
use super::vector::dispatch;
use super::{Real, composed, unsupported, values};
use kernel::{Max, MaxBack, Mean, MeanBack, Plane, Winners};

/// Planes that one task pools at least.
const PLANES: usize = 4;

/// What a window gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Reduce {
    /// The largest value; the first at a tie, and NaN where the window has one.
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
    /// Whether a last window that stands over the edge counts, if it starts inside (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

/// Pools `[batch, channel, height, width]`; the output size is `floor((size + 2 padding - kernel) / stride) + 1`, or one
/// more: see [`Pool2d::ceil`].
///
/// # Errors
/// When the window does not fit, or the tensor on the CPU is none of f32, f64 and bf16.
pub fn pool2d(x: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    pool.sizes(x.dims())?;
    if composed::wanted(x) { composed::pool::pool2d(x, pool) } else { x.contiguous()?.apply_op1(*pool) }
}

/// Gradient of [`pool2d`]'s input from that of its result, without candle's graph. At a tie, the first of the largest
/// values has it all; where there is a NaN, the last NaN.
pub(crate) fn pool2d_input_gradient(x: &Tensor, gradient: &Tensor, pool: &Pool2d) -> Result<Tensor> {
    let (_, _, output) = pool.sizes(x.dims())?;
    if !x.device().is_cpu() {
        let x = Var::from_tensor(&x.detach())?;
        let gradients = composed::pool::pool2d(&x, pool)?.mul(&gradient.detach())?.sum_all()?.backward()?;
        return gradients.get(&x).map_or_else(|| x.zeros_like(), |g| Ok(g.detach()));
    }
    let wanted = [x.dim(0)?, x.dim(1)?, output[0], output[1]];
    if gradient.dims() != wanted {
        candle_core::bail!("pool2d: wanted a gradient of shape {wanted:?}, got {:?}", gradient.dims())
    }
    x.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &InputGradient(*pool))
}

/// Mean over all positions: `[batch, channel, height, width]` to `[batch, channel]`. candle's own sum is as fast as memory
/// here.
///
/// # Errors
/// When candle fails.
pub fn global_mean(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(2)
}

/// Gradient of [`global_mean`]'s input, of the given shape, from that of its result `[batch, channel]`.
pub(crate) fn global_mean_input_gradient(shape: &[usize], gradient: &Tensor) -> Result<Tensor> {
    let &[batch, channels, height, width] = shape else {
        candle_core::bail!("global_mean: wanted [batch, channel, height, width], got {shape:?}")
    };
    let one = (gradient / (height * width) as f64)?;
    one.reshape((batch, channels, 1, 1))?.broadcast_as(shape)?.contiguous()
}

/// Batch times channels, height and width before and after.
type Sizes = (usize, [usize; 2], [usize; 2]);

impl Pool2d {
    /// Batch times channels, input size and output size.
    fn sizes(&self, x: &[usize]) -> Result<Sizes> {
        let &[batch, channels, height, width] = x else {
            candle_core::bail!("pool2d: wanted [batch, channel, height, width], got {x:?}")
        };
        let out = |size: usize, kernel: usize| {
            let room = (size + 2 * self.padding).checked_sub(kernel)?;
            let steps = room.checked_div(self.stride)?;
            let over = self.ceil && room % self.stride > 0 && (steps + 1) * self.stride < size + self.padding;
            (self.padding < kernel && size > 0).then_some(steps + 1 + usize::from(over))
        };
        match (out(height, self.kernel[0]), out(width, self.kernel[1])) {
            (Some(rows), Some(columns)) => Ok((batch * channels, [height, width], [rows, columns])),
            _ => candle_core::bail!("pool2d: {self:?} does not fit an input of {height}x{width}"),
        }
    }

    /// Places without values above and below, left and right, that windows over x reach.
    pub(crate) fn pads(&self, x: &[usize]) -> Result<[usize; 4]> {
        let (_, input, output) = self.sizes(x)?;
        let reach = |axis: usize| (output[axis] - 1) * self.stride + self.kernel[axis];
        let after = |axis: usize| reach(axis).saturating_sub(self.padding + input[axis]).max(self.padding);
        Ok([self.padding, after(0), self.padding, after(1)])
    }

    /// The window's rows or columns that lie inside the input.
    fn window(&self, index: usize, axis: usize, size: usize) -> Range<usize> {
        let start = index * self.stride;
        let end = (start + self.kernel[axis]).saturating_sub(self.padding).min(size);
        start.saturating_sub(self.padding).min(end)..end
    }

    /// Number of values in every window, row-major; empty for maxima, which have no use for it.
    fn counts<T: Real>(&self, input: [usize; 2], output: [usize; 2]) -> Vec<T> {
        let inside = |axis: usize| (0..output[axis]).map(move |i| self.window(i, axis, input[axis]).len());
        match self.reduce {
            Reduce::Max => Vec::new(),
            Reduce::Mean => inside(0).flat_map(|r| inside(1).map(move |c| T::of((r * c) as f64))).collect(),
        }
    }

    fn forward<T: Real>(&self, x: &[T], (planes, input, output): Sizes) -> Vec<T> {
        let (plane, counts) = (Plane::new(self, input, output), self.counts(input, output));
        let mut y = vec![T::zero(); planes * plane.results()];
        let planes = x.par_chunks_exact(plane.values()).zip(y.par_chunks_exact_mut(plane.results()));
        planes.with_min_len(PLANES).for_each_init(Vec::new, |rows, (x, y)| match self.reduce {
            Reduce::Max => dispatch(Max { plane: &plane, x, rows, y }),
            Reduce::Mean => dispatch(Mean { plane: &plane, x, counts: &counts, y }),
        });
        y
    }

    /// The same of bf16: plane by plane in f32.
    fn forward_bf16(&self, x: &[bf16], (planes, input, output): Sizes) -> Vec<bf16> {
        let plane = Plane::new(self, input, output);
        let mut y = vec![bf16::ZERO; planes * plane.results()];
        let planes = x.par_chunks_exact(plane.values()).zip(y.par_chunks_exact_mut(plane.results()));
        planes.with_min_len(PLANES).for_each(|(x, y)| {
            let wide: Vec<f32> = x.iter().map(|v| v.widen()).collect();
            let pooled = self.forward(&wide, (1, input, output));
            y.iter_mut().zip(pooled).for_each(|(y, v)| *y = Value::narrow(v));
        });
        y
    }

    fn backward<T: Real>(&self, x: &[T], gradient: &[T], (planes, input, output): Sizes) -> Vec<T> {
        let (plane, counts) = (Plane::new(self, input, output), self.counts(input, output));
        let mut out = vec![T::zero(); planes * plane.values()];
        let planes = out.par_chunks_exact_mut(plane.values()).zip(x.par_chunks_exact(plane.values()));
        let planes = planes.zip(gradient.par_chunks_exact(plane.results())).with_min_len(PLANES);
        let (plane, counts) = (&plane, &counts);
        planes.for_each_init(Winners::new, |winners, ((out, x), gradient)| match self.reduce {
            Reduce::Max => dispatch(MaxBack { plane, x, gradient, winners, out }),
            Reduce::Mean => dispatch(MeanBack { plane, counts, gradient, shares: &mut winners.best, out }),
        });
        out
    }
}

impl CustomOp1 for Pool2d {
    fn name(&self) -> &'static str {
        "cavern-pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims4()?;
        let sizes = self.sizes(layout.dims())?;
        let storage = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.forward(values(x, layout, self.name())?, sizes)),
            CpuStorage::F64(_) => CpuStorage::F64(self.forward(values(x, layout, self.name())?, sizes)),
            CpuStorage::BF16(_) => CpuStorage::BF16(self.forward_bf16(values(x, layout, self.name())?, sizes)),
            other => return Err(unsupported(self.name(), BackendStorage::dtype(other))),
        };
        Ok((storage, (batch, channels, sizes.2[0], sizes.2[1]).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        pool2d_input_gradient(x, gradient, self).map(Some)
    }
}

/// From the input and the result's gradient to the input's gradient.
struct InputGradient(Pool2d);

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "cavern-pool2d-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout, g: &CpuStorage, g_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.0.sizes(at.dims())?;
        let name = self.name();
        let storage = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.0.backward(values(x, at, name)?, values(g, g_at, name)?, sizes)),
            CpuStorage::F64(_) => CpuStorage::F64(self.0.backward(values(x, at, name)?, values(g, g_at, name)?, sizes)),
            other => return Err(unsupported(name, BackendStorage::dtype(other))),
        };
        Ok((storage, at.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use proptest::prelude::*;

    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::to_vec;

    const CASES: [([usize; 2], usize, usize); 6] =
        [([2, 2], 2, 0), ([3, 3], 2, 1), ([3, 3], 1, 1), ([2, 2], 3, 0), ([3, 2], 2, 1), ([9, 9], 1, 0)];

    /// Every window's index and its places inside the plane, row-major.
    fn windows(pool: &Pool2d, [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Vec<Vec<usize>> {
        let inside = |start: usize, kernel: usize, size: usize| {
            (start..start + kernel).filter_map(move |i| i.checked_sub(pool.padding).filter(|i| *i < size))
        };
        let window = |r: usize, c: usize| {
            let ys = inside(r * pool.stride, pool.kernel[0], height);
            ys.flat_map(|y| inside(c * pool.stride, pool.kernel[1], width).map(move |x| y * width + x)).collect()
        };
        (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| window(r, c)).collect()
    }

    fn largest<T: Real>(x: &[T], window: &[usize]) -> usize {
        let later = |best: usize, i: usize| if x[i] > x[best] || x[i].to_f64().is_nan() { i } else { best };
        window.iter().copied().reduce(later).unwrap()
    }

    /// One window after the other.
    fn naive<T: Real>(x: &[T], (planes, input, output): Sizes, pool: &Pool2d) -> Vec<T> {
        let windows = windows(pool, input, output);
        let one = |x: &[T], window: &[usize]| match pool.reduce {
            Reduce::Max => x[largest(x, window)],
            Reduce::Mean => window.iter().map(|i| x[*i]).sum::<T>() / T::of(window.len() as f64),
        };
        let plane = |p: usize| &x[p * input[0] * input[1]..][..input[0] * input[1]];
        (0..planes).flat_map(|p| windows.iter().map(move |w| one(plane(p), w))).collect()
    }

    fn naive_gradient<T: Real>(x: &[T], g: &[T], (_, input, output): Sizes, pool: &Pool2d) -> Vec<T> {
        let (windows, size) = (windows(pool, input, output), input[0] * input[1]);
        let mut out = vec![T::zero(); x.len()];
        let planes = out.chunks_exact_mut(size).zip(x.chunks_exact(size)).zip(g.chunks_exact(windows.len()));
        for ((out, x), g) in planes {
            for (window, g) in windows.iter().zip(g) {
                match pool.reduce {
                    Reduce::Max => out[largest(x, window)] += *g,
                    Reduce::Mean => window.iter().for_each(|i| out[*i] += *g / T::of(window.len() as f64)),
                }
            }
        }
        out
    }

    /// Values with many ties, zeros of both signs, and what `rare` puts among them.
    fn tied(count: usize, seed: u64, rare: f32) -> Vec<f32> {
        let values = to_vec::<f64>(&random(&[count], seed)).unwrap();
        let round = |v: &f64| if *v > 0.9 { rare } else { (v * 4.0).round() as f32 };
        values.iter().map(round).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn kernels_are_the_naive_form_to_the_byte(
            size in [1usize..24, 1usize..40],
            kernel in [1usize..6, 1usize..6],
            (stride, padding, mean, ceil, seed) in
                (1usize..5, 0usize..4, any::<bool>(), any::<bool>(), any::<u64>()),
            rare in prop::sample::select(vec![0.5f32, f32::NEG_INFINITY, f32::INFINITY, f32::NAN]),
        ) {
            let reduce = if mean { Reduce::Mean } else { Reduce::Max };
            let pool = Pool2d { reduce, kernel, stride, padding, ceil };
            let Ok(sizes) = pool.sizes(&[2, 3, size[0], size[1]]) else { return Ok(()) };
            let x = tied(6 * size[0] * size[1], seed, rare);
            prop_assert_eq!(bits(&pool.forward(&x, sizes)), bits(&naive(&x, sizes, &pool)));
            let g = tied(6 * sizes.2[0] * sizes.2[1], seed ^ 1, 0.3);
            prop_assert_eq!(bits(&pool.backward(&x, &g, sizes)), bits(&naive_gradient(&x, &g, sizes, &pool)));
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for reduce in [Reduce::Max, Reduce::Mean] {
            for (kernel, stride, padding) in CASES {
                let pool = Pool2d { reduce, kernel, stride, padding, ceil: false };
                gradient(&random(&[2, 2, 9, 9], 7), 1e-6, |x| pool2d(x, &pool));
            }
        }
    }

    #[test]
    fn the_gradient_of_a_global_mean_is_candles() {
        let (x, g) = (Var::from_tensor(&random(&[2, 3, 5, 4], 7)).unwrap(), random(&[2, 3], 8));
        let wanted = global_mean(&x).unwrap().mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
        let got = global_mean_input_gradient(x.dims(), &g).unwrap();
        assert!(distance(&got, wanted.get(&x).unwrap()) < 1e-15);
        assert!(global_mean_input_gradient(&[2, 3], &g).is_err());
    }

    #[test]
    fn kernel_and_composed_form_agree() {
        for reduce in [Reduce::Max, Reduce::Mean] {
            for (kernel, stride, padding) in CASES {
                let pool = Pool2d { reduce, kernel, stride, padding, ceil: false };
                let x = random(&[2, 3, 9, 10], 8);
                let (a, b) = (pool2d(&x, &pool).unwrap(), composed::pool::pool2d(&x, &pool).unwrap());
                assert!(distance(&a, &b) < 1e-12, "{pool:?}");
                gradient(&random(&[1, 2, 9, 9], 7), 1e-6, |x| composed::pool::pool2d(x, &pool));
            }
        }
    }

    #[test]
    fn a_tie_gives_its_gradient_to_one_place() {
        let x = Tensor::ones((1, 1, 2, 2), DType::F64, &Device::Cpu).unwrap();
        let pool = Pool2d { reduce: Reduce::Max, kernel: [2, 2], stride: 2, padding: 0, ceil: false };
        let one = Tensor::ones((1, 1, 1, 1), DType::F64, &Device::Cpu).unwrap();
        let to_x = pool2d_input_gradient(&x, &one, &pool).unwrap();
        assert_eq!(to_vec::<f64>(&to_x).unwrap(), [1.0, 0.0, 0.0, 0.0]);
        assert!(pool2d_input_gradient(&x, &x, &pool).unwrap_err().to_string().contains("[1, 1, 1, 1]"));
    }

    #[test]
    fn a_window_over_the_edge_counts_where_it_starts_inside() {
        // torch.nn.functional.max_pool2d(..., ceil_mode=True) gives these sizes.
        for (size, kernel, stride, padding, wanted) in
            [(112, 3, 2, 0, 56), (14, 2, 2, 0, 7), (7, 3, 1, 1, 7), (5, 2, 3, 1, 2), (16, 3, 2, 0, 8), (4, 2, 3, 0, 2)]
        {
            let pool = Pool2d { reduce: Reduce::Max, kernel: [kernel; 2], stride, padding, ceil: true };
            assert_eq!(pool.sizes(&[1, 1, size, size]).unwrap().2, [wanted; 2], "{pool:?} on {size}");
        }
        for reduce in [Reduce::Max, Reduce::Mean] {
            let pool = Pool2d { reduce, kernel: [3, 3], stride: 2, padding: 0, ceil: true };
            gradient(&random(&[1, 2, 8, 8], 7), 1e-6, |x| pool2d(x, &pool));
        }
    }

    #[test]
    fn nan_is_not_lost() {
        for place in 0..9 {
            let mut x = vec![1f32; 9];
            x[place] = f32::NAN;
            let x = Tensor::from_vec(x, (1, 1, 3, 3), &Device::Cpu).unwrap();
            for reduce in [Reduce::Max, Reduce::Mean] {
                let pool = Pool2d { reduce, kernel: [3, 3], stride: 1, padding: 0, ceil: false };
                assert!(to_vec::<f32>(&pool2d(&x, &pool).unwrap()).unwrap()[0].is_nan());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = random(&[1, 1, 3, 3], 1);
        for (kernel, stride, padding) in [([4, 4], 1, 0), ([2, 2], 0, 0), ([2, 2], 1, 2)] {
            let pool = Pool2d { reduce: Reduce::Max, kernel, stride, padding, ceil: false };
            assert!(pool2d(&x, &pool).unwrap_err().to_string().contains("does not fit"), "{pool:?}");
        }
    }

    #[test]
    fn bf16_is_pooled_in_f32() {
        for (kernel, stride, padding) in CASES {
            for reduce in [Reduce::Max, Reduce::Mean] {
                let pool = Pool2d { reduce, kernel, stride, padding, ceil: false };
                let x = random(&[2, 3, 9, 10], 1).to_dtype(DType::BF16).unwrap();
                let wanted = pool2d(&x.to_dtype(DType::F32).unwrap(), &pool).unwrap().to_dtype(DType::BF16).unwrap();
                assert_eq!(to_vec::<bf16>(&pool2d(&x, &pool).unwrap()).unwrap(), to_vec::<bf16>(&wanted).unwrap());
            }
        }
    }
}
