//! What a convolution reads: planes in memory, and the non-linearity their gradient has to pass first.

use std::ops::Range;

use crate::ops::Activation;
use crate::ops::blocked::{Columns, Panels};
use crate::ops::value::Value;
use crate::ops::vector::{Kernel, dispatch};

use super::finish::mask;

/// Planes `[batch, channel, height, width]`, or the gradient of such planes behind a non-linearity.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, V> {
    pub(super) values: &'a [V],
    /// The results whose non-linearity the values pass: gradients are zero where it was flat.
    pub(super) mask: Option<(&'a [V], Activation)>,
}

impl<'a, V: Value> Source<'a, V> {
    /// Some of the values; `buffer` is for those that are masked.
    #[inline(always)]
    pub(super) fn read<'b>(&self, range: Range<usize>, buffer: &'b mut Vec<V>) -> &'b [V]
    where
        'a: 'b,
    {
        let values = &self.values[range.clone()];
        let Some((results, activation)) = self.mask else { return values };
        buffer.clear();
        buffer.extend_from_slice(values);
        mask(buffer, &results[range], activation);
        buffer
    }
}

/// Runs of columns that lie in one plane each: image, first position in the plane, first column, count. `columns` counts
/// positions image by image.
pub(super) fn runs(columns: Range<usize>, size: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let (mut at, first) = (columns.start, columns.start);
    std::iter::from_fn(move || {
        (at < columns.end).then(|| {
            let position = at % size;
            let count = (size - position).min(columns.end - at);
            let run = (at / size, position, at - first, count);
            at += count;
            run
        })
    })
}

/// The columns of a 1x1 convolution: positions of all images, their channels in depth.
pub(super) struct Planes<'a, V> {
    pub(super) source: Source<'a, V>,
    /// Channels that count: how many, the first, and how many an image has.
    pub(super) channels: (usize, usize, usize),
    /// Positions of a plane.
    pub(super) size: usize,
}

impl<V: Value> Columns<V> for Planes<'_, V> {
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>) {
        dispatch(PackPlanes(self, columns, panels));
    }
}

struct PackPlanes<'a, V: Value>(&'a Planes<'a, V>, Range<usize>, &'a mut Panels<V>);

impl<V: Value> Kernel for PackPlanes<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Self(planes, columns, panels) = self;
        let ((count, first, all), mut buffer) = (planes.channels, Vec::new());
        panels.reset(columns.len(), count);
        for k in 0..count {
            for (image, position, column, len) in runs(columns.clone(), planes.size) {
                let start = (image * all + first + k) * planes.size + position;
                panels.place(k, column, planes.source.read(start..start + len, &mut buffer));
            }
        }
    }
}
