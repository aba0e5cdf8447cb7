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
        sums[i % out] += plane.iter().copied().sum();
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
    let mut total = vec![T::zero(); g.groups * g.out * g.depth()];
    for part in parts.map(part).collect::<Vec<_>>() {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
    }
    total
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

fn part<T: Real>(g: &Geometry, x: &[T], gradient: &[T]) -> Vec<T> {
    let mut scratch = Scratch::new(g);
    let mut total = Vec::with_capacity(g.groups * g.out * g.depth());
    for group in 0..g.groups {
        scratch.sums.fill(T::zero());
        let images = x.chunks_exact(g.all_channels * g.input_size());
        for (x, gradient) in images.zip(gradient.chunks_exact(g.groups * g.out * g.size())) {
            let gradient = &gradient[group * g.out * g.size()..][..g.out * g.size()];
            scratch.planes.fill(g, Source { values: x, mask: None }, 0, group * g.channels);
            dispatch(Panel { g, gradient, scratch: &mut scratch });
            scratch.multiply(g);
        }
        let at = |o: usize, c: usize, tap: usize| ((o / PANEL * g.taps() + tap) * g.channels + c) * PANEL + o % PANEL;
        let taps = |o, c| (0..g.taps()).map(move |tap| (o, c, tap));
        let order = (0..g.out).flat_map(|o| (0..g.channels).flat_map(move |c| taps(o, c)));
        total.extend(order.map(|(o, c, tap)| scratch.sums[at(o, c, tap)]));
    }
    total
}

/// What one task works in.
struct Scratch<T> {
    planes: Planes<T>,
    /// The gradient, `[out / PANEL, position, PANEL]`.
    panel: Vec<T>,
    /// The sums, `[out / PANEL, tap, channel, PANEL]`.
    sums: Vec<T>,
    tile: Tile<T>,
}

impl<T: Real> Scratch<T> {
    fn new(g: &Geometry) -> Self {
        let (planes, panels) = (Planes::new(g), g.out.div_ceil(PANEL));
        let panel = vec![T::zero(); panels * planes.positions(g) * PANEL];
        Self { planes, panel, sums: vec![T::zero(); panels * g.taps() * g.channels * PANEL], tile: tile() }
    }

    /// Adds one image's products to the sums.
    fn multiply(&mut self, g: &Geometry) {
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
                        let sums = self.sums[at..].chunks_exact_mut(PANEL);
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
        for (o, plane) in gradient.chunks_exact(g.size()).enumerate() {
            let panel = &mut scratch.panel[o / PANEL * depth * PANEL + o % PANEL..];
            for (row, values) in plane.chunks_exact(g.output.1).enumerate() {
                let to = panel[row * pitch * PANEL..].iter_mut().step_by(PANEL);
                to.zip(values).for_each(|(to, v)| *to = *v);
            }
        }
    }
}

#[cfg(test)]
mod speed {
    use crate::ops::check::random;
    use crate::ops::*;
    use candle_core::{DType, Tensor};
    #[test]
    fn speed() {
        for (c, s) in [(16, 28), (32, 14), (64, 7)] {
            let conv = Conv2d { padding: Padding::Explicit([1; 4]), ..Conv2d::default() };
            let n = 128;
            let f = |t: Tensor| t.to_dtype(DType::F32).unwrap();
            let (x, w, b) = (f(random(&[n, c, s, s], 1)), f(random(&[c, c, 3, 3], 2)), f(random(&[c], 3)));
            let g = conv.geometry(x.dims(), w.dims()).unwrap();
            let flop = (n * c * c * 9 * s * s * 2) as f64;
            let time = |name: &str, f: &mut dyn FnMut()| {
                f();
                let t = std::time::Instant::now();
                for _ in 0..10 {
                    f();
                }
                let e = t.elapsed().as_secs_f64() / 10.0;
                println!("{name} {c} {s}: {:.2} ms, {:.1} GFLOP/s", e * 1e3, flop / e / 1e9);
            };
            time("forward", &mut || {
                conv2d(&x, &w, &b, &conv).unwrap();
            });
            let y = conv2d(&x, &w, &b, &conv).unwrap();
            time("input", &mut || {
                conv2d_input_gradient(x.dims(), &w, (&y, &y), None, &conv, &Prepared::default()).unwrap();
            });
            let (xs, ys) = (to_vec::<f32>(&x).unwrap(), to_vec::<f32>(&y).unwrap());
            time("weights", &mut || {
                super::weight_gradient(&g, &xs, &ys);
            });
        }
    }
}
