//! Pictures as spectra: a step then changes all frequencies by their share, and no checkerboards win (Olah et al. 2017,
//! "Preconditioning and Parameterization"; Lucid, `optvis/param/spatial.py`, `fft_image`).
//!
//! The inverse real transform is two matrix products with fixed cosines and sines.

use std::f64::consts::TAU;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::super::function::{self, Function, constant};
use super::{Parameter, noise};
use crate::ops::Real;
use crate::ops::product::{Matrix, multiply};
use crate::seed::Seed;

/// Standard deviation of the first coefficients.
const DEVIATION: f64 = 0.01;
/// Lucid divides its pictures by this.
const DIVISOR: f64 = 4.0;

/// The map from half spectra to pictures of one size.
#[derive(Debug, Clone)]
pub struct Fourier(Arc<Tables>);

#[derive(Debug)]
struct Tables {
    channels: usize,
    height: usize,
    width: usize,
    /// Weight of every coefficient, `[height, half]`: `1 / max(frequency, 1 / max(height, width))^decay`.
    scale: Vec<f64>,
    /// `[2 height, 2 height]`: the complex transform over rows, real above imaginary.
    rows: Vec<f64>,
    /// `[2 half, width]`: the real transform over columns, with the weight of mirrored halves and the orthonormal factor.
    columns: Vec<f64>,
}

impl Fourier {
    /// For pictures `[channel, height, width]`; `decay` 1 is that of natural pictures, 0 none. A series has height 1.
    pub fn new([channels, height, width]: [usize; 3], decay: f64) -> Self {
        let half = width / 2 + 1;
        let folded = |k: usize, n: usize| k.min(n - k) as f64 / n as f64;
        let lowest = 1.0 / height.max(width).max(1) as f64;
        let scale = (0..height * half).map(|i| {
            let (y, x) = (folded(i / half, height), (i % half) as f64 / width as f64);
            y.hypot(x).max(lowest).powf(-decay)
        });
        let scale = scale.collect();
        let (rows, columns) = (row_table(height), column_table(height, width));
        Self(Arc::new(Tables { channels, height, width, scale, rows, columns }))
    }

    /// Shape of the coefficients of one picture: `[channel, 2, height, width / 2 + 1]`; real, then imaginary.
    fn coefficients(&self) -> [usize; 4] {
        [self.0.channels, 2, self.0.height, self.0.width / 2 + 1]
    }
}

impl Parameter for Fourier {
    fn shape(&self) -> Vec<usize> {
        self.coefficients().to_vec()
    }

    /// Normal numbers of standard deviation 0.01.
    fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        noise(self.coefficients().iter().product(), DEVIATION, seed, name)
    }

    fn apply(&self, spectrum: &Tensor) -> Result<Tensor> {
        function::apply(spectrum, self.clone())
    }

    /// The forward transform, without the weights. It follows from the transpose, which has every weight once more.
    fn invert(&self, plain: &[f32]) -> Option<Vec<f32>> {
        let (scale, half) = (&self.0.scale, self.0.half());
        let plain: Vec<f64> = plain.iter().map(|v| f64::from(*v)).collect();
        let transposed = self.backward(&plain, &plain);
        let of = |(i, v): (usize, &f64)| {
            let weight = copies(i % half, self.0.width) * scale[i % scale.len()].powi(2);
            (v * DIVISOR * DIVISOR / weight) as f32
        };
        Some(transposed.iter().enumerate().map(of).collect())
    }
}

/// How many coefficients of the full spectrum one of the half spectrum stands for: all but those of the first and the middle
/// column stand for their mirror too.
fn copies(column: usize, width: usize) -> f64 {
    if column == 0 || 2 * column == width { 1.0 } else { 2.0 }
}

/// `e^(i a) (re + i im)` as a real matrix: `[[cos, -sin], [sin, cos]]`.
fn row_table(height: usize) -> Vec<f64> {
    let mut table = vec![0.0; 4 * height * height];
    for y in 0..height {
        for k in 0..height {
            let (sin, cos) = (TAU * (y * k % height) as f64 / height as f64).sin_cos();
            table[y * 2 * height + k] = cos;
            table[y * 2 * height + height + k] = -sin;
            table[(height + y) * 2 * height + k] = sin;
            table[(height + y) * 2 * height + height + k] = cos;
        }
    }
    table
}

