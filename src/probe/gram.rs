//! Inner products of activations, summed block of values by block, so that no more of them is in memory than a block.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::scaling::Factors;
use crate::activation::{LayerSet, Variant};
use crate::error::Result;
use crate::ops::product::{Matrix, multiply};

/// Values of an activation handled at once: 2,000 samples take 32 MB.
pub(super) const BLOCK: usize = 4096;
/// Rows of a strip of a product: strips are what threads share out, whatever their number.
const STRIP: usize = 128;

/// Samples of a layer.
#[derive(Clone, Copy)]
pub(super) struct Samples<'a> {
    pub(super) set: &'a LayerSet,
    pub(super) rows: &'a [usize],
    pub(super) factors: &'a Factors,
}

impl Samples<'_> {
    fn read(&self, variant: Variant, range: std::ops::Range<usize>) -> Result<Array2<f32>> {
        self.factors.read(self.set, self.rows, variant, range)
    }
}

/// Inner products of scaled samples less the mean of the first of them.
pub(super) struct Gram {
    /// `[sample, fitted]`: of every sample, the fitted ones first, with each fitted one. In the square of the fitted ones
    /// only the lower triangle is there.
    pub(super) products: Array2<f64>,
    /// Every sample's squared norm.
    pub(super) squares: Vec<f64>,
    /// Mean of the fitted samples.
    pub(super) mean: Array1<f64>,
}

/// The products of `fitted` samples with themselves, and of `others` with them, both less the mean of the fitted ones.
/// Products within a block are in f32, sums over blocks in f64.
///
/// # Errors
/// When activations cannot be read.
pub(super) fn gram(fitted: Samples<'_>, others: Samples<'_>, variant: Variant) -> Result<Gram> {
    let (n, count) = (fitted.rows.len(), fitted.rows.len() + others.rows.len());
    let width = variant.width(fitted.set.shape);
    let mut out = Gram { products: Array2::zeros((count, n)), squares: vec![0.0; count], mean: Array1::zeros(width) };
    for first in (0..width).step_by(BLOCK) {
        let range = first..(first + BLOCK).min(width);
        let mut left = fitted.read(variant, range.clone())?;
        let mean = column_mean(left.view());
        centre(&mut left, mean.view());
        let mut right = others.read(variant, range.clone())?;
        centre(&mut right, mean.view());
        out.mean.slice_mut(s![range]).assign(&mean);
        let (square, below) = out.products.view_mut().split_at(Axis(0), n);
        add_products(square, left.view(), left.view(), true);
        add_products(below, right.view(), left.view(), false);
        let rows: Vec<_> = left.outer_iter().chain(right.outer_iter()).collect();
        out.squares.par_iter_mut().zip(rows).for_each(|(square, row)| {
            *square += row.iter().map(|z| f64::from(*z) * f64::from(*z)).sum::<f64>();
        });
    }
    Ok(out)
}

/// Subtracts a mean from every row.
pub(super) fn centre(z: &mut Array2<f32>, mean: ArrayView1<'_, f64>) {
    let rows: Vec<_> = z.outer_iter_mut().collect();
    rows.into_par_iter().for_each(|mut row| {
        row.iter_mut().zip(mean).for_each(|(z, m)| *z = (f64::from(*z) - m) as f32);
    });
}

fn column_mean(z: ArrayView2<'_, f32>) -> Array1<f64> {
    let mut mean = Array1::zeros(z.ncols());
    for row in z.outer_iter() {
        mean.zip_mut_with(&row, |m: &mut f64, v| *m += f64::from(*v));
    }
    mean / z.nrows().max(1) as f64
}

/// Adds `left right^T` to `out`, strip of rows by strip; with `lower`, only as far as the diagonal's block.
fn add_products(mut out: ArrayViewMut2<'_, f64>, left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>, lower: bool) {
    let columns = right.ncols();
    let (Some(left), Some(right)) = (left.as_slice(), right.as_slice()) else { return };
    let strips: Vec<_> =
        out.axis_chunks_iter_mut(Axis(0), STRIP).zip(left.chunks((STRIP * columns).max(1))).enumerate().collect();
    strips.into_par_iter().for_each(|(i, (mut out, left))| {
        let rows = out.nrows();
        let wanted = if lower { (i * STRIP + rows).min(out.ncols()) } else { out.ncols() };
        let mut product = vec![0f32; rows * wanted];
        let left = Matrix::new(left, rows, columns);
        multiply(&left, &Matrix::new(right, wanted, columns).transposed(), &mut product, wanted);
        for (mut out, product) in out.outer_iter_mut().zip(product.chunks_exact(wanted.max(1))) {
            out.iter_mut().zip(product).for_each(|(o, p)| *o += f64::from(*p));
        }
    });
}

