//! Scaled dot-product attention of several heads.

mod kernel;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor};

use super::activation::softmax;
use super::{expect_shape, unsupported, values, with_values};
use kernel::Sizes;
pub(in crate::ops) use kernel::total;

/// Every token's mean of all values, weighted by the softmax over keys of `<query, key> / sqrt(dim)`, for each head.
///
/// `qkv` is `[batch, token, 3 * heads * dim]`: queries, then keys, then values, each `[heads, dim]`, as the layer
/// `attn.qkv` of DINOv2 gives them. The result is `[batch, token, heads * dim]`. Vaswani et al. 2017, equation 1.
///
/// # Errors
/// When the last dimension is not a multiple of `3 * heads`.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    match *qkv.dims() {
        [_, tokens, width] if tokens > 0 && heads > 0 && width > 0 && width % (3 * heads) == 0 => {
            if super::composed::wanted(qkv) {
                return composed(qkv, heads);
            }
            let wide = if qkv.dtype() == DType::BF16 { qkv.to_dtype(DType::F32)? } else { qkv.clone() };
            wide.contiguous()?.apply_op1(Attention { heads })?.to_dtype(qkv.dtype())
        }
        ref dims => candle_core::bail!("attention: wanted [batch, token, 3 * {heads} * dim], got {dims:?}"),
    }
}

/// Gradient of `qkv` from that of the result, without candle's graph; `None` where there is no kernel.
pub(crate) fn attention_input_gradient(qkv: &Tensor, gradient: &Tensor, heads: usize) -> Result<Option<Tensor>> {
    let (batch, tokens, width) = qkv.dims3()?;
    expect_shape("attention: the gradient", gradient, &[batch, tokens, width / 3])?;
    match (super::composed::wanted(qkv), qkv.dtype()) {
        (false, DType::F32 | DType::F64) => Attention { heads }.backward(qkv, gradient).map(Some),
        _ => Ok(None),
    }
}

/// The kernel as an operation of candle's.
struct Attention {
    heads: usize,
}

impl Attention {
    fn sizes(&self, qkv: &[usize]) -> Sizes {
        Sizes { batch: qkv[0], tokens: qkv[1], heads: self.heads, dim: qkv[2] / (3 * self.heads) }
    }

    fn backward(&self, qkv: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        fn of<T: super::Real>(s: &Sizes, qkv: &Tensor, gradient: &Tensor) -> Result<Tensor> {
            let to = with_values(qkv, |x| with_values(gradient, |g| kernel::backward::<T>(s, x, g)))?;
            Tensor::from_vec(to, qkv.dims(), &Device::Cpu)
        }
        let s = self.sizes(qkv.dims());
        match qkv.dtype() {
            DType::F32 => of::<f32>(&s, qkv, gradient),
            DType::F64 => of::<f64>(&s, qkv, gradient),
            other => Err(unsupported(self.name(), other)),
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "cavern-attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let s = self.sizes(layout.dims());
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(kernel::forward(&s, values(x, layout, self.name())?)?),
            CpuStorage::F64(_) => CpuStorage::F64(kernel::forward(&s, values(x, layout, self.name())?)?),
            other => return Err(unsupported(self.name(), candle_core::backend::BackendStorage::dtype(other))),
        };
        Ok((y, (s.batch, s.tokens, s.heads * s.dim).into()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.backward(qkv, gradient).map(Some)
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
    use candle_core::Var;

    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::to_vec;

    #[test]
    fn kernel_and_composed_form_agree_forward_and_backward() {
        for (batch, tokens, heads, dim) in [(2, 21, 3, 5), (1, 50, 2, 16), (3, 1, 1, 4)] {
            let qkv = (random(&[batch, tokens, 3 * heads * dim], 1) * 3.0).unwrap();
            let g = random(&[batch, tokens, heads * dim], 2);
            let x = Var::from_tensor(&qkv).unwrap();
            let wanted = composed(&x, heads).unwrap();
            let back = wanted.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
            let back = back.get(&x).unwrap();
            assert!(distance(&attention(&qkv, heads).unwrap(), &wanted) < 1e-12);
            assert!(distance(&attention_input_gradient(&qkv, &g, heads).unwrap().unwrap(), back) < 1e-12);
            let single = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let double = |t: Tensor| t.to_dtype(DType::F64).unwrap();
            assert!(distance(&double(attention(&single(&qkv), heads).unwrap()), &wanted) < 2e-6);
            let to = attention_input_gradient(&single(&qkv), &single(&g), heads).unwrap().unwrap();
            assert!(distance(&double(to), back) < 1e-5);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        let qkv = random(&[2, 33, 3 * 2 * 16], 1).to_dtype(DType::F32).unwrap();
        let g = random(&[2, 33, 2 * 16], 2).to_dtype(DType::F32).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let to = attention_input_gradient(&qkv, &g, 2).unwrap().unwrap();
                (to_vec::<f32>(&attention(&qkv, 2).unwrap()).unwrap(), to_vec::<f32>(&to).unwrap())
            })
        };
        assert_eq!(run(1), run(2));
    }

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

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let qkv = random(&[1, 4, 12], 1);
        assert!(attention_input_gradient(&qkv, &random(&[1, 3, 4], 2), 2).is_err());
        assert!(attention(&Tensor::zeros((1, 0, 12), DType::F32, &Device::Cpu).unwrap(), 2).is_err());
    }
}
