//! A linear layer, its bias, residual and non-linearity with it. On the CPU one product with weights that are laid out
//! once; elsewhere candle's own operations.

use std::mem::MaybeUninit;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::blocked::{Left, Matrix, Panels, Rows, Shared, Sink, View, product, rows_product};
use super::prepared::Prepared;
use super::tile::Tile;
use super::value::Value;
use super::vector::{Kernel, dispatch};
use super::{Activation, Real, composed, expect_shape, is_constant, with_option, with_values, written};

/// `activation(x w^T + bias)` on the last dimension: x `[..., in]`, w `[out, in]`, bias `[out]` to `[..., out]`. As in a
/// convolution, x and w may be bf16 with the bias in f32.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(x: &Tensor, w: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    linear_prepared(x, w, bias, None, activation, &Arc::default())
}

/// The same, `activation(x w^T + bias + residual)`, with forms of the weights that are kept for the next time.
pub(crate) fn linear_prepared(
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    activation: Activation,
    prepared: &Prepared,
) -> Result<Tensor> {
    match (x.dims(), w.dims(), bias.dims()) {
        ([.., inputs], &[out, of], &[one]) if *inputs == of && out == one => {}
        (x, w, b) => {
            candle_core::bail!("linear: wanted x [..., in], w [out, in] and bias [out], got {x:?}, {w:?} and {b:?}")
        }
    }
    if !composed::wanted(x) && is_constant(&[x, w, bias]) {
        match x.dtype() {
            DType::F32 => return run::<f32>([x, w, bias], residual, activation, prepared),
            DType::BF16 => return run::<bf16>([x, w, bias], residual, activation, prepared),
            // The kernel's GELU is good to f32.
            DType::F64 if activation.fuses() => return run::<f64>([x, w, bias], residual, activation, prepared),
            _ => {}
        }
    }
    let sum = out_of_candle(x, w, bias)?;
    activation.apply(&residual.map_or_else(|| Ok(sum.clone()), |r| sum.add(r))?)
}

/// Gradient of `x w^T` with respect to x from that of the result, `[..., out]` to `[..., in]`; `sum`, what the input's
/// other users have passed, is added.
pub(crate) fn linear_input_gradient(
    w: &Tensor,
    gradient: &Tensor,
    sum: Option<&Tensor>,
    prepared: &Prepared,
) -> Result<Tensor> {
    if gradient.dim(gradient.rank() - 1)? != w.dim(0)? {
        candle_core::bail!("linear: a gradient of {:?} does not fit weights {:?}", gradient.dims(), w.dims())
    }
    if !composed::wanted(gradient) && is_constant(&[w, gradient]) {
        match gradient.dtype() {
            DType::F32 => return run_back::<f32>(w, gradient, sum, prepared),
            DType::F64 => return run_back::<f64>(w, gradient, sum, prepared),
            _ => {}
        }
    }
    let part = on_rows(gradient, |rows| rows.matmul(w))?;
    sum.map_or(Ok(part.clone()), |sum| sum + part)
}

/// Gradients of the weights `[out, in]` and bias `[out]` of a linear layer from that of its sum, before any non-linearity:
/// x `[..., in]`, the gradient `[..., out]`; on the CPU.
pub(crate) fn linear_weight_gradient(x: &Tensor, gradient: &Tensor) -> Result<(Tensor, Tensor)> {
    let ([x_leading @ .., _], [leading @ .., out]) = (x.dims(), gradient.dims()) else {
        candle_core::bail!("linear: wanted x [..., in] and a gradient [..., out]")
    };
    expect_shape("linear: the gradient", gradient, &[x_leading, &[*out]].concat())?;
    let rows = leading.iter().product::<usize>();
    match x.dtype() {
        DType::F32 => to_weights::<f32>(x, gradient, rows),
        DType::F64 => to_weights::<f64>(x, gradient, rows),
        other => Err(super::unsupported("linear", other)),
    }
}

fn to_weights<T: Real>(x: &Tensor, gradient: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
    let (inputs, out) = (x.elem_count() / rows.max(1), gradient.elem_count() / rows.max(1));
    let (to_w, to_b) = with_values::<T, _>(x, |x| {
        with_values::<T, _>(gradient, |gradient| {
            let turned = turned(gradient, rows, out);
            let to_b: Vec<T> = turned.par_chunks(rows).map(|row| row.iter().copied().sum()).collect();
            let to_w = written(out * inputs, |y: &mut [MaybeUninit<T>]| {
                let y = Shared::new(y);
                let sink = ToRows { y, width: inputs, bias: None, residual: None, activation: Activation::None };
                product(&Left::new(&turned, rows), inputs, &Matrix { values: x, depth: rows, stride: inputs }, &sink);
                Ok(())
            })?;
            Ok((to_w, to_b))
        })
    })?;
    Ok((Tensor::from_vec(to_w, (out, inputs), x.device())?, Tensor::from_vec(to_b, out, x.device())?))
}

