//! Scores of many samples under many directions: one matrix product a batch of samples.

use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::Cav;
use super::kernel::{self, Kernel};
use crate::activation::LayerSet;
use crate::error::Result;

/// Samples of one product.
const BATCH: usize = 32;

/// Scores `[sample, cav]` of samples under probes of one variant at one layer: `<direction, z> + bias`, or a kernel's, whose
/// own samples are those of `support`: the layer's activations of the plain pictures.
///
/// # Errors
/// When activations cannot be read.
pub fn scores(set: &LayerSet, samples: &[usize], support: &LayerSet, cavs: &[&Cav]) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    let (kernels, linear): (Vec<usize>, Vec<usize>) = (0..cavs.len()).partition(|k| cavs[*k].kernel.is_some());
    let chosen: Vec<&Cav> = linear.iter().map(|k| cavs[*k]).collect();
    let of_linear = along_directions(set, samples, &chosen)?;
    let chosen: Vec<(&Cav, &Kernel)> =
        kernels.iter().filter_map(|k| Some((cavs[*k], cavs[*k].kernel.as_ref()?))).collect();
    let of_kernels = kernel::scores(set, samples, support, &chosen)?;
    for (columns, found) in [(linear, of_linear), (kernels, of_kernels)] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::{Variant, test_set};
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
