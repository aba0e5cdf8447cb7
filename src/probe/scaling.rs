//! What is done to activations before a fit, and undone in the direction.

use ndarray::{Array1, Array2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gram::BLOCK;
use crate::activation::{LayerSet, Variant};
use crate::error::Result;

/// How activations are scaled for a fit. All are centred too, which changes no solution whose offset is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Not at all.
    #[default]
    Center,
    /// Every value by its standard deviation over the fit split; one that never changes stays as it is.
    Zscore,
    /// Every value by its largest size over the fit split; one that is always zero stays as it is.
    Max,
    /// Every sample by its norm. The direction is kept and its offset calibrated on raw activations (our definition), so
    /// that scores stay linear.
    UnitNorm,
}

impl Scaling {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Factors of a layer's values, or of its samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Factors {
    /// One a value of the variant's form.
    columns: Option<Array1<f32>>,
    /// One a sample of the set, by its number there.
    rows: Option<Vec<f32>>,
}

impl Factors {
    /// Those of `samples`, of which the first `fitted` say how values spread.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub(super) fn of(
        scaling: Scaling,
        set: &LayerSet,
        variant: Variant,
        samples: &[usize],
        fitted: usize,
    ) -> Result<Self> {
        let width = variant.width(set.shape);
        let blocks = (0..width).step_by(BLOCK).map(|first| first..(first + BLOCK).min(width));
        match scaling {
            Scaling::Center => Ok(Self::default()),
            Scaling::Zscore | Scaling::Max => {
                let mut columns = Array1::ones(width);
                for range in blocks {
                    let z = set.vectors(&samples[..fitted], variant, range.clone())?;
                    for (factor, column) in columns.slice_mut(ndarray::s![range]).iter_mut().zip(z.columns()) {
                        let size =
                            if scaling == Scaling::Max { largest(column.iter()) } else { deviation(column.iter()) };
                        if size > 0.0 {
                            *factor = (1.0 / size) as f32;
                        }
                    }
                }
                Ok(Self { columns: Some(columns), rows: None })
            }
            Scaling::UnitNorm => {
                let mut squares = vec![0f64; samples.len()];
                for range in blocks {
                    let z = set.vectors(samples, variant, range)?;
                    for (sum, row) in squares.iter_mut().zip(z.outer_iter()) {
                        *sum += row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
                    }
                }
                let mut rows = vec![1.0; set.len()];
                for (sample, square) in samples.iter().zip(squares) {
                    if square > 0.0 {
                        rows[*sample] = (1.0 / square.sqrt()) as f32;
                    }
                }
                Ok(Self { columns: None, rows: Some(rows) })
            }
        }
    }

    /// Whether an offset of scaled activations is none of raw ones.
    pub(super) fn moves_offsets(&self) -> bool {
        self.rows.is_some()
    }

    /// Scaled values of samples, `[sample, value]` of a range of the variant's form.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub(super) fn read(
        &self,
        set: &LayerSet,
        samples: &[usize],
        variant: Variant,
        range: std::ops::Range<usize>,
    ) -> Result<Array2<f32>> {
        let mut z = set.vectors(samples, variant, range.clone())?;
        self.scale_values(&mut z, range);
        if let Some(rows) = &self.rows {
            for (mut row, sample) in z.axis_iter_mut(Axis(0)).zip(samples) {
                row.mapv_inplace(|v| v * rows[*sample]);
            }
        }
        Ok(z)
    }

    /// Multiplies values by their factors: activations on the way to a fit, or gradients of scores in its coordinates.
    pub(super) fn scale_values(&self, z: &mut Array2<f32>, range: std::ops::Range<usize>) {
        if let Some(columns) = &self.columns {
            *z *= &columns.slice(ndarray::s![range]);
        }
    }

    /// Turns weights on scaled activations into weights on raw ones.
    pub(super) fn unscale(&self, weights: &mut [f64]) {
        if let Some(columns) = &self.columns {
            weights.iter_mut().zip(columns).for_each(|(w, f)| *w *= f64::from(*f));
        }
    }
}

fn largest<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    f64::from(values.fold(0f32, |most, v| most.max(v.abs())))
}