/// The lower triangle of `z z^T`, row-major, strip of rows by strip; what stands above means nothing.
pub(super) fn lower(z: &Matrix<'_, f64>) -> Vec<f64> {
    let side = z.rows;
    let mut out = vec![0.0; side * side];
    if side == 0 || z.columns == 0 {
        return out;
    }
    let part = |first: usize, rows: usize| Matrix {
        values: &z.values[first * z.row_stride..],
        rows,
        columns: z.columns,
        row_stride: z.row_stride,
        column_stride: z.column_stride,
    };
    out.par_chunks_mut(STRIP * side).enumerate().for_each(|(i, out)| {
        let rows = out.len() / side;
        multiply(&part(i * STRIP, rows), &part(0, i * STRIP + rows).transposed(), out, side);
    });
    out
}

/// `left right`, strip of columns by strip; `left` `[k, n]` is small, `right` `[n, columns]` is a block of samples.
pub(super) fn combine(left: &Array2<f32>, right: &Array2<f32>) -> Array2<f32> {
    let (rows, inner, columns) = (left.nrows(), right.nrows(), right.ncols());
    let (Some(a), Some(z)) = (left.as_slice(), right.as_slice()) else { return Array2::zeros((0, 0)) };
    let strips: Vec<Vec<f32>> = (0..columns.div_ceil(STRIP))
        .into_par_iter()
        .map(|i| {
            let here = STRIP.min(columns - i * STRIP);
            let part =
                Matrix { values: &z[i * STRIP..], rows: inner, columns: here, row_stride: columns, column_stride: 1 };
            let mut out = vec![0f32; rows * here];
            multiply(&Matrix::new(a, rows, inner), &part, &mut out, here);
            out
        })
        .collect();
    let mut out = Array2::zeros((rows, columns));
    for (mut to, strip) in out.axis_chunks_iter_mut(Axis(1), STRIP).zip(strips) {
        to.iter_mut().zip(strip).for_each(|(to, value)| *to = value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;

    #[test]
    fn products_are_those_of_the_centred_activations() {
        let (_dir, set) = test_set(150, [9, 2, 2]);
        let (fitted, others): (Vec<usize>, Vec<usize>) = ((0..140).collect(), (137..150).collect());
        for variant in [Variant::Full, Variant::Max] {
            let factors = Factors::default();
            let samples = |rows| Samples { set: &set, rows, factors: &factors };
            let got = gram(samples(&fitted), samples(&others), variant).unwrap();
            let z = |sample: usize| -> Vec<f64> {
                set.vector(sample, variant).unwrap().iter().zip(&got.mean).map(|(z, m)| f64::from(*z) - m).collect()
            };
            for (row, sample) in fitted.iter().chain(&others).enumerate() {
                let left = z(*sample);
                let product = |right: &[f64]| left.iter().zip(right).map(|(a, b)| a * b).sum::<f64>();
                assert!((got.squares[row] - product(&left)).abs() < 1e-4);
                for column in (0..140).filter(|c| row >= 140 || *c <= row) {
                    let wanted = product(&z(fitted[column]));
                    assert!((got.products[[row, column]] - wanted).abs() < 1e-4, "{variant} {row} {column}");
                }
            }
        }
    }

    #[test]
    fn a_product_by_strips_is_the_product() {
        let value = |i: usize| (i as f32 * 0.37).sin();
        let a = Array2::from_shape_fn((3, 5), |(i, j)| value(i * 5 + j));
        let z = Array2::from_shape_fn((5, 300), |(i, j)| value(i * 300 + j));
        let off = (combine(&a, &z) - a.dot(&z)).mapv(f32::abs).iter().copied().fold(0.0, f32::max);
        assert!(off < 1e-5, "{off}");
    }
}
