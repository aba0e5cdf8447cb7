//! Poolings. What the kernels have no setting for is a border laid before, or a factor after.

use candle_core::{Device, Result, Tensor, bail};

use super::super::build::Build;
use super::super::call::Call;
use super::super::value::{Array, Value};
use super::Table;
use super::arithmetic::one;
use super::window::{Window, counts, every, plane, unlifted};
use crate::model::graph::Op;
use crate::model::graph::tensor::{Binary, Kind, Reduction};
use crate::ops::pool::{Pool2d, Reduce};

pub(super) const OPERATORS: Table = &[
    ("MaxPool", |b, c| {
        if c.wants(1) {
            bail!("the places of the largest values are not supported");
        }
        one(pool(b, c, Reduce::Max))
    }),
    ("AveragePool", |b, c| one(pool(b, c, Reduce::Mean))),
    ("GlobalAveragePool", |b, c| one(global_mean(b, c.input(0)?))),
    ("GlobalMaxPool", |b, c| {
        let x = plane(b, c.input(0)?)?;
        let array = b.apply(Kind::Reduce(Reduction::Max, vec![1, 2]), &[&x])?;
        Ok(vec![vector(array, c.input(0)?.rank())])
    }),
];

/// The mean over all positions; axes of one place are left.
pub(super) fn global_mean(build: &mut Build, x: &Value) -> Result<Value> {
    let rank = x.rank();
    let x = plane(build, x)?;
    let array = build.add(Op::GlobalMean, &[&x], vec![x.shape[0]])?;
    Ok(vector(array, rank))
}

fn vector(array: Array, rank: usize) -> Value {
    let mut axes = vec![None; rank];
    axes[1] = Some(0);
    array.seen(axes)
}

fn pool(build: &mut Build, call: &Call<'_>, reduce: Reduce) -> Result<Value> {
    let x = plane(build, call.input(0)?)?;
    let Some(kernel) = call.ints("kernel_shape")? else { bail!("kernel_shape is missing") };
    let window = Window::read(call, &counts("kernel_shape", &kernel)?, &x.shape)?;
    if window.lifted != (call.input(0)?.rank() == 3)
        || (window.dilation != [1, 1] && window.span(0) + window.span(1) > 2)
    {
        bail!("windows of {kernel:?} with dilation {:?} are not supported", window.dilation);
    }
    let ceil = call.int("ceil_mode", 0)? != 0;
    let count_borders = call.int("count_include_pad", 0)? != 0;
    let rest = if ceil { [overhang(&window, &x.shape, 0)?, overhang(&window, &x.shape, 1)?] } else { [0, 0] };
    let (stride, kept) = window.one_stride();
    let settings = |padding| Pool2d { reduce, kernel: window.kernel, stride, padding, ceil: false };
    let [top, bottom, left, right] = window.pads;
    let plain = [bottom, left, right] == [top; 3] && rest == [0, 0] && top < *window.kernel.iter().min().unwrap_or(&1);
    let array = if plain && (reduce == Reduce::Max || top == 0 || !count_borders) {
        add(build, &x, settings(top))?
    } else {
        let value = if reduce == Reduce::Max { f32::MIN } else { 0.0 };
        let mut padded = x.clone();
        for (axis, border) in [(1, [top, bottom + rest[0]]), (2, [left, right + rest[1]])] {
            if border != [0, 0] {
                padded = build.apply(Kind::Pad { axis, border, value }, &[&padded])?;
            }
        }
        let pooled = add(build, &padded, settings(0))?;
        let share = match reduce {
            Reduce::Max => None,
            Reduce::Mean => shares(&window, stride, &x.shape, &pooled.shape, count_borders)?,
        };
        match share {
            Some(share) => build.apply(Kind::Binary(Binary::Mul), &[&pooled, &Array::constant(&share)?])?,
            None => pooled,
        }
    };
    let array = every(build, array, kept)?;
    Ok(unlifted(array, window.lifted))
}

fn add(build: &mut Build, x: &Array, pool: Pool2d) -> Result<Array> {
    let count = |axis: usize| {
        let room = (x.shape[1 + axis] + 2 * pool.padding).checked_sub(pool.kernel[axis]);
        room.map(|room| room / pool.stride + 1)
    };
    let (Some(rows), Some(columns)) = (count(0), count(1)) else {
        bail!("a window of {:?} does not fit {:?}", pool.kernel, x.shape)
    };
    build.add(Op::Pool2d(pool), &[x], vec![x.shape[0], rows, columns])
}

/// Places that a last window which starts inside reaches over the border, where sizes are rounded up.
fn overhang(window: &Window, plane: &[usize], axis: usize) -> Result<usize> {
    let (size, stride, kernel) = (plane[1 + axis], window.stride[axis], window.kernel[axis]);
    let [before, behind] = [window.pads[2 * axis], window.pads[2 * axis + 1]];
    let Some(room) = (size + before + behind).checked_sub(kernel) else {
        bail!("a window of {:?} does not fit {plane:?}", window.kernel)
    };
    let mut last = room.div_ceil(stride) * stride;
    if last >= size + before {
        last -= stride;
    }
    Ok((last + kernel).saturating_sub(size + before + behind))
}

/// What the mean over a whole window has to be multiplied by to be that over its places that count, `[1, height, width]`;
/// `None` where all do.
fn shares(
    window: &Window,
    stride: usize,
    plane: &[usize],
    pooled: &[usize],
    count_borders: bool,
) -> Result<Option<Tensor>> {
    let counted = |axis: usize, i: usize| {
        let [before, behind] = [window.pads[2 * axis], window.pads[2 * axis + 1]];
        let (start, size) = (i * stride, plane[1 + axis]);
        let (first, end) = if count_borders { (0, size + before + behind) } else { (before, before + size) };
        (start + window.kernel[axis]).min(end).saturating_sub(start.max(first))
    };
    let all = (window.kernel[0] * window.kernel[1]) as f64;
    let mut values = Vec::with_capacity(pooled[1] * pooled[2]);
    for row in 0..pooled[1] {
        values.extend((0..pooled[2]).map(|column| (all / (counted(0, row) * counted(1, column)) as f64) as f32));
    }
    if values.iter().all(|v| *v == 1.0) {
        return Ok(None);
    }
    Tensor::from_vec(values, (1, pooled[1], pooled[2]), &Device::Cpu).map(Some)
}
