//! Products of matrices: linear layers where one side is constant.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::build::{Build, axes_of};
use super::super::call::Call;
use super::super::value::{Source, Value};
use super::Table;
use super::arithmetic::{combine, one};
use crate::model::graph::Op;
use crate::model::graph::tensor::{Binary, Kind, Unary, broadcast};
use crate::ops::{Activation, Conv2d};

pub(super) const OPERATORS: Table = &[("MatMul", |b, c| one(matmul(b, c.input(0)?, c.input(1)?))), ("Gemm", gemm)];

/// The convolution, linear layer or layer norm that gives a value, where a constant for each channel can still go into its weights,
/// and the axis of its channels.
pub(super) fn open(build: &Build, value: &Value) -> Option<(usize, usize)> {
    let Source::Node(node) = value.array.source else { return None };
    match &build.drafts[node].op {
        Op::Conv2d(Conv2d { activation: Activation::None, .. }, ..) if value.sole => Some((node, 0)),
        Op::Linear(Activation::None, ..) | Op::LayerNorm { .. } if value.sole => {
            Some((node, value.array.shape.len() - 1))
        }
        _ => None,
    }
}

/// Multiplies a layer's result by a number for each channel, then adds one; one number stands for all.
pub(super) fn take_up(build: &mut Build, node: usize, scale: Option<&Tensor>, shift: Option<&Tensor>) -> Result<()> {
    build.absorb(node);
    let (Op::Conv2d(_, w, b) | Op::Linear(_, w, b) | Op::LayerNorm { weight: w, bias: b, .. }) =
        &mut build.drafts[node].op
    else {
        bail!("a node without weights takes up nothing")
    };
    let wide = |numbers: &Tensor| numbers.broadcast_as(b.dims())?.contiguous();
    if let Some(scale) = scale {
        let scale = wide(scale)?;
        let mut shape = vec![1; w.rank()];
        shape[0] = b.elem_count();
        *w = w.broadcast_mul(&scale.reshape(shape)?)?;
        *b = b.mul(&scale)?;
    }
    if let Some(shift) = shift {
        *b = b.add(&shift.broadcast_as(b.dims())?)?;
    }
    Ok(())
}

/// A product as numpy's.
fn matmul(build: &mut Build, a: &Value, b: &Value) -> Result<Value> {
    if a.rank() == 0 || b.rank() == 0 {
        bail!("a product of {:?} and {:?}", a.dims(), b.dims());
    }
    // Vectors are matrices of one row or column, which goes again.
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let left = if row { a.of_rank(2) } else { a.clone() };
    let right = if column { Value { axes: vec![b.axes[0], None], ..b.clone() } } else { b.clone() };
    let mut product = product(build, &left, &right)?;
    let rank = product.rank();
    if column {
        product.axes.remove(rank - 1);
    }
    if row {
        product.axes.remove(rank - 2);
    }
    Ok(product)
}

fn product(build: &mut Build, a: &Value, b: &Value) -> Result<Value> {
    let (da, db) = (a.dims(), b.dims());
    let lead = broadcast(&da[..da.len() - 2], &db[..db.len() - 2]);
    if da[da.len() - 1] != db[db.len() - 2] || lead.is_none() {
        bail!("a product of {da:?} and {db:?}");
    }
    let is_matrix = db[..db.len() - 2].iter().all(|d| *d == 1) && da.len() >= db.len();
    if is_matrix && !a.is_constant() && b.is_constant() {
        let matrix = b.known("a matrix")?.reshape(&db[db.len() - 2..])?;
        return linear(build, a, &matrix.t()?.contiguous()?, None);
    }
    let rank = da.len().max(db.len());
    let (a, b) = (a.of_rank(rank), b.of_rank(rank));
    let named =
        |axis: usize| a.dim(axis) != 1 || b.dim(axis) != 1 || (a.axes[axis].is_some() && b.axes[axis].is_some());
    let mut order: Vec<usize> = (0..rank - 2).filter(|axis| named(*axis)).collect();
    order.extend([rank - 2, rank - 1]);
    let (a, b) = (build.arrange(&a, &order)?, build.arrange(&b, &order)?);
    let array = build.apply(Kind::MatMul, &[&a, &b])?;
    Ok(array.seen(axes_of(&order, rank)))
}

/// Whether this axis of ONNX's is that of the channels of an array `[channel, height, width]`.
pub(super) fn is_map(x: &Value, channels: usize) -> bool {
    let [_, rows, columns] = x.array.shape[..] else { return false };
    x.rank() == 4 && x.axes[channels] == Some(0) && rows * columns > 1
}

/// A linear layer on the last axis, with weights `[out, in]`.
fn linear(build: &mut Build, x: &Value, w: &Tensor, bias: Option<Tensor>) -> Result<Value> {
    let w = w.to_dtype(DType::F32)?;
    let (out, last) = (w.dim(0)?, x.rank() - 1);
    let bias = bias.map_or_else(|| Tensor::zeros(out, DType::F32, &Device::Cpu), Ok)?;
    if is_map(x, last) {
        // A map stays one: a convolution of single places does the same.
        let shape = [&[out], &x.array.shape[1..]].concat();
        let op = Op::Conv2d(Conv2d::default(), w.reshape((out, w.dim(1)?, 1, 1))?, bias);
        return Ok(build.add(op, &[&x.array], shape)?.seen(x.axes.clone()));
    }
    let mut order = x.order();
    order.retain(|axis| *axis != last);
    order.push(last);
    let array = build.arrange(x, &order)?;
    let mut shape = array.shape.clone();
    shape[order.len() - 1] = out;
    let array = build.add(Op::Linear(Activation::None, w, bias), &[&array], shape)?;
    Ok(array.seen(axes_of(&order, x.rank())))
}

/// `alpha a b + beta c`, a and b transposed or not.
fn gemm(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    let side = |number: usize, name: &str| {
        let value = call.input(number)?;
        match (value.rank(), call.int(name, 0)?) {
            (2, 0) => Ok(value.clone()),
            (2, _) => Ok(Value { axes: vec![value.axes[1], value.axes[0]], ..value.clone() }),
            _ => bail!("{:?} is no matrix", value.dims()),
        }
    };
    let (a, b) = (side(0, "transA")?, side(1, "transB")?);
    if a.dim(1) != b.dim(0) {
        bail!("a product of {:?} and {:?}", a.dims(), b.dims());
    }
    let mut sum = match b.tensor()? {
        Some(b) if !a.is_constant() => {
            let w = b.t()?.contiguous()?;
            linear(build, &a, &if alpha == 1.0 { w } else { (w * f64::from(alpha))? }, None)?
        }
        _ => {
            let product = product(build, &a, &b)?;
            if alpha == 1.0 { product } else { build.each(&product, Unary::Linear(alpha, 0.0))? }
        }
    };
    if let Some(c) = call.optional(2) {
        let c = if beta == 1.0 { c.clone() } else { build.each(c, Unary::Linear(beta, 0.0))? };
        sum = combine(build, Binary::Add, &sum, &c)?;
    }
    Ok(vec![sum])
}
