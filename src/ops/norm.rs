//! Normalisation: a kernel on the CPU; elsewhere, and for training, out of operations that have gradients (candle's fused
//! layer norm has none).

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::attention::total;
use super::value::Value;
use super::vector::{Kernel, dispatch};
use super::{Real, composed, expect_shape, is_constant, with_values, written};

/// Layer norm over the last dimension: `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
///
/// # Errors
/// When candle fails.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let width = &x.dims()[x.rank() - 1..];
    expect_shape("layer norm: the weight", weight, width)?;
    expect_shape("layer norm: the bias", bias, width)?;
    if !composed::wanted(x) && is_constant(&[x, weight, bias]) {
        match x.dtype() {
            DType::F32 => return run::<f32>(x, weight, bias, epsilon),
            DType::F64 => return run::<f64>(x, weight, bias, epsilon),
            DType::BF16 => return run::<bf16>(x, weight, bias, epsilon),
            _ => {}
        }
    }
    let last = x.rank() - 1;
    let centred = x.broadcast_sub(&x.mean_keepdim(last)?)?;
    let variance = centred.sqr()?.mean_keepdim(last)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}

/// Gradient of a layer norm's input from that of its result; `None` where there is no kernel.
pub(crate) fn layer_norm_input_gradient(
    x: &Tensor,
    weight: &Tensor,
    epsilon: f64,
    gradient: &Tensor,
) -> Result<Option<Tensor>> {
    expect_shape("layer norm: the weight", weight, &x.dims()[x.rank() - 1..])?;
    expect_shape("layer norm: the gradient", gradient, x.dims())?;
    match (composed::wanted(x), x.dtype()) {
        (false, DType::F32) => run_back::<f32>(x, weight, epsilon, gradient).map(Some),
        (false, DType::F64) => run_back::<f64>(x, weight, epsilon, gradient).map(Some),
        _ => Ok(None),
    }
}

/// Gradients of a layer norm's weight and bias, `[channel]` each, from that of its result: sums over all rows of x, of the
/// gradient times the normalised row and of the gradient; on the CPU.
pub(crate) fn layer_norm_weight_gradient(x: &Tensor, epsilon: f64, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
    expect_shape("layer norm: the gradient", gradient, x.dims())?;
    match x.dtype() {
        DType::F32 => run_to_weights::<f32>(x, epsilon, gradient),
        DType::F64 => run_to_weights::<f64>(x, epsilon, gradient),
        other => Err(super::unsupported("layer norm", other)),
    }
}

/// Rows that one task takes.
const ROWS: usize = 16;
/// Rows that have a sum of their own.
const SUMMED: usize = 512;

fn run<V: Value>(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let width = x.dim(x.rank() - 1)?.max(1);
    let y = with_values::<V, _>(x, |x| {
        with_values::<V::Sum, _>(weight, |weight| {
            with_values::<V::Sum, _>(bias, |bias| {
                written(x.len(), |y| {
                    y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(y, x)| {
                        dispatch(Rows { x, weight, bias, epsilon: <V::Sum as Real>::of(epsilon), y });
                    });
                    Ok(())
                })
            })
        })
    })?;
    Tensor::from_vec(y, x.dims(), x.device())
}

fn run_back<T: Real>(x: &Tensor, weight: &Tensor, epsilon: f64, gradient: &Tensor) -> Result<Tensor> {
    let width = x.dim(x.rank() - 1)?.max(1);
    let to = with_values::<T, _>(x, |x| {
        with_values::<T, _>(weight, |weight| {
            with_values::<T, _>(gradient, |gradient| {
                written(x.len(), |to| {
                    let rows = x.par_chunks(ROWS * width).zip(gradient.par_chunks(ROWS * width));
                    to.par_chunks_mut(ROWS * width).zip(rows).for_each(|(to, (x, gradient))| {
                        dispatch(BackRows { x, weight, epsilon: T::of(epsilon), gradient, to });
                    });
                    Ok(())
                })
            })
        })
    })?;
    Tensor::from_vec(to, x.dims(), x.device())
}

/// Sums of some rows are added in the rows' order: the same bytes for any number of threads.
fn run_to_weights<T: Real + Value<Sum = T>>(x: &Tensor, epsilon: f64, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
    let width = x.dim(x.rank() - 1)?.max(1);
    let (to_weight, to_bias) = with_values::<T, _>(x, |x| {
        with_values::<T, _>(gradient, |gradient| {
            let parts = x.par_chunks(SUMMED * width).zip(gradient.par_chunks(SUMMED * width)).map(|(x, gradient)| {
                let [mut to_weight, mut to_bias] = [vec![T::zero(); width], vec![T::zero(); width]];
                let (epsilon, sums) = (T::of(epsilon), [&mut to_weight[..], &mut to_bias]);
                dispatch(SumRows { x, epsilon, gradient, sums });
                (to_weight, to_bias)
            });
            let mut sums = (vec![T::zero(); width], vec![T::zero(); width]);
            for (to_weight, to_bias) in parts.collect::<Vec<_>>() {
                sums.0.iter_mut().zip(to_weight).for_each(|(sum, part)| *sum += part);
                sums.1.iter_mut().zip(to_bias).for_each(|(sum, part)| *sum += part);
            }
            Ok(sums)
        })
    })?;
    Ok((Tensor::from_vec(to_weight, width, x.device())?, Tensor::from_vec(to_bias, width, x.device())?))
}

