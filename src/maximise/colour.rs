//! From decorrelated channels to a network's input.
//!
//! Lucid's matrix is the square root of ImageNet's colour covariance; in its coordinates the three channels of natural
//! pictures do not correlate, so that a step is of one size along brightness and along colour. For other data the square
//! root of their own channels' covariance does the same.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::function::{self, Function, constant};
use crate::dataset::preprocess::Preprocess;
use crate::ops::Real;
use crate::ops::activation::sigmoid;
use crate::small::{inverse, square_root};

/// Rows: red, green, blue; columns: the decorrelated channels (Lucid, `optvis/param/color.py`).
const CORRELATION: [[f64; 3]; 3] = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]];

/// Values of a given picture keep at least this distance from 0 and 1: half a level of eight bits.
const EDGE: f64 = 0.5 / 255.0;

/// An inverse with a value above this is rounding: the largest column of M has norm 1.
const SINGULAR: f64 = 1e6;

/// What happens to plain values: `(sigmoid(M x) - mean) / std` by channel.
#[derive(Debug, Clone)]
pub struct Colour(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    /// M, `[channel, channel]`; its largest column has norm 1.
    matrix: Vec<f64>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Colour {
    /// Channels as they are: M is the identity.
    pub fn plain(channels: usize) -> Self {
        let matrix = (0..channels * channels).map(|i| f64::from(u8::from(i % (channels + 1) == 0)));
        Self::by_matrix(matrix.collect(), channels)
    }

    /// Lucid's colours of natural pictures; networks of other than three channels have [`Colour::plain`] ones.
    pub fn natural(channels: usize) -> Self {
        if channels == 3 { Self::by_matrix(CORRELATION.as_flattened().to_vec(), 3) } else { Self::plain(channels) }
    }

    /// Those of data with this covariance `[channel, channel]` of their channels: M is its square root.
    pub fn of_covariance(covariance: &[f64], channels: usize) -> Self {
        Self::by_matrix(square_root(covariance, channels), channels)
    }

    fn by_matrix(mut matrix: Vec<f64>, channels: usize) -> Self {
        let norm = |c: usize| matrix.iter().skip(c).step_by(channels).map(|v| v * v).sum::<f64>().sqrt();
        let largest = (0..channels).map(norm).fold(0.0, f64::max);
        if largest > 0.0 {
            matrix.iter_mut().for_each(|v| *v /= largest);
        }
        Self(Arc::new(Tables { matrix, mean: vec![0.0; channels], std: vec![1.0; channels] }))
    }

    /// The same colours as the input of a network; this one's are pictures, values in (0, 1). Preprocessing tells of three
    /// channels, and of a network with another number the first for all.
    #[must_use]
    pub fn input(&self, preprocess: &Preprocess) -> Self {
        let channels = self.channels();
        let scale = |c: usize| preprocess.scale_of(c, channels);
        let (mean, std) = (0..channels).map(scale).map(|(mean, std)| (f64::from(mean), f64::from(std))).unzip();
        Self(Arc::new(Tables { matrix: self.0.matrix.clone(), mean, std }))
    }

    /// Turns a picture `[channel, height, width]` into decorrelated channels, the inverse of M; as it is where M has none.
    pub fn decorrelate(&self, picture: &[f32]) -> Vec<f32> {
        let channels = self.channels();
        let Some(inverse) = inverse(&self.0.matrix, channels) else { return picture.to_vec() };
        let plane = picture.len() / channels.max(1);
        let mut out = vec![0f32; picture.len()];
        for (channel, out) in out.chunks_exact_mut(plane.max(1)).enumerate() {
            for (other, from) in picture.chunks_exact(plane.max(1)).enumerate() {
                let factor = inverse[channel * channels + other] as f32;
                out.iter_mut().zip(from).for_each(|(o, v)| *o += factor * v);
            }
        }
        out
    }

    /// The plain values that give a picture `[channel, height, width]` of values in \[0, 1\], which are moved a little away
    /// from 0 and 1: nothing finite gives those. `None` where M has no inverse.
    pub fn invert(&self, picture: &[f32]) -> Option<Vec<f32>> {
        inverse(&self.0.matrix, self.channels()).filter(|m| m.iter().all(|v| v.abs() < SINGULAR))?;
        let logit = |v: &f32| {
            let v = f64::from(*v).clamp(EDGE, 1.0 - EDGE);
            (v / (1.0 - v)).ln() as f32
        };
        Some(self.decorrelate(&picture.iter().map(logit).collect::<Vec<_>>()))
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.0.mean.len()
    }

    /// A level in \[0, 1\] as the network sees it, by channel.
    pub fn grey(&self, level: f64) -> Vec<f64> {
        self.0.mean.iter().zip(&self.0.std).map(|(mean, std)| (level - mean) / std).collect()
    }

    /// `(sigmoid(M x) - mean) / std` by pixel: `[batch, channel, height, width]` to the same shape.
    ///
    /// # Errors
    /// When there are other channels.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        function::apply(x, ToInput { tables: self.0.clone(), plane: height * width })
    }
}

struct ToInput {
    tables: Arc<Tables>,
    plane: usize,
}

impl ToInput {
    fn channels(&self) -> usize {
        self.tables.mean.len()
    }

