//! The gradient of a convolution's input.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::Result;
use rayon::prelude::*;

use super::finish::{Finish, past_relu, past_relu6};
use super::forward::{Weights, products, weights_across};
use super::source::{Planes, Source};
use super::windows::{Line, lines};
use super::{Geometry, depthwise};
use crate::ops::across;
use crate::ops::blocked::{Columns, Left, Panels, tile};
use crate::ops::prepared::Prepared;
use crate::ops::tile::{PANEL, Tile};
use crate::ops::vector::{Kernel, dispatch};
use crate::ops::{Activation, Real, written};

/// Pieces of an image's channels that there are at least, so that every core has work.
const PIECES: usize = 8;

/// From the result `y` and its gradient. With stride 1 it is a convolution of the gradient with the weights turned round;
/// otherwise columns `w^T gradient`, folded back. `sum` is added: what the input's other users have passed.
pub(super) fn input_gradient<T: Real>(
    g: &Geometry,
    w: &[T],
    (y, gradient): (&[T], &[T]),
    activation: Activation,
    sum: Option<&[T]>,
    prepared: &Prepared,
) -> Result<Vec<T>> {
    written(g.batch * g.all_channels * g.input_size(), |x| {
        if g.is_depthwise() {
            depthwise_planes(g, w, (y, gradient), activation, sum, x);
            return Ok(());
        }
        let source = Source { values: gradient, mask: (activation != Activation::None).then_some((y, activation)) };
        let Some(turned) = turned(g) else {
            folded(g, source, prepared.backward.get(|| transposed(g, w))?, sum, x);
            return Ok(());
        };
        let finish = Finish { bias: None, residual: sum, activation: Activation::None };
        let weights = || Cow::Owned(turned_weights(g, w));
        if T::winograd(&turned, source, &weights, &finish, &prepared.winograd_backward, x)? {
            return Ok(());
        }
        if T::direct(&turned, source, &weights, &finish, x) {
            return Ok(());
        }
        if prepared.kept && across::pays(turned.out, turned.batch * turned.size()) {
            let panels = prepared.backward_across.get(|| weights_across(&turned, &turned_weights(g, w)))?;
            products(&turned, source, Weights::Across(panels), &finish, x);
        } else {
            let rows = prepared.backward.get(|| turned_weights(g, w))?;
            products(&turned, source, Weights::Rows(rows), &finish, x);
        }
        Ok(())
    })
}

/// The convolution that takes the gradient back, where it is one.
fn turned(g: &Geometry) -> Option<Geometry> {
    let top = ((g.kernel.0 - 1) * g.dilation).checked_sub(g.top)?;
    let left = ((g.kernel.1 - 1) * g.dilation).checked_sub(g.left)?;
    let all_channels = g.groups * g.out;
    let turned =
        Geometry { channels: g.out, all_channels, out: g.channels, input: g.output, output: g.input, top, left, ..*g };
    (g.stride == 1).then_some(turned)
}

/// `[in, out, kh, kw]` of every group, the taps from last to first.
fn turned_weights<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let (taps, mut turned) = (g.taps(), Vec::with_capacity(w.len()));
    for w in w.chunks_exact(g.out * g.depth()) {
        for c in 0..g.channels {
            for o in 0..g.out {
                turned.extend(w[(o * g.channels + c) * taps..][..taps].iter().rev());
            }
        }
    }
    turned
}

/// `[in * kh * kw, out]` of every group.
fn transposed<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let depth = g.depth();
    let groups = w.chunks_exact(g.out * depth);
    groups.flat_map(|w| (0..depth).flat_map(move |k| (0..g.out).map(move |o| w[o * depth + k]))).collect()
}

fn depthwise_planes<T: Real>(
    g: &Geometry,
    w: &[T],
    (y, gradient): (&[T], &[T]),
    activation: Activation,
    sum: Option<&[T]>,
    x: &mut [MaybeUninit<T>],
) {
    let (plane, taps, size) = (depthwise::Plane::of(g), g.taps(), g.size());
    let results = gradient.par_chunks_exact(size).zip(y.par_chunks_exact(size));
    x.par_chunks_exact_mut(g.input_size()).zip(results).enumerate().for_each_init(
        || depthwise::Scratch::backward(&plane),
        |scratch, (i, (x, result))| {
            let kernel = &w[i % g.groups * taps..][..taps];
            match activation {
                Activation::Relu => depthwise::backward(&plane, result, kernel, scratch, x, past_relu),
                Activation::Relu6 => depthwise::backward(&plane, result, kernel, scratch, x, past_relu6),
                _ => depthwise::backward(&plane, result, kernel, scratch, x, |g, _| g),
            }
            if let Some(sum) = sum {
                // SAFETY: the kernel has written the whole plane.
                let x = unsafe { x.assume_init_mut() };
                x.iter_mut().zip(&sum[i * g.input_size()..]).for_each(|(x, sum)| *x += *sum);
            }
        },
    );
}

