//! Depthwise convolution of one plane, forward and backward, vectorised by the compiler for the processor at hand.
//!
//! The plane is copied once into a padded form that is split by phase (row modulo stride, column modulo stride). There
//! every tap is the whole plane moved by a fixed offset, whatever kernel, stride and dilation: a convolution is a
//! weighted sum of long runs. Results come with the padded form's row length and are cut on their way out, where bias
//! and non-linearity are applied. The gradient is the same sum over the padded gradient, phase by phase.

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::mem::MaybeUninit;

use super::Geometry;
use super::finish::Finish;
use super::windows::every;
use crate::ops::Real;
use crate::ops::value::Value;
use crate::ops::vector::{Kernel, dispatch};

/// Outputs computed together: four AVX-512 registers of f32, enough to hide the latency of a sum.
const BLOCK: usize = 64;

/// Sizes of one plane's convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) input: (usize, usize),
    pub(super) output: (usize, usize),
    pub(super) kernel: (usize, usize),
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) top: usize,
    pub(super) left: usize,
}

/// Memory that is used again for every plane of the same geometry: what lies between the values stays zero.
pub(super) struct Scratch<T> {
    padded: Vec<T>,
    sums: Vec<T>,
    taps: Vec<(usize, T)>,
}

impl<T: Real> Scratch<T> {
    fn new(p: &Plane, padded: usize) -> Self {
        let sums = (p.lines() * p.pitch()).next_multiple_of(BLOCK);
        Self { padded: vec![T::zero(); padded], sums: vec![T::zero(); sums], taps: Vec::new() }
    }

    /// For [`forward`] and [`backward_kernel`]. A whole block may be read behind the last row.
    pub(super) fn forward(p: &Plane) -> Self {
        Self::new(p, (p.stride * p.stride * p.lines() + 1) * p.pitch() + BLOCK)
    }

    /// For [`backward`].
    pub(super) fn backward(p: &Plane) -> Self {
        Self::new(p, p.reach() + (p.lines() + 1) * p.pitch() + BLOCK)
    }
}

impl Plane {
    /// The planes of a depthwise convolution.
    pub(super) fn of(g: &Geometry) -> Self {
        Self {
            input: g.input,
            output: g.output,
            kernel: g.kernel,
            stride: g.stride,
            dilation: g.dilation,
            top: g.top,
            left: g.left,
        }
    }

    /// Length of a row of one phase.
    fn pitch(&self) -> usize {
        self.output.1 + (self.kernel.1 - 1) * self.dilation / self.stride
    }

    /// Rows of one phase.
    fn lines(&self) -> usize {
        self.output.0 + (self.kernel.0 - 1) * self.dilation / self.stride
    }

    /// Row phase, column phase and offset within the phase of a tap.
    fn tap(&self, i: usize, j: usize) -> (usize, usize, usize) {
        let (i, j) = (i * self.dilation, j * self.dilation);
        (i % self.stride, j % self.stride, i / self.stride * self.pitch() + j / self.stride)
    }

    /// The largest offset of a tap within its phase.
    fn reach(&self) -> usize {
        self.tap(self.kernel.0 - 1, self.kernel.1 - 1).2
    }

    /// Every tap with its weight.
    fn taps<'a, T: Copy>(&'a self, kernel: &'a [T]) -> impl Iterator<Item = ((usize, usize, usize), T)> + 'a {
        let columns = self.kernel.1;
        kernel.iter().enumerate().map(move |(t, w)| (self.tap(t / columns, t % columns), *w))
    }

    fn phase(&self, row: usize, column: usize) -> usize {
        (row * self.stride + column) * self.lines() * self.pitch()
    }

    /// Whether every value of the input has a place in the padded form: with strides, the last ones may have none.
    fn covers(&self) -> bool {
        let (height, width) = self.input;
        (height + self.top).div_ceil(self.stride) <= self.lines()
            && (width + self.left).div_ceil(self.stride) <= self.pitch()
    }

    /// The runs of the plane that lie in the phase of (row, column): first index in the plane, index in the phase, count.
    /// Consecutive values of a run are `stride` apart in the plane.
    #[inline(always)]
    fn runs(&self, (row, column): (usize, usize)) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let ((height, width), (stride, pitch, top)) = (self.input, (self.stride, self.pitch(), self.top));
        // The first column and row at or behind the padding, and the row behind the last.
        let first = self.left.saturating_sub(column).div_ceil(stride);
        let x = first * stride + column - self.left;
        let count = width.saturating_sub(x).div_ceil(stride).min(pitch.saturating_sub(first));
        let start = top.saturating_sub(row).div_ceil(stride);
        let end = (height + top).saturating_sub(row).div_ceil(stride).min(self.lines());
        (start..end).map(move |line| ((line * stride + row - top) * width + x, line * pitch + first, count))
    }
}

