//! Number by number: sums, products, comparisons, non-linearities.

use candle_core::{DType, Result, Tensor, bail};

use super::super::build::{Build, axes_of};
use super::super::call::Call;
use super::super::integer;
use super::super::value::{Array, Source, Value};
use super::Table;
use crate::model::graph::Op;
use crate::model::graph::tensor::{Binary, Kind, Unary, broadcast};
use crate::ops::Activation;

pub(super) const OPERATORS: Table = &[
    ("Add", |b, c| binary(b, c, Binary::Add)),
    ("Sub", |b, c| binary(b, c, Binary::Sub)),
    ("Mul", |b, c| binary(b, c, Binary::Mul)),
    ("Div", |b, c| binary(b, c, Binary::Div)),
    ("PRelu", |b, c| binary(b, c, Binary::Slope)),
    ("Equal", |b, c| binary(b, c, Binary::Equal)),
    ("Less", |b, c| binary(b, c, Binary::Less)),
    ("Greater", |b, c| one(combine(b, Binary::Less, c.input(1)?, c.input(0)?))),
    ("LessOrEqual", |b, c| opposite(b, Binary::Less, c.input(1)?, c.input(0)?)),
    ("GreaterOrEqual", |b, c| opposite(b, Binary::Less, c.input(0)?, c.input(1)?)),
    ("Pow", power),
    ("Min", |b, c| many(b, c, Binary::Min)),
    ("Max", |b, c| many(b, c, Binary::Max)),
    ("Sum", |b, c| many(b, c, Binary::Add)),
    ("Mean", |b, c| {
        let sum = many(b, c, Binary::Add)?;
        one(b.each(&sum[0], Unary::Linear(1.0 / c.inputs.len() as f32, 0.0)))
    }),
    ("And", |b, c| whole(b, c, |x, y| Some(i64::from(x != 0 && y != 0)))),
    ("Or", |b, c| whole(b, c, |x, y| Some(i64::from(x != 0 || y != 0)))),
    ("Xor", |b, c| whole(b, c, |x, y| Some(i64::from((x != 0) != (y != 0))))),
    ("Mod", |b, c| {
        let truncates = c.int("fmod", 0)? != 0;
        whole(b, c, if truncates { i64::checked_rem } else { modulo })
    }),
    ("Not", |b, c| {
        let zero = Value::constant(&Tensor::new(0i64, &candle_core::Device::Cpu)?)?;
        one(combine(b, Binary::Equal, c.input(0)?, &zero))
    }),
    ("Where", choose),
    ("Clip", clip),
    ("Neg", |b, c| unary(b, c, Unary::Negative)),
    ("Abs", |b, c| unary(b, c, Unary::Size)),
    ("Sign", |b, c| unary(b, c, Unary::Sign)),
    ("Sqrt", |b, c| unary(b, c, Unary::Root)),
    ("Exp", |b, c| unary(b, c, Unary::Exp)),
    ("Log", |b, c| unary(b, c, Unary::Log)),
    ("Reciprocal", |b, c| unary(b, c, Unary::Inverse)),
    ("Erf", |b, c| unary(b, c, Unary::Erf)),
    ("Sin", |b, c| unary(b, c, Unary::Sine)),
    ("Cos", |b, c| unary(b, c, Unary::Cosine)),
    ("Tanh", |b, c| unary(b, c, Unary::Tanh)),
    ("Sigmoid", |b, c| unary(b, c, Unary::Sigmoid)),
    ("Softplus", |b, c| unary(b, c, Unary::Softplus)),
    ("Softsign", |b, c| unary(b, c, Unary::Softsign)),
    ("Mish", |b, c| unary(b, c, Unary::Mish)),
    ("HardSwish", |b, c| unary(b, c, Unary::HardSwish)),
    ("Relu", |b, c| unary(b, c, Unary::Relu)),
    ("LeakyRelu", |b, c| unary(b, c, Unary::LeakyRelu(c.float("alpha", 0.01)?))),
    ("Elu", |b, c| unary(b, c, Unary::Elu(c.float("alpha", 1.0)?))),
    ("Selu", |b, c| {
        let (alpha, gamma) = (c.float("alpha", 1.673_263_2)?, c.float("gamma", 1.050_701)?);
        unary(b, c, Unary::Selu(alpha, gamma))
    }),
    ("Celu", |b, c| unary(b, c, Unary::Celu(c.float("alpha", 1.0)?))),
    ("HardSigmoid", |b, c| {
        let (alpha, beta) = (c.float("alpha", 0.2)?, c.float("beta", 0.5)?);
        unary(b, c, Unary::HardSigmoid(alpha, beta))
    }),
    ("Gelu", |b, c| match c.text("approximate", "none")? {
        "none" => one(gelu(b, c.input(0)?)),
        "tanh" => unary(b, c, Unary::GeluTanh),
        other => bail!("approximate = {other}"),
    }),
    ("Floor", |b, c| rounded(b, c, f32::floor)),
    ("Ceil", |b, c| rounded(b, c, f32::ceil)),
    ("Round", |b, c| rounded(b, c, f32::round_ties_even)),
];

