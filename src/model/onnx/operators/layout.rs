//! The same numbers in another order or shape, parts of them, and several put together.

use candle_core::{Result, bail};

use super::super::build::{Build, axes_of};
use super::super::call::{Call, axes, axis};
use super::super::value::Value;
use super::Table;
use super::arithmetic::one;
use super::constant::{expand, sizes};
use crate::model::graph::tensor::{Kind, broadcast};

pub(super) const OPERATORS: Table = &[
    ("Reshape", reshape_to),
    ("Flatten", flatten),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Transpose", transpose),
    ("Concat", concat),
    ("Split", split),
    ("Expand", |b, c| {
        let (x, wanted) = (c.input(0)?, sizes(&c.integers(1)?.unwrap_or_default())?);
        let Some(shape) = broadcast(&x.dims(), &wanted) else { bail!("{:?} and {wanted:?}", x.dims()) };
        one(expand(b, x, &shape))
    }),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
];

/// Another shape. Where only axes of one place come or go nothing is done.
pub(in super::super) fn reshape(build: &mut Build, value: &Value, shape: &[usize]) -> Result<Value> {
    let dims = value.dims();
    let solid = |dims: &[usize]| dims.iter().copied().filter(|d| *d != 1).collect::<Vec<_>>();
    if shape.iter().product::<usize>() != dims.iter().product::<usize>() {
        bail!("{dims:?} is not {shape:?}: was it exported for a batch of more than one? Export it for one");
    }
    if solid(&dims) == solid(shape) {
        let mut held = (0..dims.len()).filter(|i| dims[*i] != 1).map(|i| value.axes[i]);
        let seen = shape.iter().map(|d| if *d == 1 { None } else { held.next().flatten() }).collect();
        return Ok(Value { axes: seen, ..value.clone() });
    }
    let order: Vec<usize> = (0..dims.len()).filter(|i| value.axes[*i].is_some()).collect();
    let array = build.arrange(value, &order)?;
    // One axis of one place is the batch's.
    let batch = shape.iter().position(|d| *d == 1);
    let kept: Vec<usize> = (0..shape.len()).filter(|i| Some(*i) != batch).collect();
    let array = build.reshape(&array, kept.iter().map(|i| shape[*i]).collect())?;
    Ok(array.seen(axes_of(&kept, shape.len())))
}

fn reshape_to(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, target) = (call.input(0)?, call.setting(1, "shape")?.unwrap_or_default());
    let (dims, keep_zeros) = (x.dims(), call.int("allowzero", 0)? != 0);
    let mut shape = target.clone();
    for (i, d) in shape.iter_mut().enumerate().filter(|(_, d)| **d == 0 && !keep_zeros) {
        *d = dims.get(i).map_or(0, |d| *d as i64);
    }
    if let Some(free) = shape.iter().position(|d| *d == -1) {
        shape[free] = 1;
        let others: usize = sizes(&shape)?.iter().product();
        let all: usize = dims.iter().product();
        match all.checked_rem(others) {
            Some(0) => shape[free] = (all / others) as i64,
            _ => bail!("{dims:?} is not {target:?}: was it exported for a batch of more than one? Export it for one"),
        }
    }
    one(reshape(build, x, &sizes(&shape)?))
}

fn flatten(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let (dims, from) = (x.dims(), call.int("axis", 1)?);
    let from = if from == dims.len() as i64 { dims.len() } else { axis(from, dims.len())? };
    one(reshape(build, x, &[dims[..from].iter().product(), dims[from..].iter().product()]))
}

fn squeeze(_: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let gone = match call.setting(1, "axes")? {
        Some(listed) => axes(&listed, x.rank())?,
        None => (0..x.rank()).filter(|i| x.dim(*i) == 1).collect(),
    };
    if let Some(wide) = gone.iter().find(|i| x.dim(**i) != 1) {
        bail!("axis {wide} of {:?} has more than one place", x.dims());
    }
    Ok(vec![without(x, &gone)])
}

/// Without axes of one place.
pub(super) fn without(x: &Value, gone: &[usize]) -> Value {
    let axes = (0..x.rank()).filter(|i| !gone.contains(i)).map(|i| x.axes[i]).collect();
    Value { axes, ..x.clone() }
}

fn unsqueeze(_: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let Some(listed) = call.setting(1, "axes")? else { bail!("axes are missing") };
    let new = axes(&listed, x.rank() + listed.len())?;
    let mut held = x.axes.iter();
    let seen = (0..x.rank() + new.len())
        .map(|i| if new.contains(&i) { None } else { held.next().copied().flatten() })
        .collect();
    Ok(vec![Value { axes: seen, ..x.clone() }])
}