/// `out = finish(plane * kernel)` for one channel, whose plane starts at a place of the result; writes all of `out`.
pub(super) fn forward<V: Value>(
    p: &Plane,
    plane: &[V],
    kernel: &[V],
    scratch: &mut Scratch<V::Sum>,
    out: &mut [MaybeUninit<V>],
    finish: (&Finish<'_, V>, usize, usize),
) {
    dispatch(Forward { p, plane, kernel, scratch, out, finish });
}

/// The plane's gradient from that of the result, which passes through `mask(gradient, result)` first; writes all of
/// `plane`.
pub(super) fn backward<T: Real>(
    p: &Plane,
    (gradient, result): (&[T], &[T]),
    kernel: &[T],
    scratch: &mut Scratch<T>,
    plane: &mut [MaybeUninit<T>],
    mask: impl Fn(T, T) -> T,
) {
    dispatch(Backward { p, gradient, result, kernel, scratch, plane, mask });
}

/// `kernel += correlation of plane and gradient`.
pub(super) fn backward_kernel<T: Real>(
    p: &Plane,
    plane: &[T],
    gradient: &[T],
    scratch: &mut Scratch<T>,
    kernel: &mut [T],
) {
    dispatch(BackwardKernel { p, plane, gradient, scratch, kernel });
}

/// `out[p] = sum over taps of weight * values[offset + p]`; `out` is a whole number of blocks.
#[inline(always)]
fn correlate<T: Real>(values: &[T], taps: &[(usize, T)], out: &mut [T]) {
    for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
        let mut sums = [T::zero(); BLOCK];
        for (offset, weight) in taps {
            let at = offset + block * BLOCK;
            let values = &values[at..at + BLOCK];
            for l in 0..BLOCK {
                sums[l] += *weight * values[l];
            }
        }
        out.copy_from_slice(&sums);
    }
}

/// Copies a plane to its padded form.
#[inline(always)]
fn fill<V: Value>(p: &Plane, plane: &[V], padded: &mut [V::Sum]) {
    for (row, column) in (0..p.stride * p.stride).map(|i| (i / p.stride, i % p.stride)) {
        let padded = &mut padded[p.phase(row, column)..];
        for (from, to, count) in p.runs((row, column)) {
            every(&plane[from..], p.stride, &mut padded[to..to + count], V::widen);
        }
    }
}

struct Forward<'a, V: Value> {
    p: &'a Plane,
    plane: &'a [V],
    kernel: &'a [V],
    scratch: &'a mut Scratch<V::Sum>,
    out: &'a mut [MaybeUninit<V>],
    finish: (&'a Finish<'a, V>, usize, usize),
}

impl<V: Value> Kernel for Forward<'_, V> {
    #[inline(always)]
    fn run(self) {
        let (p, Scratch { padded, sums, taps }) = (self.p, self.scratch);
        fill(p, self.plane, padded);
        taps.clear();
        let weights = p.taps(self.kernel);
        taps.extend(weights.map(|((row, column, offset), w)| (p.phase(row, column) + offset, w.widen())));
        let sums = &mut sums[..(p.output.0 * p.pitch()).next_multiple_of(BLOCK)];
        correlate(padded, taps, sums);
        let (finish, channel, at) = self.finish;
        let width = p.output.1;
        for (row, (out, sums)) in self.out.chunks_exact_mut(width).zip(sums.chunks_exact(p.pitch())).enumerate() {
            finish.write(channel, at + row * width, &sums[..width], out);
        }
    }
}

struct Backward<'a, T, F> {
    p: &'a Plane,
    gradient: &'a [T],
    result: &'a [T],
    kernel: &'a [T],
    scratch: &'a mut Scratch<T>,
    plane: &'a mut [MaybeUninit<T>],
    mask: F,
}

impl<T: Real, F: Fn(T, T) -> T> Kernel for Backward<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        let (p, Scratch { padded, sums, taps }) = (self.p, self.scratch);
        let (width, front) = (p.output.1, p.reach());
        let rows = self.gradient.chunks_exact(width).zip(self.result.chunks_exact(width));
        for ((gradient, result), padded) in rows.zip(padded[front..].chunks_exact_mut(p.pitch())) {
            for ((padded, gradient), result) in padded.iter_mut().zip(gradient).zip(result) {
                *padded = (self.mask)(*gradient, *result);
            }
        }
        if !p.covers() {
            self.plane.fill(MaybeUninit::new(T::zero()));
        }
        for phase in (0..p.stride * p.stride).map(|i| (i / p.stride, i % p.stride)) {
            taps.clear();
            let here = p.taps(self.kernel).filter(|((row, column, _), _)| (*row, *column) == phase);
            // A run moved forward by its offset is read that much earlier; what it reads between rows is zero.
            taps.extend(here.map(|((.., offset), w)| (front - offset, w)));
            correlate(padded, taps, sums);
            for (to, from, count) in p.runs(phase) {
                let sums = &sums[from..from + count];
                match p.stride {
                    1 => self.plane[to..to + count].iter_mut().zip(sums).for_each(|(to, sum)| _ = to.write(*sum)),
                    step => {
                        let to = self.plane[to..].iter_mut().step_by(step);
                        to.zip(sums).for_each(|(to, sum)| _ = to.write(*sum));
                    }
                }
            }
        }
    }
}

struct BackwardKernel<'a, T> {
    p: &'a Plane,
    plane: &'a [T],
    gradient: &'a [T],
    scratch: &'a mut Scratch<T>,
    kernel: &'a mut [T],
}

impl<T: Real> Kernel for BackwardKernel<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (p, Scratch { padded, sums, .. }) = (self.p, self.scratch);
        fill(p, self.plane, padded);
        sums.fill(T::zero());
        for (row, gradient) in sums.chunks_exact_mut(p.pitch()).zip(self.gradient.chunks_exact(p.output.1)) {
            row[..p.output.1].copy_from_slice(gradient);
        }
        let gradient = &sums[..(p.output.0 * p.pitch()).next_multiple_of(BLOCK)];
        for (t, out) in self.kernel.iter_mut().enumerate() {
            let (row, column, offset) = p.tap(t / p.kernel.1, t % p.kernel.1);
            let values = &padded[p.phase(row, column) + offset..][..gradient.len()];
            let mut lanes = [T::zero(); BLOCK];
            for (g, x) in gradient.chunks_exact(BLOCK).zip(values.chunks_exact(BLOCK)) {
                for l in 0..BLOCK {
                    lanes[l] += g[l] * x[l];
                }
            }
            *out += lanes.into_iter().sum();
        }
    }
}
