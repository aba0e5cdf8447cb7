//! Scores of many samples under many directions: one matrix product a batch of samples.

use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::{Cav, Variant};
use crate::activation::LayerSet;
use crate::error::Result;

/// Samples of one product.
const BATCH: usize = 32;

/// Scores `[sample, cav]` of samples under directions of one variant at one layer: `<direction, z> + bias`.
///
/// # Errors
/// When activations cannot be read.
pub fn scores(set: &LayerSet, samples: &[usize], cavs: &[&Cav]) -> Result<Array2<f64>> {
    let mut out = Array2::zeros((samples.len(), cavs.len()));
    let Some(first) = cavs.first() else { return Ok(out) };
    let width = first.direction.len();
    let mut weights = Array2::<f32>::zeros((width, cavs.len()));
    for (k, cav) in cavs.iter().enumerate() {
        weights.column_mut(k).iter_mut().zip(&cav.direction).for_each(|(w, v)| *w = *v);
    }
    let batches: Vec<_> = out.axis_chunks_iter_mut(Axis(0), BATCH).zip(samples.chunks(BATCH)).collect();
    batches.into_par_iter().try_for_each(|(mut out, samples)| -> Result<()> {
        let x = match first.variant {
            Variant::TranslationInvariant => set.pooled(samples)?,
            Variant::Full => set.column_block(samples, 0..width)?,
        };
        let product = x.dot(&weights);
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
        let got = (scores(&set, &samples, &[&full, &full]).unwrap(), scores(&set, &samples, &[&pooled]).unwrap());
        for (row, sample) in samples.iter().enumerate() {
            let z = set.map(*sample).unwrap();
            let wanted: f32 = z.iter().zip(&full.direction).map(|(z, w)| z * w).sum();
            assert!((got.0[[row, 1]] - f64::from(wanted) - 0.25).abs() < 1e-5);
            let means = z.chunks_exact(4).map(|c| c.iter().sum::<f32>() / 4.0);
            let wanted: f32 = means.zip(&pooled.direction).map(|(z, w)| z * w).sum();
            assert!((got.1[[row, 0]] - f64::from(wanted) - 0.25).abs() < 1e-5);
        }
    }
}
