//! Batch norm in training: by the statistics of the batch at hand, a residual and a non-linearity with it.
//!
//! Ioffe and Szegedy, "Batch Normalization" (2015). Conventions are PyTorch's: a batch is normalised by its variance over n,
//! running averages take that over n - 1. Sums of one plane are in the tensors' type, those over planes in f64 and in the
//! order of the pictures: no number of threads changes them.

use std::mem::MaybeUninit;

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::activation::{relu_of, relu6_of};
use super::attention::total;
use super::vector::{Kernel, dispatch};
use super::{Activation, Real, expect_shape, unsupported, with_option, with_values, written};

/// Mean and variance (over n) of every channel of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f64>,
    pub(crate) variance: Vec<f64>,
    /// Values of a channel.
    pub(crate) count: usize,
}

/// What is scaled and shifted, and what happens to it then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine<'a> {
    /// `[channel]`.
    pub(crate) weight: &'a Tensor,
    /// `[channel]`.
    pub(crate) bias: &'a Tensor,
    /// Added to the variance.
    pub(crate) epsilon: f64,
    /// Applied at the end; one that kernels apply.
    pub(crate) activation: Activation,
}

/// The gradients of a batch norm's operands.
#[derive(Debug)]
pub(crate) struct Gradients {
    pub(crate) x: Tensor,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    /// What the residual gets, where there is one.
    pub(crate) residual: Option<Tensor>,
}

/// `activation((x - mean) / sqrt(variance + epsilon) * weight + bias + residual)` with the batch's own moments:
/// x `[batch, channel, ...]`, the residual as large.
pub(crate) fn batch_norm(x: &Tensor, affine: &Affine<'_>, residual: Option<&Tensor>) -> Result<(Tensor, Moments)> {
    check(x, affine)?;
    if let Some(residual) = residual {
        expect_shape("batch norm: the residual", residual, x.dims())?;
    }
    match x.dtype() {
        DType::F32 => run::<f32>(x, affine, residual),
        DType::F64 => run::<f64>(x, affine, residual),
        other => Err(unsupported("batch norm", other)),
    }
}

/// The way back, from the result y and its gradient; `residual` says whether there was one.
pub(crate) fn batch_norm_gradient(
    x: &Tensor,
    affine: &Affine<'_>,
    moments: &Moments,
    (y, gradient): (&Tensor, &Tensor),
    residual: bool,
) -> Result<Gradients> {
    check(x, affine)?;
    expect_shape("batch norm: the result", y, x.dims())?;
    expect_shape("batch norm: the gradient", gradient, x.dims())?;
    match x.dtype() {
        DType::F32 => run_back::<f32>(x, affine, moments, (y, gradient), residual),
        DType::F64 => run_back::<f64>(x, affine, moments, (y, gradient), residual),
        other => Err(unsupported("batch norm", other)),
    }
}

fn check(x: &Tensor, affine: &Affine<'_>) -> Result<()> {
    if x.rank() < 2 || x.elem_count() == 0 {
        candle_core::bail!("batch norm: wanted [batch, channel, ...] with something in it, got {:?}", x.dims())
    }
    if !affine.activation.fuses() {
        candle_core::bail!("batch norm: {:?} is to be applied by itself", affine.activation)
    }
    expect_shape("batch norm: the weight", affine.weight, &x.dims()[1..2])?;
    expect_shape("batch norm: the bias", affine.bias, &x.dims()[1..2])
}

/// Channels, and values of a plane.
fn sizes(x: &Tensor) -> (usize, usize) {
    (x.dims()[1], x.dims()[2..].iter().product())
}

fn to_f64<T: Real>(tensor: &Tensor) -> Result<Vec<f64>> {
    with_values::<T, _>(tensor, |values| Ok(values.iter().map(|v| v.to_f64()).collect()))
}

