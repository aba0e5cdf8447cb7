//! 3x3 convolutions with stride 1 by Winograd's algorithm: 36 products of a quarter of the terms for 4x4 results, where the
//! definition has 144.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4x4, 3x3). Points of interpolation are
//! 0, 3/4, -3/4, 3/2, -3/2 and infinity instead of the usual 0, 1, -1, 2, -2: the rounding error is an eighth (compare
//! Barabasz and others, "Error analysis and improving the accuracy of Winograd convolution", 2020), about that of the
//! definition's own sum.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use candle_core::Result;
use half::bf16;
use rayon::prelude::*;

use super::finish::Finish;
use super::source::Source;
use super::windows::{Line, lines, spread};
use super::{Geometry, direct};
use crate::ops::Real;
use crate::ops::blocked::{Shared, tile};
use crate::ops::prepared::Form;
use crate::ops::tile::{PANEL, ROWS, Tile};
use crate::ops::value::Value;
use crate::ops::vector::{Kernel, dispatch};

/// Points of interpolation beside 0 and infinity: `A`, `-A`, `B`, `-B`. All their products here are exact.
const A: f64 = 0.75;
const B: f64 = 1.5;
/// Rows and columns of a window that gives [`OUT`] rows and columns of the result.
const IN: usize = 6;
const OUT: usize = 4;
/// Products a window takes.
const PRODUCTS: usize = IN * IN;
/// Transformed numbers that are held at once: 16 MB of f32.
const HELD: usize = 4 << 20;
/// Channels of one task.
const CHANNELS: usize = 16;
/// Rows of the result of one task.
const PIECE: usize = 32;

/// The numbers of a panel of windows at one place.
type Lane<T> = [T; PANEL];

/// Values whose convolutions may go by Winograd's algorithm, or straight from their planes.
pub(crate) trait Fast: Value {
    /// Computes `finish(source * weights)`, or returns false where another way is better: for short numbers always, which
    /// would not survive the transforms.
    fn winograd<'w>(
        _: &Geometry,
        _: Source<'_, Self>,
        _: &dyn Fn() -> Cow<'w, [Self]>,
        _: &Finish<'_, Self>,
        _: &Form,
        _: &mut [MaybeUninit<Self>],
    ) -> Result<bool> {
        Ok(false)
    }

    /// The same straight from padded planes.
    fn direct<'w>(
        _: &Geometry,
        _: Source<'_, Self>,
        _: &dyn Fn() -> Cow<'w, [Self]>,
        _: &Finish<'_, Self>,
        _: &mut [MaybeUninit<Self>],
    ) -> bool {
        false
    }
}

macro_rules! fast {
    ($kind:ty) => {
        impl Fast for $kind {
            fn winograd<'w>(
                g: &Geometry,
                source: Source<'_, Self>,
                weights: &dyn Fn() -> Cow<'w, [Self]>,
                finish: &Finish<'_, Self>,
                form: &Form,
                y: &mut [MaybeUninit<Self>],
            ) -> Result<bool> {
                if !pays(g) {
                    return Ok(false);
                }
                let weights = form.get(|| transformed_weights(g, &weights()))?;
                convolve(g, source, weights, finish, y);
                Ok(true)
            }

            fn direct<'w>(
                g: &Geometry,
                source: Source<'_, Self>,
                weights: &dyn Fn() -> Cow<'w, [Self]>,
                finish: &Finish<'_, Self>,
                y: &mut [MaybeUninit<Self>],
            ) -> bool {
                if !direct::pays(g) {
                    return false;
                }
                direct::convolve(g, source, &weights(), finish, y);
                true
            }
        }
    };
}

fast!(f32);
fast!(f64);

impl Fast for bf16 {}

/// Whether it is less work than the definition. In vectors of 16 products; a transform costs about as much as 60 products
/// for every window and channel, and transformed weights, four times as many, have to be read from far. It is
/// reckoned for one picture: a picture's bytes must not depend on its neighbours.
fn pays(g: &Geometry) -> bool {
    if g.kernel != (3, 3) || g.stride != 1 || g.dilation != 1 || g.groups != 1 {
        return false;
    }
    let vectors = |columns: usize| columns.div_ceil(16);
    let (windows, pairs) = (windows(g).0 * windows(g).1, g.channels * g.out);
    let products = PRODUCTS * pairs * vectors(windows);
    let transforms = 60 * (g.channels + g.out) * windows;
    let weights = PRODUCTS * pairs;
    products + transforms + weights < 9 * pairs * vectors(g.size())
}