/// The transpose of `[rows, columns]`.
fn turned<T: Real>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    /// Columns that are read at once: they stand in few lines of the cache.
    const TOGETHER: usize = 16;
    let mut turned = vec![T::zero(); rows * columns];
    turned.par_chunks_mut(TOGETHER * rows).enumerate().for_each(|(i, to)| {
        for (r, row) in values.chunks_exact(columns).enumerate() {
            let row = &row[i * TOGETHER..];
            to[r..].iter_mut().step_by(rows).zip(row).for_each(|(to, v)| *to = *v);
        }
    });
    turned
}

/// Out of candle's operations.
fn out_of_candle(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    on_rows(x, |rows| rows.matmul(&w.t()?)?.broadcast_add(bias))
}

/// Works on all vectors of the last dimension as the rows of one matrix.
fn on_rows(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (leading, inputs) = x.dims().split_at(x.rank() - 1);
    let y = f(&x.reshape((leading.iter().product::<usize>(), inputs[0]))?.contiguous()?)?;
    let out = y.dim(1)?;
    y.reshape([leading, &[out]].concat())
}

fn run<V: Value>(
    [x, w, bias]: [&Tensor; 3],
    residual: Option<&Tensor>,
    activation: Activation,
    prepared: &Prepared,
) -> Result<Tensor> {
    let (depth, out) = (w.dim(1)?, w.dim(0)?);
    let form = with_values::<V, _>(w, |w| {
        let make = || Panels::packed(out, &Rows { values: w, depth, stride: depth });
        prepared.forward.get(make)
    })?;
    with_values::<V::Sum, _>(bias, |bias| rows::<V>(x, form, (depth, out), Some(bias), residual, activation))
}

fn run_back<T: Real>(w: &Tensor, gradient: &Tensor, sum: Option<&Tensor>, prepared: &Prepared) -> Result<Tensor> {
    let (depth, out) = (w.dim(0)?, w.dim(1)?);
    let form = with_values::<T, _>(w, |w| {
        let make = || Panels::packed(out, &Matrix { values: w, depth, stride: out });
        prepared.backward.get(make)
    })?;
    rows::<T>(gradient, form, (depth, out), None, sum, Activation::None)
}

