//! Padded planes of one image: every tap of a kernel reads runs of them as they lie.
//!
//! Planes are taken apart by row and column modulo the stride. Positions of the result count along rows of `pitch`, of which
//! the last few are of no result: there a tap reads on into the next row. With stride 1 the zeros on the right of a row
//! are those on the left of the next.

use super::Geometry;
use super::source::Source;
use super::windows::every;
use crate::ops::Real;
use crate::ops::tile::PANEL;
use crate::ops::vector::{Kernel, dispatch};

/// The planes of a group's channels, `[phase, channel, plane]`.
pub(super) struct Planes<T> {
    pub(super) values: Vec<T>,
    rows: usize,
    /// From row to row, of the planes and of the positions.
    pub(super) pitch: usize,
    /// From plane to plane.
    pub(super) plane: usize,
    buffer: Vec<T>,
}

impl<T: Real> Planes<T> {
    /// Zeros.
    pub(super) fn new(g: &Geometry) -> Self {
        let reach = |kernel: usize| (kernel - 1) * g.dilation;
        let (rows, full) = (g.output.0 + reach(g.kernel.0) / g.stride, g.pitch());
        let shared = (g.input.1 + g.left).max(full - g.left.min(full)).max(g.output.1);
        let pitch = if g.stride == 1 { shared } else { full };
        let plane = (rows + 1) * pitch;
        // Whole registers are read behind the last position.
        let values = vec![T::zero(); g.stride * g.stride * g.channels * plane + PANEL];
        Self { values, rows, pitch, plane, buffer: Vec::new() }
    }

    /// How many positions there are, from the first result to the last.
    pub(super) fn positions(&self, g: &Geometry) -> usize {
        (g.output.0 - 1) * self.pitch + g.output.1
    }

    /// Where a tap's first position lies in the planes of the first channel.
    pub(super) fn start(&self, g: &Geometry, tap: usize) -> usize {
        let (i, j) = (tap / g.kernel.1 * g.dilation, tap % g.kernel.1 * g.dilation);
        let phase = i % g.stride * g.stride + j % g.stride;
        phase * g.channels * self.plane + i / g.stride * self.pitch + j / g.stride
    }

    /// The same for every channel and tap, in the order of weights.
    pub(super) fn starts(&self, g: &Geometry) -> Vec<usize> {
        let of = |c: usize| (0..g.taps()).map(move |tap| c * self.plane + self.start(g, tap));
        (0..g.channels).flat_map(of).collect()
    }

    /// Fills them with an image's channels from `first` on.
    pub(super) fn fill(&mut self, g: &Geometry, source: Source<'_, T>, image: usize, first: usize) {
        dispatch(Fill { g, source, at: (image * g.all_channels + first) * g.input_size(), planes: self });
    }
}

struct Fill<'a, T: Real> {
    g: &'a Geometry,
    source: Source<'a, T>,
    /// Where the first channel starts.
    at: usize,
    planes: &'a mut Planes<T>,
}

impl<T: Real> Kernel for Fill<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { g, source, at, planes } = self;
        let (height, width) = g.input;
        for (phase, planes_of) in planes.values.chunks_exact_mut(g.channels * planes.plane).enumerate() {
            let (down, right) = (phase / g.stride, phase % g.stride);
            // Column t of the planes is column `t * stride + right - left` of x. What is outside stays zero.
            let first = g.left.saturating_sub(right).div_ceil(g.stride);
            let from = (first * g.stride + right - g.left).min(width);
            let count = (width - from).div_ceil(g.stride).min(planes.pitch.saturating_sub(first));
            for (channel, plane) in planes_of.chunks_exact_mut(planes.plane).enumerate() {
                let start = at + channel * height * width;
                for (row, to) in plane.chunks_exact_mut(planes.pitch).enumerate().take(planes.rows) {
                    let row = (row * g.stride + down).wrapping_sub(g.top);
                    if row < height && count > 0 {
                        let row = start + row * width;
                        let values = source.read(row..row + width, &mut planes.buffer);
                        let to = &mut to[first..first + count];
                        match g.stride {
                            1 => to.copy_from_slice(&values[from..from + count]),
                            stride => every(&values[from..], stride, to, |v| v),
                        }
                    }
                }
            }
        }
    }
}
