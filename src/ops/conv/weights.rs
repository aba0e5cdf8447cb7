//! The gradients of a convolution's weights and bias, for training.
//!
//! One tap's gradient is a product of planes: `sum over positions of gradient[out] x[channel]`, x moved by the tap. Padded
//! planes of x are the left side, as they lie; the gradient, transposed, is the panel. It has their pitch, with zeros at
//! positions that are of no result.

use rayon::prelude::*;

use super::planes::Planes;
use super::source::Source;
use super::{Geometry, depthwise};
use crate::ops::Real;
use crate::ops::attention::total;
use crate::ops::blocked::tile;
use crate::ops::tile::{PANEL, ROWS, Tile};
use crate::ops::vector::{Kernel, dispatch};

/// Parts a batch is cut into, each with a sum of its own. They follow from the batch alone.
const PARTS: usize = 16;
/// Positions of a panel that is multiplied at once: with the rows on the left they fill half of the nearest cache.
const DEPTH: usize = 128;

/// `[out]`.
pub(super) fn bias_gradient<T: Real>(g: &Geometry, gradient: &[T]) -> Vec<T> {
    let out = g.groups * g.out;
    let mut sums = vec![T::zero(); out];
    for (i, plane) in gradient.chunks_exact(g.size()).enumerate() {
        sums[i % out] += total(plane, T::zero(), |v| v, |a, b| a + b);
    }
    sums
}

/// `[out, in / groups, kh, kw]`. Parts are added in their order: the same bytes for any number of threads.
pub(super) fn weight_gradient<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let images = g.batch.div_ceil(PARTS).max(1);
    let (input, output) = (g.all_channels * g.input_size(), g.groups * g.out * g.size());
    let parts = x.par_chunks(images * input).zip(gradient.par_chunks(images * output));
    let part = |(x, gradient): (&[T], &[T])| {
        if g.is_depthwise() { depthwise_part(g, x, gradient) } else { part(g, x, gradient) }
    };
    let mut parts = parts.map(part).collect::<Vec<_>>().into_iter();
    let mut sums = parts.next().unwrap_or_else(|| vec![T::zero(); g.groups * group_sums(g)]);
    parts.for_each(|part| sums.iter_mut().zip(part).for_each(|(sum, p)| *sum += p));
    if g.is_depthwise() { sums } else { ordered(g, &sums) }
}

fn depthwise_part<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let plane = depthwise::Plane::of(g);
    let mut scratch = depthwise::Scratch::forward(&plane);
    let mut w = vec![T::zero(); g.groups * g.taps()];
    let planes = x.chunks_exact(g.input_size()).zip(gradient.chunks_exact(g.size()));
    for (i, (x, gradient)) in planes.enumerate() {
        let w = &mut w[i % g.groups * g.taps()..][..g.taps()];
        depthwise::backward_kernel(&plane, x, gradient, &mut scratch, w);
    }
    w
}

/// How many sums a group has.
fn group_sums(g: &Geometry) -> usize {
    if g.is_depthwise() { g.taps() } else { g.out.div_ceil(PANEL) * g.taps() * g.channels * PANEL }
}

/// Of some images, `[group, out / PANEL, tap, channel, PANEL]`.
fn part<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let mut scratch = Scratch::new(g);
    let mut sums = vec![T::zero(); g.groups * group_sums(g)];
    for (group, sums) in sums.chunks_exact_mut(group_sums(g)).enumerate() {
        let images = x.chunks_exact(g.all_channels * g.input_size());
        for (x, gradient) in images.zip(gradient.chunks_exact(g.groups * g.out * g.size())) {
            let gradient = &gradient[group * g.out * g.size()..][..g.out * g.size()];
            scratch.planes.fill(g, Source { values: x, mask: None }, 0, group * g.channels);
            dispatch(Panel { g, gradient, scratch: &mut scratch });
            scratch.multiply(g, sums);
        }
    }
    sums
}

/// Sums in the order of the weights.
fn ordered<T: Real>(g: &Geometry, sums: &[T]) -> Vec<T> {
    let mut w = Vec::with_capacity(g.groups * g.out * g.depth());
    for sums in sums.chunks_exact(group_sums(g)) {
        for o in 0..g.out {
            for c in 0..g.channels {
                let at = |tap: usize| ((o / PANEL * g.taps() + tap) * g.channels + c) * PANEL + o % PANEL;
                w.extend((0..g.taps()).map(|tap| sums[at(tap)]));
            }
        }
    }
    w
}

/// What one task works in.
struct Scratch<T> {
    planes: Planes<T>,
    /// The gradient, `[out / PANEL, position, PANEL]`.
    panel: Vec<T>,
    tile: Tile<T>,
}

impl<T: Real> Scratch<T> {
    fn new(g: &Geometry) -> Self {
        let planes = Planes::new(g);
        let panel = vec![T::zero(); g.out.div_ceil(PANEL) * planes.positions(g) * PANEL];
        Self { planes, panel, tile: tile() }
    }

    /// Adds one image's products to the sums.
    fn multiply(&mut self, g: &Geometry, sums: &mut [T]) {
        let depth = self.planes.positions(g);
        for (block, panel) in self.panel.chunks_exact(depth * PANEL).enumerate() {
            let columns = PANEL.min(g.out - block * PANEL);
            for (piece, panel) in panel.chunks(DEPTH * PANEL).enumerate() {
                for tap in 0..g.taps() {
                    let start = self.planes.start(g, tap) + piece * DEPTH;
                    for channel in (0..g.channels).step_by(ROWS) {
                        let rows = ROWS.min(g.channels - channel);
                        let left = &self.planes.values[start + channel * self.planes.plane..];
                        T::tile(left, self.planes.plane, panel, (rows, columns), &mut self.tile);
                        let at = ((block * g.taps() + tap) * g.channels + channel) * PANEL;
                        let sums = sums[at..].chunks_exact_mut(PANEL);
                        for (sums, tile) in sums.zip(&self.tile).take(rows) {
                            sums[..columns].iter_mut().zip(tile).for_each(|(sum, t)| *sum += *t);
                        }
                    }
                }
            }
        }
    }
}

/// Transposes one image's gradient.
struct Panel<'a, T> {
    g: &'a Geometry,
    gradient: &'a [T],
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> Kernel for Panel<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { g, gradient, scratch } = self;
        let (pitch, depth) = (scratch.planes.pitch, scratch.planes.positions(g));
        let width = g.output.1;
        for row in 0..g.output.0 {
            // Row by row, so that the places of all channels are still near.
            for (o, plane) in gradient.chunks_exact(g.size()).enumerate() {
                let panel = &mut scratch.panel[(o / PANEL * depth + row * pitch) * PANEL + o % PANEL..];
                let values = &plane[row * width..][..width];
                panel.iter_mut().step_by(PANEL).zip(values).for_each(|(to, v)| *to = *v);
            }
        }
    }
}