/// Mean and one over the deviation of a row.
#[inline(always)]
fn moments<V: Value>(row: &[V], epsilon: V::Sum) -> (V::Sum, V::Sum) {
    let (zero, share) = (<V::Sum as Real>::of(0.0), <V::Sum as Real>::of(1.0 / row.len() as f64));
    let mean = total(row, zero, V::widen, |a, b| a + b) * share;
    let square = |x: V| (x.widen() - mean) * (x.widen() - mean);
    let variance = total(row, zero, square, |a, b| a + b) * share;
    (mean, <V::Sum as Real>::of(1.0) / (variance + epsilon).root())
}

/// Normalises rows.
struct Rows<'a, V: Value> {
    x: &'a [V],
    weight: &'a [V::Sum],
    bias: &'a [V::Sum],
    epsilon: V::Sum,
    y: &'a mut [MaybeUninit<V>],
}

impl<V: Value> Kernel for Rows<'_, V> {
    #[inline(always)]
    fn run(self) {
        let width = self.weight.len();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, self.epsilon);
            for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(self.weight.iter().zip(self.bias)) {
                y.write(V::narrow((x.widen() - mean) * scale * *weight + *bias));
            }
        }
    }
}

/// With n = (x - mean) / deviation and g the gradient times the weight: `(g - mean g - n mean (g n)) / deviation`.
struct BackRows<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    epsilon: T,
    gradient: &'a [T],
    to: &'a mut [MaybeUninit<T>],
}

impl<T: Real> Kernel for BackRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let width = self.weight.len();
        let (share, mut g, mut gn) = (T::of(1.0 / width as f64), vec![T::zero(); width], vec![T::zero(); width]);
        let rows = self.x.chunks_exact(width).zip(self.gradient.chunks_exact(width));
        for ((x, gradient), to) in rows.zip(self.to.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, self.epsilon);
            for (((g, gn), x), (gradient, w)) in g.iter_mut().zip(&mut gn).zip(x).zip(gradient.iter().zip(self.weight))
            {
                *g = *gradient * *w;
                *gn = *g * ((*x - mean) * scale);
            }
            let mean_g = total(&g, T::zero(), |x| x, |a, b| a + b) * share;
            let mean_gn = total(&gn, T::zero(), |x| x, |a, b| a + b) * share;
            for ((to, g), x) in to.iter_mut().zip(&g).zip(x) {
                to.write(scale * (*g - mean_g - (*x - mean) * scale * mean_gn));
            }
        }
    }
}

/// Adds up the gradient times the normalised rows, and the gradient.
struct SumRows<'a, T> {
    x: &'a [T],
    epsilon: T,
    gradient: &'a [T],
    sums: [&'a mut [T]; 2],
}

impl<T: Real + Value<Sum = T>> Kernel for SumRows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let [to_weight, to_bias] = self.sums;
        let width = to_weight.len();
        for (x, gradient) in self.x.chunks_exact(width).zip(self.gradient.chunks_exact(width)) {
            let (mean, scale) = moments(x, self.epsilon);
            for (((w, b), x), g) in to_weight.iter_mut().zip(to_bias.iter_mut()).zip(x).zip(gradient) {
                *w += *g * ((*x - mean) * scale);
                *b += *g;
            }
        }
    }
}

