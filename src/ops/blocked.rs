//! Products of a left side that lies in memory with a right side that is laid out panel by panel as it is needed.
//!
//! No sum is cut: a tile runs over the whole depth, and its sums go from registers to where the result is wanted. Panels
//! are packed for a group of columns at a time, few enough for a core's own cache; groups are what threads share out.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::Real;
use super::tile::{Operand, PANEL, ROWS, Tile};
use super::value::Value;

/// Operands of a group's panels: half a megabyte of f32.
const CACHE: usize = 128 << 10;
/// Most panels of a group.
const MOST: usize = 8;
/// Groups for each thread that there are at least, where columns allow it.
const SHARES: usize = 4;
/// Fewest rows of a piece, where rows are cut because there are few groups.
const LEAST_ROWS: usize = 64;

/// The right side of a product: what its columns hold.
pub(crate) trait Columns<V: Value>: Sync {
    /// Writes all of the depth of some columns.
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>);
}

/// Where the sums of a product go.
pub(crate) trait Sink<T>: Sync {
    /// Takes the sums of a tile that starts at `row` and `column`.
    fn write(&self, at: (usize, usize), size: (usize, usize), sums: &Tile<T>);
}

/// Columns in the form tiles read: `[panel][depth][PANEL]`.
#[derive(Debug)]
pub(crate) struct Panels<V: Value> {
    values: Vec<V::Operand>,
    /// Operands of a column.
    depth: usize,
    columns: usize,
}

impl<V: Value> Default for Panels<V> {
    fn default() -> Self {
        Self { values: Vec::new(), depth: 0, columns: 0 }
    }
}

impl<V: Value> Panels<V> {
    /// Room for columns of `depth` numbers. What was there before stays until it is written over.
    pub(crate) fn reset(&mut self, columns: usize, depth: usize) {
        (self.columns, self.depth) = (columns, depth.div_ceil(V::DEPTH));
        self.values.resize(columns.div_ceil(PANEL) * self.depth * PANEL, V::Operand::default());
    }

    /// Writes numbers that lie at `depth` of the columns from `column` on.
    #[inline(always)]
    pub(crate) fn place(&mut self, depth: usize, mut column: usize, mut values: &[V]) {
        while !values.is_empty() {
            let (panel, first) = (column / PANEL, column % PANEL);
            let (here, rest) = values.split_at(values.len().min(PANEL - first));
            let row = (panel * self.depth + depth / V::DEPTH) * PANEL + first;
            V::place(&mut self.values[row..row + here.len()], depth, here);
            (column, values) = (column + here.len(), rest);
        }
    }

    /// All of them.
    pub(crate) fn view(&self) -> View<'_, V::Operand> {
        View { values: &self.values, depth: self.depth, first: 0, columns: self.columns }
    }

    /// All columns of a right side, to be kept.
    pub(crate) fn packed(count: usize, columns: &impl Columns<V>) -> Vec<V::Operand> {
        let mut panels = Self::default();
        columns.pack(0..count, &mut panels);
        panels.values
    }
}

/// Panels to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a, O> {
    /// `[panel][depth][PANEL]`.
    pub(crate) values: &'a [O],
    /// Operands of a column.
    pub(crate) depth: usize,
    /// The first column.
    pub(crate) first: usize,
    /// How many columns count.
    pub(crate) columns: usize,
}

impl<'a, O> View<'a, O> {
    /// Every panel with its first column and how many count.
    fn iter(self) -> impl Iterator<Item = (&'a [O], usize, usize)> {
        let panels = self.values.chunks_exact((self.depth * PANEL).max(1)).take(self.columns.div_ceil(PANEL));
        let at = move |i: usize| (self.first + i * PANEL, PANEL.min(self.columns - i * PANEL));
        panels.enumerate().map(move |(i, panel)| (panel, at(i).0, at(i).1))
    }

    /// Some of the columns, from the start of a panel on.
    fn part(self, columns: Range<usize>) -> Self {
        let values = &self.values[columns.start / PANEL * self.depth * PANEL..];
        View { values, first: self.first + columns.start, columns: columns.len(), ..self }
    }
}