/// Rows and columns of windows of one plane.
fn windows(g: &Geometry) -> (usize, usize) {
    (g.output.0.div_ceil(OUT), g.output.1.div_ceil(OUT))
}

/// `G w G^T` of every kernel: `[36, out, in]`.
fn transformed_weights<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let pairs = g.out * g.channels;
    let mut all = vec![T::zero(); PRODUCTS * pairs];
    for (i, kernel) in w.chunks_exact(9).enumerate() {
        let rows: [[f64; 3]; IN] = {
            let columns: [[f64; IN]; 3] =
                std::array::from_fn(|j| kernel_row([0, 3, 6].map(|k| kernel[k + j].to_f64())));
            std::array::from_fn(|r| std::array::from_fn(|j| columns[j][r]))
        };
        for (r, row) in rows.into_iter().enumerate() {
            for (c, value) in kernel_row(row).into_iter().enumerate() {
                all[(r * IN + c) * pairs + i] = T::of(value);
            }
        }
    }
    all
}

/// `G` times three numbers.
fn kernel_row([w0, w1, w2]: [f64; 3]) -> [f64; IN] {
    let (at_a, at_b) = (2.0 * A * A * (A * A - B * B), 2.0 * B * B * (B * B - A * A));
    let at = |p: f64, scale: f64| (w0 + p * w1 + p * p * w2) / scale;
    [w0 / (A * A * B * B), at(A, at_a), at(-A, at_a), at(B, at_b), at(-B, at_b), w2]
}

/// `B^T` times six numbers.
#[inline(always)]
fn window_row<T: Real>([d0, d1, d2, d3, d4, d5]: [T; IN]) -> [T; IN] {
    let of = T::of;
    let (product, sum) = (of(A * A * B * B), of(A * A + B * B));
    let (even_a, odd_a) = (d4 - of(B * B) * d2, of(A) * (d3 - of(B * B) * d1));
    let (even_b, odd_b) = (d4 - of(A * A) * d2, of(B) * (d3 - of(A * A) * d1));
    [
        product * d0 - sum * d2 + d4,
        even_a + odd_a,
        even_a - odd_a,
        even_b + odd_b,
        even_b - odd_b,
        product * d1 - sum * d3 + d5,
    ]
}

/// `A^T` times six numbers.
#[inline(always)]
fn result_row<T: Real>([m0, m1, m2, m3, m4, m5]: [T; IN]) -> [T; OUT] {
    let of = T::of;
    let (sum_a, sum_b, odd_a, odd_b) = (m1 + m2, m3 + m4, m1 - m2, m3 - m4);
    [
        m0 + sum_a + sum_b,
        of(A) * odd_a + of(B) * odd_b,
        of(A * A) * sum_a + of(B * B) * sum_b,
        of(A * A * A) * odd_a + of(B * B * B) * odd_b + m5,
    ]
}

fn convolve<T: Real>(
    g: &Geometry,
    source: Source<'_, T>,
    weights: &[T],
    finish: &Finish<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let (rows, columns) = windows(g);
    let all = g.batch * rows * columns;
    let most = (HELD / (PRODUCTS * g.channels * PANEL)).max(1);
    let y = Shared::new(y);
    let mut held = Vec::new();
    for first in (0..all.div_ceil(PANEL)).step_by(most) {
        let panels: Vec<Vec<Line>> = (first..all.div_ceil(PANEL).min(first + most))
            .map(|p| lines(p * PANEL..all.min((p + 1) * PANEL), (rows, columns)))
            .collect();
        transform_windows(g, source, &panels, &mut held);
        let (pieces, size) = (g.out.div_ceil(PIECE), PRODUCTS * g.channels * PANEL);
        (0..panels.len() * pieces).into_par_iter().for_each_init(Scratch::default, |scratch, task| {
            let (panel, piece) = (task / pieces, task % pieces);
            let out = piece * PIECE..g.out.min((piece + 1) * PIECE);
            let windows = &held[panel * size..][..size];
            multiply(g, windows, &panels[panel], weights, out.clone(), &mut scratch.products);
            dispatch(Results { g, lines: &panels[panel], out, scratch, finish, y: &y });
        });
    }
}