fn run<T: Real>(x: &Tensor, affine: &Affine<'_>, residual: Option<&Tensor>) -> Result<(Tensor, Moments)> {
    let (channels, size) = sizes(x);
    let (weight, bias) = (to_f64::<T>(affine.weight)?, to_f64::<T>(affine.bias)?);
    let (y, moments) = with_values::<T, _>(x, |x| {
        with_option::<T, _>(residual, |residual| {
            let moments = moments(x, channels, size);
            let scale: Vec<f64> = moments.scales(affine.epsilon).zip(&weight).map(|(s, w)| s * w).collect();
            let shift = bias.iter().zip(&moments.mean).zip(&scale).map(|((b, m), s)| b - m * s);
            let lines: Vec<[T; 2]> = scale.iter().zip(shift).map(|(a, b)| [T::of(*a), T::of(b)]).collect();
            let image = channels * size;
            let y = written(x.len(), |y| {
                y.par_chunks_mut(image).zip(x.par_chunks(image)).enumerate().for_each(|(i, (y, x))| {
                    let residual = residual.map(|r| &r[i * image..][..image]);
                    dispatch(Forward { x, residual, lines: &lines, activation: affine.activation, y });
                });
                Ok(())
            })?;
            Ok((y, moments))
        })
    })?;
    Ok((Tensor::from_vec(y, x.dims(), x.device())?, moments))
}

fn moments<T: Real>(x: &[T], channels: usize, size: usize) -> Moments {
    let mut planes = vec![[0.0; 2]; x.len() / size];
    planes.par_chunks_mut(channels).zip(x.par_chunks(channels * size)).for_each(|(planes, x)| {
        dispatch(PlaneMoments { x, size, planes });
    });
    let images = planes.len() / channels;
    let of = |c: usize, i: usize| planes.iter().skip(c).step_by(channels).map(move |p| p[i]);
    let mean: Vec<f64> = (0..channels).map(|c| of(c, 0).sum::<f64>() / images as f64).collect();
    let variance = |(c, mean): (usize, &f64)| {
        let squares = of(c, 0).zip(of(c, 1)).map(|(m, square)| square + size as f64 * (m - mean) * (m - mean));
        squares.sum::<f64>() / (images * size) as f64
    };
    let variance = mean.iter().enumerate().map(variance).collect();
    Moments { mean, variance, count: images * size }
}

impl Moments {
    /// One over the deviations.
    fn scales(&self, epsilon: f64) -> impl Iterator<Item = f64> + '_ {
        self.variance.iter().map(move |v| 1.0 / (v + epsilon).sqrt())
    }
}

fn run_back<T: Real>(
    x: &Tensor,
    affine: &Affine<'_>,
    moments: &Moments,
    (y, gradient): (&Tensor, &Tensor),
    residual: bool,
) -> Result<Gradients> {
    let ((channels, size), dims) = (sizes(x), x.dims());
    let (mask, image) = (affine.activation != Activation::None, channels * size);
    let weight = to_f64::<T>(affine.weight)?;
    let (to_x, to_residual, [to_weight, to_bias]) = with_values::<T, _>(x, |x| {
        with_option::<T, _>(mask.then_some(y), |y| {
            with_values::<T, _>(gradient, |gradient| {
                let mean: Vec<T> = moments.mean.iter().map(|m| T::of(*m)).collect();
                let back = Back { x, y, gradient, activation: affine.activation, mean: &mean, size };
                let sums = back.sums();
                let scales: Vec<f64> = moments.scales(affine.epsilon).collect();
                let n = moments.count as f64;
                let line = |c: usize| {
                    let slope = sums[c][1] * scales[c] * scales[c] / n;
                    [T::of(weight[c] * scales[c]), T::of(sums[c][0] / n), T::of(slope)]
                };
                let lines: Vec<[T; 3]> = (0..channels).map(line).collect();
                let mut passed = Vec::with_capacity(if residual { x.len() } else { 0 });
                let to_x = written(x.len(), |to| {
                    let spare = &mut passed.spare_capacity_mut()[..if residual { x.len() } else { 0 }];
                    let mut parts: Vec<&mut [MaybeUninit<T>]> = spare.chunks_mut(image).collect();
                    parts.resize_with(x.len() / image, Default::default);
                    to.par_chunks_mut(image).zip(parts).enumerate().for_each(|(i, (to, passed))| {
                        dispatch(ToInput { back: back.image(i, image), lines: &lines, to, passed });
                    });
                    Ok(())
                })?;
                if residual {
                    // SAFETY: its capacity is that of x, and the kernel has written all of it.
                    unsafe { passed.set_len(x.len()) };
                }
                let to_weight = sums.iter().zip(&scales).map(|(sum, scale)| sum[1] * scale).collect();
                Ok((to_x, passed, [to_weight, sums.iter().map(|sum| sum[0]).collect()]))
            })
        })
    })?;
    let residual = residual.then(|| Tensor::from_vec(to_residual, dims, x.device())).transpose()?;
    Ok(Gradients { x: Tensor::from_vec(to_x, dims, x.device())?, weight: to_weight, bias: to_bias, residual })
}

