//! Windows of convolutions and poolings: their size, steps and borders. Those of one axis become windows of one row.

use candle_core::{Result, bail};

use super::super::build::Build;
use super::super::call::Call;
use super::super::value::{Array, Value};
use crate::model::graph::tensor::Kind;

/// What a window's attributes say; rows, then columns.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Above, below, left, right.
    pub(super) pads: [usize; 4],
    /// Whether there was one axis.
    pub(super) lifted: bool,
}

/// A value `[1, channel, ...]` as `[channel, height, width]`, or `[channel, 1, length]`.
pub(super) fn plane(build: &mut Build, x: &Value) -> Result<Array> {
    match x.rank() {
        3 => {
            let array = build.arrange(x, &[1, 2])?;
            build.reshape(&array, vec![array.shape[0], 1, array.shape[1]])
        }
        4 => build.arrange(x, &[1, 2, 3]),
        rank => bail!("windows over {} axes are not supported, over one or two they are", rank.saturating_sub(2)),
    }
}

/// A plane as ONNX's value.
pub(super) fn unlifted(array: Array, lifted: bool) -> Value {
    array.seen(if lifted { vec![None, Some(0), Some(2)] } else { vec![None, Some(0), Some(1), Some(2)] })
}

impl Window {
    /// From a node's attributes, for an input plane of this shape.
    pub(super) fn read(call: &Call<'_>, kernel: &[usize], plane: &[usize]) -> Result<Self> {
        let lifted = kernel.len() == 1;
        let pair = |values: &[usize], one: usize| match *values {
            [v] => Ok([one, v]),
            [a, b] => Ok([a, b]),
            _ => bail!("windows of {} axes are not supported, of one or two they are", values.len()),
        };
        let listed = |name: &str| {
            let ones = vec![1; kernel.len()];
            let values = call.ints(name)?.map_or(Ok(ones), |values| counts(name, &values))?;
            if values.len() != kernel.len() || values.contains(&0) {
                bail!("{name} = {values:?} does not fit a window of {kernel:?}");
            }
            // A row of one place takes the other axis' step.
            pair(&values, values[0])
        };
        let (stride, dilation, kernel) = (listed("strides")?, listed("dilations")?, pair(kernel, 1)?);
        if kernel.contains(&0) || kernel.iter().any(|k| *k > 1 << 16) {
            bail!("a window of {kernel:?}");
        }
        let mut window = Self { kernel, stride, dilation, pads: [0; 4], lifted };
        window.pads = window.borders(call, plane)?;
        Ok(window)
    }

    fn borders(&self, call: &Call<'_>, plane: &[usize]) -> Result<[usize; 4]> {
        let mode = call.text("auto_pad", "NOTSET")?;
        match mode {
            "VALID" => Ok([0; 4]),
            "SAME_UPPER" | "SAME_LOWER" => {
                let total = |axis: usize| {
                    let steps = plane[1 + axis].div_ceil(self.stride[axis]).saturating_sub(1);
                    (steps * self.stride[axis] + self.span(axis)).saturating_sub(plane[1 + axis])
                };
                let halves = |total: usize| match mode {
                    "SAME_UPPER" => [total / 2, total.div_ceil(2)],
                    _ => [total.div_ceil(2), total / 2],
                };
                let [[top, bottom], [left, right]] = [halves(total(0)), halves(total(1))];
                Ok([top, bottom, left, right])
            }
            "NOTSET" => match call.ints("pads")?.map(|pads| counts("pads", &pads)).transpose()?.as_deref() {
                None => Ok([0; 4]),
                Some([left, right]) if self.lifted => Ok([0, 0, *left, *right]),
                Some([top, left, bottom, right]) if !self.lifted => Ok([*top, *bottom, *left, *right]),
                Some(pads) => bail!("pads = {pads:?}"),
            },
            other => bail!("auto_pad = {other}"),
        }
    }

    /// Places from a window's first to its last.
    pub(super) fn span(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Rows and columns of the result for an input plane.
    pub(super) fn output(&self, plane: &[usize]) -> Result<[usize; 2]> {
        let count = |axis: usize| {
            let padded = plane[1 + axis] + self.pads[2 * axis] + self.pads[2 * axis + 1];
            padded.checked_sub(self.span(axis)).map(|room| room / self.stride[axis] + 1)
        };
        match (count(0), count(1)) {
            (Some(rows), Some(columns)) => Ok([rows, columns]),
            _ => bail!("a window of {:?} does not fit {plane:?}", self.kernel),
        }
    }

    /// One step for both axes, and how much of the result is kept: every n-th row and column.
    pub(super) fn one_stride(&self) -> (usize, [usize; 2]) {
        let [rows, columns] = self.stride;
        if rows == columns { (rows, [1, 1]) } else { (1, self.stride) }
    }
}

/// Every n-th row and column of a plane.
pub(super) fn every(build: &mut Build, mut array: Array, steps: [usize; 2]) -> Result<Array> {
    for (axis, step) in [1, 2].into_iter().zip(steps) {
        if step > 1 {
            let places = (0..array.shape[axis] as u32).step_by(step).collect();
            array = build.apply(Kind::Select { axis, places }, &[&array])?;
        }
    }
    Ok(array)
}

/// Numbers of places, none of them negative or absurd.
pub(super) fn counts(name: &str, values: &[i64]) -> Result<Vec<usize>> {
    let count = |v: &i64| usize::try_from(*v).ok().filter(|v| *v < 1 << 16);
    match values.iter().map(count).collect() {
        Some(counts) => Ok(counts),
        None => bail!("{name} = {values:?}"),
    }
}