/// `activation(x panels + bias + residual)` of every row.
fn rows<V: Value>(
    x: &Tensor,
    panels: &[V::Operand],
    (depth, out): (usize, usize),
    bias: Option<&[V::Sum]>,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let shape = [&x.dims()[..x.rank() - 1], &[out]].concat();
    if let Some(residual) = residual {
        expect_shape("linear: the residual", residual, &shape)?;
    }
    let y = with_values::<V, _>(x, |x| {
        with_option::<V, _>(residual, |residual| {
            let (x, depth) = (V::operands(x, depth), depth.div_ceil(V::DEPTH));
            written(x.len() / depth * out, |y| {
                let sink = ToRows { y: Shared::new(y), width: out, bias, residual, activation };
                rows_product(&Left::new(&x, depth), View { values: panels, depth, first: 0, columns: out }, &sink);
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(y, shape, &Device::Cpu)
}

/// Writes sums into rows of `width`.
struct ToRows<'a, V: Value> {
    y: Shared<'a, V>,
    width: usize,
    /// One number a column.
    bias: Option<&'a [V::Sum]>,
    /// As large as the result.
    residual: Option<&'a [V]>,
    activation: Activation,
}

impl<V: Value> Sink<V::Sum> for ToRows<'_, V> {
    fn write(&self, at: (usize, usize), size: (usize, usize), sums: &Tile<V::Sum>) {
        dispatch(WriteTile(self, at, size, sums));
    }
}

struct WriteTile<'a, V: Value>(&'a ToRows<'a, V>, (usize, usize), (usize, usize), &'a Tile<V::Sum>);

impl<V: Value> Kernel for WriteTile<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Self(to, (row, column), (rows, columns), sums) = self;
        for (r, sums) in sums.iter().enumerate().take(rows) {
            let at = (row + r) * to.width + column;
            let mut sums = *sums;
            if let Some(bias) = to.bias {
                sums.iter_mut().zip(&bias[column..column + columns]).for_each(|(s, b)| *s += *b);
            }
            if let Some(residual) = to.residual {
                sums.iter_mut().zip(&residual[at..at + columns]).for_each(|(s, r)| *s += r.widen());
            }
            to.activation.apply_to(&mut sums);
            // SAFETY: tiles of one product do not overlap.
            let out: &mut [MaybeUninit<V>] = unsafe { to.y.part(at, columns) };
            out.iter_mut().zip(&sums).for_each(|(o, s)| _ = o.write(V::narrow(*s)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{distance, gradient, random};
    use crate::ops::to_vec;

    const KINDS: [Activation; 4] = [Activation::None, Activation::Relu, Activation::Relu6, Activation::Gelu];

    #[test]
    fn single_and_short_numbers_keep_to_a_bound() {
        let (x, w, b, r) =
            (random(&[3, 70, 65], 1), random(&[100, 65], 2), random(&[100], 3), random(&[3, 70, 100], 4));
        for f in KINDS {
            let wanted = f.apply(&(out_of_candle(&x, &w, &b).unwrap() + &r).unwrap()).unwrap();
            for (kind, bound) in [(DType::F32, 1e-5), (DType::BF16, 0.15)] {
                let [x, w, r] = [&x, &w, &r].map(|t| t.to_dtype(kind).unwrap());
                let b = b.to_dtype(DType::F32).unwrap();
                let y = linear_prepared(&x, &w, &b, Some(&r), f, &Prepared::default()).unwrap();
                let off = distance(&y.to_dtype(DType::F64).unwrap(), &wanted);
                assert!(off < bound, "{kind:?} {f:?}: {off}");
            }
        }
    }

    #[test]
    fn neither_threads_nor_the_batch_change_a_byte() {
        let [x, w, b] = [random(&[300, 65], 1), random(&[100, 65], 2), random(&[100], 3)];
        let [x, w, b] = [x, w, b].map(|t| t.to_dtype(DType::F32).unwrap());
        let run = |threads: usize, rows: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let y = pool.install(|| linear(&x.narrow(0, 0, rows).unwrap(), &w, &b, Activation::Gelu)).unwrap();
            to_vec::<f32>(&y.narrow(0, 0, 3).unwrap()).unwrap()
        };
        assert_eq!(run(1, 300), run(2, 300));
        assert_eq!(run(1, 300), run(2, 3));
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (x, w, b) = (random(&[2, 3, 5], 1), random(&[4, 5], 2), random(&[4], 3));
        for f in KINDS {
            gradient(&x, 1e-6, |x| linear(x, &w, &b, f));
            gradient(&w, 1e-6, |w| linear(&x, w, &b, f));
            gradient(&b, 1e-6, |b| linear(&x, &w, b, f));
            gradient(&x, 1e-6, |x| f.apply(&out_of_candle(x, &w, &b)?));
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
                assert!(
                    distance(&y, &f.apply(&out_of_candle(&x, &w, &b).unwrap()).unwrap()) < 1e-12,
                    "{shape:?} {f:?}"
                );
            }
        }
    }

    #[test]
    fn its_short_gradient_is_candles() {
        let (x, w, b) = (random(&[2, 3, 5], 1), random(&[4, 5], 2), random(&[4], 3));
        let (x, g) = (candle_core::Var::from_tensor(&x).unwrap(), random(&[2, 3, 4], 4));
        let y = linear(&x, &w, &b, Activation::None).unwrap();
        let grads = y.mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(
            distance(grads.get(&x).unwrap(), &linear_input_gradient(&w, &g, None, &Prepared::default()).unwrap())
                < 1e-12
        );
    }

    #[test]
    fn the_gradient_of_its_weights_is_candles() {
        for leading in [vec![7], vec![2, 3], vec![60]] {
            let shape = |last: usize| [leading.as_slice(), &[last]].concat();
            let (x, g) = (random(&shape(5), 1), random(&shape(4), 2));
            let var = |shape: &[usize], seed| candle_core::Var::from_tensor(&random(shape, seed)).unwrap();
            let (w, b) = (var(&[4, 5], 3), var(&[4], 4));
            let grads = out_of_candle(&x, &w, &b).unwrap().mul(&g).unwrap().sum_all().unwrap().backward().unwrap();
            let (to_w, to_b) = linear_weight_gradient(&x, &g).unwrap();
            assert!(distance(&to_w, grads.get(&w).unwrap()) < 1e-12);
            assert!(distance(&to_b, grads.get(&b).unwrap()) < 1e-12);
        }
        assert!(linear_weight_gradient(&random(&[3, 5], 1), &random(&[4, 5], 2)).is_err());
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

    #[test]
    fn no_rows_and_rows_that_do_not_fit() {
        let (w, b) = (random(&[4, 5], 1), random(&[4], 2));
        let none = Tensor::zeros((0, 5), DType::F64, &Device::Cpu).unwrap();
        assert_eq!(linear(&none, &w, &b, Activation::None).unwrap().dims(), [0, 4]);
        assert!(linear_input_gradient(&w, &random(&[2, 5], 3), None, &Prepared::default()).is_err());
    }
}