/// Mean, and sum of the squares around it, of every plane of a picture.
struct PlaneMoments<'a, T> {
    x: &'a [T],
    size: usize,
    planes: &'a mut [[f64; 2]],
}

impl<T: Real> Kernel for PlaneMoments<'_, T> {
    #[inline(always)]
    fn run(self) {
        let share = T::of(1.0 / self.size as f64);
        for (x, plane) in self.x.chunks_exact(self.size).zip(self.planes) {
            let mean = total(x, T::zero(), |x| x, |a, b| a + b) * share;
            let squares = total(x, T::zero(), |x| (x - mean) * (x - mean), |a, b| a + b);
            *plane = [mean.to_f64(), squares.to_f64()];
        }
    }
}

/// `activation(x * scale + shift + residual)` of a picture.
struct Forward<'a, T> {
    x: &'a [T],
    residual: Option<&'a [T]>,
    /// Scale and shift of every channel.
    lines: &'a [[T; 2]],
    activation: Activation,
    y: &'a mut [MaybeUninit<T>],
}

impl<T: Real> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        match self.activation {
            Activation::None | Activation::Gelu => self.by(|v| v),
            Activation::Relu => self.by(relu_of),
            Activation::Relu6 => self.by(relu6_of),
        }
    }
}

impl<T: Real> Forward<'_, T> {
    #[inline(always)]
    fn by(self, f: impl Fn(T) -> T) {
        let size = self.x.len() / self.lines.len();
        let planes = self.x.chunks_exact(size).zip(self.y.chunks_exact_mut(size)).zip(self.lines);
        for (c, ((x, y), [scale, shift])) in planes.enumerate() {
            match self.residual {
                None => y.iter_mut().zip(x).for_each(|(y, x)| _ = y.write(f(*x * *scale + *shift))),
                Some(residual) => {
                    let residual = &residual[c * size..][..size];
                    let pairs = x.iter().zip(residual);
                    y.iter_mut().zip(pairs).for_each(|(y, (x, r))| _ = y.write(f(*x * *scale + *shift + *r)));
                }
            }
        }
    }
}

/// What the way back reads; y only where the non-linearity was not flat everywhere.
#[derive(Clone, Copy)]
struct Back<'a, T> {
    x: &'a [T],
    y: Option<&'a [T]>,
    gradient: &'a [T],
    activation: Activation,
    mean: &'a [T],
    /// Values of a plane.
    size: usize,
}

impl<'a, T: Real> Back<'a, T> {
    fn image(&self, i: usize, len: usize) -> Self {
        let part = |values: &'a [T]| &values[i * len..][..len];
        Self { x: part(self.x), y: self.y.map(part), gradient: part(self.gradient), ..*self }
    }

    /// For every channel: the gradient's sum, and that of its products with x less the mean.
    fn sums(&self) -> Vec<[f64; 2]> {
        let (channels, image) = (self.mean.len(), self.mean.len() * self.size);
        let mut planes = vec![[0.0; 2]; self.x.len() / self.size];
        planes.par_chunks_mut(channels).enumerate().for_each(|(i, planes)| {
            dispatch(PlaneSums { back: self.image(i, image), planes });
        });
        let mut sums = vec![[0.0; 2]; channels];
        for planes in planes.chunks_exact(channels) {
            sums.iter_mut().zip(planes).for_each(|(sum, plane)| *sum = [sum[0] + plane[0], sum[1] + plane[1]]);
        }
        sums
    }

    /// Calls `f` with every plane: channel, x, and the gradient past the non-linearity.
    #[inline(always)]
    fn planes(&self, buffer: &mut Vec<T>, mut f: impl FnMut(usize, &[T], &[T])) {
        let (zero, six) = (T::zero(), T::of(6.0));
        for c in 0..self.mean.len() {
            let plane = |values: &'a [T]| &values[c * self.size..][..self.size];
            let (x, gradient) = (plane(self.x), plane(self.gradient));
            let Some(y) = self.y.map(plane) else {
                f(c, x, gradient);
                continue;
            };
            buffer.resize(self.size, zero);
            let triples = buffer.iter_mut().zip(y.iter().zip(gradient));
            if self.activation == Activation::Relu6 {
                triples.for_each(|(b, (y, g))| *b = if *y > zero && *y < six { *g } else { zero });
            } else {
                triples.for_each(|(b, (y, g))| *b = if *y > zero { *g } else { zero });
            }
            f(c, x, buffer);
        }
    }
}

