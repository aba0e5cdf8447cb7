//! Pooling of one plane, forward and backward, vectorised by the compiler for the processor at hand.
//!
//! A plane is worked through by whole rows: each tap of a window is a row of the input, moved and thinned out by the
//! stride, that is folded into a row of results. Which results a tap reaches is known before, so that no loop asks for the
//! border. Maxima are taken along the input's rows first and over rows then; the first of the largest values in reading
//! order is still found, because a later value has to be larger to take its place. Sums are added in reading order.

#![expect(clippy::inline_always, reason = "kernels take the instruction set of the function they are inlined into")]

use std::ops::Range;

use super::Pool2d;
use crate::ops::Real;
use crate::ops::vector::Kernel;

/// What one tap of a window's row meets.
struct Tap {
    /// Column of the window.
    column: usize,
    /// The first input of a row that it reads; the others follow by the stride.
    from: usize,
    /// The results of a row that it reaches: those whose window has this column inside the input.
    results: Range<usize>,
}

/// The pooling of one plane, prepared.
pub(super) struct Plane<'a> {
    pool: &'a Pool2d,
    input: [usize; 2],
    output: [usize; 2],
    /// The taps of a window's row that reach any result.
    taps: Vec<Tap>,
    /// The first column of every window that lies inside the input.
    first: Vec<u32>,
}

impl<'a> Plane<'a> {
    pub(super) fn new(pool: &'a Pool2d, input: [usize; 2], output: [usize; 2]) -> Self {
        let (stride, padding) = (pool.stride, pool.padding);
        let tap = |column: usize| {
            let first = padding.saturating_sub(column).div_ceil(stride);
            let end = (input[1] + padding).saturating_sub(column).div_ceil(stride).min(output[1]);
            let results = first..end.max(first);
            (!results.is_empty()).then(|| Tap { column, from: first * stride + column - padding, results })
        };
        let taps = (0..pool.kernel[1]).filter_map(tap).collect();
        let first = (0..output[1]).map(|c| padding.saturating_sub(c * stride) as u32).collect();
        Self { pool, input, output, taps, first }
    }

    /// Values of the plane.
    pub(super) fn values(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Its results.
    pub(super) fn results(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The rows of the input in the windows of a row of results.
    #[inline(always)]
    fn rows(&self, result: usize) -> Range<usize> {
        self.pool.window(result, 0, self.input[0])
    }

    /// Calls `f(result, value)` for every result that a tap reaches in a row.
    #[inline(always)]
    fn fold<T: Real, A>(&self, tap: &Tap, row: &[T], results: impl Iterator<Item = A>, mut f: impl FnMut(A, T)) {
        let row = &row[tap.from..];
        match self.pool.stride {
            1 => results.zip(row).for_each(|(a, v)| f(a, *v)),
            2 => results.zip(row.chunks(2)).for_each(|(a, v)| f(a, v[0])),
            step => results.zip(row.iter().step_by(step)).for_each(|(a, v)| f(a, *v)),
        }
    }
}

/// Whether a value takes the place of the largest so far: NaN always does, so that it is not lost.
#[inline(always)]
fn wins<T: Real>(value: T, best: T) -> bool {
    value > best || value.to_f64().is_nan()
}

fn lowest<T: Real>() -> T {
    T::of(f64::NEG_INFINITY)
}

pub(super) struct Max<'a, T> {
    pub(super) plane: &'a Plane<'a>,
    pub(super) x: &'a [T],
    /// For the largest values of every row of the input.
    pub(super) rows: &'a mut Vec<T>,
    pub(super) y: &'a mut [T],
}

impl<T: Real> Kernel for Max<'_, T> {
    #[inline(always)]
    fn run(self) {
        let ([height, width], [_, columns]) = (self.plane.input, self.plane.output);
        let take = |best: &mut T, v: T| *best = if wins(v, *best) { v } else { *best };
        self.rows.resize(height * columns, T::zero());
        for (x, best) in self.x.chunks_exact(width).zip(self.rows.chunks_exact_mut(columns)) {
            best.fill(lowest());
            for tap in &self.plane.taps {
                self.plane.fold(tap, x, best[tap.results.clone()].iter_mut(), take);
            }
        }
        for (r, y) in self.y.chunks_exact_mut(columns).enumerate() {
            y.fill(lowest());
            for row in self.plane.rows(r) {
                y.iter_mut().zip(&self.rows[row * columns..]).for_each(|(y, v)| take(y, *v));
            }
        }
    }
}

/// The largest values and where they stand: the row's first place plus the column of the window. One for every row of
/// the input, and one for the row of results at hand.
pub(super) struct Winners<T> {
    /// Shares of gradients too, where means are pulled back.
    pub(super) best: Vec<T>,
    places: Vec<u32>,
    row_best: Vec<T>,
    row_places: Vec<u32>,
}

