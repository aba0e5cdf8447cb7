//! A linear layer, its bias and non-linearity with it.

use candle_core::{Result, Tensor};

use super::Activation;

/// `activation(x w^T + bias)` on the last dimension: x `[..., in]`, w `[out, in]`, bias `[out]` to `[..., out]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(x: &Tensor, w: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    match (x.dims(), w.dims(), bias.dims()) {
        ([.., inputs], &[out, of], &[one]) if *inputs == of && out == one => composed(x, w, bias, activation),
        (x, w, b) => {
            candle_core::bail!("linear: wanted x [..., in], w [out, in] and bias [out], got {x:?}, {w:?} and {b:?}")
        }
    }
}

/// Gradient of `x w^T` with respect to x from that of the result: `[..., out]` to `[..., in]`.
pub(crate) fn linear_input_gradient(w: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    on_rows(gradient, |rows| rows.matmul(w))
}

/// Out of candle's operations.
fn composed(x: &Tensor, w: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    on_rows(x, |rows| activation.apply(&rows.matmul(&w.t()?)?.broadcast_add(bias)?))
}

/// Works on all vectors of the last dimension as the rows of one matrix.
fn on_rows(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (leading, inputs) = x.dims().split_at(x.rank() - 1);
    let y = f(&x.reshape((leading.iter().product::<usize>(), inputs[0]))?.contiguous()?)?;
    let out = y.dim(1)?;
    y.reshape([leading, &[out]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::to_vec;

    const KINDS: [Activation; 4] = [Activation::None, Activation::Relu, Activation::Relu6, Activation::Gelu];

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (x, w, b) = (random(&[2, 3, 5], 1), random(&[4, 5], 2), random(&[4], 3));
        for f in KINDS {
            gradient(&x, 1e-6, |x| linear(x, &w, &b, f));
            gradient(&w, 1e-6, |w| linear(&x, w, &b, f));
            gradient(&b, 1e-6, |b| linear(&x, &w, b, f));
            gradient(&x, 1e-6, |x| composed(x, &w, &b, f));
        }
    }

    #[test]
    fn it_is_a_sum_of_products() {
        for shape in [vec![7, 5], vec![2, 3, 5], vec![5]] {
            let (x, w, b) = (random(&shape, 1), random(&[4, 5], 2), random(&[4], 3));
            let [xs, ws, bs] = [&x, &w, &b].map(|t| to_vec::<f64>(t).unwrap());
            for f in KINDS {
                let sums = xs.chunks(5).flat_map(|row| {
                    let dot = |o: usize| (0..5).map(|i| row[i] * ws[o * 5 + i]).sum::<f64>() + bs[o];
                    (0..4).map(dot).collect::<Vec<_>>()
                });
                let y = linear(&x, &w, &b, f).unwrap();
                let wanted = Tensor::from_vec(sums.collect::<Vec<_>>(), y.dims(), x.device()).unwrap();
                assert!(distance(&y, &f.apply(&wanted).unwrap()) < 1e-12, "{shape:?} {f:?}");
                assert!(distance(&y, &composed(&x, &w, &b, f).unwrap()) < 1e-12, "{shape:?} {f:?}");
            }
        }
    }

    #[test]
    fn its_short_gradient_is_candles() {
        let (x, w, b) = (random(&[2, 3, 5], 1), random(&[4, 5], 2), random(&[4], 3));
        let (x, g) = (candle_core::Var::from_tensor(&x).unwrap(), random(&[2, 3, 4], 4));
        let y = linear(&x, &w, &b, Activation::None).unwrap();
        let grads = y.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(distance(grads.get(&x).unwrap(), &linear_input_gradient(&w, &g).unwrap()) < 1e-12);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let message = |x: &[usize], b: usize| {
            let y = linear(&random(x, 1), &random(&[4, 5], 2), &random(&[b], 3), Activation::None);
            y.unwrap_err().to_string()
        };
        assert!(message(&[2, 4], 4).contains("[4, 5]"));
        assert!(message(&[2, 5], 1).contains("bias [out]"));
        assert!(message(&[], 4).contains("linear"));
    }
}