/// Adds the columns `w^T gradient` back to the windows they stand for; `w` is that of [`transposed`].
fn folded<T: Real>(g: &Geometry, source: Source<'_, T>, w: &[T], sum: Option<&[T]>, x: &mut [MaybeUninit<T>]) {
    let pieces = PIECES.div_ceil((g.batch * g.groups).max(1)).min(g.channels);
    let share = g.channels.div_ceil(pieces);
    x.par_chunks_exact_mut(g.channels * g.input_size()).enumerate().for_each(|(i, x)| {
        let (image, group) = (i / g.groups, i % g.groups);
        let w = &w[group * g.depth() * g.out..][..g.depth() * g.out];
        let planes = Planes { source, channels: (g.out, group * g.out, g.groups * g.out), size: g.size() };
        x.par_chunks_mut(share * g.input_size()).enumerate().for_each(|(piece, x)| {
            match sum {
                None => x.fill(MaybeUninit::new(T::zero())),
                Some(sum) => {
                    let sum = &sum[(i * g.channels + piece * share) * g.input_size()..];
                    x.iter_mut().zip(sum).for_each(|(x, sum)| _ = x.write(*sum));
                }
            }
            // SAFETY: all of it has just been written.
            let x = unsafe { x.assume_init_mut() };
            fold_image(g, image, &planes, &w[piece * share * g.taps() * g.out..], x);
        });
    });
}

/// The gradient of some channels of one image; `w` begins with theirs.
fn fold_image<T: Real>(g: &Geometry, image: usize, planes: &Planes<'_, T>, w: &[T], x: &mut [T]) {
    let rows = x.len() / g.input_size() * g.taps();
    let left = Left::new(&w[..rows * g.out], g.out);
    let (mut panels, mut sums) = (Panels::default(), tile());
    let size = g.size();
    for start in (0..size).step_by(PANEL) {
        let columns = image * size + start..image * size + (start + PANEL).min(size);
        let lines = lines(columns.clone(), g.output);
        planes.pack(columns, &mut panels);
        left.times(0..rows, panels.view(), &mut sums, |(row, _), (rows, _), sums| {
            dispatch(Fold { g, rows: row..row + rows, lines: &lines, sums, x });
        });
    }
}

/// Adds a tile's rows to the places of the input they come from.
struct Fold<'a, T> {
    g: &'a Geometry,
    rows: std::ops::Range<usize>,
    lines: &'a [Line],
    sums: &'a Tile<T>,
    x: &'a mut [T],
}

impl<T: Real> Kernel for Fold<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { g, rows, lines, sums, x } = self;
        for (k, sums) in rows.zip(sums) {
            let (channel, i, j) = (k / g.taps(), k % g.taps() / g.kernel.1, k % g.kernel.1);
            let plane = &mut x[channel * g.input_size()..][..g.input_size()];
            for line in lines {
                let row = (line.row * g.stride + i * g.dilation).wrapping_sub(g.top);
                if row >= g.input.0 {
                    continue;
                }
                let plane = &mut plane[row * g.input.1..][..g.input.1];
                let ahead = j * g.dilation;
                // The first position whose tap is at or behind the left edge, and the first behind the right.
                let low = g.left.saturating_sub(ahead).div_ceil(g.stride).max(line.start);
                let high = (g.input.1 + g.left).saturating_sub(ahead).div_ceil(g.stride).min(line.start + line.count);
                if low >= high {
                    continue;
                }
                let sums = &sums[line.column + low - line.start..][..high - low];
                let plane = &mut plane[low * g.stride + ahead - g.left..];
                match g.stride {
                    2 => plane.chunks_mut(2).zip(sums).for_each(|(x, sum)| x[0] += *sum),
                    step => plane.iter_mut().step_by(step).zip(sums).for_each(|(x, sum)| *x += *sum),
                }
            }
        }
    }
}
