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

#[cfg(test)]
mod tests {
    use super::super::blocked::{self, Matrix, Shared};
    use super::*;
    use crate::seed::Seed;
    use half::bf16;
    use proptest::prelude::*;
    use rand::RngExt;

    /// Keeps sums, row-major; how many columns there are.
    struct Plain<'a, T>(Shared<'a, T>, usize);

    impl<T: super::super::Real> Sink<T> for Plain<'_, T> {
        fn write(&self, (row, column): (usize, usize), (rows, columns): (usize, usize), sums: &Tile<T>) {
            for (r, sums) in sums.iter().enumerate().take(rows) {
                // SAFETY: tiles do not overlap.
                let out = unsafe { self.0.part((row + r) * self.1 + column, columns) };
                out.write_copy_of_slice(&sums[..columns]);
            }
        }
    }

    /// The usual way and this one, by some number of threads.
    fn both<V: Value>((m, k, n): (usize, usize, usize), threads: usize) -> [Vec<V::Sum>; 2] {
        let mut rng = Seed((m * 7 + k * 11 + n) as u64).stream("matrices");
        let mut draw = |count: usize| (0..count).map(|_| V::from_f64(rng.random::<f64>() - 0.5)).collect::<Vec<V>>();
        let (left, right) = (draw(m * k), draw(k * n));
        let left = V::operands(&left, k);
        let left = Left::new(&left, left.len() / m);
        let right = Matrix { values: &right, depth: k, stride: n };
        let sums = |run: &(dyn Fn(&Plain<'_, V::Sum>) + Sync)| {
            let sums = super::super::written(m * n, |out| {
                run(&Plain(Shared::new(out), n));
                Ok(())
            });
            sums.unwrap()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let usual = sums(&|sink| blocked::product::<V>(&left, n, &right, sink));
            [usual, sums(&|sink| product::<V>(&panels(&left), m, n, &right, sink))]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_sums_are_those_of_the_usual_way_to_the_byte(
            m in 1usize..150, k in 1usize..40, n in 1usize..110, threads in 1usize..5,
        ) {
            let [usual, across] = both::<f32>((m, k, n), threads);
            prop_assert_eq!(usual, across);
            let [usual, across] = both::<bf16>((m, k, n), threads);
            prop_assert_eq!(usual, across);
            let [usual, across] = both::<f64>((m, k, n), threads);
            prop_assert_eq!(usual, across);
        }
    }

    #[test]
    fn it_is_chosen_where_rows_are_many() {
        assert!(pays(512, 49) && pays(2048, 49) && pays(1024, 196));
        assert!(!pays(64, 3136) && !pays(256, 196) && !pays(40, 4));
    }
}
