//! The columns of a convolution as a product: each holds the window of one position of the result.

use std::ops::Range;

use super::Geometry;
use super::source::{Source, runs};
use crate::ops::blocked::{Columns, Panels};
use crate::ops::value::Value;
use crate::ops::vector::{Kernel, dispatch};

/// Windows of all images; depth is `[channel, kernel row, kernel column]`.
pub(super) struct Windows<'a, V> {
    pub(super) source: Source<'a, V>,
    pub(super) geometry: &'a Geometry,
    /// The first channel of the group.
    pub(super) first: usize,
}

/// Part of one row of a result.
pub(super) struct Line {
    pub(super) image: usize,
    pub(super) row: usize,
    /// First position in the row, and how many.
    pub(super) start: usize,
    pub(super) count: usize,
    /// The column of the first.
    pub(super) column: usize,
}

/// Columns, which count positions image by image, cut into rows of `width`.
pub(super) fn lines(columns: Range<usize>, (height, width): (usize, usize)) -> Vec<Line> {
    let mut lines = Vec::new();
    for (image, position, column, count) in runs(columns, height * width) {
        for (row, start, ahead, count) in runs(position..position + count, width) {
            lines.push(Line { image, row, start, count, column: column + ahead });
        }
    }
    lines
}

impl<V: Value> Columns<V> for Windows<'_, V> {
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>) {
        dispatch(Pack(self, columns, panels));
    }
}

struct Pack<'a, V: Value>(&'a Windows<'a, V>, Range<usize>, &'a mut Panels<V>);

impl<V: Value> Kernel for Pack<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Self(windows, columns, panels) = self;
        let g = windows.geometry;
        panels.reset(columns.len(), g.depth());
        let lines = lines(columns, g.output);
        let (pitch, mut buffer) = (g.pitch(), Vec::new());
        let mut split = vec![V::zero(); lines.len() * g.stride * pitch];
        for channel in 0..g.channels {
            for i in 0..g.kernel.0 {
                for (line, split) in lines.iter().zip(split.chunks_exact_mut(g.stride * pitch)) {
                    windows.split(line, channel, i, split, &mut buffer);
                }
                for j in 0..g.kernel.1 {
                    let k = (channel * g.kernel.0 + i) * g.kernel.1 + j;
                    let (phase, ahead) = (j * g.dilation % g.stride, j * g.dilation / g.stride);
                    for (line, split) in lines.iter().zip(split.chunks_exact(g.stride * pitch)) {
                        let at = phase * pitch + line.start + ahead;
                        panels.place(k, line.column, &split[at..at + line.count]);
                    }
                }
            }
        }
    }
}

impl<V: Value> Windows<'_, V> {
    /// The row of the input that kernel row `i` reads for a line of the result, padded, split by column modulo stride:
    /// there each kernel column reads a run.
    #[inline(always)]
    fn split(&self, line: &Line, channel: usize, i: usize, split: &mut [V], buffer: &mut Vec<V>) {
        let g = self.geometry;
        let (height, width) = g.input;
        let row = (line.row * g.stride + i * g.dilation).wrapping_sub(g.top);
        if row >= height {
            split.fill(V::zero());
            return;
        }
        let start = ((line.image * g.all_channels + self.first + channel) * height + row) * width;
        let values = self.source.read(start..start + width, buffer);
        for (phase, split) in split.chunks_exact_mut(g.pitch()).enumerate() {
            if (0..g.kernel.1).any(|j| j * g.dilation % g.stride == phase) {
                spread(values, g.stride, (g.left, phase), split);
            }
        }
    }
}

/// `to[t] = values[t * stride + phase - left]`, zero outside.
#[inline(always)]
pub(super) fn spread<V: Value>(values: &[V], stride: usize, (left, phase): (usize, usize), to: &mut [V]) {
    let zeros = left.saturating_sub(phase).div_ceil(stride).min(to.len());
    let (before, to) = to.split_at_mut(zeros);
    before.fill(V::zero());
    let from = (zeros * stride + phase).saturating_sub(left).min(values.len());
    let values = &values[from..];
    let count = values.len().div_ceil(stride).min(to.len());
    let (to, behind) = to.split_at_mut(count);
    behind.fill(V::zero());
    every(values, stride, to, |v| v);
}

/// `to[t] = f(values[t * stride])` as far as both go; pairs are taken apart in whole vectors.
#[inline(always)]
pub(super) fn every<V: Copy, T>(values: &[V], stride: usize, to: &mut [T], f: impl Fn(V) -> T) {
    match stride {
        1 => to.iter_mut().zip(values).for_each(|(to, v)| *to = f(*v)),
        2 => {
            let (pairs, rest) = values.as_chunks::<2>();
            to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = f(pair[0]));
            if let (Some(last), [value]) = (to.get_mut(pairs.len()), rest) {
                *last = f(*value);
            }
        }
        step => to.iter_mut().zip(values.iter().step_by(step)).for_each(|(to, v)| *to = f(*v)),
    }
}
