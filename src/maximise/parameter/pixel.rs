//! Pixels themselves: every one goes its own way, which finds the noise that networks answer to rather than pictures.

use candle_core::{Result, Tensor};

use super::{Parameter, noise};
use crate::seed::Seed;

/// Standard deviation of the first values (Lucid, `pixel_image`).
const DEVIATION: f64 = 0.01;

/// One number a pixel and channel.
#[derive(Debug, Clone)]
pub struct Pixel {
    shape: [usize; 3],
}

impl Pixel {
    /// For pictures `[channel, height, width]`.
    pub fn new(shape: [usize; 3]) -> Self {
        Self { shape }
    }
}

impl Parameter for Pixel {
    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn start(&self, seed: Seed, name: &str) -> Vec<f32> {
        noise(self.shape.iter().product(), DEVIATION, seed, name)
    }

    fn apply(&self, numbers: &Tensor) -> Result<Tensor> {
        Ok(numbers.clone())
    }

    fn invert(&self, plain: &[f32]) -> Option<Vec<f32>> {
        Some(plain.to_vec())
    }
}