/// Standard deviation, with n in the denominator.
fn deviation<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> f64 {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().map(|v| f64::from(*v)).sum::<f64>() / count;
    (values.map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::test_set;
    use crate::activation::{ShardWriter, Storage};
    use crate::probe::lbfgs::dot;
    use crate::probe::{Labelled, Space, logistic};

    const ALL: [Scaling; 4] = [Scaling::Center, Scaling::Zscore, Scaling::Max, Scaling::UnitNorm];

    #[test]
    fn values_are_scaled_by_what_the_fit_split_shows() {
        let (_dir, set) = test_set(12, [3, 2, 2]);
        let samples: Vec<usize> = (0..12).collect();
        for scaling in ALL {
            let factors = Factors::of(scaling, &set, Variant::Full, &samples, 8).unwrap();
            let z = factors.read(&set, &samples, Variant::Full, 0..12).unwrap();
            for column in z.slice(ndarray::s![..8, ..]).columns() {
                match scaling {
                    Scaling::Zscore => assert!((deviation(column.iter()) - 1.0).abs() < 1e-5),
                    Scaling::Max => assert!((largest(column.iter()) - 1.0).abs() < 1e-6),
                    Scaling::Center | Scaling::UnitNorm => {}
                }
            }
            if scaling == Scaling::UnitNorm {
                assert!(z.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-5));
            }
        }
    }

    /// In coordinates of values and in those of the samples' span, scores are those of the direction on raw activations
    /// where scaling is by value, and on scaled ones where it is by sample.
    #[test]
    fn directions_score_as_coordinates_do() {
        for (shape, fitted) in [([5, 1, 1], 15), ([25, 2, 2], 15)] {
            let (_dir, set) = test_set(20, shape);
            let samples: Vec<usize> = (0..20).rev().collect();
            for scaling in ALL {
                let space = Space::scaled(&set, Variant::Full, &samples, fitted, scaling).unwrap();
                let weights: Vec<f64> = (0..space.dimension()).map(|i| ((i * 7 % 11) as f64 - 5.0) / 5.0).collect();
                let (direction, offset) = space.directions(&set, std::slice::from_ref(&weights)).unwrap().remove(0);
                let factors = Factors::of(scaling, &set, Variant::Full, &samples, fitted).unwrap();
                for (row, sample) in samples.iter().enumerate() {
                    let mut z: Vec<f64> =
                        set.vector(*sample, Variant::Full).unwrap().into_iter().map(f64::from).collect();
                    if let Some(rows) = &factors.rows {
                        z.iter_mut().for_each(|v| *v *= f64::from(rows[*sample]));
                    }
                    let (wanted, got) = (dot(&direction, &z) + offset, space.score(row, &weights, 0.0));
                    assert!((wanted - got).abs() < 5e-4 * (1.0 + wanted.abs()), "{scaling:?} {row}: {wanted} {got}");
                }
                // Any maps will do as gradients.
                let gradients = space.gradients(&set, &set).unwrap();
                for sample in 0..20 {
                    let g: Vec<f64> = set.vector(sample, Variant::Full).unwrap().into_iter().map(f64::from).collect();
                    let (wanted, got) = (dot(&direction, &g), dot(&gradients.row(sample).to_vec(), &weights));
                    assert!((wanted - got).abs() < 5e-4 * (1.0 + wanted.abs()), "{scaling:?}: {wanted} {got}");
                }
            }
        }
    }

    /// scikit-learn's fits on scaled features with balanced class weights, mapped back: `tests/golden/fits.py`.
    #[test]
    fn fits_are_those_of_scikit_learn() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/fits.json")).unwrap();
        let list = |v: &serde_json::Value| serde_json::from_value::<Vec<f64>>(v.clone()).unwrap();
        let (x, label) = (list(&golden["x"]), list(&golden["label"]));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let mut writer = ShardWriter::new([6, 1, 1], Storage::F32);
        for (i, row) in x.chunks_exact(6).enumerate() {
            writer.push(&i.to_string(), &row.iter().map(|v| *v as f32).collect::<Vec<_>>()).unwrap();
        }
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let set = LayerSet::open("x", &[path]).unwrap();
        let samples: Vec<usize> = (0..label.len()).collect();
        let (positive, negative) = samples.iter().partition(|i| label[**i] > 0.5);
        let rows = Labelled { positive, negative };
        assert_ne!(rows.positive.len(), rows.negative.len());
        for (scaling, name) in [(Scaling::Center, "balanced"), (Scaling::Zscore, "zscore"), (Scaling::Max, "max")] {
            let space = Space::scaled(&set, Variant::Full, &samples, samples.len(), scaling).unwrap();
            let fit = logistic::fit(&space, &rows, golden["lambda"].as_f64().unwrap()).unwrap();
            let (weights, offset) = space.directions(&set, &[fit.weights]).unwrap().remove(0);
            let got: Vec<f64> = weights.into_iter().chain([offset + fit.bias]).collect();
            for (got, wanted) in got.iter().zip(list(&golden[name])) {
                assert!((got - wanted).abs() < 1e-4 * (1.0 + wanted.abs()), "{name}: {got} {wanted}");
            }
        }
    }
}