/// Fills `held` with transformed windows, `[panel, product, channel, PANEL]`.
fn transform_windows<T: Real>(g: &Geometry, source: Source<'_, T>, panels: &[Vec<Line>], held: &mut Vec<T>) {
    let panel = PRODUCTS * g.channels * PANEL;
    held.resize(panels.len() * panel, T::zero());
    let pieces = g.channels.div_ceil(CHANNELS);
    // SAFETY: initialised numbers may be seen as numbers that need not be; only numbers are written.
    let held = unsafe { std::slice::from_raw_parts_mut(held.as_mut_ptr().cast::<MaybeUninit<T>>(), held.len()) };
    let held = Shared::new(held);
    (0..panels.len() * pieces).into_par_iter().for_each_init(Cut::default, |scratch, task| {
        let (at, piece) = (task / pieces, task % pieces);
        for channel in piece * CHANNELS..g.channels.min((piece + 1) * CHANNELS) {
            dispatch(Transform { g, source, lines: &panels[at], channel, scratch });
            for (i, lane) in scratch.windows.iter().flatten().enumerate() {
                // SAFETY: this panel and channel belong to this task alone.
                let place = unsafe { held.part(at * panel + (i * g.channels + channel) * PANEL, PANEL) };
                place.iter_mut().zip(lane).for_each(|(p, v)| _ = p.write(*v));
            }
        }
    });
}

/// Windows of one channel before and after their transform.
struct Cut<T> {
    windows: [[Lane<T>; IN]; IN],
    half: [[Lane<T>; IN]; IN],
    line: Vec<T>,
    buffer: Vec<T>,
}

impl<T: Real> Default for Cut<T> {
    fn default() -> Self {
        let zero = [[[T::zero(); PANEL]; IN]; IN];
        Self { windows: zero, half: zero, line: Vec::new(), buffer: Vec::new() }
    }
}

/// `B^T d B` of a panel's windows in one channel.
struct Transform<'a, T: Value> {
    g: &'a Geometry,
    source: Source<'a, T>,
    lines: &'a [Line],
    channel: usize,
    scratch: &'a mut Cut<T>,
}

impl<T: Real> Transform<'_, T> {
    /// Cuts the planes into windows: `[row, column, window]`.
    #[inline(always)]
    fn gather(&mut self) {
        let (g, scratch) = (self.g, &mut *self.scratch);
        for line in self.lines {
            scratch.line.resize((line.count * OUT + IN - OUT).next_multiple_of(OUT), T::zero());
            for (i, windows) in scratch.windows.iter_mut().enumerate() {
                let row = (line.row * OUT + i).wrapping_sub(g.top);
                if row >= g.input.0 {
                    windows.iter_mut().for_each(|lane| lane[line.column..line.column + line.count].fill(T::zero()));
                    continue;
                }
                let start = ((line.image * g.all_channels + self.channel) * g.input.0 + row) * g.input.1;
                let values = self.source.read(start..start + g.input.1, &mut scratch.buffer);
                // From the first window's left edge on, which may lie in the padding.
                let left = line.start * OUT;
                let (skipped, pad) = (left.saturating_sub(g.left).min(values.len()), g.left.saturating_sub(left));
                spread(&values[skipped..], 1, (pad, 0), &mut scratch.line);
                deinterleave(&scratch.line, windows, line);
            }
        }
    }
}

/// Every sixth part of a line: `windows[j][t] = line[4 t + j]`.
#[inline(always)]
fn deinterleave<T: Real>(line: &[T], windows: &mut [Lane<T>; IN], at: &Line) {
    let [w0, w1, w2, w3, w4, w5] = windows.each_mut().map(|lane| &mut lane[at.column..at.column + at.count]);
    let (quads, _) = line.as_chunks::<OUT>();
    for (t, (quad, next)) in quads.iter().zip(&quads[1..]).enumerate().take(at.count) {
        w0[t] = quad[0];
        w1[t] = quad[1];
        w2[t] = quad[2];
        w3[t] = quad[3];
        w4[t] = next[0];
        w5[t] = next[1];
    }
}

