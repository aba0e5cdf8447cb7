//! Pointwise non-linearities.

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor, Var};
use rayon::prelude::*;
use serde::Serialize;

use super::vector::{Kernel, dispatch};
use super::{Real, composed, expect_shape, with_values, written};

/// A non-linearity that a convolution or linear layer applies to its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`; the gradient at 0 is 0.
    Relu,
    /// `min(max(x, 0), 6)`; the gradient at 0 and at 6 is 0.
    Relu6,
    /// `x Phi(x)`, by the error function.
    Gelu,
}

impl Activation {
    /// Applies it.
    ///
    /// # Errors
    /// When candle fails.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::None => Ok(x.clone()),
            Self::Relu => relu(x),
            Self::Relu6 => relu6(x),
            Self::Gelu => gelu(x),
        }
    }

    /// Applies it without candle's graph; in f32 GELU to that precision, as products do.
    pub(crate) fn apply_to_constant(self, x: &Tensor) -> Result<Tensor> {
        if self != Self::Gelu || composed::wanted(x) || x.dtype() != DType::F32 {
            return self.apply(x);
        }
        let mut y = super::to_vec::<f32>(x)?;
        y.par_chunks_mut(SHARE).for_each(|sums| dispatch(Apply { activation: self, sums }));
        Tensor::from_vec(y, x.dims(), x.device())
    }

    /// Whether kernels apply it while they write, and take its gradient from the result.
    pub(crate) fn fuses(self) -> bool {
        self != Self::Gelu
    }

    /// Applies it to sums of a kernel; GELU to the precision of f32.
    #[inline(always)]
    pub(crate) fn apply_to<T: Real>(self, sums: &mut [T]) {
        match self {
            Self::None => {}
            Self::Relu => sums.iter_mut().for_each(|v| *v = relu_of(*v)),
            Self::Relu6 => sums.iter_mut().for_each(|v| *v = relu6_of(*v)),
            Self::Gelu => sums.iter_mut().for_each(|v| *v = *v * normal(*v)),
        }
    }

    /// Gradient of x from the result y and the gradient of that; `None` where y does not tell it.
    pub(crate) fn pull_back(self, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match self {
            Self::None => return Ok(Some(gradient.clone())),
            Self::Gelu => return Ok(None),
            Self::Relu | Self::Relu6 => {}
        }
        if let Some(passed) = self.by_kernel(y, gradient)? {
            return Ok(Some(passed));
        }
        let inside = if self == Self::Relu { y.gt(0.0)? } else { y.gt(0.0)?.mul(&y.lt(6.0)?)? };
        gradient.mul(&inside.to_dtype(gradient.dtype())?).map(Some)
    }

    /// Gradient of x from x and the gradient of the result.
    pub(crate) fn pull_back_from(self, x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        if self == Self::Gelu
            && x.dtype() == DType::F32
            && let Some(passed) = self.by_kernel(x, gradient)?
        {
            return Ok(passed);
        }
        let x = Var::from_tensor(&x.detach())?;
        let gradients = self.apply(&x)?.mul(&gradient.detach())?.sum_all()?.backward()?;
        gradients.get(&x).map_or_else(|| x.zeros_like(), |g| Ok(g.detach()))
    }

    /// The gradient times the slope at `at`: the result, or x for GELU.
    fn by_kernel(self, at: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match (composed::wanted(at), at.dtype()) {
            (false, DType::F32) => passed::<f32>(self, at, gradient).map(Some),
            (false, DType::F64) => passed::<f64>(self, at, gradient).map(Some),
            _ => Ok(None),
        }
    }
}

/// Numbers that one task takes.
const SHARE: usize = 16 << 10;

