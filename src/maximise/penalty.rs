//! What pictures are kept from: penalties on values in \[0, 1\], before they are shaken. All are means over values, so that a
//! weight means the same at every size. Our definitions.

use std::f64::consts::TAU;

use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Level that `l2` pulls to.
const GREY: f64 = 0.5;

/// Weights of the penalties, of which each picture's sum is taken off its objective; 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Penalties {
    /// Total variation: `mean |x[i+1, j] - x[i, j]| + mean |x[i, j+1] - x[i, j]|`.
    #[schemars(range(min = 0))]
    pub tv: f64,
    /// `mean |x|`: dark pictures.
    #[schemars(range(min = 0))]
    pub l1: f64,
    /// `mean (x - 0.5)^2`: grey pictures.
    #[schemars(range(min = 0))]
    pub l2: f64,
    /// `mean` over pixels of `f^2 |F x|^2` over frequencies f in cycles a pixel: smooth pictures.
    #[schemars(range(min = 0))]
    pub frequency: f64,
    /// `mean (x - x0)^2` with x0 the picture that the ascent started from: of use where that is a photograph, which then stays
    /// recognisable (an accentuation).
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(extend("default" = 0.0, "minimum" = 0))]
    pub near: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
pub(super) fn is_zero(weight: &f64) -> bool {
    *weight == 0.0
}

impl Penalties {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Every weight with its name.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        let Self { tv, l1, l2, frequency, near } = *self;
        [("tv", tv), ("l1", l1), ("l2", l2), ("frequency", frequency), ("near", near)]
    }

    /// The weighted sum for pictures `[batch, channel, height, width]` that started as `start`, added over the batch.
    ///
    /// # Errors
    /// When candle fails.
    pub fn of(&self, x: &Tensor, start: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)? as f64;
        let mut sum = Tensor::zeros((), x.dtype(), x.device())?;
        for (name, weight) in self.named() {
            if weight > 0.0 {
                let value = match name {
                    "tv" => variation(x)?,
                    "l1" => x.abs()?.mean_all()?,
                    "l2" => (x - GREY)?.sqr()?.mean_all()?,
                    "near" => (x - start)?.sqr()?.mean_all()?,
                    _ => frequency(x)?,
                };
                sum = (sum + (value * (weight * batch))?)?;
            }
        }
        Ok(sum)
    }
}

fn variation(x: &Tensor) -> Result<Tensor> {
    let mut sum = Tensor::zeros((), x.dtype(), x.device())?;
    for axis in [2, 3] {
        let length = x.dim(axis)?;
        if length > 1 {
            let step = (x.narrow(axis, 1, length - 1)? - x.narrow(axis, 0, length - 1)?)?;
            sum = (sum + step.abs()?.mean_all()?)?;
        }
    }
    Ok(sum)
}

/// `x K_y x + x K_x x` over pixels, where K weighs frequencies along one axis by their square.
fn frequency(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let table = |length: usize| Tensor::from_vec(squares(length), (length, length), x.device())?.to_dtype(x.dtype());
    let rows = x.contiguous()?.reshape((batch * channels * height, width))?;
    let across = (&rows * rows.matmul(&table(width)?)?)?.mean_all()?;
    let columns = x.transpose(2, 3)?.contiguous()?.reshape((batch * channels * width, height))?;
    let down = (&columns * columns.matmul(&table(height)?)?)?.mean_all()?;
    across + down
}

/// `K[a, b] = mean over k of f_k^2 cos(2 pi k (a - b) / n)` with f in cycles a pixel: symmetric and circulant.
fn squares(n: usize) -> Vec<f64> {
    let folded = |k: usize| k.min(n - k) as f64 / n as f64;
    let lag = |d: usize| (0..n).map(|k| folded(k).powi(2) * (TAU * (k * d % n) as f64 / n as f64).cos()).sum::<f64>();
    let lags: Vec<f64> = (0..n).map(|d| lag(d) / n as f64).collect();
    (0..n * n).map(|i| lags[(i / n).abs_diff(i % n)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradient, random};
    use candle_core::Device;

    fn value(penalties: Penalties, x: &Tensor) -> f64 {
        penalties.of(x, &x.zeros_like().unwrap()).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn values_by_hand() {
        let x = Tensor::new(&[[[[0f64, 1.0], [0.5, 0.5]]]], &Device::Cpu).unwrap();
        let of = |penalties| value(penalties, &x);
        assert_eq!(of(Penalties { tv: 2.0, ..Penalties::default() }), 2.0 * (0.5 + 0.5));
        assert_eq!(of(Penalties { l1: 1.0, ..Penalties::default() }), 0.5);
        assert_eq!(of(Penalties { l2: 1.0, ..Penalties::default() }), 0.125);
        assert_eq!(of(Penalties { near: 2.0, ..Penalties::default() }), 2.0 * (1.0 + 0.25 + 0.25) / 4.0);
        let twice = Tensor::cat(&[&x, &x], 0).unwrap();
        assert_eq!(value(Penalties { l1: 1.0, ..Penalties::default() }, &twice), 1.0);
    }

    #[test]
    fn a_wave_costs_its_frequency_squared() {
        let wave = |turns: usize| {
            let x: Vec<f64> = (0..64).map(|i| (TAU * (turns * (i % 8)) as f64 / 8.0).cos()).collect();
            value(
                Penalties { frequency: 1.0, ..Penalties::default() },
                &Tensor::from_vec(x, (1, 1, 8, 8), &Device::Cpu).unwrap(),
            )
        };
        // The mean square of a wave is a half.
        for turns in 0..4 {
            assert!((wave(turns) - 0.5 * (turns as f64 / 8.0).powi(2)).abs() < 1e-12 || turns == 0, "{turns}");
        }
        assert!(wave(0).abs() < 1e-12);
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let all = Penalties { tv: 0.3, l1: 0.2, l2: 0.5, frequency: 0.7, near: 0.4 };
        for shape in [[2, 3, 4, 5], [1, 2, 1, 6]] {
            let start = random(&shape, 2);
            gradient(&random(&shape, 1), 1e-6, |x| all.of(x, &start)?.reshape((1, 1)));
        }
    }
}
