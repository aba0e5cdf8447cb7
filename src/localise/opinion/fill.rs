//! What stands for nothing in a picture.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::preprocess::Picture;
use crate::dataset::view::pixels;

/// Standard deviation of the blur, as a share of the picture's width.
const SIGMA: f32 = 1.0 / 16.0;

/// What a hidden part of a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// The picture blurred, by a Gaussian of a sixteenth of its width: large shapes of colour stay.
    Blur,
    /// The picture's mean colour.
    Mean,
}

impl Fill {
    /// The picture filled all over: the same planes of `size * size` values, normalised or not.
    pub fn apply(self, input: &[f32], size: usize) -> Vec<f32> {
        match self {
            Self::Blur => pixels::blur(&Picture { size, pixels: input.to_vec() }, SIGMA * size as f32).pixels,
            Self::Mean => {
                let plane = (size * size).max(1);
                let mean = |p: &[f32]| (p.iter().map(|v| f64::from(*v)).sum::<f64>() / plane as f64) as f32;
                input.chunks_exact(plane).flat_map(|p| std::iter::repeat_n(mean(p), plane)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_keep_the_mean_of_each_plane_or_a_constant() {
        let input: Vec<f32> = (0..2 * 64).map(|i| (i % 64) as f32 / 8.0 - 30.0 * (i / 64) as f32).collect();
        let filled = Fill::Mean.apply(&input, 8);
        assert!(filled[..64].iter().all(|v| (v - 63.0 / 16.0).abs() < 1e-5));
        assert!(filled[64..].iter().all(|v| (v - 63.0 / 16.0 + 30.0).abs() < 1e-5));
        assert!(Fill::Blur.apply(&[2.5; 256], 16).iter().all(|v| (v - 2.5).abs() < 1e-5));
        let blurred = Fill::Blur.apply(&input, 8);
        assert!(blurred[0] > input[0] && blurred[63] < input[63]);
    }
}