    /// For every plane of the result, the sum of its picture's planes weighted by `weight(plane, other)`, and then
    /// `finish(channel, value)`.
    fn mix<T: Real>(
        &self,
        x: &[T],
        weight: impl Fn(usize, usize) -> f64 + Sync,
        finish: impl Fn(usize, T) -> T + Sync,
    ) -> Vec<T> {
        let (channels, plane) = (self.channels(), self.plane);
        let mut out = vec![T::zero(); x.len()];
        out.par_chunks_mut(plane.max(1)).enumerate().for_each(|(i, out)| {
            let (picture, channel) = (i / channels, i % channels);
            for other in 0..channels {
                let factor = T::of(weight(channel, other));
                let from = &x[(picture * channels + other) * plane..][..plane];
                out.iter_mut().zip(from).for_each(|(o, v)| *o += factor * *v);
            }
            out.iter_mut().for_each(|o| *o = finish(channel, *o));
        });
        out
    }
}

impl Function for ToInput {
    const NAME: &'static str = "cavern-colour";

    fn shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        if x.len() < 2 || x[1] != self.channels() {
            candle_core::bail!("{}: wanted [batch, {}, height, width], got {x:?}", Self::NAME, self.channels())
        }
        Ok(x.to_vec())
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (tables, channels, one) = (&self.tables, self.channels(), T::one());
        let level = |c: usize, v: T| {
            let s = one / (one + T::of((-v.to_f64()).exp()));
            (s - T::of(tables.mean[c])) / T::of(tables.std[c])
        };
        self.mix(x, |channel, other| tables.matrix[channel * channels + other], level)
    }

    fn backward<T: Real>(&self, y: &[T], gradient: &[T]) -> Vec<T> {
        let (tables, channels, one) = (&self.tables, self.channels(), T::one());
        // The derivative of the sigmoid follows from its value: first `d loss / d (M x)`, then the transposed matrix.
        let mut inner: Vec<T> = Vec::new();
        y.par_iter()
            .zip(gradient)
            .enumerate()
            .map(|(i, (y, g))| {
                let c = i / self.plane % channels;
                let s = *y * T::of(tables.std[c]) + T::of(tables.mean[c]);
                *g * s * (one - s) / T::of(tables.std[c])
            })
            .collect_into_vec(&mut inner);
        self.mix(&inner, |channel, other| tables.matrix[other * channels + channel], |_, v| v)
    }

    fn composed(self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, self.channels());
        let matrix = constant(&self.tables.matrix, &[1, channels, channels], x)?;
        let matrix = matrix.broadcast_as((batch, channels, channels))?.contiguous()?;
        let level = sigmoid(&matrix.matmul(&x.flatten_from(2)?)?)?;
        let by_channel = |values: &[f64]| constant(values, &[1, channels, 1], x);
        let centred = level.broadcast_sub(&by_channel(&self.tables.mean)?)?;
        centred.broadcast_div(&by_channel(&self.tables.std)?)?.reshape(x.dims())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::preprocess::Filter;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;
    use candle_core::{Device, Tensor};

    fn input() -> Colour {
        let preprocess =
            Preprocess { size: 4, filter: Filter::Nearest, crop: None, mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 0.75] };
        Colour::natural(3).input(&preprocess)
    }

    #[test]
    fn the_matrix_is_lucids() {
        // numpy: m / np.max(np.linalg.norm(m, axis=0)), whose divisor is 0.46195...
        let m = &Colour::natural(3).0.matrix;
        assert!((m[0] - 0.26 / 0.461_952_378_5).abs() < 1e-6, "{m:?}");
        assert_eq!(m[4], 0.0);
        assert_eq!(Colour::natural(2).0.matrix, [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn fitted_channels_have_the_datas_covariance() {
        let covariance = [4.0, 1.0, 1.0, 2.0];
        let m = &Colour::of_covariance(&covariance, 2).0.matrix;
        // M M^T is the covariance up to the factor that makes the largest column one.
        let product = |i: usize, j: usize| m[2 * i] * m[2 * j] + m[2 * i + 1] * m[2 * j + 1];
        let factor = product(0, 0) / covariance[0];
        assert!((product(0, 1) - factor).abs() < 1e-12 && (product(1, 1) - 2.0 * factor).abs() < 1e-12, "{m:?}");
    }

    #[test]
    fn zero_is_middle_grey() {
        let x = Tensor::zeros((1, 3, 2, 2), candle_core::DType::F64, &Device::Cpu).unwrap();
        let y = input().apply(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (y, grey) in y.chunks(4).zip(input().grey(0.5)) {
            assert!(y.iter().all(|y| (y - grey).abs() < 1e-6), "{y:?} {grey}");
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        gradient(&random(&[2, 3, 3, 5], 1), 1e-6, |x| input().apply(&(x * 3.0)?));
        gradient(&random(&[1, 5, 1, 4], 2), 1e-6, |x| Colour::plain(5).apply(x));
        assert!(Colour::natural(3).apply(&random(&[1, 2, 2, 2], 1)).is_err());
    }

    #[test]
    fn the_composed_form_agrees() {
        let x = (random(&[2, 3, 3, 5], 1) * 3.0).unwrap();
        assert!(distance(&input().apply(&x).unwrap(), &force(|| input().apply(&x)).unwrap()) < 1e-12);
        force(|| gradient(&x, 1e-6, |x| input().apply(x)));
    }
}