/// Rows on the left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left<'a, O> {
    /// The rows' operands.
    pub(crate) values: &'a [O],
    /// Operands of a row.
    pub(crate) depth: usize,
    /// Operands from row to row.
    pub(crate) stride: usize,
}

impl<'a, O: Operand> Left<'a, O> {
    /// Rows one after the other.
    pub(crate) fn new(values: &'a [O], depth: usize) -> Self {
        Self { values, depth, stride: depth }
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        (self.values.len() + self.stride - self.depth) / self.stride
    }

    /// Calls `write` with every tile of some rows and panels; the rows' operands are used again while they are near.
    pub(crate) fn times(
        &self,
        rows: Range<usize>,
        panels: View<'_, O>,
        sums: &mut Tile<O::Sum>,
        mut write: impl FnMut((usize, usize), (usize, usize), &Tile<O::Sum>),
    ) {
        for row in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - row);
            for (panel, column, columns) in panels.iter() {
                O::tile(&self.values[row * self.stride..], self.stride, panel, (count, columns), sums);
                write((row, column), (count, columns), sums);
            }
        }
    }
}

/// A tile of zeros.
pub(crate) fn tile<T: Real>() -> Tile<T> {
    [[T::zero(); PANEL]; ROWS]
}

/// `sink = left * columns` for columns `0..count` of `depth` numbers.
pub(crate) fn product<V: Value>(
    left: &Left<'_, V::Operand>,
    count: usize,
    columns: &impl Columns<V>,
    sink: &impl Sink<V::Sum>,
) {
    let (rows, threads) = (left.rows(), rayon::current_num_threads());
    if count == 0 {
        return;
    }
    let (groups, pieces) = shares(rows, left.depth, count, threads);
    (0..groups * pieces).into_par_iter().for_each_init(
        || (Panels::default(), tile()),
        |(panels, sums), task| {
            let group = cut(count, groups, task / pieces, PANEL);
            let first = group.start;
            columns.pack(group, panels);
            let rows = cut(rows, pieces, task % pieces, ROWS);
            let panels = panels.view();
            left.times(rows, panels, sums, |(row, column), size, sums| sink.write((row, first + column), size, sums));
        },
    );
}

/// `sink = left * panels`, where the right side is packed already and the left is long.
pub(crate) fn rows_product<O: Operand>(left: &Left<'_, O>, panels: View<'_, O>, sink: &impl Sink<O::Sum>) {
    let (rows, wanted) = (left.rows(), rayon::current_num_threads() * SHARES);
    if rows == 0 {
        return;
    }
    let share = (rows / wanted / ROWS * ROWS).clamp(ROWS, LEAST_ROWS);
    let pieces = rows.div_ceil(share);
    let groups = wanted.div_ceil(pieces).min(panels.columns.div_ceil(PANEL));
    (0..groups * pieces).into_par_iter().for_each_init(tile, |sums, task| {
        let panels = panels.part(cut(panels.columns, groups, task % groups, PANEL));
        let rows = cut(rows, pieces, task / groups, ROWS);
        left.times(rows, panels, sums, |at, size, sums| sink.write(at, size, sums));
    });
}

/// One of `parts` about equal parts of `total`, each a whole number of units but for the end.
pub(crate) fn cut(total: usize, parts: usize, part: usize, unit: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let at = |part: usize| (units * part / parts * unit).min(total);
    at(part)..at(part + 1)
}

/// Groups of columns, and pieces of rows, that are worth a task each. No result depends on it.
fn shares(rows: usize, depth: usize, columns: usize, threads: usize) -> (usize, usize) {
    let panels = columns.div_ceil(PANEL);
    let most = (CACHE / (depth * PANEL).max(1)).clamp(1, MOST);
    let wanted = if threads == 1 { 1 } else { threads * SHARES };
    let groups = panels.div_ceil(most).max(wanted.min(panels));
    let pieces = wanted.div_ceil(groups).min(rows / LEAST_ROWS).max(1);
    (groups, pieces)
}

/// Memory that several threads write, each a part of its own.
#[derive(Debug)]
pub(crate) struct Shared<'a, T>(*mut MaybeUninit<T>, usize, PhantomData<&'a mut T>);