impl<T: Real> Kernel for Transform<'_, T> {
    #[inline(always)]
    fn run(mut self) {
        self.gather();
        let Cut { windows, half, .. } = self.scratch;
        for j in 0..IN {
            for l in 0..PANEL {
                let column = window_row(std::array::from_fn(|i| windows[i][j][l]));
                for i in 0..IN {
                    half[i][j][l] = column[i];
                }
            }
        }
        for (half, windows) in half.iter().zip(windows) {
            for l in 0..PANEL {
                let row = window_row(std::array::from_fn(|j| half[j][l]));
                for j in 0..IN {
                    windows[j][l] = row[j];
                }
            }
        }
    }
}

/// Products of one panel and some channels of the result, and what becomes of them.
struct Scratch<T> {
    /// `[channel, product, PANEL]`.
    products: Vec<Lane<T>>,
    half: [[Lane<T>; IN]; OUT],
    /// Rows of results, window by window.
    results: [[[T; OUT]; PANEL]; OUT],
}

impl<T: Real> Default for Scratch<T> {
    fn default() -> Self {
        let results = [[[T::zero(); OUT]; PANEL]; OUT];
        Self { products: Vec::new(), half: [[[T::zero(); PANEL]; IN]; OUT], results }
    }
}

/// The 36 products of one panel's windows with the weights of some channels.
fn multiply<T: Real>(
    g: &Geometry,
    windows: &[T],
    lines: &[Line],
    weights: &[T],
    out: std::ops::Range<usize>,
    products: &mut Vec<Lane<T>>,
) {
    let count = lines.last().map_or(0, |l| l.column + l.count);
    products.resize(out.len() * PRODUCTS, [T::zero(); PANEL]);
    let mut sums: Tile<T> = tile();
    for i in 0..PRODUCTS {
        let panel = &windows[i * g.channels * PANEL..][..g.channels * PANEL];
        for row in out.clone().step_by(ROWS) {
            let rows = ROWS.min(out.end - row);
            let left = &weights[(i * g.out + row) * g.channels..];
            T::tile(left, g.channels, panel, (rows, count), &mut sums);
            for (r, sums) in sums.iter().enumerate().take(rows) {
                products[(row - out.start + r) * PRODUCTS + i] = *sums;
            }
        }
    }
}

/// `A^T m A` of a panel's products, finished and written.
struct Results<'a, T: Value> {
    g: &'a Geometry,
    lines: &'a [Line],
    out: std::ops::Range<usize>,
    scratch: &'a mut Scratch<T>,
    finish: &'a Finish<'a, T>,
    y: &'a Shared<'a, T>,
}

impl<T: Real> Kernel for Results<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { g, lines, out, scratch, finish, y } = self;
        let Scratch { products, half, results } = scratch;
        for (products, channel) in products.chunks_exact(PRODUCTS).zip(out) {
            for j in 0..IN {
                for l in 0..PANEL {
                    let column = result_row(std::array::from_fn(|i| products[i * IN + j][l]));
                    for i in 0..OUT {
                        half[i][j][l] = column[i];
                    }
                }
            }
            for (half, results) in half.iter().zip(results.iter_mut()) {
                for (l, result) in results.iter_mut().enumerate() {
                    *result = result_row(std::array::from_fn(|j| half[j][l]));
                }
            }
            for line in lines {
                write_line(g, line, results, channel, finish, y);
            }
        }
    }
}

