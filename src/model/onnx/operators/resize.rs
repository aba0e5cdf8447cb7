//! Resizing: along each axis a choice of places, or a product with a fixed matrix.

use candle_core::{Device, Result, Tensor, bail};

use super::super::build::{Build, axes_of};
use super::super::call::{Call, axis};
use super::super::value::{Array, Value};
use super::arithmetic::one;
use super::constant::sizes;
use super::gather::select;
use crate::model::graph::tensor::Kind;

/// How places of the result stand among those of the input.
#[derive(Debug, Clone, Copy)]
struct Grid<'a> {
    mode: &'a str,
    input: usize,
    output: usize,
    scale: f64,
}

impl Grid<'_> {
    /// Where a place of the result lies in the input.
    fn at(&self, place: usize) -> Result<f64> {
        let (x, input, output) = (place as f64, self.input as f64, self.output as f64);
        let half_pixel = (x + 0.5) / self.scale - 0.5;
        Ok(match self.mode {
            "pytorch_half_pixel" | "align_corners" if self.output == 1 => 0.0,
            "half_pixel" | "pytorch_half_pixel" => half_pixel,
            "align_corners" => x * (input - 1.0) / (output - 1.0),
            "asymmetric" => x / self.scale,
            "tf_half_pixel_for_nn" => (x + 0.5) / self.scale,
            "half_pixel_symmetric" => input / 2.0 * (1.0 - output / (self.scale * input)) + half_pixel,
            other => bail!("coordinate_transformation_mode = {other}"),
        })
    }

    fn nearest(&self, rounding: &str) -> Result<Vec<u32>> {
        let place = |i| {
            let x = self.at(i)?;
            let rounded = match rounding {
                "round_prefer_floor" => (x - 0.5).ceil(),
                "round_prefer_ceil" => (x + 0.5).floor(),
                "floor" => x.floor(),
                "ceil" => x.ceil(),
                other => bail!("nearest_mode = {other}"),
            };
            Ok(rounded.clamp(0.0, self.input as f64 - 1.0) as u32)
        };
        (0..self.output).map(place).collect()
    }

    /// Weights of the input for each place of the result, `[out, in]`.
    fn matrix(&self, filter: Filter) -> Result<Tensor> {
        let mut weights = vec![0f32; self.input * self.output];
        for (place, row) in weights.chunks_exact_mut(self.input).enumerate() {
            let mut sums = vec![0f64; self.input];
            filter.spread(self.at(place)?, self.scale, &mut sums);
            row.iter_mut().zip(sums).for_each(|(w, sum)| *w = sum as f32);
        }
        Tensor::from_vec(weights, (self.output, self.input), &Device::Cpu)
    }
}

/// How numbers between places are made.
#[derive(Debug, Clone, Copy)]
struct Filter {
    /// The cubic's a; linear without.
    cubic: Option<f64>,
    /// Whether it widens where the result is smaller.
    antialias: bool,
    /// Whether places outside have no part; otherwise the border's stand for them.
    exclude_outside: bool,
}

impl Filter {
    fn weight(&self, distance: f64) -> f64 {
        let x = distance.abs();
        match self.cubic {
            None => (1.0 - x).max(0.0),
            Some(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Some(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Some(_) => 0.0,
        }
    }

    /// Adds the weights of the places around `x`.
    fn spread(&self, x: f64, scale: f64, row: &mut [f64]) {
        let width = if self.antialias { (1.0 / scale).max(1.0) } else { 1.0 };
        let reach = width * if self.cubic.is_some() { 2.0 } else { 1.0 };
        let last = row.len() as i64 - 1;
        let mut sum = 0.0;
        // Far outside the border stands for all.
        let x = x.clamp(-reach, last as f64 + reach);
        for place in (x - reach).floor() as i64..=(x + reach).ceil() as i64 {
            let weight = self.weight((place as f64 - x) / width);
            let inside = (0..=last).contains(&place);
            if inside || !self.exclude_outside {
                row[place.clamp(0, last) as usize] += weight;
                sum += weight;
            }
        }
        if sum != 0.0 {
            row.iter_mut().for_each(|w| *w /= sum);
        }
    }
}

pub(super) fn resize(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let along = match call.ints("axes")? {
        Some(listed) => listed.iter().map(|a| axis(*a, x.rank())).collect::<Result<Vec<_>>>()?,
        None => (0..x.rank()).collect(),
    };
    // Before version 11 there was no region of interest.
    let (scales, lengths) = if call.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let lengths = call.integers(lengths)?.filter(|l| !l.is_empty());
    let scales = call.optional(scales).map(Value::numbers).transpose()?.filter(|s| !s.is_empty());
    if call.text("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        bail!("keep_aspect_ratio_policy is not supported");
    }
    let grids = grids(x, &along, lengths.as_deref(), scales.as_deref())?;
    let old = call.opset < 11;
    let mode = call.text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" })?;
    let rounding = call.text("nearest_mode", if old { "floor" } else { "round_prefer_floor" })?;
    let filter = match call.text("mode", "nearest")? {
        "nearest" => None,
        "linear" => Some(None),
        "cubic" => Some(Some(f64::from(call.float("cubic_coeff_a", -0.75)?))),
        other => bail!("mode = {other}"),
    };
    let (antialias, exclude_outside) = (call.int("antialias", 0)? != 0, call.int("exclude_outside", 0)? != 0);
    let filter = filter.map(|cubic| Filter { cubic, antialias, exclude_outside });
    one(resized(build, x, &grids.map_mode(mode), rounding, filter))
}

pub(super) fn upsample(build: &mut Build, call: &Call<'_>) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let scales = match call.optional(1) {
        Some(scales) => scales.numbers()?,
        None => call.floats("scales")?.unwrap_or_default(),
    };
    let along: Vec<usize> = (0..x.rank()).collect();
    let filter = match call.text("mode", "nearest")? {
        "nearest" => None,
        "linear" => Some(Filter { cubic: None, antialias: false, exclude_outside: false }),
        other => bail!("mode = {other}"),
    };
    let grids = grids(x, &along, None, Some(&scales))?;
    one(resized(build, x, &grids.map_mode("asymmetric"), "floor", filter))
}

/// Axes with their sizes before and after, and scales.
struct Grids(Vec<(usize, usize, usize, f64)>);

impl Grids {
    fn map_mode<'a>(&self, mode: &'a str) -> Vec<(usize, Grid<'a>)> {
        self.0
            .iter()
            .map(|(axis, input, output, scale)| (*axis, Grid { mode, input: *input, output: *output, scale: *scale }))
            .collect()
    }
}