fn passed<T: Real>(activation: Activation, at: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    expect_shape("activation: the gradient", gradient, at.dims())?;
    let to = with_values::<T, _>(at, |at| {
        with_values::<T, _>(gradient, |gradient| {
            written(at.len(), |to| {
                let parts = at.par_chunks(SHARE).zip(gradient.par_chunks(SHARE));
                to.par_chunks_mut(SHARE).zip(parts).for_each(|(to, (at, gradient))| {
                    dispatch(Pass { activation, at, gradient, to });
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(to, at.dims(), at.device())
}

/// See [`Activation::apply_to_constant`].
struct Apply<'a, T> {
    activation: Activation,
    sums: &'a mut [T],
}

impl<T: Real> Kernel for Apply<'_, T> {
    #[inline(always)]
    fn run(self) {
        self.activation.apply_to(self.sums);
    }
}

/// See [`Activation::by_kernel`].
struct Pass<'a, T> {
    activation: Activation,
    at: &'a [T],
    gradient: &'a [T],
    to: &'a mut [MaybeUninit<T>],
}

impl<T: Real> Kernel for Pass<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (zero, six) = (T::zero(), T::of(6.0));
        let triples = self.to.iter_mut().zip(self.at.iter().zip(self.gradient));
        match self.activation {
            Activation::None => triples.for_each(|(to, (_, g))| _ = to.write(*g)),
            Activation::Relu => triples.for_each(|(to, (y, g))| _ = to.write(if *y > zero { *g } else { zero })),
            Activation::Relu6 => {
                triples.for_each(|(to, (y, g))| _ = to.write(if *y > zero && *y < six { *g } else { zero }));
            }
            Activation::Gelu => triples.for_each(|(to, (x, g))| _ = to.write(gelu_slope(*x) * *g)),
        }
    }
}

#[inline(always)]
pub(crate) fn relu_of<T: Real>(x: T) -> T {
    if x > T::zero() { x } else { T::zero() }
}

#[inline(always)]
pub(crate) fn relu6_of<T: Real>(x: T) -> T {
    let (x, six) = (relu_of(x), T::of(6.0));
    if x < six { x } else { six }
}

/// The normal distribution function to 1e-7 (Abramowitz and Stegun, 7.1.26, by symmetry).
#[inline(always)]
pub(crate) fn normal<T: Real>(x: T) -> T {
    normal_from(x, bell(x))
}

/// The slope of GELU: `Phi(x) + x phi(x)`, as precise.
#[inline(always)]
pub(crate) fn gelu_slope<T: Real>(x: T) -> T {
    let bell = bell(x);
    normal_from(x, bell) + x * T::of(0.398_942_280_401_432_7) * bell
}

/// `exp(-x^2 / 2)`.
#[inline(always)]
fn bell<T: Real>(x: T) -> T {
    (T::of(-0.5) * x * x).exp()
}

#[inline(always)]
fn normal_from<T: Real>(x: T, bell: T) -> T {
    let (zero, one, half) = (T::zero(), T::one(), T::of(0.5));
    let positive = x > zero;
    let z = if positive { x } else { zero - x } * T::of(std::f64::consts::FRAC_1_SQRT_2);
    let t = one / (one + T::of(0.327_591_1) * z);
    let tail = T::of(-1.453_152_027) + t * T::of(1.061_405_429);
    let series = t * (T::of(0.254_829_592) + t * (T::of(-0.284_496_736) + t * (T::of(1.421_413_741) + t * tail)));
    let upper = half * series * bell;
    if positive { one - upper } else { upper }
}

/// `max(x, 0)` with gradient 0 at 0 (candle's own has 1 there).
///
/// # Errors
/// When candle fails.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.mul(&x.gt(0.0)?.to_dtype(x.dtype())?)
}

/// `min(max(x, 0), 6)` with gradient 0 at both ends.
///
/// # Errors
/// When candle fails.
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    let inside = x.gt(0.0)?.mul(&x.lt(6.0)?)?.to_dtype(x.dtype())?;
    x.mul(&inside)? + (x.ge(6.0)?.to_dtype(x.dtype())? * 6.0)?
}

/// `x * sigmoid(x)` (swish).
///
/// # Errors
/// When candle fails.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    x.mul(&sigmoid(x)?)
}

/// `1 / (1 + exp(-x))`.
///
/// # Errors
/// When candle fails.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x.neg()?.exp()? + 1.0)?).recip()
}

/// `x Phi(x)` by the error function.
///
/// # Errors
/// When candle fails.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// `x relu6(x + 3) / 6`.
///
/// # Errors
/// When candle fails.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    x.mul(&relu6(&(x + 3.0)?)?)? / 6.0
}

