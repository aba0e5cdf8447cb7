//! Pictures as sums of pictures of halving sizes (Lucid, `laplacian_pyramid` and `lowres_tensor`): a step at a coarse level
//! moves large parts as one.

use candle_core::{Result, Tensor};

use super::{Parameter, noise};
use crate::ops::resize::{Interpolation, resize};
use crate::seed::Seed;

/// Standard deviation of the first values.
const DEVIATION: f64 = 0.01;
/// The coarsest level has at least this many pixels on its short side, or is the only one.
const COARSEST: usize = 4;

/// A pyramid: the levels' values one after the other.
#[derive(Debug, Clone)]
pub struct Laplacian {
    channels: usize,
    /// Height and width of every level, the finest first.
    levels: Vec<(usize, usize)>,
}

impl Laplacian {
    /// For pictures `[channel, height, width]`; a series, of height 1, is halved along its length alone.
    pub fn new([channels, height, width]: [usize; 3]) -> Self {
        let short = if height == 1 { width } else { height.min(width) };
        let halvings = (0..).take_while(|k| *k == 0 || short >> k >= COARSEST);
        let levels = halvings.map(|k| ((height >> k).max(1), (width >> k).max(1))).collect();
        Self { channels, levels }
    }
}

impl Parameter for Laplacian {
    fn shape(&self) -> Vec<usize> {
        vec![self.levels.iter().map(|(h, w)| self.channels * h * w).sum()]
    }

    fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        noise(self.shape()[0], DEVIATION, seed, name)
    }

    fn apply(&self, numbers: &Tensor) -> Result<Tensor> {
        let batch = numbers.dim(0)?;
        let (mut first, mut sum) = (0, None);
        for (height, width) in &self.levels {
            let count = self.channels * height * width;
            let level = numbers.narrow(1, first, count)?.contiguous()?;
            let level = level.reshape((batch, self.channels, *height, *width))?;
            sum = Some(match sum {
                None => level,
                Some(sum) => (sum + resize(&level, self.levels[0], Interpolation::Bilinear)?)?,
            });
            first += count;
        }
        sum.ok_or_else(|| candle_core::Error::Msg("a pyramid has a level".into()))
    }

    /// The finest level holds the picture, and the others are zero.
    fn invert(&self, plain: &[f32]) -> Option<Vec<f32>> {
        let mut numbers = plain.to_vec();
        numbers.resize(self.shape()[0], 0.0);
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn levels_halve_and_add_up() {
        assert_eq!(Laplacian::new([3, 32, 20]).levels, [(32, 20), (16, 10), (8, 5)]);
        assert_eq!(Laplacian::new([1, 1, 40]).levels, [(1, 40), (1, 20), (1, 10), (1, 5)]);
        assert_eq!(Laplacian::new([3, 2, 2]).levels, [(2, 2)]);
        let pyramid = Laplacian::new([1, 8, 8]);
        let mut numbers = vec![1f32; 64];
        numbers.extend([0.5; 16]);
        let y = pyramid.apply(&Tensor::from_vec(numbers, (1, 80), &Device::Cpu).unwrap()).unwrap();
        let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|v| (v - 1.5).abs() < 1e-6), "{values:?}");
    }
}