pub(super) fn one(value: Result<Value>) -> Result<Vec<Value>> {
    Ok(vec![value?])
}

fn unary(build: &mut Build, call: &Call<'_>, f: Unary) -> Result<Vec<Value>> {
    one(build.each(call.input(0)?, f))
}

/// GELU by the error function, which has a kernel.
pub(in super::super) fn gelu(build: &mut Build, x: &Value) -> Result<Value> {
    Ok(build.bend(&x.array, Activation::Gelu)?.seen(x.axes.clone()))
}

fn binary(build: &mut Build, call: &Call<'_>, f: Binary) -> Result<Vec<Value>> {
    one(combine(build, f, call.input(0)?, call.input(1)?))
}

fn many(build: &mut Build, call: &Call<'_>, f: Binary) -> Result<Vec<Value>> {
    let mut sum = call.input(0)?.clone();
    for number in 1..call.inputs.len() {
        sum = combine(build, f, &sum, call.input(number)?)?;
    }
    Ok(vec![sum])
}

fn opposite(build: &mut Build, f: Binary, a: &Value, b: &Value) -> Result<Vec<Value>> {
    let value = combine(build, f, a, b)?;
    if value.tensor()?.is_some_and(|t| t.dtype() == DType::I64) {
        let one_of_all = Value::constant(&Tensor::new(1i64, &candle_core::Device::Cpu)?)?;
        return one(combine(build, Binary::Sub, &one_of_all, &value));
    }
    one(build.each(&value, Unary::Linear(-1.0, 1.0)))
}

/// Two values that broadcast. Constants that a convolution or linear layer can take up go into its weights.
pub(in super::super) fn combine(build: &mut Build, f: Binary, a: &Value, b: &Value) -> Result<Value> {
    if broadcast(&a.dims(), &b.dims()).is_none() {
        bail!("{:?} and {:?} do not broadcast", a.dims(), b.dims());
    }
    for (value, constant, turned) in [(a, b, false), (b, a, true)] {
        if let Some(folded) = fold(build, f, value, constant, turned)? {
            return Ok(folded);
        }
        if let Some(scaled) = scaled(build, f, value, constant, turned)? {
            return Ok(scaled);
        }
    }
    let (arrays, order, rank) = build.align(&[a, b])?;
    let [left, right] = &arrays[..] else { bail!("two arguments are wanted") };
    let sum = f == Binary::Add && left.shape == right.shape && !left.is_constant() && !right.is_constant();
    let array = if sum {
        build.add(Op::Add(Activation::None), &[left, right], left.shape.clone())?
    } else {
        build.apply(Kind::Binary(f), &[left, right])?
    };
    let truth = matches!(f, Binary::Equal | Binary::Less) && array.is_constant();
    Ok(truth_values(array, truth)?.seen(axes_of(&order, rank)))
}

/// Comparisons of constants give whole numbers, whatever was compared.
fn truth_values(array: Array, truth: bool) -> Result<Array> {
    match (&array.source, truth) {
        (Source::Constant(tensor), true) if tensor.dtype() != DType::I64 => {
            Ok(Array { source: Source::Constant(tensor.to_dtype(DType::I64)?), shape: array.shape })
        }
        _ => Ok(array),
    }
}

