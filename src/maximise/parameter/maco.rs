//! Phases alone (MaCo; Fel et al. 2023, "Unlocking feature visualization for deeper networks with magnitude constrained
//! optimization"): every frequency keeps the magnitude that it has in data, so that no picture can be made of noise.

use candle_core::{Result, Tensor};

use super::fourier::Fourier;
use super::{Parameter, noise};
use crate::maximise::spectrum::Spectrum;
use crate::seed::Seed;

/// A standard deviation below which a picture is taken for flat.
const FLAT: f64 = 1e-6;

/// One phase a frequency and channel; pictures have mean 0 and standard deviation 1.
#[derive(Debug, Clone)]
pub struct Maco {
    fourier: Fourier,
    /// `[channel, height, width / 2 + 1]`.
    magnitude: Vec<f32>,
    shape: [usize; 3],
}

impl Maco {
    /// Under the mean magnitudes of data.
    pub fn new(spectrum: &Spectrum) -> Self {
        let [channels, height, width] = spectrum.shape();
        let fourier = Fourier::new([channels, height, width], 0.0);
        Self { fourier, magnitude: spectrum.magnitudes().to_vec(), shape: [channels, height, width / 2 + 1] }
    }
}

impl Parameter for Maco {
    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    /// Phases of normal numbers with standard deviation 1.
    fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        noise(self.shape.iter().product(), 1.0, seed, name)
    }

    fn apply(&self, phases: &Tensor) -> Result<Tensor> {
        let [channels, height, half] = self.shape;
        let magnitude = Tensor::from_slice(&self.magnitude, (1, channels, height, half), phases.device())?;
        let magnitude = magnitude.to_dtype(phases.dtype())?;
        let real = phases.cos()?.broadcast_mul(&magnitude)?;
        let imaginary = phases.sin()?.broadcast_mul(&magnitude)?;
        standardise(&self.fourier.apply(&Tensor::stack(&[&real, &imaginary], 2)?)?)
    }

    /// The picture's phases: its own magnitudes give way to those of the data.
    fn invert(&self, plain: &[f32]) -> Option<Vec<f32>> {
        let [_, height, half] = self.shape;
        let spectrum = self.fourier.invert(plain)?;
        let phases = spectrum.chunks_exact(2 * height * half).flat_map(|plane| {
            let (real, imaginary) = plane.split_at(height * half);
            imaginary.iter().zip(real).map(|(im, re)| im.atan2(*re))
        });
        Some(phases.collect())
    }
}

/// Mean 0 and standard deviation 1 of every picture's values.
fn standardise(x: &Tensor) -> Result<Tensor> {
    let flat = x.flatten_from(1)?;
    let centred = flat.broadcast_sub(&flat.mean_keepdim(1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(1)? + FLAT * FLAT)?.sqrt()?;
    centred.broadcast_div(&deviation)?.reshape(x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn a_picture_comes_back_from_its_phases_under_its_own_magnitudes() {
        let shape = [2, 6, 6];
        let picture: Vec<f32> = (0..72).map(|i| ((i * i % 23) as f32).sin()).collect();
        let mut spectrum = Spectrum::of(shape);
        spectrum.add(&picture).unwrap();
        let maco = Maco::new(&spectrum);
        let numbers = Tensor::from_vec(maco.invert(&picture).unwrap(), (1, 2, 6, 4), &Device::Cpu).unwrap();
        let back = maco.apply(&numbers).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let wanted = standardise(&Tensor::from_vec(picture, (1, 2, 6, 6), &Device::Cpu).unwrap()).unwrap();
        let wanted = wanted.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(back.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-3), "{back:?} {wanted:?}");
    }

    #[test]
    fn pictures_have_the_datas_magnitudes_up_to_one_factor() {
        let shape = [2, 6, 6];
        let spectrum = Spectrum::flat(shape);
        let maco = Maco::new(&spectrum);
        let numbers = Tensor::from_vec(maco.start(Seed(3), "x"), (1, 2, 6, 4), &Device::Cpu).unwrap();
        let picture = maco.apply(&numbers).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mean = picture.iter().sum::<f32>() / 72.0;
        let square = picture.iter().map(|v| v * v).sum::<f32>() / 72.0;
        assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
        // Columns between the first and the middle one keep both parts of their coefficients.
        let mut measured = Spectrum::of([2, 6, 6]);
        measured.add(&picture).unwrap();
        let inner: Vec<f32> = (0..2 * 6 * 4)
            .filter(|i| i % 4 == 1 || i % 4 == 2)
            .collect::<Vec<_>>()
            .iter()
            .map(|i| measured.magnitudes()[*i])
            .collect();
        assert!(inner.iter().all(|m| (m - inner[0]).abs() < 1e-3 * inner[0]), "{inner:?}");
    }
}