/// See [`Back::sums`], of a picture.
struct PlaneSums<'a, T> {
    back: Back<'a, T>,
    planes: &'a mut [[f64; 2]],
}

impl<T: Real> Kernel for PlaneSums<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { back, planes } = self;
        back.planes(&mut Vec::new(), |c, x, gradient| {
            let (mean, mut lanes) = (back.mean[c], [[T::zero(); 16]; 2]);
            let (xs, x_rest) = x.as_chunks::<16>();
            let (gs, g_rest) = gradient.as_chunks::<16>();
            for (x, g) in xs.iter().zip(gs) {
                for l in 0..16 {
                    lanes[0][l] += g[l];
                    lanes[1][l] += g[l] * (x[l] - mean);
                }
            }
            for (l, (x, g)) in x_rest.iter().zip(g_rest).enumerate() {
                lanes[0][l] += *g;
                lanes[1][l] += *g * (*x - mean);
            }
            planes[c] = lanes.map(|lanes| lanes.into_iter().sum::<T>().to_f64());
        });
    }
}

/// `scale * (g - mean g - (x - mean) * slope)` of a picture, and g itself.
struct ToInput<'a, T> {
    back: Back<'a, T>,
    /// Scale, mean gradient and slope of every channel.
    lines: &'a [[T; 3]],
    to: &'a mut [MaybeUninit<T>],
    /// For g; empty where nobody wants it.
    passed: &'a mut [MaybeUninit<T>],
}