fn transpose(_: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let order = match call.ints("perm")? {
        Some(order) => order.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>>>()?,
        None => (0..x.rank()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        bail!("perm {order:?} is no order of {} axes", x.rank());
    }
    Ok(vec![Value { axes: order.iter().map(|i| x.axes[*i]).collect(), ..x.clone() }])
}

fn concat(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let rank = call.input(0)?.rank();
    let along = axis(call.int("axis", 1)?, rank)?;
    let parts: Vec<&Value> = (0..call.inputs.len()).map(|i| call.input(i)).collect::<Result<_>>()?;
    if parts.iter().any(|p| p.rank() != rank) {
        bail!("its parts have different numbers of axes");
    }
    let full: Vec<&Value> = parts.iter().copied().filter(|p| p.dim(along) > 0).collect();
    let [first, .., _] = full[..] else {
        return Ok(vec![full.first().copied().unwrap_or(parts[0]).clone()]);
    };
    if let Some(other) = full.iter().find(|p| (0..rank).any(|i| i != along && p.dim(i) != first.dim(i))) {
        bail!("{:?} and {:?} differ in more than axis {along}", first.dims(), other.dims());
    }
    let (arrays, order, rank) = build.align_with(&full, &[along])?;
    let place = order.iter().position(|i| *i == along).unwrap_or_default();
    let array = build.apply(Kind::Concat(place), &arrays.iter().collect::<Vec<_>>())?;
    Ok(vec![array.seen(axes_of(&order, rank))])
}

fn split(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let (places, parts) = (x.dim(along), call.node.output.len().max(1));
    let lengths = if let Some(lengths) = call.setting(1, "split")? {
        sizes_of(&lengths)?
    } else {
        let length = places.div_ceil(parts);
        (0..parts).map(|i| length.min(places.saturating_sub(i * length))).collect()
    };
    if lengths.len() != parts || lengths.iter().try_fold(0usize, |n, l| n.checked_add(*l)) != Some(places) {
        bail!("{places} places are not split into {lengths:?}");
    }
    let mut start = 0;
    let part = |length: &usize| {
        start += length;
        narrow(build, x, along, start - length, *length)
    };
    lengths.iter().map(part).collect()
}

fn sizes_of(lengths: &[i64]) -> Result<Vec<usize>> {
    lengths.iter().map(|l| usize::try_from(*l).map_err(candle_core::Error::wrap)).collect()
}

/// Places of one of ONNX's axes.
pub(super) fn narrow(build: &mut Build, x: &Value, along: usize, start: usize, length: usize) -> Result<Value> {
    if (start, length) == (0, x.dim(along)) {
        return Ok(x.clone());
    }
    on_axis(build, x, along, |axis| Kind::Narrow { axis, start, length })
}

/// Something done along one of ONNX's axes, whose length may change.
pub(super) fn on_axis(build: &mut Build, x: &Value, along: usize, kind: impl FnOnce(usize) -> Kind) -> Result<Value> {
    let (arrays, order, rank) = build.align_with(&[x], &[along])?;
    let place = order.iter().position(|i| *i == along).unwrap_or_default();
    let array = build.apply(kind(place), &[&arrays[0]])?;
    Ok(array.seen(axes_of(&order, rank)))
}

fn depth_to_space(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, size) = (call.input(0)?, call.int("blocksize", 0)?);
    let ([n, c, h, w], Ok(s)) = (four(x)?, usize::try_from(size)) else { bail!("blocksize = {size}") };
    if s == 0 || c % (s * s) != 0 {
        bail!("{c} channels in blocks of {s}");
    }
    let (parts, order) = match call.text("mode", "DCR")? {
        "DCR" => ([n, s, s, c / s / s, h, w], [0, 3, 4, 1, 5, 2]),
        _ => ([n, c / s / s, s, s, h, w], [0, 1, 4, 2, 5, 3]),
    };
    moved(build, x, &parts, &order, &[n, c / s / s, h * s, w * s])
}

fn space_to_depth(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, size) = (call.input(0)?, call.int("blocksize", 0)?);
    let ([n, c, h, w], Ok(s)) = (four(x)?, usize::try_from(size)) else { bail!("blocksize = {size}") };
    if s == 0 || h % s != 0 || w % s != 0 {
        bail!("{h} x {w} in blocks of {s}");
    }
    moved(build, x, &[n, c, h / s, s, w / s, s], &[0, 3, 5, 1, 2, 4], &[n, c * s * s, h / s, w / s])
}

fn four(x: &Value) -> Result<[usize; 4]> {
    <[usize; 4]>::try_from(x.dims()).map_err(|dims| candle_core::Error::Msg(format!("{dims:?} has not four axes")))
}

fn moved(build: &mut Build, x: &Value, parts: &[usize], order: &[usize], shape: &[usize]) -> Result<Vec<Value>> {
    let apart = reshape(build, x, parts)?;
    let turned = Value { axes: order.iter().map(|i| apart.axes[*i]).collect(), ..apart };
    one(reshape(build, &turned, shape))
}
