//! Convolutions straight from padded planes, without laying windows out: for few channels, where that would be as much
//! work as the products. The sums are those of the products, in the same order: not a byte tells which way was taken.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Geometry;
use super::finish::Finish;
use super::planes::Planes;
use super::source::{Source, runs};
use crate::ops::Real;
use crate::ops::blocked::{Shared, tile};
use crate::ops::tile::{PANEL, ROWS, Scattered, Tile};
use crate::ops::vector::{Kernel, dispatch};

/// Most channels of a group that go out: with more, windows that are laid out once are used often.
const OUT: usize = 64;
/// Most numbers of a group's planes, half a megabyte of f32: they stay in a core's own cache.
const HELD: usize = 128 << 10;

/// Whether it is less work than products with windows, and there are images enough for every core.
pub(super) fn pays(g: &Geometry) -> bool {
    let held = g.channels * g.input_size();
    !g.is_pointwise() && g.out <= OUT && held <= HELD && g.batch >= rayon::current_num_threads()
}

/// `finish(source * w)`.
pub(super) fn convolve<T: Real>(
    g: &Geometry,
    source: Source<'_, T>,
    w: &[T],
    finish: &Finish<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let y = Shared::new(y);
    (0..g.batch).into_par_iter().for_each_init(
        || {
            let planes = Planes::new(g);
            let at: Vec<usize> = planes.starts(g);
            (planes, at, tile())
        },
        |(planes, at, sums), image| {
            for (group, w) in w.chunks_exact(g.out * g.depth()).enumerate() {
                planes.fill(g, source, image, group * g.channels);
                let right = Scattered::new(&planes.values, at);
                let positions = planes.positions(g);
                for first in (0..positions).step_by(PANEL) {
                    let columns = PANEL.min(positions - first);
                    for row in (0..g.out).step_by(ROWS) {
                        let rows = ROWS.min(g.out - row);
                        let left = &w[row * g.depth()..][..rows * g.depth()];
                        T::tile_of(left, g.depth(), (&right, first), (rows, columns), sums);
                        let plane = (image * g.groups + group) * g.out + row;
                        let size = (rows, first..first + columns, planes.pitch);
                        dispatch(Write { g, finish, y: &y, plane, size, sums });
                    }
                }
            }
        },
    );
}

/// Writes the sums that are results.
struct Write<'a, T: Real> {
    g: &'a Geometry,
    finish: &'a Finish<'a, T>,
    y: &'a Shared<'a, T>,
    /// The first row's plane.
    plane: usize,
    /// Rows, positions, and from line to line of these.
    size: (usize, std::ops::Range<usize>, usize),
    sums: &'a mut Tile<T>,
}

impl<T: Real> Kernel for Write<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Self { g, finish, y, plane, size: (rows, positions, pitch), sums } = self;
        let channel = |plane: usize| plane % (g.groups * g.out);
        if finish.residual.is_none() {
            // Whole rows are finished at once, in full registers.
            sums.iter_mut().enumerate().take(rows).for_each(|(r, sums)| finish.apply(channel(plane + r), sums));
        }
        for (line, start, column, count) in runs(positions, pitch) {
            let count = count.min(g.output.1.saturating_sub(start));
            // A tile may start behind the results of a row, of the last one too.
            if count == 0 {
                continue;
            }
            for (r, sums) in sums.iter().enumerate().take(rows) {
                let plane = plane + r;
                let at = plane * g.size() + line * g.output.1 + start;
                // SAFETY: tiles do not overlap, nor do images and groups: nobody else writes these positions.
                let out = unsafe { y.part(at, count) };
                let sums = &sums[column..column + count];
                if finish.residual.is_some() {
                    finish.write(channel(plane), at, sums, out);
                } else {
                    out.write_copy_of_slice(sums);
                }
            }
        }
    }
}
