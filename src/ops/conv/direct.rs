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

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use proptest::prelude::*;

    use super::super::forward::{Weights, products};
    use super::super::{Conv2d, Padding};
    use super::*;
    use crate::ops::check::random;
    use crate::ops::{Activation, to_vec, written};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_sums_are_those_of_the_products_to_the_byte(
            batch in 1usize..8, groups in 1usize..3, channels in 1usize..5, out in 1usize..11,
            kernel in (1usize..6, 1usize..6), size in (6usize..15, 6usize..15), stride in 1usize..4, dilation in 1usize..3,
            pad in (0usize..4, 0usize..4, 0usize..4, 0usize..4), residual: bool, masked: bool,
        ) {
            let padding = Padding::Explicit([pad.0, pad.1, pad.2, pad.3]);
            let conv = Conv2d { stride, dilation, groups, padding, ..Conv2d::default() };
            let x = [batch, groups * channels, size.0, size.1];
            let Ok(g) = conv.geometry(&x, &[groups * out, channels, kernel.0, kernel.1]) else { return Ok(()) };
            let draw = |shape: &[usize], seed| to_vec::<f32>(&random(shape, seed).to_dtype(DType::F32).unwrap()).unwrap();
            let (x, seen, w) = (draw(&x, 1), draw(&x, 2), draw(&[groups * out, g.depth()], 3));
            let (b, r) = (draw(&[groups * out], 4), draw(&g.shape(), 5));
            let mask = masked.then_some((&seen[..], Activation::Relu));
            let source = Source { values: &x[..], mask };
            let residual = residual.then_some(&r[..]);
            let finish = Finish { bias: Some(&b[..]), residual, activation: Activation::Relu };
            let len = g.shape().iter().product();
            let straight = written(len, |y| {
                convolve(&g, source, &w, &finish, y);
                Ok(())
            });
            let usual = written(len, |y| {
                products(&g, source, Weights::Rows(&w), &finish, y);
                Ok(())
            });
            let bits = |values: Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(straight.unwrap()), bits(usual.unwrap()));
        }
    }
}
