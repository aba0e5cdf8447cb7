//! What happens to sums on their way to memory: bias, residual, non-linearity; and to gradients on their way back.

use crate::ops::Activation;
use crate::ops::activation::{relu_of, relu6_of};
use crate::ops::blocked::{Shared, Sink};
use crate::ops::tile::{PANEL, Tile};
use crate::ops::value::Value;
use crate::ops::vector::{Kernel, dispatch};

use super::source::runs;

#[inline(always)]
pub(super) fn past_relu<V: Value>(g: V, y: V) -> V {
    if y > V::zero() { g } else { V::zero() }
}

#[inline(always)]
pub(super) fn past_relu6<V: Value>(g: V, y: V) -> V {
    if y > V::zero() && y < V::from_f64(6.0) { g } else { V::zero() }
}

/// Passes gradients where the non-linearity was in its linear range.
pub(super) fn mask<V: Value>(g: &mut [V], y: &[V], activation: Activation) {
    dispatch(Mask(g, y, activation));
}

/// A gradient and the result it belongs to.
struct Mask<'a, V>(&'a mut [V], &'a [V], Activation);

impl<V: Value> Kernel for Mask<'_, V> {
    #[inline(always)]
    fn run(self) {
        let pairs = self.0.iter_mut().zip(self.1);
        match self.2 {
            Activation::None | Activation::Gelu => {}
            Activation::Relu => pairs.for_each(|(g, y)| *g = past_relu(*g, *y)),
            Activation::Relu6 => pairs.for_each(|(g, y)| *g = past_relu6(*g, *y)),
        }
    }
}

/// What is added to the sums of a convolution, and the non-linearity that follows.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a, V: Value> {
    /// One number a channel.
    pub(super) bias: Option<&'a [V::Sum]>,
    /// As large as the result.
    pub(super) residual: Option<&'a [V]>,
    pub(super) activation: Activation,
}

impl<V: Value> Finish<'_, V> {
    /// Bias and non-linearity of one channel's sums, where no residual comes between.
    #[inline(always)]
    pub(super) fn apply(&self, channel: usize, sums: &mut [V::Sum; PANEL]) {
        let bias = self.bias.map_or(<V::Sum as candle_core::WithDType>::from_f64(0.0), |b| b[channel]);
        sums.iter_mut().for_each(|sum| *sum += bias);
        self.activation.apply_to(sums);
    }

    /// Writes sums of one channel to their place, which starts at `at`.
    #[inline(always)]
    pub(super) fn write(&self, channel: usize, at: usize, sums: &[V::Sum], out: &mut [std::mem::MaybeUninit<V>]) {
        match self.activation {
            Activation::None | Activation::Gelu => self.write_by(channel, at, sums, out, |v| v),
            Activation::Relu => self.write_by(channel, at, sums, out, relu_of),
            Activation::Relu6 => self.write_by(channel, at, sums, out, relu6_of),
        }
    }

    #[inline(always)]
    fn write_by(
        &self,
        channel: usize,
        at: usize,
        sums: &[V::Sum],
        out: &mut [std::mem::MaybeUninit<V>],
        f: impl Fn(V::Sum) -> V::Sum,
    ) {
        let bias = self.bias.map_or(<V::Sum as candle_core::WithDType>::from_f64(0.0), |b| b[channel]);
        let pairs = out.iter_mut().zip(sums);
        match self.residual {
            None => pairs.for_each(|(o, s)| _ = o.write(V::narrow(f(*s + bias)))),
            Some(residual) => pairs
                .zip(&residual[at..at + sums.len()])
                .for_each(|((o, s), r)| _ = o.write(V::narrow(f(*s + bias + r.widen())))),
        }
    }
}

/// Writes sums into planes: rows are channels, columns positions image by image.
pub(super) struct ToPlanes<'a, V: Value> {
    pub(super) y: &'a Shared<'a, V>,
    pub(super) finish: Finish<'a, V>,
    /// The group's first channel, and how many an image has.
    pub(super) channels: (usize, usize),
    /// Positions of a plane.
    pub(super) size: usize,
}

impl<V: Value> Sink<V::Sum> for ToPlanes<'_, V> {
    fn write(&self, at: (usize, usize), size: (usize, usize), sums: &Tile<V::Sum>) {
        dispatch(WriteTile(self, at, size, sums));
    }
}

struct WriteTile<'a, V: Value>(&'a ToPlanes<'a, V>, (usize, usize), (usize, usize), &'a Tile<V::Sum>);

impl<V: Value> Kernel for WriteTile<'_, V> {
    #[inline(always)]
    fn run(self) {
        let Self(to, (row, column), (rows, columns), sums) = self;
        for (image, position, first, count) in runs(column..column + columns, to.size) {
            for (r, sums) in sums.iter().enumerate().take(rows) {
                let channel = to.channels.0 + row + r;
                let at = (image * to.channels.1 + channel) * to.size + position;
                // SAFETY: tiles of one product do not overlap, nor do groups: nobody else writes these positions.
                let out = unsafe { to.y.part(at, count) };
                to.finish.write(channel, at, &sums[first..first + count], out);
            }
        }
    }
}
