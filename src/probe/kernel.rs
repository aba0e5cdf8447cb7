//! Scores that are no inner product with a direction: sums of bumps about samples.

use ndarray::{Array2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Cav;
use super::gram::{Samples, gram};
use super::scaling::Factors;
use crate::activation::LayerSet;
use crate::error::Result;

/// Samples whose distances are held at once.
const CHUNK: usize = 4096;

/// The score `sum of coefficients_i exp(-gamma |z - z_i|^2)`, less its offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// The samples z_i: positions in the layer's activations of the plain pictures.
    pub samples: Vec<usize>,
    /// One a sample.
    pub coefficients: Vec<f64>,
    /// One over the square of a bump's width, in units of the activations.
    pub gamma: f64,
}

/// Scores `[sample, cav]` of samples under kernels of one variant at one layer, whose own samples are those of `support`.
///
/// # Errors
/// When activations cannot be read.
pub(super) fn scores(
    set: &LayerSet,
    samples: &[usize],
    support: &LayerSet,
    cavs: &[(&Cav, &Kernel)],
) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    let Some((first, _)) = cavs.first() else { return Ok(out) };
    let mut centres: Vec<usize> = cavs.iter().flat_map(|(_, kernel)| kernel.samples.iter().copied()).collect();
    centres.sort_unstable();
    centres.dedup();
    let at: Vec<Vec<usize>> = cavs.iter().map(|(_, k)| positions(&k.samples, &centres)).collect();
    for (mut out, samples) in out.axis_chunks_iter_mut(Axis(0), CHUNK).zip(samples.chunks(CHUNK)) {
        let factors = &Factors::default();
        let (centres, others) =
            (Samples { set: support, rows: &centres, factors }, Samples { set, rows: samples, factors });
        let gram = gram(centres, others, first.variant)?;
        let (of_centres, of_samples) = gram.squares.split_at(centres.rows.len());
        let rows: Vec<_> = out.outer_iter_mut().enumerate().collect();
        rows.into_par_iter().for_each(|(row, mut out)| {
            let products = gram.products.row(centres.rows.len() + row);
            let distance = |i: usize| (of_samples[row] + of_centres[i] - 2.0 * products[i]).max(0.0);
            for ((out, (cav, kernel)), at) in out.iter_mut().zip(cavs).zip(&at) {
                let bumps = at.iter().zip(&kernel.coefficients);
                *out = bumps.map(|(i, a)| a * (-kernel.gamma * distance(*i)).exp()).sum::<f64>() + cav.bias;
            }
        });
    }
    Ok(out)
}

/// Where values stand in a sorted list that has all of them.
fn positions(values: &[usize], sorted: &[usize]) -> Vec<usize> {
    values.iter().map(|v| sorted.partition_point(|s| s < v)).collect()
}
