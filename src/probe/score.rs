//! Scores of many samples under many directions: one matrix product a batch of samples.

use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::Cav;
use super::image_score::ImageScore;
use super::kernel::{self, Kernel};
use crate::activation::{LayerSet, Variant};
use crate::error::Result;

/// Samples of one product.
const BATCH: usize = 32;

/// Scores `[sample, cav]` of samples under probes of one variant at one layer: `<direction, z> + bias`; or another number of
/// the positions' scores, with the bias; or a kernel's, whose own samples are those of `support`: the layer's activations of
/// the plain pictures.
///
/// # Errors
/// When activations cannot be read.
pub fn scores(set: &LayerSet, samples: &[usize], support: &LayerSet, cavs: &[&Cav]) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    let (kernels, rest): (Vec<usize>, Vec<usize>) = (0..cavs.len()).partition(|k| cavs[*k].kernel.is_some());
    let by_positions = |k: &usize| cavs[*k].image_score != ImageScore::Mean;
    let (pooled, linear): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(by_positions);
    let chosen: Vec<&Cav> = pooled.iter().map(|k| cavs[*k]).collect();
    let of_positions = over_positions(set, samples, &chosen)?;
    let chosen: Vec<&Cav> = linear.iter().map(|k| cavs[*k]).collect();
    let of_linear = along_directions(set, samples, &chosen)?;
    let chosen: Vec<(&Cav, &Kernel)> =
        kernels.iter().filter_map(|k| Some((cavs[*k], cavs[*k].kernel.as_ref()?))).collect();
    let of_kernels = kernel::scores(set, samples, support, &chosen)?;
    for (columns, found) in [(linear, of_linear), (pooled, of_positions), (kernels, of_kernels)] {
        columns.iter().zip(found.columns()).for_each(|(k, found)| out.column_mut(*k).assign(&found));
    }
    Ok(out)
}

