//! Position embeddings for another grid of patches than they were trained for.

use candle_core::Tensor;

use crate::error::Result;

/// How values between positions are made, by cubic filters (Keys 1981).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resampling {
    /// DINOv2's `interpolate_pos_encoding`: a = -3/4, no wider where the grid shrinks; the step is the old grid's side over
    /// a tenth more than the new one's, and positions beyond the border are those on it.
    Dinov2,
    /// timm's `resample_abs_pos_embed`: a = -1/2, wider where the grid shrinks (PyTorch's `antialias`).
    Antialiased,
}

/// Embeddings `[1, 1 + n n, channel]`, the class token's first, as `[1, 1 + side side, channel]`.
///
/// # Errors
/// When candle fails.
pub(super) fn resample(position: &Tensor, side: usize, how: Resampling) -> Result<Tensor> {
    let (_, tokens, channels) = position.dims3()?;
    let old = (tokens - 1).isqrt();
    if old == side {
        return Ok(position.clone());
    }
    let weights: Vec<f32> = how.weights(old, side).into_iter().map(|w| w as f32).collect();
    let weights = Tensor::from_vec(weights, (side, old), position.device())?;
    let grid = position.narrow(1, 1, old * old)?.contiguous()?;
    let rows = weights.matmul(&grid.reshape((old, old * channels))?)?;
    let turned = rows.reshape((side, old, channels))?.transpose(0, 1)?.contiguous()?;
    let both = weights.matmul(&turned.reshape((old, side * channels))?)?;
    let grid = both.reshape((side, side, channels))?.transpose(0, 1)?.contiguous()?;
    Ok(Tensor::cat(&[&position.narrow(1, 0, 1)?, &grid.reshape((1, side * side, channels))?], 1)?)
}

impl Resampling {
    /// What every new position takes of every old one: `[new, old]`.
    fn weights(self, old: usize, new: usize) -> Vec<f64> {
        let mut weights = vec![0.0; new * old];
        for (i, row) in weights.chunks_exact_mut(old).enumerate() {
            match self {
                Self::Dinov2 => {
                    let at = (i as f64 + 0.5) * old as f64 / (new as f64 + 0.1) - 0.5;
                    let first = at.floor() as isize - 1;
                    for place in first..first + 4 {
                        let inside = place.clamp(0, old as isize - 1) as usize;
                        row[inside] += cubic(place as f64 - at, -0.75);
                    }
                }
                Self::Antialiased => {
                    let scale = old as f64 / new as f64;
                    let (centre, width) = ((i as f64 + 0.5) * scale, scale.max(1.0));
                    let edge = |at: f64| (at + 0.5).max(0.0) as usize;
                    let window = edge(centre - 2.0 * width)..edge(centre + 2.0 * width).min(old);
                    window.for_each(|j| row[j] = cubic((j as f64 + 0.5 - centre) / width, -0.5));
                    let sum: f64 = row.iter().sum();
                    row.iter_mut().for_each(|w| *w /= sum);
                }
            }
        }
        weights
    }
}

/// The cubic convolution kernel with parameter a, which is zero from 2 on.
fn cubic(x: f64, a: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use ndarray_npy::NpzReader;

    use super::super::golden::plain;
    use super::*;
    use crate::ops::to_vec;

    #[test]
    fn embeddings_are_those_of_pytorch() {
        let file: &[u8] = include_bytes!("../../../tests/golden/zoo_positions.npz");
        let mut golden = NpzReader::new(std::io::Cursor::new(file)).unwrap();
        for (how, name) in [(Resampling::Dinov2, "dinov2"), (Resampling::Antialiased, "antialiased")] {
            for (old, new) in [(37, 16), (14, 24), (7, 9)] {
                let wanted: Array1<f32> = golden.by_name(&format!("{name}.{old}.{new}")).unwrap();
                let position = plain("positions", &[1, 1 + old * old, 3]);
                let got = to_vec::<f32>(&resample(&position, new, how).unwrap()).unwrap();
                assert_eq!(got.len(), wanted.len());
                let worst = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{name} from {old} to {new}: {worst}");
            }
        }
    }
}