/// With one number for all, where that is simpler than an array.
fn scaled(build: &mut Build, f: Binary, value: &Value, constant: &Value, turned: bool) -> Result<Option<Value>> {
    let Some(number) = constant.scalar().filter(|_| !value.is_constant() && constant.rank() <= value.rank()) else {
        return Ok(None);
    };
    let f = match (f, turned) {
        (Binary::Add, _) => Unary::Linear(1.0, number),
        (Binary::Sub, false) => Unary::Linear(1.0, -number),
        (Binary::Sub, true) => Unary::Linear(-1.0, number),
        (Binary::Mul, _) => Unary::Linear(number, 0.0),
        (Binary::Div, false) => Unary::Linear(1.0 / number, 0.0),
        _ => return Ok(None),
    };
    build.each(value, f).map(Some)
}

/// A constant for each channel, taken up by the convolution or linear layer before, where nobody else sees its result.
fn fold(build: &mut Build, f: Binary, value: &Value, constant: &Value, turned: bool) -> Result<Option<Value>> {
    let dims = value.dims();
    let Some(tensor) = constant.tensor()?.filter(|_| broadcast(&dims, &constant.dims()).as_ref() == Some(&dims)) else {
        return Ok(None);
    };
    let Some((node, channel)) = super::product::open(build, value) else { return Ok(None) };
    let wide = constant.of_rank(value.rank());
    let elsewhere = |axis: usize| value.axes[axis] != Some(channel) && wide.dim(axis) != 1;
    if tensor.dtype() != DType::F32 || !value.axes.contains(&Some(channel)) || (0..value.rank()).any(elsewhere) {
        return Ok(None);
    }
    let numbers = tensor.flatten_all()?;
    let (scale, shift) = match (f, turned) {
        (Binary::Add, _) => (None, Some(numbers)),
        (Binary::Sub, false) => (None, Some(numbers.neg()?)),
        (Binary::Sub, true) => (Some(numbers.affine(0.0, -1.0)?), Some(numbers)),
        (Binary::Mul, _) => (Some(numbers), None),
        (Binary::Div, false) => (Some(numbers.recip()?), None),
        _ => return Ok(None),
    };
    super::product::take_up(build, node, scale.as_ref(), shift.as_ref())?;
    Ok(Some(value.clone()))
}

fn whole(build: &mut Build, call: &Call<'_>, f: fn(i64, i64) -> Option<i64>) -> Result<Vec<Value>> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let Some(shape) = broadcast(&a.dims(), &b.dims()) else { bail!("{:?} and {:?}", a.dims(), b.dims()) };
    build.spend(shape.iter().product())?;
    let [a, b] = [a.known("a whole number")?, b.known("a whole number")?];
    if a.dtype() != DType::I64 || b.dtype() != DType::I64 {
        bail!("whole numbers are wanted, and these are not");
    }
    one(Value::constant(&integer::zip(&a, &b, &shape, f)?))
}

/// The rest that has the divisor's sign.
fn modulo(x: i64, divisor: i64) -> Option<i64> {
    let rest = x.checked_rem(divisor)?;
    Some(if rest != 0 && (rest < 0) != (divisor < 0) { rest + divisor } else { rest })
}

fn power(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (base, exponent) = (call.input(0)?, call.input(1)?);
    if let Some(number) = exponent.scalar()
        && base.tensor()?.is_none_or(|t| t.dtype() == DType::F32)
        && exponent.rank() <= base.rank()
    {
        return unary(build, call, Unary::Power(number));
    }
    one(combine(build, Binary::Power, base, exponent))
}

fn choose(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let values = [call.input(0)?, call.input(1)?, call.input(2)?];
    let (arrays, order, rank) = build.align(&values)?;
    let array = build.apply(Kind::Where, &arrays.iter().collect::<Vec<_>>())?;
    Ok(vec![array.seen(axes_of(&order, rank))])
}

fn clip(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let bound = |number: usize, name: &str, default: f32| match call.optional(number) {
        Some(value) => match value.numbers()?[..] {
            [bound] => Ok(bound),
            _ => bail!("a bound is one number"),
        },
        None => call.float(name, default),
    };
    let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
    unary(build, call, Unary::Clip(low, high))
}

/// Rounding has no slope: only of constants.
fn rounded(build: &mut Build, call: &Call<'_>, f: fn(f32) -> f32) -> Result<Vec<Value>> {
    let x = call.input(0)?.known("a number that is rounded")?;
    if x.dtype() == DType::I64 {
        return one(Value::constant(&x));
    }
    build.spend(x.elem_count())?;
    let values: Vec<f32> = x.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f).collect();
    one(Value::constant(&Tensor::from_vec(values, x.dims(), x.device())?))
}
