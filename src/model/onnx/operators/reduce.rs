//! One number of many: means, sums, extremes; and softmax.

use candle_core::{Result, bail};

use super::super::build::{Build, axes_of};
use super::super::call::{Call, axes, axis};
use super::super::value::{Array, Value};
use super::Table;
use super::arithmetic::one;
use super::layout::without;
use super::pool::global_mean;
use super::product::is_map;
use crate::model::graph::Op;
use crate::model::graph::tensor::{Kind, Reduction, Unary};

pub(super) const OPERATORS: Table = &[
    ("ReduceMean", |b, c| reduce(b, c, Reduction::Mean)),
    ("ReduceSum", |b, c| reduce(b, c, Reduction::Sum)),
    ("ReduceMax", |b, c| reduce(b, c, Reduction::Max)),
    ("ReduceMin", |b, c| reduce(b, c, Reduction::Min)),
    ("ReduceL1", |b, c| reduce(b, c, Reduction::L1)),
    ("ReduceL2", |b, c| reduce(b, c, Reduction::L2)),
    ("ReduceSumSquare", |b, c| reduce(b, c, Reduction::Squares)),
    ("ReduceProd", |b, c| reduce(b, c, Reduction::Product)),
    ("Softmax", |b, c| softmax(b, c, |b, x| b.add(Op::Softmax, &[x], x.shape.clone()))),
    ("LogSoftmax", |b, c| softmax(b, c, |b, x| b.apply(Kind::LogSoftmax, &[x]))),
    ("LpNormalization", normalise),
];

fn reduce(build: &mut Build, call: &Call<'_>, f: Reduction) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let listed = call.setting(1, "axes")?.unwrap_or_default();
    if listed.is_empty() && call.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(vec![x.clone()]);
    }
    let gone = if listed.is_empty() { (0..x.rank()).collect() } else { axes(&listed, x.rank())? };
    let reduced = reduced(build, x, &gone, f)?;
    let keep = call.int("keepdims", 1)? != 0;
    Ok(vec![if keep { reduced } else { without(&reduced, &gone) }])
}

/// Axes become ones of one place, which no array has.
fn reduced(build: &mut Build, x: &Value, gone: &[usize], f: Reduction) -> Result<Value> {
    let held = |axis: &usize| x.axes[*axis].is_some();
    let positions = [2, 3].iter().all(|axis| gone.contains(axis) && held(axis));
    let is_plane = x.rank() == 4 && positions && !gone.contains(&1) && held(&1);
    let is_nhwc = x.rank() == 4 && [1, 2].iter().all(|axis| gone.contains(axis) && held(axis)) && !gone.contains(&3);
    if f == Reduction::Mean && !x.is_constant() && x.dim(0) == 1 {
        if is_plane {
            return global_mean(build, x);
        }
        if is_nhwc && held(&3) {
            let turned = Value { axes: vec![x.axes[0], x.axes[3], x.axes[1], x.axes[2]], ..x.clone() };
            let mean = global_mean(build, &turned)?;
            return Ok(Value { axes: vec![None, None, None, Some(0)], ..mean });
        }
    }
    let along: Vec<usize> = gone.iter().filter_map(|axis| x.axes[*axis]).collect();
    // Squares and sizes are taken even where there is but one number.
    if along.is_empty() && matches!(f, Reduction::Mean | Reduction::Sum | Reduction::Max | Reduction::Min) {
        return Ok(x.clone());
    }
    let array = build.apply(Kind::Reduce(f, along.clone()), &[&x.array])?;
    let shifted = |a: usize| a - along.iter().filter(|gone| **gone < a).count();
    let axes = x.axes.iter().map(|a| a.filter(|a| !along.contains(a)).map(shifted)).collect();
    Ok(array.seen(axes))
}

type Along = fn(&mut Build, &Array) -> Result<Array>;

/// Along one axis; in older versions along all from that axis on, as if they were one.
fn softmax(build: &mut Build, call: &Call<'_>, f: Along) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let (first, count) = if call.opset < 13 {
        let first = axis(call.int("axis", 1)?, x.rank())?;
        (first, x.rank() - first)
    } else {
        (axis(call.int("axis", -1)?, x.rank())?, 1)
    };
    one(over_last(build, x, first, count, f))
}

/// Does something along the last axis of an array whose last axis is `count` of ONNX's from `first` on. A map stays
/// `[channel, height, width]`.
pub(super) fn over_last(
    build: &mut Build,
    x: &Value,
    first: usize,
    count: usize,
    f: impl FnOnce(&mut Build, &Array) -> Result<Array>,
) -> Result<Value> {
    let along: Vec<usize> = (first..first + count).collect();
    let mut order = x.order();
    order.retain(|axis| !along.contains(axis));
    let others = order.len();
    order.extend(&along);
    let array = build.arrange(x, &order)?;
    let line = array.shape[others..].iter().product();
    let flat = build.reshape(&array, [&array.shape[..others], &[line]].concat())?;
    let done = f(build, &flat)?;
    let array = build.reshape(&done, array.shape)?;
    if count == 1 && is_map(x, first) && !array.is_constant() {
        let back = build.apply(Kind::Permute(vec![2, 0, 1]), &[&array])?;
        return Ok(back.seen(x.axes.clone()));
    }
    Ok(array.seen(axes_of(&order, x.rank())))
}

fn normalise(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let along = axis(call.int("axis", -1)?, x.rank())?;
    let f = match call.int("p", 2)? {
        1 => Reduction::L1,
        2 => Reduction::L2,
        other => bail!("p = {other}"),
    };
    let size = reduced(build, x, &[along], f)?;
    let inverse = build.each(&size, Unary::Inverse)?;
    one(super::arithmetic::combine(build, crate::model::graph::tensor::Binary::Mul, x, &inverse))
}