/// Softmax over the last dimension, from operations that have gradients (candle's fused one has none).
///
/// # Errors
/// When candle fails.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    // The maximum is a constant: its gradient cancels.
    let shifted = x.broadcast_sub(&x.max_keepdim(last)?.detach())?;
    let e = shifted.exp()?;
    e.broadcast_div(&e.sum_keepdim(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::{Conv2d, conv2d};
    use candle_core::Device;

    #[test]
    fn gradients_are_those_of_central_differences() {
        let x = random(&[2, 3, 4], 1);
        for f in
            [relu, silu, sigmoid, gelu, hard_swish, softmax, |x: &Tensor| relu6(&(x * 5.0)?), |x: &Tensor| x.tanh()]
        {
            gradient(&x, 1e-6, f);
        }
    }

    #[test]
    fn gradients_at_the_kinks_are_zero() {
        let x = Var::from_tensor(&Tensor::new(&[0f64, 6.0, 3.0, -1.0, 7.0], &Device::Cpu).unwrap()).unwrap();
        let grad = relu6(&x).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(grad.get(&x).unwrap().to_vec1::<f64>().unwrap(), [0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(relu6(&x).unwrap().to_vec1::<f64>().unwrap(), [0.0, 6.0, 3.0, 0.0, 6.0]);
    }

    #[test]
    fn a_result_tells_the_gradient() {
        let x = Var::from_tensor(&(random(&[40], 3) * 9.0).unwrap()).unwrap();
        let g = random(&[40], 4);
        for f in [Activation::None, Activation::Relu, Activation::Relu6] {
            let y = f.apply(&x).unwrap();
            let wanted = y.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
            let got = f.pull_back(&y, &g).unwrap().unwrap();
            assert!(distance(&got, wanted.get(&x).unwrap()) < 1e-12, "{f:?}");
        }
        assert!(Activation::Gelu.pull_back(&x, &g).unwrap().is_none());
    }

    #[test]
    fn gelu_is_x_times_the_normal_distribution() {
        // Phi(1) and Phi(-2), from tables.
        let x = Tensor::new(&[0f64, 1.0, -2.0, 40.0], &Device::Cpu).unwrap();
        let wanted = Tensor::new(&[0f64, 0.841_344_746_068_543, -2.0 * 0.022_750_131_948_179, 40.0], &Device::Cpu);
        assert!(distance(&gelu(&x).unwrap(), &wanted.unwrap()) < 1e-9);
    }

    #[test]
    fn kernels_know_exponentials_and_gelu_to_single_precision() {
        for i in -8000..8000 {
            let x = f64::from(i) * 0.01;
            let exp = f64::from(Real::exp(x as f32)) / f64::from(x as f32).exp() - 1.0;
            assert!(exp.abs() < 4e-7, "exp({x}) is off by {exp:e}");
            let exact = Tensor::new(&[x], &Device::Cpu).unwrap();
            let wanted = gelu(&exact).unwrap().to_vec1::<f64>().unwrap()[0];
            assert!((f64::from(x as f32 * normal(x as f32)) - wanted).abs() < 1e-6 * (1.0 + x.abs()), "gelu({x})");
            let slope = (x + 1e-5).mul_add(normal(x + 1e-5), -((x - 1e-5) * normal(x - 1e-5))) / 2e-5;
            assert!((f64::from(gelu_slope(x as f32)) - slope).abs() < 1e-4, "slope at {x}");
        }
        assert_eq!((Real::exp(-1e30f32), Real::exp(0f32)), (Real::exp(-87f32), 1.0));
    }

    #[test]
    fn without_a_graph_it_is_the_same() {
        let x = (random(&[40], 3) * 9.0).unwrap();
        let single = x.to_dtype(DType::F32).unwrap();
        for f in [Activation::None, Activation::Relu, Activation::Relu6, Activation::Gelu] {
            let wanted = f.apply(&x).unwrap();
            assert_eq!(distance(&f.apply_to_constant(&x).unwrap(), &wanted), 0.0);
            let got = f.apply_to_constant(&single).unwrap().to_dtype(DType::F64).unwrap();
            assert!(distance(&got, &wanted) < 3e-6, "{f:?}");
        }
    }

    #[test]
    fn a_convolution_takes_gelu() {
        let (x, w, b) = (random(&[2, 3, 5, 5], 6), random(&[3, 1, 3, 3], 7), random(&[3], 8));
        let plain = Conv2d { groups: 3, ..Conv2d::default() };
        let bent = Conv2d { activation: Activation::Gelu, ..plain };
        let wanted = gelu(&conv2d(&x, &w, &b, &plain).unwrap()).unwrap();
        assert!(distance(&conv2d(&x, &w, &b, &bent).unwrap(), &wanted) < 1e-12);
        gradient(&x, 1e-6, |x| conv2d(x, &w, &b, &bent));
    }

    #[test]
    fn softmax_survives_large_values() {
        let x = Tensor::new(&[[1000f64, 1000.0, -1000.0]], &Device::Cpu).unwrap();
        assert_eq!(softmax(&x).unwrap().to_vec2::<f64>().unwrap(), [[0.5, 0.5, 0.0]]);
    }

    #[test]
    fn a_gradient_of_another_shape_is_an_error() {
        let (y, g) = (random(&[3], 1), random(&[2], 2));
        assert!(Activation::Relu.pull_back(&y, &g).unwrap_err().to_string().contains("gradient"));
    }
}