fn grids(x: &Value, along: &[usize], lengths: Option<&[i64]>, scales: Option<&[f32]>) -> Result<Grids> {
    let one_grid = |(i, axis): (usize, &usize)| {
        let input = x.dim(*axis);
        let (output, scale) = match (lengths, scales) {
            (Some(lengths), _) => {
                let output = sizes(&[lengths[i]])?[0];
                (output, output as f64 / input as f64)
            }
            (None, Some(scales)) => {
                let output = (input as f64 * f64::from(scales[i])).floor();
                (sizes(&[output as i64])?[0], f64::from(scales[i]))
            }
            (None, None) => bail!("neither scales nor sizes are given"),
        };
        if input == 0 || output == 0 || !(scale > 0.0 && scale.is_finite()) {
            bail!("{input} places are not resized to {output}");
        }
        Ok((*axis, input, output, scale))
    };
    if lengths.is_some_and(|l| l.len() != along.len())
        || (lengths.is_none() && scales.is_some_and(|s| s.len() != along.len()))
    {
        bail!("one size or scale is wanted for each of {} axes", along.len());
    }
    along.iter().enumerate().map(one_grid).collect::<Result<Vec<_>>>().map(Grids)
}

fn resized(
    build: &mut Build,
    x: &Value,
    grids: &[(usize, Grid<'_>)],
    rounding: &str,
    filter: Option<Filter>,
) -> Result<Value> {
    let mut x = x.clone();
    for (along, grid) in grids.iter().filter(|(_, grid)| (grid.output, grid.scale) != (grid.input, 1.0)) {
        let Some(filter) = filter else {
            build.spend(grid.output)?;
            x = select(build, &x, *along, grid.nearest(rounding)?)?;
            continue;
        };
        build.spend(sizes(&[grid.input as i64, grid.output as i64])?.iter().product())?;
        let matrix = Array::constant(&grid.matrix(filter)?)?;
        let (arrays, order, rank) = build.align_with(&[&x], &[*along])?;
        let place = order.iter().position(|i| i == along).unwrap_or_default();
        x = build.apply(Kind::Along(place), &[&arrays[0], &matrix])?.seen(axes_of(&order, rank));
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(filter: Filter, x: f64, scale: f64) -> Vec<f64> {
        let mut row = vec![0.0; 4];
        filter.spread(x, scale, &mut row);
        row
    }

    #[test]
    fn weights_are_those_of_the_definitions() {
        let linear = Filter { cubic: None, antialias: false, exclude_outside: false };
        assert_eq!(row(linear, 1.25, 2.0), [0.0, 0.75, 0.25, 0.0]);
        assert_eq!(row(linear, -0.25, 2.0), [1.0, 0.0, 0.0, 0.0]);
        // Keys' cubic with a = -3/4 half way between two places.
        let cubic = Filter { cubic: Some(-0.75), ..linear };
        assert_eq!(row(cubic, 1.5, 2.0), [-0.09375, 0.59375, 0.59375, -0.09375]);
        assert_eq!(row(cubic, -0.5, 2.0)[0], -0.09375 + 0.59375 + 0.59375);
        let wide = Filter { antialias: true, ..linear };
        assert_eq!(row(wide, 1.5, 0.5), [0.125, 0.375, 0.375, 0.125]);
    }
}
