//! Gradients of the operations that networks have most of, without candle's graph.

use candle_core::{Result, Tensor};

use super::{Binary, Kind, TensorOp, Unary};

impl TensorOp {
    /// Gradients of the inputs from that of the result; `None` where there is no short way.
    pub(in crate::model::graph) fn pull_back(
        &self,
        inputs: &[&Tensor],
        gradient: &Tensor,
    ) -> Result<Option<Vec<Tensor>>> {
        let one = |x: Tensor| Some(vec![x]);
        Ok(match (&self.kind, self.constants.as_slice(), inputs) {
            (Kind::Permute(order), _, [_]) => {
                let mut back: Vec<usize> = vec![0; order.len() + 1];
                order.iter().enumerate().for_each(|(to, from)| back[from + 1] = to + 1);
                one(gradient.permute(back)?.contiguous()?)
            }
            (Kind::Reshape(_), _, [x]) => one(gradient.contiguous()?.reshape(x.dims())?),
            (Kind::Narrow { axis, start, length }, _, [x]) => {
                let behind = x.dim(axis + 1)? - start - length;
                one(gradient.contiguous()?.pad_with_zeros(axis + 1, *start, behind)?)
            }
            (Kind::Unary(Unary::Linear(scale, _)), _, [_]) => one((gradient * f64::from(*scale))?),
            (Kind::Binary(Binary::Add | Binary::Sub), [None, Some(_)], [x]) if x.dims() == gradient.dims() => {
                one(gradient.clone())
            }
            (Kind::Binary(Binary::Mul), [None, Some(c)] | [Some(c), None], [x]) if x.dims() == gradient.dims() => {
                one(gradient.broadcast_mul(c)?)
            }
            (Kind::Binary(Binary::Mul), [None, None], [a, b]) if a.dims() == b.dims() => {
                Some(vec![gradient.mul(b)?, gradient.mul(a)?])
            }
            (Kind::MatMul, [None, None], [a, b]) if lead(a) == lead(gradient) && lead(b) == lead(gradient) => {
                Some(vec![product(gradient, &turned(b)?)?, product(&turned(a)?, gradient)?])
            }
            (Kind::MatMul, [None, Some(b)], [a]) if lead(a) == lead(gradient) => one(product(gradient, &turned(b)?)?),
            (Kind::MatMul, [Some(a), None], [b]) if lead(b) == lead(gradient) => one(product(&turned(a)?, gradient)?),
            _ => None,
        })
    }
}

/// The axes before a matrix.
fn lead(x: &Tensor) -> &[usize] {
    &x.dims()[..x.rank() - 2]
}

fn turned(x: &Tensor) -> Result<Tensor> {
    x.transpose(x.rank() - 2, x.rank() - 1)?.contiguous()
}

fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let of = |x: &Tensor, other: &Tensor| {
        let shape: Vec<usize> = lead(x).iter().zip(lead(other)).map(|(a, b)| *a.max(b)).collect();
        x.broadcast_as([shape.as_slice(), &x.dims()[x.rank() - 2..]].concat())?.contiguous()
    };
    of(a, b)?.matmul(&of(b, a)?)
}
