//! Scaled dot-product attention of several heads.

use candle_core::{Result, Tensor};

use super::activation::softmax;

/// Every token's mean of all values, weighted by the softmax over keys of `<query, key> / sqrt(dim)`, for each head.
///
/// `qkv` is `[batch, token, 3 * heads * dim]`: queries, then keys, then values, each `[heads, dim]`, as the layer
/// `attn.qkv` of DINOv2 gives them. The result is `[batch, token, heads * dim]`. Vaswani et al. 2017, equation 1.
///
/// # Errors
/// When the last dimension is not a multiple of `3 * heads`.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    match *qkv.dims() {
        [_, _, width] if heads > 0 && width > 0 && width % (3 * heads) == 0 => composed(qkv, heads),
        ref dims => candle_core::bail!("attention: wanted [batch, token, 3 * {heads} * dim], got {dims:?}"),
    }
}

/// Out of candle's operations.
fn composed(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    let dim = width / (3 * heads);
    let qkv = qkv.reshape((batch, tokens, 3, heads, dim))?;
    // [batch, heads, token, dim]
    let part = |i: usize| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
    let (q, k, v) = ((part(0)? / (dim as f64).sqrt())?, part(1)?, part(2)?);
    let weights = softmax(&q.matmul(&k.t()?)?)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, heads * dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::to_vec;

    #[test]
    fn gradients_are_those_of_central_differences() {
        for (heads, dim) in [(1, 3), (2, 2), (3, 1)] {
            let qkv = (random(&[2, 4, 3 * heads * dim], 1) * 2.0).unwrap();
            gradient(&qkv, 1e-6, |x| attention(x, heads));
            gradient(&qkv, 1e-6, |x| composed(x, heads));
        }
    }

    /// By loops, as the formula stands.
    fn naive(x: &[f64], [batch, tokens, heads, dim]: [usize; 4]) -> Vec<f64> {
        let at = |b: usize, t: usize, part: usize, h: usize| {
            let start = (((b * tokens + t) * 3 + part) * heads + h) * dim;
            &x[start..start + dim]
        };
        let mut y = Vec::new();
        for (b, t, h) in (0..batch * tokens * heads).map(|i| (i / heads / tokens, i / heads % tokens, i % heads)) {
            let dot = |s: usize| at(b, t, 0, h).iter().zip(at(b, s, 1, h)).map(|(q, k)| q * k).sum::<f64>();
            let weights: Vec<f64> = (0..tokens).map(|s| (dot(s) / (dim as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            y.extend((0..dim).map(|d| (0..tokens).map(|s| weights[s] / total * at(b, s, 2, h)[d]).sum::<f64>()));
        }
        y
    }

    #[test]
    fn it_is_the_weighted_mean_of_values() {
        for shape in [[1, 1, 1, 1], [2, 5, 3, 4], [1, 7, 2, 3]] {
            let [batch, tokens, heads, dim] = shape;
            let qkv = (random(&[batch, tokens, 3 * heads * dim], 2) * 3.0).unwrap();
            let y = attention(&qkv, heads).unwrap();
            let wanted = naive(&to_vec(&qkv).unwrap(), shape);
            let wanted = Tensor::from_vec(wanted, (batch, tokens, heads * dim), qkv.device()).unwrap();
            assert!(distance(&y, &wanted) < 1e-12, "{shape:?}");
            assert!(distance(&composed(&qkv, heads).unwrap(), &wanted) < 1e-12, "{shape:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let message = |shape: &[usize], heads| attention(&random(shape, 1), heads).unwrap_err().to_string();
        assert!(message(&[1, 2, 10], 2).contains("3 * 2 * dim"));
        assert!(message(&[2, 6], 2).contains("[2, 6]"));
        assert!(message(&[1, 2, 6], 0).contains("attention"));
    }
}