impl<T> Winners<T> {
    pub(super) fn new() -> Self {
        Self { best: Vec::new(), places: Vec::new(), row_best: Vec::new(), row_places: Vec::new() }
    }
}

/// The gradient of every window goes to its largest value.
pub(super) struct MaxBack<'a, T> {
    pub(super) plane: &'a Plane<'a>,
    pub(super) x: &'a [T],
    pub(super) gradient: &'a [T],
    pub(super) winners: &'a mut Winners<T>,
    pub(super) out: &'a mut [T],
}

impl<T: Real> Kernel for MaxBack<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (plane, Winners { best, places, row_best, row_places }) = (self.plane, self.winners);
        let ([height, width], [_, columns]) = (plane.input, plane.output);
        let take = |(best, place): (&mut T, &mut u32), v: T, at: u32| {
            let won = wins(v, *best);
            *best = if won { v } else { *best };
            *place = if won { at } else { *place };
        };
        row_best.resize(height * columns, T::zero());
        row_places.resize(height * columns, 0);
        let rows = self.x.chunks_exact(width).zip(row_best.chunks_exact_mut(columns));
        for (row, ((x, best), places)) in rows.zip(row_places.chunks_exact_mut(columns)).enumerate() {
            best.fill(lowest());
            places.iter_mut().zip(&plane.first).for_each(|(place, column)| *place = (row * width) as u32 + column);
            for tap in &plane.taps {
                let results = tap.results.clone();
                let at = (row * width + tap.column) as u32;
                let results = best[results.clone()].iter_mut().zip(&mut places[results]);
                plane.fold(tap, x, results, |result, v| take(result, v, at));
            }
        }
        for (r, gradient) in self.gradient.chunks_exact(columns).enumerate() {
            let Range { start, end } = plane.rows(r);
            best.clear();
            best.extend_from_slice(&row_best[start * columns..][..columns]);
            places.clear();
            places.extend_from_slice(&row_places[start * columns..][..columns]);
            for row in start + 1..end {
                let row = row_best[row * columns..].iter().zip(&row_places[row * columns..]);
                best.iter_mut().zip(&mut *places).zip(row).for_each(|(result, (v, at))| take(result, *v, *at));
            }
            for (c, (place, gradient)) in places.iter().zip(gradient).enumerate() {
                self.out[*place as usize + c * plane.pool.stride - plane.pool.padding] += *gradient;
            }
        }
    }
}

pub(super) struct Mean<'a, T> {
    pub(super) plane: &'a Plane<'a>,
    pub(super) x: &'a [T],
    pub(super) counts: &'a [T],
    pub(super) y: &'a mut [T],
}

impl<T: Real> Kernel for Mean<'_, T> {
    #[inline(always)]
    fn run(self) {
        let ([_, width], [_, columns]) = (self.plane.input, self.plane.output);
        for (r, y) in self.y.chunks_exact_mut(columns).enumerate() {
            // The sum of nothing, whose sign is no value's.
            y.fill(T::of(-0.0));
            for row in self.plane.rows(r) {
                let x = &self.x[row * width..][..width];
                for tap in &self.plane.taps {
                    self.plane.fold(tap, x, y[tap.results.clone()].iter_mut(), |y, v| *y += v);
                }
            }
        }
        self.y.iter_mut().zip(self.counts).for_each(|(y, count)| *y /= *count);
    }
}

/// The gradient of every window goes to its values in equal shares.
pub(super) struct MeanBack<'a, T> {
    pub(super) plane: &'a Plane<'a>,
    pub(super) counts: &'a [T],
    pub(super) gradient: &'a [T],
    pub(super) shares: &'a mut Vec<T>,
    pub(super) out: &'a mut [T],
}

impl<T: Real> Kernel for MeanBack<'_, T> {
    #[inline(always)]
    fn run(self) {
        let ([_, width], [_, columns]) = (self.plane.input, self.plane.output);
        self.shares.clear();
        self.shares.extend(self.gradient.iter().zip(self.counts).map(|(g, count)| *g / *count));
        for (r, shares) in self.shares.chunks_exact(columns).enumerate() {
            for row in self.plane.rows(r) {
                let out = &mut self.out[row * width..][..width];
                // From the last column on: a value gets its shares in the order of the windows.
                for tap in self.plane.taps.iter().rev() {
                    let shares = &shares[tap.results.clone()];
                    let out = out[tap.from..].iter_mut();
                    match self.plane.pool.stride {
                        1 => out.zip(shares).for_each(|(out, share)| *out += *share),
                        step => out.step_by(step).zip(shares).for_each(|(out, share)| *out += *share),
                    }
                }
            }
        }
    }
}
