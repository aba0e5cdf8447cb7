//! Attention on the CPU, forward and backward, one head of one picture at a time: products with panels, and softmax of
//! rows that are in the cache.

use candle_core::Result;
use rayon::prelude::*;

use crate::ops::blocked::{Columns, Left, Matrix, Panels, Rows, Shared, tile};
use crate::ops::tile::{ROWS, Tile};
use crate::ops::vector::{Kernel, dispatch};
use crate::ops::{Real, written};

/// Sums that are kept apart, so that a row's total is computed in vectors, in an order of its own.
const LANES: usize = 16;

/// Sizes: pictures, tokens, heads, numbers of a head.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) dim: usize,
}

impl Sizes {
    /// Numbers of a token's queries, keys and values.
    fn width(&self) -> usize {
        3 * self.heads * self.dim
    }

    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.dim as f64).sqrt())
    }

    /// Queries, keys and values of one head of one picture: rows `width` apart.
    fn parts<'a, T>(&self, qkv: &'a [T], task: usize) -> [&'a [T]; 3] {
        let (image, head) = (task / self.heads, task % self.heads);
        let qkv = &qkv[image * self.tokens * self.width()..][..self.tokens * self.width()];
        [0, 1, 2].map(|part| {
            let first = (part * self.heads + head) * self.dim;
            &qkv[first..qkv.len() - self.width() + first + self.dim]
        })
    }
}

/// `[batch, token, heads * dim]`.
pub(super) fn forward<T: Real>(s: &Sizes, qkv: &[T]) -> Result<Vec<T>> {
    let out = s.heads * s.dim;
    written(s.batch * s.tokens * out, |y| {
        let y = Shared::new(y);
        (0..s.batch * s.heads).into_par_iter().for_each_init(Scratch::default, |scratch, task| {
            let [q, k, v] = s.parts(qkv, task);
            scratch.keys.fill(&Rows { values: k, depth: s.dim, stride: s.width() }, s.tokens);
            scratch.values.fill(&Matrix { values: v, depth: s.tokens, stride: s.width() }, s.dim);
            let left = Left { values: q, depth: s.dim, stride: s.width() };
            for row in (0..s.tokens).step_by(ROWS) {
                let rows = row..s.tokens.min(row + ROWS);
                scratch.weights.resize(ROWS * s.tokens, T::zero());
                times(&left, rows.clone(), &scratch.keys, &mut scratch.weights, s.tokens);
                softmax(&mut scratch.weights[..rows.len() * s.tokens], s.tokens, s.scale());
                let mut sums = tile();
                let weights = Left::new(&scratch.weights[..rows.len() * s.tokens], s.tokens);
                let (image, head) = (task / s.heads, task % s.heads);
                let write = |at: (usize, usize), size: (usize, usize), sums: &Tile<T>| {
                    for (r, sums) in sums.iter().enumerate().take(size.0) {
                        let place = (image * s.tokens + row + at.0 + r) * out + head * s.dim + at.1;
                        // SAFETY: these columns of these rows belong to this head of this picture alone.
                        let y = unsafe { y.part(place, size.1) };
                        y.iter_mut().zip(sums).for_each(|(y, sum)| _ = y.write(*sum));
                    }
                };
                weights.times(0..rows.len(), scratch.values.view(), &mut sums, write);
            }
        });
        Ok(())
    })
}

/// Memory of one task.
struct Scratch<T: Real> {
    keys: Panels<T>,
    values: Panels<T>,
    weights: Vec<T>,
}

impl<T: Real> Default for Scratch<T> {
    fn default() -> Self {
        Self { keys: Panels::default(), values: Panels::default(), weights: Vec::new() }
    }
}

/// The gradient of `qkv` from that of the result.
pub(super) fn backward<T: Real>(s: &Sizes, qkv: &[T], gradient: &[T]) -> Result<Vec<T>> {
    let out = s.heads * s.dim;
    written(qkv.len(), |to| {
        let to = Shared::new(to);
        (0..s.batch * s.heads).into_par_iter().for_each_init(Back::default, |back, task| {
            let (image, head) = (task / s.heads, task % s.heads);
            let first = image * s.tokens * out + head * s.dim;
            let gradient = &gradient[first..(image + 1) * s.tokens * out - out + head * s.dim + s.dim];
            back.run(s, s.parts(qkv, task), gradient);
            for (part, rows) in back.gradients.iter().enumerate() {
                for (token, row) in rows.chunks_exact(s.dim).enumerate() {
                    let place = (image * s.tokens + token) * s.width() + (part * s.heads + head) * s.dim;
                    // SAFETY: these numbers belong to this head of this picture alone.
                    let to = unsafe { to.part(place, s.dim) };
                    to.iter_mut().zip(row).for_each(|(to, g)| _ = to.write(*g));
                }
            }
        });
        Ok(())
    })
}

/// Memory of one task going back.
struct Back<T: Real> {
    panels: Panels<T>,
    /// `[token, token]`: weights, and the gradient of scores.
    weights: Vec<T>,
    scores: Vec<T>,
    turned: Vec<T>,
    /// Of queries, keys and values, `[token, dim]`.
    gradients: [Vec<T>; 3],
}

