//! Normalisation, out of operations that have gradients (candle's fused layer norm has none).

use candle_core::{Result, Tensor};

/// Layer norm over the last dimension: `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
///
/// # Errors
/// When candle fails.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let last = x.rank() - 1;
    let centred = x.broadcast_sub(&x.mean_keepdim(last)?)?;
    let variance = centred.sqr()?.mean_keepdim(last)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}

/// The parameters of a trained batch norm, each `[channel]`.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    /// Scale.
    pub weight: Tensor,
    /// Shift.
    pub bias: Tensor,
    /// Running mean.
    pub mean: Tensor,
    /// Running variance.
    pub variance: Tensor,
    /// Added to the variance.
    pub epsilon: f64,
}

impl BatchNorm {
    /// The affine form at inference: `x * scale + shift` for every channel.
    ///
    /// # Errors
    /// When candle fails.
    pub fn affine(&self) -> Result<(Tensor, Tensor)> {
        let scale = self.weight.div(&(&self.variance + self.epsilon)?.sqrt()?)?;
        let shift = self.bias.sub(&self.mean.mul(&scale)?)?;
        Ok((scale, shift))
    }

    /// Applies it to `[batch, channel, height, width]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (scale, shift) = self.affine()?;
        let shape = (1, scale.elem_count(), 1, 1);
        x.broadcast_mul(&scale.reshape(shape)?)?.broadcast_add(&shift.reshape(shape)?)
    }

    /// Weights and bias of the convolution before it with the norm folded in: `[out, in, kh, kw]` and `[out]`.
    ///
    /// # Errors
    /// When candle fails.
    pub fn fold(&self, weight: &Tensor) -> Result<(Tensor, Tensor)> {
        let (scale, shift) = self.affine()?;
        Ok((weight.broadcast_mul(&scale.reshape((scale.elem_count(), 1, 1, 1))?)?, shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::{Conv2d, conv2d};

    fn norm(channels: usize) -> BatchNorm {
        let [weight, bias, mean, variance] = [1, 2, 3, 4].map(|s| random(&[channels], s));
        BatchNorm { weight, bias, mean, variance: (variance.sqr().unwrap() + 0.1).unwrap(), epsilon: 1e-3 }
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (w, b) = (random(&[5], 1), random(&[5], 2));
        gradient(&random(&[2, 3, 5], 3), 1e-5, |x| layer_norm(x, &w, &b, 1e-5));
        gradient(&random(&[2, 3, 2, 2], 3), 1e-6, |x| norm(3).apply(x));
    }

    #[test]
    fn layer_norm_has_no_mean_and_unit_variance() {
        let one = Tensor::ones(6, candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        let y = layer_norm(&random(&[4, 6], 5), &one, &one.zeros_like().unwrap(), 0.0).unwrap();
        for row in y.to_vec2::<f64>().unwrap() {
            assert!(row.iter().sum::<f64>().abs() < 1e-12);
            assert!((row.iter().map(|v| v * v).sum::<f64>() / 6.0 - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn folding_changes_nothing() {
        let (x, w) = (random(&[2, 2, 5, 5], 6), random(&[3, 2, 3, 3], 7));
        let zero = random(&[3], 8).zeros_like().unwrap();
        let plain = norm(3).apply(&conv2d(&x, &w, &zero, &Conv2d::default()).unwrap()).unwrap();
        let (w, b) = norm(3).fold(&w).unwrap();
        assert!(distance(&plain, &conv2d(&x, &w, &b, &Conv2d::default()).unwrap()) < 1e-12);
    }
}
