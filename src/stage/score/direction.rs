//! Directions against the truth of paired renders, and against their own kind from other draws.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::error::Result;
use crate::metric::Estimate;
use crate::metric::direction::{mean_and_error, paired_cosine, seed_stability};
use crate::probe::Cav;

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
    if cav.probe == "classifier" {
        let draws: Vec<&Cav> = unit.fitted.references.iter().filter(|c| c.concept == concept.name).collect();
        let directions: Vec<&[f32]> = draws.iter().map(|c| c.direction.as_slice()).collect();
        rows.push_fact("seed_stability", seed_stability(&directions), 0.0, "random direction", draws.len());
    }
    Ok(())
}
