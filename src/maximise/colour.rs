//! From decorrelated colours to a network's input.
//!
//! Lucid's matrix is the square root of ImageNet's colour covariance; in its coordinates the three channels of natural
//! pictures do not correlate, so that a step is of one size along brightness and along colour.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::function::{self, Function, constant};
use crate::dataset::preprocess::Preprocess;
use crate::ops::Real;
use crate::ops::activation::sigmoid;

/// Rows: red, green, blue; columns: the decorrelated channels (Lucid, `optvis/param/color.py`).
const CORRELATION: [[f64; 3]; 3] = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]];

/// Pixels that one task works on.
const CHUNK: usize = 4096;

/// What happens to values in (0, 1): `(value - mean) / std` by channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    mean: [f64; 3],
    std: [f64; 3],
}

impl Colour {
    /// Pictures themselves, values in (0, 1).
    pub const PICTURE: Self = Self { mean: [0.0; 3], std: [1.0; 3] };

    /// The input of a network.
    pub fn input(preprocess: &Preprocess) -> Self {
        Self { mean: preprocess.mean.map(f64::from), std: preprocess.std.map(f64::from) }
    }

    /// A grey level in \[0, 1\] as the network sees it.
    pub fn grey(&self, level: f64) -> [f64; 3] {
        [0, 1, 2].map(|c| (level - self.mean[c]) / self.std[c])
    }

    /// `(sigmoid(M x) - mean) / std` by pixel: `[batch, 3, height, width]` to the same shape.
    ///
    /// # Errors
    /// When there are not three channels.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        function::apply(x, ToInput { colour: *self, plane: height * width })
    }
}

/// The matrix divided by the largest norm of its columns.
fn matrix<T: Real>() -> [[T; 3]; 3] {
    let norm = |c: usize| CORRELATION.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
    let largest = norm(0).max(norm(1)).max(norm(2));
    CORRELATION.map(|row| row.map(|v| T::of(v / largest)))
}

struct ToInput {
    colour: Colour,
    plane: usize,
}

impl ToInput {
    /// Calls `pixel(from, to)` for every pixel of every picture, in parallel; both are its three values.
    fn for_each_pixel<T: Real>(&self, from: &[T], out: &mut [T], pixel: impl Fn([T; 3], &mut [T; 3]) + Sync) {
        let pictures = from.par_chunks_exact(3 * self.plane).zip(out.par_chunks_exact_mut(3 * self.plane));
        pictures.for_each(|(from, out)| {
            let (red, rest) = out.split_at_mut(self.plane);
            let (green, blue) = rest.split_at_mut(self.plane);
            let chunks = red.par_chunks_mut(CHUNK).zip(green.par_chunks_mut(CHUNK)).zip(blue.par_chunks_mut(CHUNK));
            chunks.enumerate().for_each(|(chunk, ((red, green), blue))| {
                for (i, ((r, g), b)) in red.iter_mut().zip(green).zip(blue).enumerate() {
                    let at = chunk * CHUNK + i;
                    let mut to = [T::zero(); 3];
                    pixel([from[at], from[self.plane + at], from[2 * self.plane + at]], &mut to);
                    [*r, *g, *b] = to;
                }
            });
        });
    }
}

impl Function for ToInput {
    const NAME: &'static str = "cavern-colour";

    fn shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        match x {
            [_, 3, ..] => Ok(x.to_vec()),
            _ => candle_core::bail!("{}: wanted [batch, 3, height, width], got {x:?}", Self::NAME),
        }
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (m, one) = (matrix::<T>(), T::one());
        let (mean, std) = (self.colour.mean.map(T::of), self.colour.std.map(T::of));
        let mut y = vec![T::zero(); x.len()];
        self.for_each_pixel(x, &mut y, |x, y| {
            for c in 0..3 {
                let v = m[c][0] * x[0] + m[c][1] * x[1] + m[c][2] * x[2];
                let s = one / (one + T::of((-v.to_f64()).exp()));
                y[c] = (s - mean[c]) / std[c];
            }
        });
        y
    }

    fn backward<T: Real>(&self, y: &[T], gradient: &[T]) -> Vec<T> {
        let (m, one) = (matrix::<T>(), T::one());
        let (mean, std) = (self.colour.mean.map(T::of), self.colour.std.map(T::of));
        // The derivative of the sigmoid follows from its value: first `d loss / d (M x)`, then the transposed matrix.
        let mut inner: Vec<T> = Vec::new();
        y.par_iter()
            .zip(gradient)
            .enumerate()
            .map(|(i, (y, g))| {
                let c = i / self.plane % 3;
                let s = *y * std[c] + mean[c];
                *g * s * (one - s) / std[c]
            })
            .collect_into_vec(&mut inner);
        let mut to_x = vec![T::zero(); y.len()];
        self.for_each_pixel(&inner, &mut to_x, |g, x| {
            for c in 0..3 {
                x[c] = m[0][c] * g[0] + m[1][c] * g[1] + m[2][c] * g[2];
            }
        });
        to_x
    }

    fn composed(self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let matrix = constant(matrix::<f64>().as_flattened(), &[1, 3, 3], x)?.broadcast_as((batch, 3, 3))?;
        let level = sigmoid(&matrix.matmul(&x.flatten_from(2)?)?)?;
        let by_channel = |values: &[f64; 3]| constant(values, &[1, 3, 1], x);
        let centred = level.broadcast_sub(&by_channel(&self.colour.mean)?)?;
        centred.broadcast_div(&by_channel(&self.colour.std)?)?.reshape(x.dims())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;
    use candle_core::{Device, Tensor};

    const INPUT: Colour = Colour { mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 0.75] };

    #[test]
    fn the_matrix_is_lucids() {
        // numpy: m / np.max(np.linalg.norm(m, axis=0)), whose divisor is 0.46195...
        let m = matrix::<f64>();
        assert!((m[0][0] - 0.26 / 0.461_952_378_5).abs() < 1e-6, "{m:?}");
        assert_eq!(m[1][1], 0.0);
    }

    #[test]
    fn zero_is_middle_grey() {
        let x = Tensor::zeros((1, 3, 2, 2), candle_core::DType::F64, &Device::Cpu).unwrap();
        let y = INPUT.apply(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (y, grey) in y.chunks(4).zip(INPUT.grey(0.5)) {
            assert_eq!(y, [grey; 4]);
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        gradient(&random(&[2, 3, 3, 5], 1), 1e-6, |x| INPUT.apply(&(x * 3.0)?));
        gradient(&random(&[1, 3, 2, 2], 2), 1e-6, |x| Colour::PICTURE.apply(x));
        assert!(Colour::PICTURE.apply(&random(&[1, 2, 2, 2], 1)).is_err());
    }

    #[test]
    fn the_composed_form_agrees() {
        let x = (random(&[2, 3, 3, 5], 1) * 3.0).unwrap();
        assert!(distance(&INPUT.apply(&x).unwrap(), &force(|| INPUT.apply(&x)).unwrap()) < 1e-12);
        force(|| gradient(&x, 1e-6, |x| INPUT.apply(x)));
    }
}