/// Real part of the transform of a half row.
fn column_table(height: usize, width: usize) -> Vec<f64> {
    let half = width / 2 + 1;
    let unit = 1.0 / ((height * width) as f64).sqrt() / DIVISOR;
    let mut table = vec![0.0; 2 * half * width];
    for k in 0..half {
        let weight = copies(k, width) * unit;
        for x in 0..width {
            let (sin, cos) = (TAU * (k * x % width) as f64 / width as f64).sin_cos();
            table[k * width + x] = weight * cos;
            table[(half + k) * width + x] = -weight * sin;
        }
    }
    table
}

/// The tables in the type at hand.
struct Typed<T> {
    scale: Vec<T>,
    rows: Vec<T>,
    columns: Vec<T>,
}

impl<T: Real> Typed<T> {
    /// Coefficients `[2, height, half]` by their weights.
    fn scaled(&self, spectrum: &[T]) -> Vec<T> {
        spectrum.iter().zip(self.scale.iter().cycle()).map(|(v, s)| *v * *s).collect()
    }
}

impl Tables {
    fn typed<T: Real>(&self) -> Typed<T> {
        let cast = |values: &[f64]| values.iter().map(|v| T::of(*v)).collect::<Vec<T>>();
        Typed { scale: cast(&self.scale), rows: cast(&self.rows), columns: cast(&self.columns) }
    }

    fn half(&self) -> usize {
        self.width / 2 + 1
    }

    /// One plane `[height, width]` of its coefficients `[2, height, half]`.
    fn plane<T: Real>(&self, tables: &Typed<T>, spectrum: &[T], out: &mut [T]) {
        let (height, half) = (self.height, self.half());
        let scaled = tables.scaled(spectrum);
        let right = Matrix::new(&scaled, 2 * height, half);
        // Real and imaginary parts side by side, so that the second step is one product.
        let mut middle = vec![T::zero(); height * 2 * half];
        let (real, imaginary) = tables.rows.split_at(2 * height * height);
        multiply(&Matrix::new(real, height, 2 * height), &right, &mut middle, 2 * half);
        multiply(&Matrix::new(imaginary, height, 2 * height), &right, &mut middle[half..], 2 * half);
        let columns = Matrix::new(&tables.columns, 2 * half, self.width);
        multiply(&Matrix::new(&middle, height, 2 * half), &columns, out, self.width);
    }

    /// The transpose of [`Tables::plane`].
    fn transposed<T: Real>(&self, tables: &Typed<T>, gradient: &[T], out: &mut [T]) {
        let (height, half) = (self.height, self.half());
        let gradient = Matrix::new(gradient, height, self.width);
        let mut middle = vec![T::zero(); 2 * height * half];
        let (real, imaginary) = tables.columns.split_at(half * self.width);
        let (above, below) = middle.split_at_mut(height * half);
        multiply(&gradient, &Matrix::new(real, half, self.width).transposed(), above, half);
        multiply(&gradient, &Matrix::new(imaginary, half, self.width).transposed(), below, half);
        let rows = Matrix::new(&tables.rows, 2 * height, 2 * height).transposed();
        multiply(&rows, &Matrix::new(&middle, 2 * height, half), out, half);
        let scaled = tables.scaled(out);
        out.copy_from_slice(&scaled);
    }
}

impl Function for Fourier {
    const NAME: &'static str = "cavern-fourier";