// SAFETY: it is a unique borrow of numbers; who writes from several threads promises disjoint parts (see `part`).
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares memory out.
    pub(crate) fn new(values: &'a mut [MaybeUninit<T>]) -> Self {
        Self(values.as_mut_ptr(), values.len(), PhantomData)
    }

    /// A part of it.
    ///
    /// # Safety
    /// No two parts that are in use at one time overlap.
    #[expect(clippy::mut_from_ref, reason = "that is its purpose")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [MaybeUninit<T>] {
        assert!(start + len <= self.1, "a part of {start} and {len} goes beyond {}", self.1);
        // SAFETY: it lies inside, and by the caller's promise nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// A right side whose columns are columns of a matrix in memory, row-major.
pub(crate) struct Matrix<'a, V> {
    /// Rows of `stride` numbers.
    pub(crate) values: &'a [V],
    /// Rows.
    pub(crate) depth: usize,
    /// From row to row.
    pub(crate) stride: usize,
}

impl<V: Value> Columns<V> for Matrix<'_, V> {
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>) {
        panels.reset(columns.len(), self.depth);
        for k in 0..self.depth {
            panels.place(k, 0, &self.values[k * self.stride..][columns.clone()]);
        }
    }
}

/// A right side whose columns are rows of a matrix in memory: the transpose.
pub(crate) struct Rows<'a, V> {
    /// Rows of `stride` numbers.
    pub(crate) values: &'a [V],
    /// Numbers of a row that count.
    pub(crate) depth: usize,
    /// From row to row.
    pub(crate) stride: usize,
}

impl<V: Value> Columns<V> for Rows<'_, V> {
    fn pack(&self, columns: Range<usize>, panels: &mut Panels<V>) {
        panels.reset(columns.len(), self.depth);
        let mut buffer = [V::zero(); PANEL];
        for first in columns.clone().step_by(PANEL) {
            let count = PANEL.min(columns.end - first);
            for k in 0..self.depth {
                for (c, value) in buffer[..count].iter_mut().enumerate() {
                    *value = self.values[(first + c) * self.stride + k];
                }
                panels.place(k, first - columns.start, &buffer[..count]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;
    use rand::RngExt;

    struct Plain<'a>(Shared<'a, f32>, usize);

    impl Sink<f32> for Plain<'_> {
        fn write(&self, (row, column): (usize, usize), (rows, columns): (usize, usize), sums: &Tile<f32>) {
            for (r, sums) in sums.iter().enumerate().take(rows) {
                // SAFETY: tiles do not overlap.
                let out = unsafe { self.0.part((row + r) * self.1 + column, columns) };
                out.iter_mut().zip(sums).for_each(|(o, s)| _ = o.write(*s));
            }
        }
    }

    fn multiply(
        left: &[f32],
        columns: &impl Columns<f32>,
        (m, k, n): (usize, usize, usize),
        threads: usize,
    ) -> Vec<f32> {
        let mut out = Vec::with_capacity(m * n);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let sink = Plain(Shared::new(&mut out.spare_capacity_mut()[..m * n]), n);
        pool.install(|| product(&Left::new(left, k), n, columns, &sink));
        // SAFETY: the product writes every entry.
        unsafe { out.set_len(m * n) };
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn products_are_those_of_the_definition_for_any_number_of_threads(m in 1usize..150, k in 1usize..40, n in 1usize..600) {
            let mut rng = Seed((m * 7 + k * 11 + n) as u64).stream("matrices");
            let mut draw = |count: usize| (0..count).map(|_| rng.random::<f32>() - 0.5).collect::<Vec<f32>>();
            let (left, right) = (draw(m * k), draw(k * n));
            let transposed: Vec<f32> = (0..n * k).map(|i| right[i % k * n + i / k]).collect();
            let one = multiply(&left, &Matrix { values: &right, depth: k, stride: n }, (m, k, n), 1);
            let three = multiply(&left, &Rows { values: &transposed, depth: k, stride: k }, (m, k, n), 3);
            prop_assert_eq!(&one, &three);
            for (i, got) in one.iter().enumerate() {
                let wanted: f64 = (0..k).map(|p| f64::from(left[i / n * k + p]) * f64::from(right[p * n + i % n])).sum();
                prop_assert!((wanted - f64::from(*got)).abs() < 1e-5);
            }
        }
    }
}
