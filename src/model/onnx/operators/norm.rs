//! Normalisations.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::build::Build;
use super::super::call::{Call, axis};
use super::super::value::{Array, Value};
use super::Table;
use super::arithmetic::{combine, one};
use super::product::{open, take_up};
use super::reduce::over_last;
use crate::model::graph::Op;
use crate::model::graph::tensor::Binary;
use crate::ops::Conv2d;

pub(super) const OPERATORS: Table = &[
    ("BatchNormalization", batch),
    ("InstanceNormalization", |b, c| {
        let x = c.input(0)?;
        if x.rank() < 3 {
            bail!("{:?} has no channels with positions", x.dims());
        }
        one(grouped(b, c, x.dim(1)))
    }),
    ("GroupNormalization", |b, c| {
        let groups = c.int("num_groups", 0)?;
        match usize::try_from(groups) {
            Ok(groups) if groups > 0 => one(grouped(b, c, groups)),
            _ => bail!("num_groups = {groups}"),
        }
    }),
    ("LayerNormalization", layer),
];

/// Numbers of a constant input.
fn numbers(call: &Call<'_>, input: usize, count: usize) -> Result<Tensor> {
    let found = call.input(input)?.known("a parameter of a normalisation")?.to_dtype(DType::F32)?.flatten_all()?;
    if found.elem_count() != count {
        bail!("input {input} has {} numbers, wanted {count}", found.elem_count());
    }
    Ok(found)
}

fn batch(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    call.only("training_mode", 0)?;
    if x.rank() < 2 {
        bail!("{:?} has no channels", x.dims());
    }
    let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| numbers(call, i, x.dim(1)));
    let scale = scale?.div(&(variance? + f64::from(call.float("epsilon", 1e-5)?))?.sqrt()?)?;
    let shift = shift?.sub(&mean?.mul(&scale)?)?;
    one(per_channel(build, x, &scale, &shift))
}

/// Every channel times a number plus a number: in the layer before, or by a convolution of one place.
fn per_channel(build: &mut Build, x: &Value, scale: &Tensor, shift: &Tensor) -> Result<Value> {
    if let Some((node, channel)) = open(build, x)
        && x.axes[1] == Some(channel)
    {
        take_up(build, node, Some(scale), Some(shift))?;
        return Ok(x.clone());
    }
    let channels = scale.elem_count();
    if x.array.shape.len() == 3 && x.axes[1] == Some(0) && !x.is_constant() {
        let settings = Conv2d { groups: channels, ..Conv2d::default() };
        let op = Op::Conv2d(settings, scale.reshape((channels, 1, 1, 1))?, shift.clone());
        let array = build.add(op, &[&x.array], x.array.shape.clone())?;
        return Ok(array.seen(x.axes.clone()));
    }
    let mut shape = vec![1; x.rank() - 1];
    shape[0] = channels;
    let [scale, shift] = [scale, shift].map(|numbers| Value::constant(&numbers.reshape(shape.as_slice())?));
    let product = combine(build, Binary::Mul, x, &scale?)?;
    combine(build, Binary::Add, &product, &shift?)
}

/// Without a scale and a shift of its own.
fn plain(build: &mut Build, x: &Array, epsilon: f64) -> Result<Array> {
    let width = x.shape.last().copied().unwrap_or(1);
    let weight = Tensor::ones(width, DType::F32, &Device::Cpu)?;
    let bias = Tensor::zeros(width, DType::F32, &Device::Cpu)?;
    build.add(Op::LayerNorm { weight, bias, epsilon }, &[x], x.shape.clone())
}

/// Over groups of channels with all their positions; scale and shift for every channel, or every group.
fn grouped(build: &mut Build, call: &Call<'_>, groups: usize) -> Result<Value> {
    let x = call.input(0)?;
    let dims = x.dims();
    if dims.len() < 2 || dims[1] % groups != 0 {
        bail!("{dims:?} in {groups} groups");
    }
    let channels = dims[1];
    let given = |input: usize| {
        let count = call.input(input)?.dims().iter().product::<usize>();
        if count == channels {
            return numbers(call, input, channels);
        }
        let of_group = numbers(call, input, groups)?.reshape((groups, 1))?;
        of_group.broadcast_as((groups, channels / groups))?.contiguous()?.flatten_all()
    };
    let (scale, shift) = (given(1)?, given(2)?);
    let order: Vec<usize> = (1..dims.len()).collect();
    let array = build.arrange(x, &order)?;
    let line = array.shape.iter().product::<usize>() / groups;
    let lines = build.reshape(&array, vec![groups, line])?;
    let normal = plain(build, &lines, f64::from(call.float("epsilon", 1e-5)?))?;
    let normal = build.reshape(&normal, array.shape)?;
    let mut axes = vec![None];
    axes.extend((0..order.len()).map(Some));
    per_channel(build, &normal.seen(axes), &scale, &shift)
}

fn layer(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let first = axis(call.int("axis", -1)?, x.rank())?;
    if call.wants(1) || call.wants(2) {
        bail!("its means and deviations are not supported");
    }
    let count: usize = x.dims()[first..].iter().product();
    let weight = numbers(call, 1, count)?;
    let bias = match call.optional(2) {
        Some(_) => numbers(call, 2, count)?,
        None => weight.zeros_like()?,
    };
    let epsilon = f64::from(call.float("epsilon", 1e-5)?);
    one(over_last(build, x, first, x.rank() - first, |build, x| {
        build.add(Op::LayerNorm { weight, bias, epsilon }, &[x], x.shape.clone())
    }))
}

/// Less its mean and by its deviation, along one axis.
pub(in super::super) fn normal(build: &mut Build, x: &Value, along: i64, epsilon: f32) -> Result<Value> {
    let along = axis(along, x.rank())?;
    over_last(build, x, along, 1, |build, x| plain(build, x, f64::from(epsilon)))
}
