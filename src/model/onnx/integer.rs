//! Whole numbers: shapes, axes, places. They are constants, and nothing overflows.

use candle_core::{DType, Device, Error, Result, Tensor, bail};

use crate::model::graph::tensor::{Binary, Kind, Reduction, Unary};

/// Runs an operation on arguments of which one at least is of whole numbers; `None` where candle does it as well.
pub(super) fn run(kind: &Kind, arguments: &[&Tensor], shape: &[usize]) -> Result<Option<Tensor>> {
    let whole = [&[1], shape].concat();
    let is_whole = arguments.iter().all(|a| a.dtype() == DType::I64);
    match (kind, arguments) {
        (Kind::Binary(f), [a, b]) if is_whole => zip(a, b, &whole, |a, b| binary(*f, a, b)).map(Some),
        (Kind::Unary(f), [x]) if is_whole => map(x, |x| unary(*f, x)).map(Some),
        (Kind::Reduce(f, axes), [x]) if is_whole => reduce(*f, x, axes, &whole).map(Some),
        (Kind::Where, [condition, a, b]) if a.dtype() == b.dtype() && condition.dtype() == DType::I64 => {
            let wide = |x: &Tensor| x.broadcast_as(whole.as_slice())?.contiguous();
            wide(condition)?.ne(0i64)?.where_cond(&wide(a)?, &wide(b)?).map(Some)
        }
        (Kind::MatMul | Kind::Along(_) | Kind::LogSoftmax, _) if is_whole => {
            bail!("{kind:?} of whole numbers is not supported")
        }
        (Kind::Pad { axis, border, value }, [x]) if is_whole && *value != 0.0 => {
            let border = border.map(|places| {
                let mut shape = x.dims().to_vec();
                shape[axis + 1] = places;
                Tensor::full(*value as i64, shape, &Device::Cpu)
            });
            let [before, behind] = border;
            Tensor::cat(&[&before?, *x, &behind?], axis + 1).map(Some)
        }
        _ if arguments.iter().any(|a| a.dtype() != arguments[0].dtype()) => {
            bail!("{kind:?} mixes whole numbers with others")
        }
        _ => Ok(None),
    }
}

/// Number by number, both broadcast to a shape.
pub(super) fn zip(a: &Tensor, b: &Tensor, shape: &[usize], f: impl Fn(i64, i64) -> Option<i64>) -> Result<Tensor> {
    let wide = |x: &Tensor| x.broadcast_as(shape)?.contiguous()?.flatten_all()?.to_vec1::<i64>();
    let values = wide(a)?.into_iter().zip(wide(b)?).map(|(a, b)| f(a, b).ok_or_else(overflow));
    Tensor::from_vec(values.collect::<Result<Vec<_>>>()?, shape, &Device::Cpu)
}

fn map(x: &Tensor, f: impl Fn(i64) -> Option<i64>) -> Result<Tensor> {
    let values = x.contiguous()?.flatten_all()?.to_vec1::<i64>()?.into_iter().map(|x| f(x).ok_or_else(overflow));
    Tensor::from_vec(values.collect::<Result<Vec<_>>>()?, x.dims(), &Device::Cpu)
}

fn overflow() -> Error {
    Error::Msg("whole numbers overflow, or are divided by zero, or the function is not one of whole numbers".into())
}

fn binary(f: Binary, a: i64, b: i64) -> Option<i64> {
    match f {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div => a.checked_div(b),
        Binary::Power => a.checked_pow(u32::try_from(b).ok()?),
        Binary::Min => Some(a.min(b)),
        Binary::Max => Some(a.max(b)),
        Binary::Equal => Some(i64::from(a == b)),
        Binary::Less => Some(i64::from(a < b)),
        Binary::Slope => None,
    }
}

fn unary(f: Unary, x: i64) -> Option<i64> {
    match f {
        Unary::Negative => x.checked_neg(),
        Unary::Size => x.checked_abs(),
        Unary::Sign => Some(x.signum()),
        Unary::Relu => Some(x.max(0)),
        Unary::Clip(low, high) => Some((x as f64).clamp(f64::from(low), f64::from(high).max(f64::from(low))) as i64),
        _ => None,
    }
}

fn reduce(f: Reduction, x: &Tensor, axes: &[usize], shape: &[usize]) -> Result<Tensor> {
    let axes: Vec<usize> = axes.iter().map(|a| a + 1).collect();
    let behind = (0..x.rank()).filter(|a| !axes.contains(a)).chain(axes.iter().copied()).collect::<Vec<_>>();
    let values = x.permute(behind)?.contiguous()?.flatten_all()?.to_vec1::<i64>()?;
    let count = shape.iter().product::<usize>();
    let line = values.len().checked_div(count).unwrap_or(0).max(1);
    let fold = |line: &[i64]| match f {
        Reduction::Sum => line.iter().try_fold(0i64, |sum, v| sum.checked_add(*v)),
        Reduction::Product => line.iter().try_fold(1i64, |product, v| product.checked_mul(*v)),
        Reduction::Max => line.iter().max().copied(),
        Reduction::Min => line.iter().min().copied(),
        _ => None,
    };
    let folded = values.chunks(line).map(|line| fold(line).ok_or_else(overflow)).collect::<Result<Vec<_>>>()?;
    Tensor::from_vec(folded, shape, &Device::Cpu)
}
