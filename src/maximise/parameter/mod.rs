//! What a picture is made of: the numbers that an ascent changes, and how they become channels of decorrelated values.
//! A parameterisation is one file that implements [`Parameter`].

mod cppn;
mod fourier;
mod laplacian;
mod maco;
mod pixel;

use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cppn::Cppn;
pub use fourier::Fourier;
pub use laplacian::Laplacian;
pub use maco::Maco;
pub use pixel::Pixel;

use super::spectrum::Spectrum;
use crate::error::Error;
use crate::seed::{Seed, gaussian};

/// A differentiable map from numbers to pictures.
pub trait Parameter: Send + Sync {
    /// Shape of the numbers of one picture.
    fn shape(&self) -> Vec<usize>;

    /// The numbers that an ascent starts from, of the stream `name`.
    fn start(&self, seed: Seed, name: &str) -> Vec<f32>;

    /// Plain pictures `[batch, channel, height, width]`, before their colours, of numbers `[batch, ...]`.
    ///
    /// # Errors
    /// When the shape does not fit.
    fn apply(&self, numbers: &Tensor) -> Result<Tensor>;

    /// The numbers of a plain picture `[channel, height, width]`: what an ascent from a photograph starts from. `None` where
    /// a picture has no such numbers.
    fn invert(&self, plain: &[f32]) -> Option<Vec<f32>>;
}

/// A parameterisation by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    /// Coefficients of a spectrum that falls like natural pictures': Lucid's `fft_image`.
    #[default]
    Fourier,
    /// Pixels themselves.
    Pixel,
    /// A sum of pictures of halving sizes, enlarged.
    Laplacian,
    /// Phases alone, under the mean spectrum of data (MaCo, Fel et al. 2023).
    Maco,
    /// A small network from coordinates to colours (Mordvintsev et al. 2018).
    Cppn,
}

impl ParameterKind {
    /// Its name in studies and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fourier => "fourier",
            Self::Pixel => "pixel",
            Self::Laplacian => "laplacian",
            Self::Maco => "maco",
            Self::Cppn => "cppn",
        }
    }

    /// The parameterisation of pictures of this shape `[channel, height, width]`. `decay` is that of Fourier's spectrum, and
    /// `spectrum` that of the data, which MaCo alone wants.
    ///
    /// # Errors
    /// When MaCo has no spectrum, or one of another shape.
    pub fn build(
        self,
        shape: [usize; 3],
        decay: f64,
        spectrum: Option<&Spectrum>,
    ) -> std::result::Result<Box<dyn Parameter>, Error> {
        Ok(match self {
            Self::Fourier => Box::new(Fourier::new(shape, decay)),
            Self::Pixel => Box::new(Pixel::new(shape)),
            Self::Laplacian => Box::new(Laplacian::new(shape)),
            Self::Cppn => Box::new(Cppn::new(shape)),
            Self::Maco => {
                let spectrum = spectrum.filter(|s| s.shape() == shape).ok_or_else(|| {
                    let problem = "\"maco\" needs the mean spectrum of pictures of the network's size";
                    Error::key(
                        "maximise.parameter",
                        problem,
                        "run it in a study with a dataset, give --data FOLDER, or choose \"fourier\"",
                    )
                })?;
                Box::new(Maco::new(spectrum))
            }
        })
    }
}

/// Normal numbers of the stream `name`.
fn noise(count: usize, deviation: f64, seed: Seed, name: &str) -> Vec<f32> {
    let mut rng = seed.stream(name);
    (0..count).map(|_| (gaussian(&mut rng) * deviation) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradient, random};
    use candle_core::{DType, Device};

    #[test]
    fn every_parameterisation_gives_pictures_and_gradients() {
        for shape in [[3, 8, 6], [1, 9, 9], [2, 1, 12]] {
            let spectrum = Spectrum::flat(shape);
            for kind in [
                ParameterKind::Fourier,
                ParameterKind::Pixel,
                ParameterKind::Laplacian,
                ParameterKind::Maco,
                ParameterKind::Cppn,
            ] {
                let parameter = kind.build(shape, 1.0, Some(&spectrum)).unwrap();
                let count: usize = parameter.shape().iter().product();
                let start = [parameter.start(Seed(1), "a"), parameter.start(Seed(1), "b")];
                assert!(start[0].len() == count && start[0] != start[1], "{kind:?}");
                let numbers = [&[2], parameter.shape().as_slice()].concat();
                let x = Tensor::from_vec(start.concat(), numbers, &Device::Cpu).unwrap();
                let y = parameter.apply(&x).unwrap();
                assert_eq!(y.dims(), [2, shape[0], shape[1], shape[2]], "{kind:?}");
                let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert!(values.iter().all(|v| v.is_finite()), "{kind:?}");
                let x = x.to_dtype(DType::F64).unwrap().narrow(0, 0, 1).unwrap();
                let off = (random(x.dims(), 3) * 0.1).unwrap();
                if count < 400 {
                    gradient(&(x + off).unwrap(), 1e-5, |x| parameter.apply(x));
                }
            }
        }
    }

    #[test]
    fn maco_says_what_it_needs() {
        let message = ParameterKind::Maco.build([3, 8, 8], 1.0, None).err().unwrap().to_string();
        assert!(message.contains("maximise.parameter") && message.contains("dataset"), "{message}");
        let other = Spectrum::flat([3, 4, 4]);
        assert!(ParameterKind::Maco.build([3, 8, 8], 1.0, Some(&other)).is_err());
    }
}