/// Up to four rows of results, cut at the plane's edges.
#[inline(always)]
fn write_line<T: Real>(
    g: &Geometry,
    line: &Line,
    results: &[[[T; OUT]; PANEL]; OUT],
    channel: usize,
    finish: &Finish<'_, T>,
    y: &Shared<'_, T>,
) {
    let (height, width) = g.output;
    let (x, plane) = (line.start * OUT, (line.image * g.out + channel) * g.size());
    let count = (line.count * OUT).min(width - x);
    for (row, results) in (line.row * OUT..height).zip(results) {
        let at = plane + row * width + x;
        let sums = &results[line.column..line.column + line.count].as_flattened()[..count];
        // SAFETY: windows do not overlap in the result, and each channel and panel belongs to one task.
        finish.write(channel, at, sums, unsafe { y.part(at, count) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::random;
    use crate::ops::conv::Conv2d;
    use crate::ops::conv::Padding;
    use crate::ops::{Activation, to_vec};
    use proptest::prelude::*;

    /// A convolution by Winograd's algorithm, and by its definition.
    fn both<T: Real>(g: &Geometry, x: &[T], w: &[T], finish: &Finish<'_, T>) -> [Vec<T>; 2] {
        let source = Source { values: x, mask: None };
        let len = g.shape().iter().product();
        let fast = crate::ops::written(len, |y| {
            convolve(g, source, &transformed_weights(g, w), finish, y);
            Ok(())
        });
        let plain = crate::ops::written(len, |y| {
            super::super::forward::products(g, source, super::super::forward::Weights::Rows(w), finish, y);
            Ok(())
        });
        [fast.unwrap(), plain.unwrap()]
    }

    fn geometry(x: &[usize], w: &[usize], pad: [usize; 4]) -> Geometry {
        Conv2d { padding: Padding::Explicit(pad), ..Conv2d::default() }.geometry(x, w).unwrap()
    }

    fn largest(values: &[f64]) -> f64 {
        values.iter().fold(0.0, |most, v| most.max(v.abs()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn it_is_a_convolution(
            batch in 1usize..4, channels in 1usize..20, out in 1usize..40, size in (3usize..23, 3usize..23),
            pad in (0usize..3, 0usize..3, 0usize..3, 0usize..3), residual: bool,
        ) {
            let (x, w) = ([batch, channels, size.0, size.1], [out, channels, 3, 3]);
            let g = geometry(&x, &w, [pad.0, pad.1, pad.2, pad.3]);
            let [x, w, b, r]: [Vec<f64>; 4] =
                [&x[..], &w[..], &[out][..], &g.shape()[..]].map(|shape| to_vec(&random(shape, 1)).unwrap());
            let finish = Finish { bias: Some(&b[..]), residual: residual.then_some(&r[..]), activation: Activation::Relu };
            let [fast, plain] = both(&g, &x, &w, &finish);
            for (a, b) in fast.iter().zip(&plain) {
                prop_assert!((a - b).abs() < 1e-11, "{a} {b}");
            }
        }
    }

    #[test]
    fn in_single_precision_its_error_is_about_that_of_the_definition() {
        // Positive inputs, as after a ReLU: the transforms' subtractions are at their worst.
        let (x, w) = ([2, 256, 14, 14], [64, 256, 3, 3]);
        let g = geometry(&x, &w, [1; 4]);
        let x: Vec<f64> = to_vec(&random(&x, 1).abs().unwrap()).unwrap();
        let w: Vec<f64> = to_vec(&random(&w, 2)).unwrap();
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let none = Activation::None;
        let [_, exact] = both(&g, &x, &w, &Finish { bias: None, residual: None, activation: none });
        let results = both(&g, &single(&x), &single(&w), &Finish { bias: None, residual: None, activation: none });
        let [fast, plain] = results.map(|result| {
            let off: Vec<f64> = result.iter().zip(&exact).map(|(a, b)| f64::from(*a) - b).collect();
            largest(&off) / largest(&exact)
        });
        assert!(fast < 5e-6 && fast < 4.0 * plain, "{fast:e}, by the definition {plain:e}");
    }

    #[test]
    fn it_is_chosen_for_the_layers_of_residual_networks() {
        let choice = |channels: usize, size: usize| {
            pays(&geometry(&[1, channels, size, size], &[channels, channels, 3, 3], [1; 4]))
        };
        assert!([(64, 56), (128, 28), (256, 14)].into_iter().all(|(channels, size)| choice(channels, size)));
        assert!(!choice(512, 7), "four windows are too few for its weights");
        assert!(!pays(&geometry(&[8, 3, 64, 64], &[4, 3, 3, 3], [1; 4])), "too few channels for its transforms");
    }
}
