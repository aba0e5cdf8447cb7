//! Directions against the truth of paired renders, against their own kind from other draws, against other concepts, and
//! over positions.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::error::Result;
use crate::metric::Estimate;
use crate::metric::direction::{entanglement, mean_and_error, paired_cosine, seed_stability, spatial_norms, variation};
use crate::probe::{Cav, Variant};

/// Mean cosine of a direction with what a concept's appearance changes; for the classifier also its stability.
pub(super) fn measure(unit: &Unit, concept: &Concept, k: usize, rows: &mut Rows<'_>) -> Result<()> {
    let cav = &unit.fitted.cavs[k];
    if let Some(set) = &unit.edit_set {
        let pairs = &unit.edit_rows[concept.number].pairs;
        let activation = |row: usize| set.vector(row, cav.variant);
        let cosines = pairs
            .iter()
            .map(|(with, without)| Ok(paired_cosine(&activation(*with)?, &activation(*without)?, &cav.direction)))
            .collect::<Result<Vec<f64>>>()?;
        let (value, error) = mean_and_error(&cosines);
        let (ci_low, ci_high) = (value - 1.96 * error, value + 1.96 * error);
        let null_kind = "random direction".to_owned();
        rows.push("direction_cosine", "", Estimate { value, ci_low, ci_high, null: 0.0, null_kind, n: cosines.len() });
    }
    if cav.variant == Variant::Full {
        unevenness("", &[&cav.direction], cav, rows);
    }
    if cav.probe == "classifier" {
        let draws = drawn(unit, &concept.name);
        rows.push_fact("seed_stability", seed_stability(&draws), 0.0, "random direction", draws.len());
        if cav.variant == Variant::Full {
            unevenness("mean of draws", &draws, cav, rows);
        }
        entangled(unit, concept, cav, &draws, rows);
    }
    Ok(())
}

/// The classifiers of a concept from other draws.
fn drawn<'a>(unit: &'a Unit, concept: &str) -> Vec<&'a [f32]> {
    unit.fitted.references.iter().filter(|c| c.concept == concept).map(|c| c.direction.as_slice()).collect()
}

/// How unevenly the weights of full directions lie on the grid (our definition): the coefficient of variation of their
/// spatial norms. The norms of a random direction of C channels vary by `1 / sqrt(2 C)`.
fn unevenness(parameter: &str, directions: &[&[f32]], cav: &Cav, rows: &mut Rows<'_>) {
    let [channels, height, width] = cav.shape;
    if directions.is_empty() {
        return;
    }
    let value = variation(&spatial_norms(directions, height * width));
    let null = 1.0 / (2.0 * channels as f64).sqrt();
    rows.push_known("spatial_norm_cv", parameter, value, (null, "random direction"), height * width);
}

/// The classifier's entanglement with every other concept's. Random directions of d values have cosines of 0, give or take
/// `1 / sqrt(d)`.
fn entangled(unit: &Unit, concept: &Concept, cav: &Cav, draws: &[&[f32]], rows: &mut Rows<'_>) {
    let null_kind = format!("random direction, standard deviation {:.1e}", 1.0 / (cav.direction.len() as f64).sqrt());
    for other in unit.fitted.cavs.iter().filter(|c| c.probe == "classifier" && c.concept != concept.name) {
        let others = drawn(unit, &other.concept);
        let pairs = draws.len() * others.len().saturating_sub(1);
        rows.push_known("entanglement", &other.concept, entanglement(draws, &others), (0.0, &null_kind), pairs);
    }
}