/// The parameters of a trained batch norm, each `[channel]`.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    /// Scale.
    pub weight: Tensor,
    /// Shift.
    pub bias: Tensor,
    /// Running mean.
    pub mean: Tensor,
    /// Running variance.
    pub variance: Tensor,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// The affine form at inference: `x * scale + shift` for every channel.
    ///
    /// # Errors
    /// When candle fails.
    pub fn affine(&self) -> Result<(Tensor, Tensor)> {
        let scale = self.weight.div(&(&self.variance + self.epsilon)?.sqrt()?)?;
        let shift = self.bias.sub(&self.mean.mul(&scale)?)?;
        Ok((scale, shift))
    }

    /// Applies it to `[batch, channel, height, width]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (scale, shift) = self.affine()?;
        let shape = (1, scale.elem_count(), 1, 1);
        x.broadcast_mul(&scale.reshape(shape)?)?.broadcast_add(&shift.reshape(shape)?)
    }

    /// Weights and bias of the convolution before it with the norm folded in: `[out, in, kh, kw]` and `[out]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn fold(&self, weight: &Tensor) -> Result<(Tensor, Tensor)> {
        let (scale, shift) = self.affine()?;
        Ok((weight.broadcast_mul(&scale.reshape((scale.elem_count(), 1, 1, 1))?)?, shift))
    }

    /// The same of a convolution with a bias `[out]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn fold_with(&self, weight: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor)> {
        let (weight, shift) = self.fold(weight)?;
        Ok((weight, shift.add(&bias.mul(&self.affine()?.0)?)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::{Conv2d, conv2d};

    fn norm(channels: usize) -> BatchNorm {
        let [weight, bias, mean, variance] = [1, 2, 3, 4].map(|s| random(&[channels], s));
        BatchNorm { weight, bias, mean, variance: (variance.sqr().unwrap() + 0.1).unwrap(), epsilon: 1e-3 }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (w, b) = (random(&[5], 1), random(&[5], 2));
        gradient(&random(&[2, 3, 5], 3), 1e-5, |x| layer_norm(x, &w, &b, 1e-5));
        gradient(&random(&[2, 3, 2, 2], 3), 1e-6, |x| norm(3).apply(x));
    }

    #[test]
    fn kernel_and_composed_form_agree_forward_and_backward() {
        let (x, w, b, g) = (random(&[3, 20, 37], 1), random(&[37], 2), random(&[37], 3), random(&[3, 20, 37], 4));
        let var = Var::from_tensor(&x).unwrap();
        let wanted = layer_norm(&var, &w, &b, 1e-5).unwrap();
        let back = wanted.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
        let back = back.get(&var).unwrap();
        assert!(distance(&layer_norm(&x, &w, &b, 1e-5).unwrap(), &wanted) < 1e-12);
        let to = layer_norm_input_gradient(&x, &w, 1e-5, &g).unwrap().unwrap();
        assert!(distance(&to, back) < 1e-12);
        let single = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let double = |t: Tensor| t.to_dtype(DType::F64).unwrap();
        let y = layer_norm(&single(&x), &single(&w), &single(&b), 1e-5).unwrap();
        assert!(distance(&double(y), &wanted) < 2e-6);
        let to = layer_norm_input_gradient(&single(&x), &single(&w), 1e-5, &single(&g)).unwrap().unwrap();
        assert!(distance(&double(to), back) < 5e-6);
        let short = layer_norm(&x.to_dtype(DType::BF16).unwrap(), &single(&w), &single(&b), 1e-5).unwrap();
        assert!(distance(&double(short), &wanted) < 3e-2);
    }

    #[test]
    fn gradients_of_weight_and_bias_are_those_of_candle() {
        // More rows than have one sum.
        let (x, w, b, g) = (random(&[3, 400, 5], 1), random(&[5], 2), random(&[5], 3), random(&[3, 400, 5], 4));
        let (w, b) = (Var::from_tensor(&w).unwrap(), Var::from_tensor(&b).unwrap());
        let y = layer_norm(&x, &w, &b, 1e-5).unwrap();
        let back = y.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
        let (to_weight, to_bias) = layer_norm_weight_gradient(&x, 1e-5, &g).unwrap();
        assert!(distance(&to_weight, back.get(&w).unwrap()) < 1e-11);
        assert!(distance(&to_bias, back.get(&b).unwrap()) < 1e-11);
        assert!(layer_norm_weight_gradient(&x, 1e-5, &random(&[3, 400, 4], 4)).is_err());
    }

    #[test]
    fn layer_norm_has_no_mean_and_unit_variance() {
        let one = Tensor::ones(6, DType::F64, &candle_core::Device::Cpu).unwrap();
        let y = layer_norm(&random(&[4, 6], 5), &one, &one.zeros_like().unwrap(), 0.0).unwrap();
        for row in y.to_vec2::<f64>().unwrap() {
            assert!(row.iter().sum::<f64>().abs() < 1e-12);
            assert!((row.iter().map(|v| v * v).sum::<f64>() / 6.0 - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn folding_changes_nothing() {
        let (x, w) = (random(&[2, 2, 5, 5], 6), random(&[3, 2, 3, 3], 7));
        let zero = random(&[3], 8).zeros_like().unwrap();
        let plain = norm(3).apply(&conv2d(&x, &w, &zero, &Conv2d::default()).unwrap()).unwrap();
        let (folded, b) = norm(3).fold(&w).unwrap();
        assert!(distance(&plain, &conv2d(&x, &folded, &b, &Conv2d::default()).unwrap()) < 1e-12);
        let bias = random(&[3], 9);
        let plain = norm(3).apply(&conv2d(&x, &w, &bias, &Conv2d::default()).unwrap()).unwrap();
        let (folded, b) = norm(3).fold_with(&w, &bias).unwrap();
        assert!(distance(&plain, &conv2d(&x, &folded, &b, &Conv2d::default()).unwrap()) < 1e-12);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let (x, w) = (random(&[2, 6], 1), random(&[6], 2));
        assert!(layer_norm(&x, &random(&[5], 3), &w, 1e-5).unwrap_err().to_string().contains("weight"));
        assert!(layer_norm(&x, &w, &random(&[7], 3), 1e-5).unwrap_err().to_string().contains("bias"));
        assert!(layer_norm_input_gradient(&x, &w, 1e-5, &random(&[1, 6], 3)).is_err());
    }
}