fn along_directions(set: &LayerSet, samples: &[usize], cavs: &[&Cav]) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    let Some(first) = cavs.first() else { return Ok(out) };
    let width = first.direction.len();
    let mut weights = Array2::<f32>::zeros((width, cavs.len()));
    for (k, cav) in cavs.iter().enumerate() {
        weights.column_mut(k).iter_mut().zip(&cav.direction).for_each(|(w, v)| *w = *v);
    }
    let batches: Vec<_> = out.axis_chunks_iter_mut(Axis(0), BATCH).zip(samples.chunks(BATCH)).collect();
    batches.into_par_iter().try_for_each(|(mut out, samples)| -> Result<()> {
        let product = set.vectors(samples, first.variant, 0..width)?.dot(&weights);
        for (k, cav) in cavs.iter().enumerate() {
            let scores = product.slice(s![.., k]);
            out.column_mut(k).iter_mut().zip(scores).for_each(|(o, s)| *o = f64::from(*s) + cav.bias);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Scores that are no mean over positions.
fn over_positions(set: &LayerSet, samples: &[usize], cavs: &[&Cav]) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    if cavs.is_empty() {
        return Ok(out);
    }
    let rows: Vec<_> = out.outer_iter_mut().zip(samples).collect();
    rows.into_par_iter().try_for_each(|(mut out, sample)| -> Result<()> {
        let z = set.map(*sample)?;
        for (score, cav) in out.iter_mut().zip(cavs) {
            *score = cav.image_score.of(&positions(cav, &z)) + cav.bias;
        }
        Ok(())
    })?;
    Ok(out)
}

/// The score of every position, whose mean is `<direction, z>`.
fn positions(cav: &Cav, z: &[f32]) -> Vec<f64> {
    let count = (cav.shape[1] * cav.shape[2]).max(1);
    let mut out = vec![0.0; count];
    for (c, channel) in z.chunks_exact(count).enumerate() {
        for (p, (sum, z)) in out.iter_mut().zip(channel).enumerate() {
            let weight = match cav.variant {
                // A full direction's values have their share of the mean in them.
                Variant::Full => f64::from(cav.direction[c * count + p]) * count as f64,
                _ => f64::from(cav.direction[c]),
            };
            *sum += weight * f64::from(*z);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;
    use crate::probe::cav::Fit;

    fn cav(variant: Variant, direction: Vec<f32>) -> Cav {
        let fit = Fit { lambda: 1.0, gradient_norm: 0.0, positives: 1, negatives: 1 };
        let (concept, layer, probe) = ("c".into(), "l".into(), "p".into());
        let facts = std::collections::BTreeMap::new();
        Cav {
            concept,
            layer,
            probe,
            variant,
            shape: [3, 2, 2],
            direction,
            kernel: None,
            image_score: ImageScore::Mean,
            norm: 1.0,
            bias: 0.25,
            threshold: 0.0,
            fit,
            facts,
        }
    }

    #[test]
    fn scores_are_inner_products_plus_bias() {
        let (_dir, set) = test_set(70, [3, 2, 2]);
        let samples: Vec<usize> = (0..70).rev().collect();
        let full = cav(Variant::Full, (0..12).map(|i| i as f32 / 12.0).collect());
        let pooled = cav(Variant::TranslationInvariant, vec![0.5, -1.0, 2.0]);
        let scores = |cavs: &[&Cav]| scores(&set, &samples, &set, cavs).unwrap();
        let got = (scores(&[&full, &full]), scores(&[&pooled]));
        for (row, sample) in samples.iter().enumerate() {
            let z = set.map(*sample).unwrap();
            let wanted: f32 = z.iter().zip(&full.direction).map(|(z, w)| z * w).sum();
            assert!((got.0[[row, 1]] - f64::from(wanted) - 0.25).abs() < 1e-5);
            let means = z.chunks_exact(4).map(|c| c.iter().sum::<f32>() / 4.0);
            let wanted: f32 = means.zip(&pooled.direction).map(|(z, w)| z * w).sum();
            assert!((got.1[[row, 0]] - f64::from(wanted) - 0.25).abs() < 1e-5);
        }
    }

    #[test]
    fn scores_of_positions_have_the_linear_score_for_a_mean() {
        let (_dir, set) = test_set(9, [3, 2, 2]);
        let full = cav(Variant::Full, (0..12).map(|i| (i as f32 * 0.7).sin()).collect());
        let pooled = cav(Variant::TranslationInvariant, vec![0.5, -1.0, 2.0]);
        for linear in [full, pooled] {
            let z = set.map(4).unwrap();
            let own = positions(&linear, &z);
            let of = |cav: &Cav| scores(&set, &[4], &set, &[cav]).unwrap()[[0, 0]];
            assert!((ImageScore::Mean.of(&own) + 0.25 - of(&linear)).abs() < 1e-5);
            for image_score in [ImageScore::Max, ImageScore::LogMeanExp(2.0), ImageScore::Top(0.5)] {
                let other = Cav { image_score, ..linear.clone() };
                assert!((of(&other) - image_score.of(&own) - 0.25).abs() < 1e-12);
                assert!(other.has_map() && !other.is_linear());
            }
        }
    }

    #[test]
    fn kernels_are_sums_of_bumps_about_samples_of_another_set() {
        let (_dir, set) = test_set(9, [3, 2, 2]);
        let (_other, support) = test_set(30, [3, 2, 2]);
        for variant in [Variant::Full, Variant::TranslationInvariant, Variant::LogSumExp(2.0)] {
            let kernel = |samples: &[usize], coefficients: &[f64]| Cav {
                kernel: Some(Kernel { samples: samples.to_vec(), coefficients: coefficients.to_vec(), gamma: 0.7 }),
                ..cav(variant, Vec::new())
            };
            let width = variant.width(set.shape);
            let probes = [kernel(&[20, 3], &[1.5, -2.0]), cav(variant, vec![0.5; width]), kernel(&[3], &[1.0])];
            let got = scores(&set, &[8, 0], &support, &probes.iter().collect::<Vec<_>>()).unwrap();
            let bump = |sample: usize, centre: usize| {
                let (a, b) = (set.vector(sample, variant).unwrap(), support.vector(centre, variant).unwrap());
                (-0.7 * a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()).exp()
            };
            for (row, sample) in [8, 0].into_iter().enumerate() {
                let wanted = 1.5 * bump(sample, 20) - 2.0 * bump(sample, 3) + 0.25;
                assert!((got[[row, 0]] - wanted).abs() < 1e-5, "{variant}: {} {wanted}", got[[row, 0]]);
                assert!((got[[row, 2]] - bump(sample, 3) - 0.25).abs() < 1e-5);
                let along: f32 = set.vector(sample, variant).unwrap().iter().map(|z| 0.5 * z).sum();
                assert!((got[[row, 1]] - f64::from(along) - 0.25).abs() < 1e-5);
            }
        }
    }
}