    fn shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        let wanted = self.coefficients();
        if x.len() != 5 || x[1..] != wanted {
            candle_core::bail!("{}: wanted [batch, {wanted:?}], got {x:?}", Self::NAME)
        }
        Ok(vec![x[0], self.0.channels, self.0.height, self.0.width])
    }

    fn forward<T: Real>(&self, x: &[T]) -> Vec<T> {
        let tables = self.0.typed::<T>();
        let plane = self.0.height * self.0.width;
        let spectrum = 2 * self.0.scale.len();
        let mut y = vec![T::zero(); x.len() / spectrum * plane];
        let planes = y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(spectrum));
        planes.for_each(|(y, x)| self.0.plane(&tables, x, y));
        y
    }

    fn backward<T: Real>(&self, y: &[T], gradient: &[T]) -> Vec<T> {
        let tables = self.0.typed::<T>();
        let plane = self.0.height * self.0.width;
        let spectrum = 2 * self.0.scale.len();
        let mut x = vec![T::zero(); y.len() / plane * spectrum];
        let planes = x.par_chunks_exact_mut(spectrum).zip(gradient.par_chunks_exact(plane));
        planes.for_each(|(x, g)| self.0.transposed(&tables, g, x));
        x
    }

    fn composed(self, x: &Tensor) -> Result<Tensor> {
        let (height, half, channels) = (self.0.height, self.0.half(), self.0.channels);
        let planes = channels * x.dim(0)?;
        let scaled = x.broadcast_mul(&constant(&self.0.scale, &[height, half], x)?)?;
        let rows = constant(&self.0.rows, &[1, 2 * height, 2 * height], x)?;
        let rows = rows.broadcast_as((planes, 2 * height, 2 * height))?;
        let middle = rows.matmul(&scaled.reshape((planes, 2 * height, half))?)?;
        // Real and imaginary parts side by side.
        let middle = Tensor::cat(&[middle.narrow(1, 0, height)?, middle.narrow(1, height, height)?], 2)?;
        let columns = constant(&self.0.columns, &[2 * half, self.0.width], x)?;
        let pictures = middle.reshape((planes * height, 2 * half))?.matmul(&columns)?;
        pictures.reshape((planes / channels, channels, height, self.0.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::composed::force;
    use candle_core::Device;

    /// The inverse transform from its definition, over the full mirrored spectrum.
    fn plain(spectrum: &[f64], height: usize, width: usize, decay: f64) -> Vec<f64> {
        let half = width / 2 + 1;
        let frequency = |k: usize, n: usize| k.min(n - k) as f64 / n as f64;
        let mut out = vec![0.0; height * width];
        for (i, out) in out.iter_mut().enumerate() {
            let (y, x) = (i / width, i % width);
            for k in 0..height {
                for l in 0..width {
                    // S[-k, -l] is the conjugate of S[k, l]; in the first and middle columns only the part that has
                    // that symmetry counts.
                    let mirror = l >= half;
                    let (row, column) = if mirror { ((height - k) % height, width - l) } else { (k, l) };
                    let at = row * half + column;
                    let (re, im) = (spectrum[at], spectrum[height * half + at] * if mirror { -1.0 } else { 1.0 });
                    let low = 1.0 / height.max(width) as f64;
                    let scale = frequency(k, height).hypot(frequency(l, width)).max(low).powf(-decay);
                    let (sin, cos) = (TAU * ((k * y) as f64 / height as f64 + (l * x) as f64 / width as f64)).sin_cos();
                    *out += scale * (re * cos - im * sin);
                }
            }
            *out /= ((height * width) as f64).sqrt() * 4.0;
        }
        out
    }

    #[test]
    fn pictures_are_those_of_the_plain_transform() {
        for (channels, height, width, decay) in
            [(3, 6, 8, 1.0), (1, 5, 7, 1.0), (3, 8, 8, 0.0), (3, 1, 1, 1.0), (2, 1, 9, 1.0)]
        {
            let x = random(&[2, channels, 2, height, width / 2 + 1], 1);
            let y = Fourier::new([channels, height, width], decay).apply(&x).unwrap();
            let spectra = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let wanted: Vec<f64> =
                spectra.chunks(2 * height * (width / 2 + 1)).flat_map(|s| plain(s, height, width, decay)).collect();
            let wanted = Tensor::from_vec(wanted, (2, channels, height, width), &Device::Cpu).unwrap();
            assert!(distance(&y, &wanted) < 1e-12, "{height} {width}");
        }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for (height, width) in [(4, 6), (5, 3)] {
            let fourier = Fourier::new([3, height, width], 1.0);
            gradient(&random(&[1, 3, 2, height, width / 2 + 1], 2), 1e-6, |x| fourier.apply(x));
        }
    }

    #[test]
    fn the_composed_form_agrees() {
        for (height, width) in [(4, 6), (5, 3)] {
            let (fourier, x) = (Fourier::new([3, height, width], 1.0), random(&[2, 3, 2, height, width / 2 + 1], 2));
            assert!(distance(&fourier.apply(&x).unwrap(), &force(|| fourier.apply(&x)).unwrap()) < 1e-12);
            force(|| gradient(&x, 1e-6, |x| fourier.apply(x)));
        }
    }

    #[test]
    fn noise_is_small_and_named() {
        let fourier = Fourier::new([3, 32, 32], 1.0);
        let noise = fourier.start(Seed(1), "a");
        let deviation = (noise.iter().map(|v| v * v).sum::<f32>() / noise.len() as f32).sqrt();
        assert!((deviation - 0.01).abs() < 5e-4, "{deviation}");
        assert_eq!(noise, fourier.start(Seed(1), "a"));
        assert_ne!(noise, fourier.start(Seed(1), "b"));
        assert!(fourier.apply(&random(&[1, 3, 2, 32, 16], 1)).is_err());
    }
}
