//! Products of many rows with few columns, as the last layers of a network have for one picture: there the time goes into
//! reading the weights. The rows take the lanes of a tile, so that each is read from memory once, and no lane is idle
//! because columns are few. The sums are those of [`blocked`](super::blocked), to the byte.

use rayon::prelude::*;

use super::blocked::{Columns, Left, Panels, Sink, cut, tile};
use super::tile::{Operand, PANEL, ROWS, Tile};
use super::value::Value;

/// Most columns.
const COLUMNS: usize = 256;

/// Whether rows are so many more than columns that it is less work than the usual way.
pub(crate) fn pays(rows: usize, columns: usize) -> bool {
    columns <= COLUMNS && rows >= 2 * columns && rows >= 2 * PANEL
}

/// The left side of a product as the tiles here read it: `[panel][depth][PANEL]`, rows in the lanes.
pub(crate) fn panels<O: Operand>(left: &Left<'_, O>) -> Vec<O> {
    let rows = left.rows();
    let mut panels = vec![O::default(); rows.div_ceil(PANEL) * left.depth * PANEL];
    panels.par_chunks_exact_mut((left.depth * PANEL).max(1)).enumerate().for_each(|(i, panel)| {
        for row in i * PANEL..rows.min((i + 1) * PANEL) {
            let values = &left.values[row * left.stride..][..left.depth];
            panel.iter_mut().skip(row - i * PANEL).step_by(PANEL).zip(values).for_each(|(to, value)| *to = *value);
        }
    });
    panels
}

/// `sink = left * columns` for `rows` rows in the form of [`panels`], and columns `0..count`.
pub(crate) fn product<V: Value>(
    panels: &[V::Operand],
    rows: usize,
    count: usize,
    columns: &impl Columns<V>,
    sink: &impl Sink<V::Sum>,
) {
    if count == 0 || rows == 0 {
        return;
    }
    let groups = count.div_ceil(PANEL).max(rayon::current_num_threads().min(count.div_ceil(ROWS)));
    let group = |i: usize| cut(count, groups, i, ROWS);
    let packed: Vec<Panels<V>> = (0..groups)
        .into_par_iter()
        .map(|i| {
            let mut packed = Panels::default();
            columns.pack(group(i), &mut packed);
            packed
        })
        .collect();
    let strips = rows.div_ceil(PANEL);
    let panel = panels.len() / strips;
    // Neighbouring tasks share a strip of the weights, which one core then reads once.
    (0..strips * groups).into_par_iter().for_each_init(Block::default, |block, task| {
        let (strip, group_at) = (task / groups, task % groups);
        let (first, columns) = (strip * PANEL, group(group_at));
        let (weights, rows) = (&panels[strip * panel..][..panel], PANEL.min(rows - first));
        block.multiply(packed[group_at].view().values, weights, (rows, columns.len()));
        for (i, tile) in block.results.iter().enumerate().take(rows.div_ceil(ROWS)) {
            sink.write((first + i * ROWS, columns.start), (ROWS.min(rows - i * ROWS), columns.len()), tile);
        }
    });
}

/// The sums of a strip of rows with a group of columns.
struct Block<T> {
    sums: Tile<T>,
    results: [Tile<T>; PANEL / ROWS],
}

impl<T: super::Real> Default for Block<T> {
    fn default() -> Self {
        Self { sums: tile(), results: [tile(); PANEL / ROWS] }
    }
}

impl<T: super::Real> Block<T> {
    /// Tiles whose rows are columns, turned round.
    fn multiply<O: Operand<Sum = T>>(&mut self, columns: &[O], weights: &[O], (rows, count): (usize, usize)) {
        for first in (0..count).step_by(ROWS) {
            let here = ROWS.min(count - first);
            O::tile_across((columns, first), weights, (here, rows), &mut self.sums);
            for (row, to) in self.results.as_flattened_mut().iter_mut().enumerate().take(rows) {
                for (to, sums) in to[first..first + here].iter_mut().zip(&self.sums) {
                    *to = sums[row];
                }
            }
        }
    }
}