impl<T: Real> Default for Back<T> {
    fn default() -> Self {
        let [weights, scores, turned] = [const { Vec::new() }; 3];
        Self { panels: Panels::default(), weights, scores, turned, gradients: [const { Vec::new() }; 3] }
    }
}

impl<T: Real> Back<T> {
    fn run(&mut self, s: &Sizes, [q, k, v]: [&[T]; 3], gradient: &[T]) {
        let (n, width, out) = (s.tokens, s.width(), s.heads * s.dim);
        for buffer in [&mut self.weights, &mut self.scores, &mut self.turned] {
            buffer.resize(n * n, T::zero());
        }
        self.gradients.iter_mut().for_each(|g| g.resize(n * s.dim, T::zero()));
        self.panels.fill(&Rows { values: k, depth: s.dim, stride: width }, n);
        times(&Left { values: q, depth: s.dim, stride: width }, 0..n, &self.panels, &mut self.weights, n);
        softmax(&mut self.weights, n, s.scale());
        self.panels.fill(&Rows { values: v, depth: s.dim, stride: width }, n);
        times(&Left { values: gradient, depth: s.dim, stride: out }, 0..n, &self.panels, &mut self.scores, n);
        dispatch(SoftmaxBack { weights: &self.weights, gradients: &mut self.scores, width: n, scale: s.scale() });
        let Self { panels, weights, scores, turned, gradients: [to_q, to_k, to_v] } = self;
        let mut product = |rows: &[T], values: &[T], stride: usize, to: &mut [T]| {
            panels.fill(&Matrix { values, depth: n, stride }, s.dim);
            times(&Left::new(rows, n), 0..n, panels, to, s.dim);
        };
        product(scores, k, width, to_q);
        turn(scores, n, turned);
        product(turned, q, width, to_k);
        turn(weights, n, turned);
        product(turned, gradient, out, to_v);
    }
}

impl<T: Real> Panels<T> {
    /// All columns of a right side.
    fn fill(&mut self, columns: &impl Columns<T>, count: usize) {
        columns.pack(0..count, self);
    }
}

/// `out = left * panels`, some rows of it, `width` apart.
fn times<T: Real>(left: &Left<'_, T>, rows: std::ops::Range<usize>, panels: &Panels<T>, out: &mut [T], width: usize) {
    let (first, mut sums) = (rows.start, tile());
    left.times(rows, panels.view(), &mut sums, |(row, column), (rows, columns), sums| {
        for (r, sums) in sums.iter().enumerate().take(rows) {
            out[(row - first + r) * width + column..][..columns].copy_from_slice(&sums[..columns]);
        }
    });
}

/// The transpose.
fn turn<T: Real>(square: &[T], n: usize, turned: &mut [T]) {
    const BLOCK: usize = 16;
    for (row, column) in (0..n).step_by(BLOCK).flat_map(|r| (0..n).step_by(BLOCK).map(move |c| (r, c))) {
        for r in row..n.min(row + BLOCK) {
            for c in column..n.min(column + BLOCK) {
                turned[c * n + r] = square[r * n + c];
            }
        }
    }
}

/// Softmax of `scale` times every row.
fn softmax<T: Real>(rows: &mut [T], width: usize, scale: T) {
    dispatch(Softmax { rows, width, scale });
}

struct Softmax<'a, T> {
    rows: &'a mut [T],
    width: usize,
    scale: T,
}

impl<T: Real> Kernel for Softmax<'_, T> {
    #[inline(always)]
    fn run(self) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let most = total(row, T::of(f64::NEG_INFINITY), |x| x, |a, b| if b > a { b } else { a });
            row.iter_mut().for_each(|x| *x = (self.scale * (*x - most)).exp());
            let share = T::one() / total(row, T::zero(), |x| x, |a, b| a + b);
            row.iter_mut().for_each(|x| *x *= share);
        }
    }
}

/// `g = scale * w * (g - <w, g>)` for every row.
struct SoftmaxBack<'a, T> {
    weights: &'a [T],
    gradients: &'a mut [T],
    width: usize,
    scale: T,
}

impl<T: Real> Kernel for SoftmaxBack<'_, T> {
    #[inline(always)]
    fn run(self) {
        let rows = self.gradients.chunks_exact_mut(self.width).zip(self.weights.chunks_exact(self.width));
        for (gradients, weights) in rows {
            gradients.iter_mut().zip(weights).for_each(|(g, w)| *g *= *w);
            let mean = total(gradients, T::zero(), |x| x, |a, b| a + b);
            gradients.iter_mut().zip(weights).for_each(|(g, w)| *g = self.scale * (*g - mean * *w));
        }
    }
}

/// Combines the numbers of a row lane by lane, and then the lanes.
#[inline(always)]
pub(in crate::ops) fn total<V: Copy, T: Copy>(row: &[V], start: T, of: impl Fn(V) -> T, with: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for l in 0..LANES {
            lanes[l] = with(lanes[l], of(block[l]));
        }
    }
    rest.iter().zip(&mut lanes).for_each(|(x, lane)| *lane = with(*lane, of(*x)));
    lanes.into_iter().fold(start, with)
}
