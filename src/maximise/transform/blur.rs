//! Gaussian blur of every picture by its own width, as two products with fixed matrices: differentiable on every device.

use candle_core::{Result, Tensor};

/// Standard deviations to either side that a kernel reaches.
const REACH: f64 = 3.0;

/// Blurs pictures `[batch, channel, height, width]`, each with its own standard deviation in pixels; 0 leaves one as it is.
/// Borders are mirrored, and a kernel reaches three standard deviations: torchvision's `gaussian_blur` with that size.
///
/// # Errors
/// When there are not as many deviations as pictures.
pub fn blur(x: &Tensor, deviations: &[f64]) -> Result<Tensor> {
    if deviations.iter().all(|d| *d == 0.0) {
        return Ok(x.clone());
    }
    let (batch, channels, height, width) = x.dims4()?;
    let tables = |length: usize, repeats: usize| {
        let of = |d: &f64| matrix(length, *d).repeat(repeats);
        let values: Vec<f64> = deviations.iter().flat_map(of).collect();
        Tensor::from_vec(values, (batch * repeats, length, length), x.device())?.to_dtype(x.dtype())
    };
    let across = tables(width, 1)?.transpose(1, 2)?.contiguous()?;
    let x = x.contiguous()?.reshape((batch, channels * height, width))?.matmul(&across)?;
    let down = tables(height, channels)?;
    down.matmul(&x.reshape((batch * channels, height, width))?)?.reshape((batch, channels, height, width))
}

/// The weights `[out, in]` of a blur along one axis.
fn matrix(length: usize, deviation: f64) -> Vec<f64> {
    let mut out = vec![0.0; length * length];
    let reach = if deviation > 0.0 { (REACH * deviation).ceil() as i64 } else { 0 };
    // A mirrored border cannot be wider than what it mirrors.
    let reach = reach.min(length as i64 - 1);
    let weight = |k: i64| if deviation > 0.0 { (-0.5 * (k as f64 / deviation).powi(2)).exp() } else { 1.0 };
    let total: f64 = (-reach..=reach).map(weight).sum();
    for i in 0..length as i64 {
        for k in -reach..=reach {
            let last = length as i64 - 1;
            let at = (i + k).abs();
            let at = if at > last { 2 * last - at } else { at };
            out[i as usize * length + at as usize] += weight(k) / total;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};

    #[test]
    fn gradients_are_those_of_central_differences() {
        gradient(&random(&[2, 2, 4, 5], 1), 1e-6, |x| blur(x, &[0.0, 0.8]));
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        let flat = Tensor::ones((1, 2, 1, 6), candle_core::DType::F64, &candle_core::Device::Cpu).unwrap();
        assert!(distance(&blur(&flat, &[2.0]).unwrap(), &flat) < 1e-12);
    }
}
