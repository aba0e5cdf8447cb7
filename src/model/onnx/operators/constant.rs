//! Constants and what follows from shapes.

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::super::build::Build;
use super::super::call::Call;
use super::super::data;
use super::super::proto::TensorProto;
use super::super::value::Value;
use super::Table;
use super::arithmetic::one;
use crate::model::graph::tensor::{Kind, LIMIT};

pub(super) const OPERATORS: Table = &[
    ("Constant", constant),
    ("ConstantOfShape", filled),
    ("Shape", shape),
    ("Size", |_, c| whole(&[c.input(0)?.dims().iter().product::<usize>() as i64], &[])),
    ("Range", range),
    ("Cast", cast),
    ("CastLike", |_, c| same(c)),
    ("Identity", |_, c| same(c)),
    ("Dropout", |_, c| same(c)),
];

fn same(call: &Call<'_>) -> Result<Vec<Value>> {
    Ok(vec![call.input(0)?.clone()])
}

fn whole(values: &[i64], shape: &[usize]) -> Result<Vec<Value>> {
    one(Value::constant(&Tensor::from_vec(values.to_vec(), shape, &Device::Cpu)?))
}

/// A tensor of the file.
pub(in super::super) fn initialiser(proto: &TensorProto, folder: &Path) -> Result<Value> {
    Value::constant(&data::tensor(proto, folder)?)
}

fn constant(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    if let Some(proto) = call.tensor("value")? {
        return one(initialiser(proto, build.folder()));
    }
    if call.has("value_int") {
        return whole(&[call.int("value_int", 0)?], &[]);
    }
    if let Some(values) = call.ints("value_ints")? {
        return whole(&values, &[values.len()]);
    }
    if call.has("value_float") {
        return one(Value::constant(&Tensor::new(call.float("value_float", 0.0)?, &Device::Cpu)?));
    }
    if let Some(values) = call.floats("value_floats")? {
        return one(Value::constant(&Tensor::new(values, &Device::Cpu)?));
    }
    bail!("it has no value that is read: `value`, `value_int`, `value_ints`, `value_float` and `value_floats` are")
}

/// One number repeated.
fn filled(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let shape = sizes(&call.integers(0)?.unwrap_or_default())?;
    let number = match call.tensor("value")? {
        Some(proto) => data::tensor(proto, build.folder())?.flatten_all()?,
        None => Tensor::zeros(1, DType::F32, &Device::Cpu)?,
    };
    if number.elem_count() != 1 {
        bail!("value has {} numbers, wanted one", number.elem_count());
    }
    build.spend(shape.iter().product())?;
    one(Value::constant(&number.reshape(vec![1; shape.len()])?.broadcast_as(shape)?.contiguous()?))
}

/// A shape that is not too large.
pub(super) fn sizes(dims: &[i64]) -> Result<Vec<usize>> {
    let shape = dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>();
    let fits = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_some_and(|n| n <= LIMIT);
    match shape.filter(fits) {
        Some(shape) => Ok(shape),
        None => bail!("the shape {dims:?} is not one of at most {LIMIT} numbers"),
    }
}

fn shape(_: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let dims: Vec<i64> = call.input(0)?.dims().iter().map(|d| *d as i64).collect();
    let rank = dims.len() as i64;
    let bound = |name: &str, default: i64| {
        let value = call.int(name, default)?;
        let counted = if value < 0 { value.saturating_add(rank) } else { value };
        Ok::<_, candle_core::Error>(counted.clamp(0, rank) as usize)
    };
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    let part = dims.get(start..end).unwrap_or_default();
    whole(part, &[part.len()])
}

fn range(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let numbers: Vec<Value> = (0..3).map(|i| call.input(i).cloned()).collect::<Result<_>>()?;
    if let [Some(start), Some(limit), Some(step)] =
        [0, 1, 2].map(|i| numbers[i].integers().ok().and_then(|v| <[i64; 1]>::try_from(v).ok()).map(|[v]| v))
    {
        if step == 0 {
            bail!("a range in steps of 0");
        }
        let (span, step_size) = (i128::from(limit) - i128::from(start), i128::from(step).abs());
        let count = (span * i128::from(step.signum()) + step_size - 1).max(0) / step_size;
        let count = sizes(&[i64::try_from(count).unwrap_or(i64::MAX)])?[0];
        build.spend(count)?;
        let values: Option<Vec<i64>> =
            (0..count as i64).map(|i| i.checked_mul(step).and_then(|v| v.checked_add(start))).collect();
        let Some(values) = values else { bail!("a range that overflows") };
        return whole(&values, &[count]);
    }
    let [start, limit, step] = [0, 1, 2].map(|i| numbers[i].scalar());
    let (Some(start), Some(limit), Some(step)) = (start, limit, step) else { bail!("a range of more than numbers") };
    let count = ((limit - start) / step).ceil().max(0.0);
    if !count.is_finite() {
        bail!("a range from {start} to {limit} in steps of {step}");
    }
    let count = sizes(&[count as i64])?[0];
    build.spend(count)?;
    let values: Vec<f32> = (0..count).map(|i| start + i as f32 * step).collect();
    one(Value::constant(&Tensor::new(values, &Device::Cpu)?))
}

/// Between kinds of floating point nothing changes: all is f32.
fn cast(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    const FLOATS: [i64; 4] = [1, 10, 11, 16];
    const BOOL: i64 = 9;
    const WHOLE: [i64; 8] = [2, 3, 4, 5, 6, 7, 12, 13];
    let (x, to) = (call.input(0)?, call.int("to", 0)?);
    if !x.is_constant() {
        if FLOATS.contains(&to) {
            return same(call);
        }
        bail!("what depends on the input is cast to whole numbers or truth values (type {to}): that has no gradient");
    }
    let tensor = x.known("a number")?;
    build.spend(tensor.elem_count())?;
    let cast = match (tensor.dtype(), to) {
        (_, to) if FLOATS.contains(&to) => tensor.to_dtype(DType::F32)?,
        (_, BOOL) => tensor.to_dtype(DType::F32)?.ne(0.0)?.to_dtype(DType::I64)?,
        (DType::F32, to) if WHOLE.contains(&to) => {
            // Towards zero; what is out of range becomes the nearest.
            let values: Vec<i64> = tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|v| v as i64).collect();
            Tensor::from_vec(values, tensor.dims(), &Device::Cpu)?
        }
        (DType::I64, to) if WHOLE.contains(&to) => tensor,
        (_, to) => bail!("type {to} is not supported"),
    };
    one(Value::constant(&cast))
}

/// Broadcasts a value to a shape, keeping it where it has that shape already.
pub(super) fn expand(build: &mut Build, value: &Value, shape: &[usize]) -> Result<Value> {
    let value = value.of_rank(shape.len());
    if value.dims() == shape {
        return Ok(value);
    }
    let grown: Vec<usize> = (0..shape.len()).filter(|i| shape[*i] != 1).collect();
    let (arrays, order, rank) = build.align_with(&[&value], &grown)?;
    let target: Vec<usize> = order.iter().map(|i| shape[*i]).collect();
    let array = build.apply(Kind::Expand(target), &[&arrays[0]])?;
    Ok(array.seen(super::super::build::axes_of(&order, rank)))
}
