//! Resizing of maps, differentiable on every device: two products with fixed matrices.

use candle_core::{Result, Tensor};

/// How values between samples are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Interpolation {
    /// The nearest sample (`floor(out * in / size)`, as PyTorch's `nearest`).
    Nearest,
    /// Linear between half-pixel centres (PyTorch's `bilinear` with `align_corners=False`).
    Bilinear,
}

/// Resizes `[batch, channel, height, width]` to `size` = (height, width).
///
/// # Errors
/// When candle fails.
pub fn resize(x: &Tensor, size: (usize, usize), interpolation: Interpolation) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let rows = matrix(height, size.0, interpolation, x)?;
    let columns = matrix(width, size.1, interpolation, x)?.t()?.contiguous()?;
    let wide = x.contiguous()?.reshape((batch * channels * height, width))?.matmul(&columns)?;
    let wide = wide.reshape((batch * channels, height, size.1))?;
    let rows = rows.unsqueeze(0)?.broadcast_as((batch * channels, size.0, height))?.contiguous()?;
    rows.matmul(&wide)?.reshape((batch, channels, size.0, size.1))
}

/// Where value `o` of `output` lies among `input` values, half-pixel centres on each other: `1 - share` of the one at `low`
/// and `share` of that at `high`, as `(low, high, share)`. Before the first centre the first value holds, so behind the last.
pub fn bilinear(o: usize, input: usize, output: usize) -> (usize, usize, f64) {
    let last = input.saturating_sub(1);
    let at = ((o as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
    let low = (at as usize).min(last);
    (low, (low + 1).min(last), at - low as f64)
}

/// The weights `[out, in]` of every input for every output, in x's type and on its device.
fn matrix(input: usize, output: usize, interpolation: Interpolation, x: &Tensor) -> Result<Tensor> {
    let mut weights = vec![0f64; input * output];
    for (o, row) in weights.chunks_exact_mut(input).enumerate() {
        match interpolation {
            Interpolation::Nearest => row[o * input / output] = 1.0,
            Interpolation::Bilinear => {
                let (low, high, share) = bilinear(o, input, output);
                row[low] += 1.0 - share;
                row[high] += share;
            }
        }
    }
    Tensor::from_vec(weights, (output, input), x.device())?.to_dtype(x.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{gradient, random};
    use candle_core::Device;

    #[test]
    fn values_are_those_of_pytorch() {
        // torch.nn.functional.interpolate(torch.arange(4.).view(1, 1, 1, 4), size=(1, 6), mode=...)
        let x = Tensor::new(&[[[[0f64, 1.0, 2.0, 3.0]]]], &Device::Cpu).unwrap();
        let run = |i| resize(&x, (1, 6), i).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let bilinear = run(Interpolation::Bilinear);
        for (a, b) in bilinear.iter().zip([0.0, 0.5, 1.166_666_7, 1.833_333_3, 2.5, 3.0]) {
            assert!((a - b).abs() < 1e-6, "{bilinear:?}");
        }
        assert_eq!(run(Interpolation::Nearest), [0.0, 0.0, 1.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        for interpolation in [Interpolation::Nearest, Interpolation::Bilinear] {
            for size in [(7, 3), (2, 9), (4, 5)] {
                gradient(&random(&[2, 2, 4, 5], 3), 1e-6, |x| resize(x, size, interpolation));
            }
        }
    }

    #[test]
    fn a_tensor_used_twice_keeps_both_gradients() {
        gradient(&random(&[1, 1, 2, 2], 3), 1e-6, |x| {
            resize(x, (4, 4), Interpolation::Nearest)?.sum((2, 3))?.mul(&x.sqr()?.sum((2, 3))?)
        });
    }
}
