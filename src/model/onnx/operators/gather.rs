//! Places of axes: parts, borders, repetitions.

use candle_core::{Result, bail};

use super::super::build::Build;
use super::super::call::{Call, axes, axis};
use super::super::value::Value;
use super::Table;
use super::arithmetic::one;
use super::constant::sizes;
use super::layout::{narrow, on_axis, reshape, without};
use super::resize;
use crate::model::graph::tensor::Kind;

pub(super) const OPERATORS: Table = &[
    ("Gather", gather),
    ("Slice", slice),
    ("Pad", pad),
    ("Tile", tile),
    ("Resize", resize::resize),
    ("Upsample", resize::upsample),
];

/// Places of an axis by their numbers; in a row or as they are.
pub(super) fn select(build: &mut Build, x: &Value, along: usize, places: Vec<u32>) -> Result<Value> {
    let first = places.first().copied().unwrap_or_default();
    if places.iter().enumerate().all(|(i, p)| *p as usize == first as usize + i) && !places.is_empty() {
        return narrow(build, x, along, first as usize, places.len());
    }
    on_axis(build, x, along, |axis| Kind::Select { axis, places })
}

fn gather(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let along = axis(call.int("axis", 0)?, x.rank())?;
    let places = indices.integers()?;
    build.spend(places.len())?;
    let place = |i: &i64| axis(*i, x.dim(along)).map(|i| i as u32);
    let taken = select(build, x, along, places.iter().map(place).collect::<Result<_>>()?)?;
    match indices.rank() {
        0 => Ok(vec![without(&taken, &[along])]),
        1 => Ok(vec![taken]),
        _ => {
            let dims = x.dims();
            one(reshape(build, &taken, &[&dims[..along], &indices.dims(), &dims[along + 1..]].concat()))
        }
    }
}

fn slice(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let mut x = call.input(0)?.clone();
    let (Some(starts), Some(ends)) = (call.setting(1, "starts")?, call.setting(2, "ends")?) else {
        bail!("starts and ends are missing")
    };
    let listed = call.setting(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), listed.len(), steps.len()] != [starts.len(); 3] {
        bail!("starts, ends, axes and steps differ in number");
    }
    axes(&listed, x.rank())?;
    for i in 0..starts.len() {
        let along = axis(listed[i], x.rank())?;
        let places = places(x.dim(along) as i64, starts[i], ends[i], steps[i])?;
        build.spend(places.len())?;
        if places.is_empty() {
            x = on_axis(build, &x, along, |axis| Kind::Narrow { axis, start: 0, length: 0 })?;
        } else {
            x = select(build, &x, along, places)?;
        }
    }
    Ok(vec![x])
}

/// Places from `start` to `end`, the latter not among them; both may be out of range, or count from behind.
fn places(size: i64, start: i64, end: i64, step: i64) -> Result<Vec<u32>> {
    let counted = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
    Ok(match step {
        0 => bail!("a slice in steps of 0"),
        1.. => {
            let (start, end) = (counted(start).clamp(0, size), counted(end).clamp(0, size));
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            (start..end).step_by(step).map(|i| i as u32).collect()
        }
        _ => {
            let (start, end) = (counted(start).clamp(-1, size - 1), counted(end).clamp(-1, size - 1));
            let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            (end + 1..=start).rev().step_by(step).map(|i| i as u32).collect()
        }
    })
}

fn pad(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let mut x = call.input(0)?.clone();
    let Some(pads) = call.setting(1, "pads")? else { bail!("pads are missing") };
    let along = match call.integers(3)? {
        Some(listed) => listed.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>>>()?,
        None => (0..x.rank()).collect(),
    };
    if pads.len() != 2 * along.len() {
        bail!("{} pads for {} axes", pads.len(), along.len());
    }
    let value = match call.optional(2) {
        Some(value) => value.numbers()?.first().copied().unwrap_or_default(),
        None => call.float("value", 0.0)?,
    };
    let mode = call.text("mode", "constant")?;
    for (i, along) in along.iter().enumerate() {
        let border = [pads[i], pads[i + pads.len() / 2]];
        x = bordered(build, &x, *along, border, mode, value)?;
    }
    Ok(vec![x])
}

fn bordered(build: &mut Build, x: &Value, along: usize, border: [i64; 2], mode: &str, value: f32) -> Result<Value> {
    let size = x.dim(along);
    let cut = border.map(|b| usize::try_from(b.min(0).unsigned_abs()).unwrap_or(usize::MAX));
    let Some(kept) = cut[0].checked_add(cut[1]).and_then(|cut| size.checked_sub(cut)) else {
        bail!("a border of {border:?} around {size} places")
    };
    let x = narrow(build, x, along, cut[0], kept)?;
    let [before, behind] = border.map(|b| usize::try_from(b.max(0)).unwrap_or(usize::MAX));
    if (before, behind) == (0, 0) {
        return Ok(x);
    }
    sizes(&[border[0].max(0), border[1].max(0)])?;
    if mode == "constant" {
        return on_axis(build, &x, along, |axis| Kind::Pad { axis, border: [before, behind], value });
    }
    let (size, last) = (kept as i64, kept as i64 - 1);
    let inside = |i: i64| match mode {
        "edge" => Ok(i.clamp(0, last)),
        "reflect" if last > 0 => Ok(last - ((i.rem_euclid(2 * last)) - last).abs()),
        "reflect" => Ok(0),
        "wrap" => Ok(i.rem_euclid(size.max(1))),
        other => bail!("mode {other} is not supported: constant, edge, reflect and wrap are"),
    };
    if kept == 0 {
        bail!("a border around nothing");
    }
    build.spend(before.saturating_add(behind).saturating_add(kept))?;
    let places = (-(before as i64)..size + behind as i64).map(|i| inside(i).map(|i| i as u32));
    let places = places.collect::<Result<Vec<_>>>()?;
    select(build, &x, along, places)
}

fn tile(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let mut x = call.input(0)?.clone();
    let repeats = sizes(&call.integers(1)?.unwrap_or_default())?;
    if repeats.len() != x.rank() {
        bail!("{} repeats for {} axes", repeats.len(), x.rank());
    }
    for (along, times) in repeats.into_iter().enumerate().filter(|(_, times)| *times != 1) {
        let count = sizes(&[times as i64, x.dim(along) as i64])?.iter().product();
        build.spend(count)?;
        let places = (0..count).map(|i| (i % x.dim(along)) as u32).collect();
        x = select(build, &x, along, places)?;
    }
    Ok(vec![x])
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn slices_are_those_of_numpy() {
        let of = |start, end, step| places(5, start, end, step).unwrap();
        assert_eq!(of(1, 4, 1), [1, 2, 3]);
        assert_eq!(of(-2, i64::MAX, 1), [3, 4]);
        assert_eq!(of(0, -1, 2), [0, 2]);
        assert_eq!(of(-1, i64::MIN, -2), [4, 2, 0]);
        assert_eq!(of(7, 1, -1), [4, 3, 2]);
        assert_eq!(of(3, 3, 1), [0u32; 0]);
        assert!(places(5, 0, 1, 0).is_err());
    }
}