impl<T: Real> Kernel for ToInput<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { back, lines, to, passed } = self;
        back.planes(&mut Vec::new(), |c, x, gradient| {
            let ([scale, level, slope], mean, at) = (lines[c], back.mean[c], c * back.size);
            let to = to[at..at + back.size].iter_mut();
            to.zip(x.iter().zip(gradient)).for_each(|(to, (x, g))| {
                to.write(scale * (*g - level - (*x - mean) * slope));
            });
            if let Some(passed) = passed.get_mut(at..at + back.size) {
                passed.iter_mut().zip(gradient).for_each(|(p, g)| _ = p.write(*g));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, random};
    use crate::ops::to_vec;
    use candle_core::Device;

    const KINDS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Relu6];

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// Out of candle's operations, with its gradients.
    fn composed(x: &Tensor, affine: &Affine<'_>, residual: Option<&Tensor>) -> Tensor {
        let channels = x.dim(1).unwrap();
        let rows = x.transpose(0, 1).unwrap().flatten_from(1).unwrap();
        let mean = rows.mean_keepdim(1).unwrap();
        let centred = rows.broadcast_sub(&mean).unwrap();
        let variance = centred.sqr().unwrap().mean_keepdim(1).unwrap();
        let normal = centred.broadcast_div(&(variance + affine.epsilon).unwrap().sqrt().unwrap()).unwrap();
        let column = |t: &Tensor| t.reshape((channels, 1)).unwrap();
        let y = normal.broadcast_mul(&column(affine.weight)).unwrap().broadcast_add(&column(affine.bias)).unwrap();
        let mut shape = x.dims().to_vec();
        shape.swap(0, 1);
        let y = y.reshape(shape).unwrap().transpose(0, 1).unwrap();
        affine.activation.apply(&residual.map_or_else(|| y.clone(), |r| (&y + r).unwrap())).unwrap()
    }

    #[test]
    fn results_and_gradients_are_those_of_the_definition() {
        for shape in [vec![3, 2, 5, 7], vec![4, 3], vec![2, 3, 20]] {
            for activation in KINDS {
                for with_residual in [false, true] {
                    let var = |t: &Tensor| candle_core::Var::from_tensor(t).unwrap();
                    let x = var(&(random(&shape, 1) * 3.0).unwrap());
                    let (w, b) = (var(&(random(&shape[1..2], 2) * 3.0).unwrap()), var(&random(&shape[1..2], 3)));
                    let r = var(&random(&shape, 4));
                    let affine = Affine { weight: &w, bias: &b, epsilon: 1e-3, activation };
                    let residual = with_residual.then_some(r.as_tensor());
                    let wanted = composed(&x, &affine, residual);
                    let g = random(&shape, 5);
                    let slopes = wanted.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
                    let (y, moments) = batch_norm(&x, &affine, residual).unwrap();
                    assert!(distance(&y, &wanted) < 1e-12, "{shape:?} {activation:?}");
                    let got = batch_norm_gradient(&x, &affine, &moments, (&y, &g), with_residual).unwrap();
                    assert!(distance(&got.x, slopes.get(&x).unwrap()) < 1e-10, "{shape:?} {activation:?}");
                    assert!(distance(&tensor(&got.weight), slopes.get(&w).unwrap()) < 1e-10);
                    assert!(distance(&tensor(&got.bias), slopes.get(&b).unwrap()) < 1e-10);
                    assert_eq!(got.residual.is_some(), with_residual);
                    if let Some(to_residual) = got.residual {
                        assert!(distance(&to_residual, slopes.get(&r).unwrap()) < 1e-12);
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (x, w, b) = (random(&[2, 2, 3, 2], 1), random(&[2], 2), random(&[2], 3));
        let projection = random(x.dims(), 4);
        let affine = Affine { weight: &w, bias: &b, epsilon: 1e-5, activation: Activation::None };
        let value = |x: &Tensor| {
            let y = batch_norm(x, &affine, None).unwrap().0;
            y.mul(&projection).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
        };
        let (y, moments) = batch_norm(&x, &affine, None).unwrap();
        let got = to_vec::<f64>(&batch_norm_gradient(&x, &affine, &moments, (&y, &projection), false).unwrap().x);
        let (base, h) = (to_vec::<f64>(&x).unwrap(), 1e-6);
        for (i, got) in got.unwrap().into_iter().enumerate() {
            let at = |delta: f64| {
                let mut moved = base.clone();
                moved[i] += delta;
                value(&Tensor::from_vec(moved, x.dims(), &Device::Cpu).unwrap())
            };
            assert!((got - (at(h) - at(-h)) / (2.0 * h)).abs() < 1e-7, "entry {i}");
        }
    }

    fn affine<'a>(weight: &'a Tensor, bias: &'a Tensor) -> Affine<'a> {
        Affine { weight, bias, epsilon: 1e-5, activation: Activation::Relu }
    }

    #[test]
    fn single_precision_survives_a_mean_far_from_zero() {
        let x = (random(&[8, 3, 14, 14], 1) + 100.0).unwrap();
        let (w, b) = (random(&[3], 2), random(&[3], 3));
        let (wanted, exact) = batch_norm(&x, &affine(&w, &b), None).unwrap();
        let [x, w, b] = [&x, &w, &b].map(|t| t.to_dtype(DType::F32).unwrap());
        let (got, moments) = batch_norm(&x, &affine(&w, &b), None).unwrap();
        assert!(distance(&got.to_dtype(DType::F64).unwrap(), &wanted) < 1e-4);
        assert!(moments.variance.iter().zip(&exact.variance).all(|(a, b)| (a / b - 1.0).abs() < 1e-4));
    }

    #[test]
    fn threads_change_no_byte_and_shapes_that_do_not_fit_are_refused() {
        let [x, w, b] = [random(&[5, 3, 9, 9], 1), random(&[3], 2), random(&[3], 3)];
        let affine = Affine { weight: &w, bias: &b, epsilon: 1e-5, activation: Activation::Relu };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (y, moments) = batch_norm(&x, &affine, None).unwrap();
                let back = batch_norm_gradient(&x, &affine, &moments, (&y, &x), true).unwrap();
                (to_vec::<f64>(&y).unwrap(), to_vec::<f64>(&back.x).unwrap(), back.weight, back.bias)
            })
        };
        assert_eq!(run(1), run(2));
        assert!(batch_norm(&x, &Affine { weight: &random(&[4], 1), ..affine }, None).is_err());
        assert!(batch_norm(&x, &affine, Some(&random(&[5, 3, 9, 8], 1))).is_err());
        assert!(batch_norm(&x, &Affine { activation: Activation::Gelu, ..affine }, None).is_err());
        assert!(batch_norm(&x.narrow(0, 0, 0).unwrap(), &affine, None).is_err());
    }
}
