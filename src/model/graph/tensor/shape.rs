//! Shapes of results, checked before anything runs.

use candle_core::{Result, bail};

use super::Kind;

/// Numbers that a result for one picture has at most: 1 GiB of f32.
pub const LIMIT: usize = 1 << 28;

/// The shape behind the batch.
pub(super) fn of(kind: &Kind, arguments: &[&[usize]]) -> Result<Vec<usize>> {
    let shape = inferred(kind, arguments)?;
    let numbers = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    if numbers.is_none_or(|n| n > LIMIT) {
        bail!("a result of {shape:?} has more than {LIMIT} numbers a picture");
    }
    Ok(shape)
}

fn inferred(kind: &Kind, arguments: &[&[usize]]) -> Result<Vec<usize>> {
    let refuse = || candle_core::Error::Msg(format!("{kind:?} does not fit {arguments:?}"));
    if kind.axis().is_some_and(|axis| arguments.iter().any(|a| axis >= a.len())) && !matches!(kind, Kind::Along(_)) {
        return Err(refuse());
    }
    Ok(match (kind, arguments) {
        (Kind::Permute(order), [x]) => {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..x.len()) {
                return Err(refuse());
            }
            order.iter().map(|i| x[*i]).collect()
        }
        (Kind::Reshape(shape), [x]) => {
            let wanted = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            if wanted != Some(x.iter().product()) {
                return Err(refuse());
            }
            shape.clone()
        }
        (Kind::Narrow { axis, start, length }, [x]) => {
            if start.checked_add(*length).is_none_or(|end| end > x[*axis]) {
                return Err(refuse());
            }
            with(x, *axis, *length)
        }
        (Kind::Select { axis, places }, [x]) => {
            if places.iter().any(|p| *p as usize >= x[*axis]) {
                return Err(refuse());
            }
            with(x, *axis, places.len())
        }
        (Kind::Expand(shape), [x]) => {
            if broadcast(x, shape).as_deref() != Some(shape.as_slice()) || x.len() != shape.len() {
                return Err(refuse());
            }
            shape.clone()
        }
        (Kind::Pad { axis, border: [before, behind], .. }, [x]) => {
            let places = x[*axis].checked_add(*before).and_then(|n| n.checked_add(*behind));
            with(x, *axis, places.ok_or_else(refuse)?)
        }
        (Kind::Spread { axis, step }, [x]) => {
            let places = x[*axis].checked_sub(1).and_then(|n| n.checked_mul(*step)).and_then(|n| n.checked_add(1));
            with(x, *axis, places.filter(|_| *step > 0).ok_or_else(refuse)?)
        }
        (Kind::Concat(axis), [first, ..]) => {
            if arguments.iter().any(|x| x.len() != first.len() || with(x, *axis, 0) != with(first, *axis, 0)) {
                return Err(refuse());
            }
            with(first, *axis, arguments.iter().map(|x| x[*axis]).sum())
        }
        (Kind::Binary(_), [a, b]) => broadcast(a, b).filter(|_| a.len() == b.len()).ok_or_else(refuse)?,
        (Kind::Unary(_), [x]) => x.to_vec(),
        (Kind::LogSoftmax, [x]) if !x.is_empty() => x.to_vec(),
        (Kind::Where, [condition, a, b]) => {
            let both = broadcast(a, b).and_then(|ab| broadcast(condition, &ab));
            both.filter(|_| condition.len() == a.len() && a.len() == b.len()).ok_or_else(refuse)?
        }
        (Kind::MatMul, [[lead_a @ .., m, k], [lead_b @ .., of, n]]) if k == of && lead_a.len() == lead_b.len() => {
            let lead = broadcast(lead_a, lead_b).ok_or_else(refuse)?;
            [lead.as_slice(), &[*m, *n]].concat()
        }
        (Kind::Reduce(_, axes), [x]) => {
            if axes.iter().any(|axis| x.get(*axis).is_none_or(|places| *places == 0)) {
                return Err(refuse());
            }
            (0..x.len()).filter(|i| !axes.contains(i)).map(|i| x[i]).collect()
        }
        (Kind::Along(axis), [x, [out, of]]) if x.get(*axis) == Some(of) => with(x, *axis, *out),
        _ => return Err(refuse()),
    })
}

impl Kind {
    fn axis(&self) -> Option<usize> {
        match self {
            Self::Narrow { axis, .. }
            | Self::Select { axis, .. }
            | Self::Pad { axis, .. }
            | Self::Spread { axis, .. }
            | Self::Concat(axis)
            | Self::Along(axis) => Some(*axis),
            _ => None,
        }
    }
}

fn with(shape: &[usize], axis: usize, places: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = places;
    shape
}

/// The shape that two shapes broadcast to, if they do.
pub(in crate::model) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
