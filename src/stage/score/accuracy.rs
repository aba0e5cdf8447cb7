//! Normal accuracy, and what is known of the fit.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::metric::Estimate;
use crate::metric::accuracy::{Decisions, Ranking, hanley_mcneil};

/// Balanced accuracy at the native and at the calibrated threshold, its two sides, AUROC (with the interval of Hanley
/// and McNeil beside the bootstrap's), and the facts of the fit.
pub(super) fn measure(unit: &Unit, concept: &Concept, k: usize, rows: &mut Rows<'_>) {
    let cav = &unit.fitted.cavs[k];
    let scores = concept.scores(unit, k);
    let n = concept.known.len();
    let decided = Decisions::new(&scores, &concept.present, 0.0);
    let calibrated = Decisions::new(&scores, &concept.present, cav.threshold);
    let ranking = Ranking::new(&scores, &concept.present);
    let (accuracy, area, kind) = null(unit, concept);
    let boot = &concept.bootstrap;
    rows.push("accuracy", "", boot.estimate(|w| decided.balanced(w), accuracy, kind, n));
    rows.push("accuracy", "calibrated", boot.estimate(|w| calibrated.balanced(w), accuracy, kind, n));
    let positives = concept.positives();
    rows.push("sensitivity", "", boot.estimate(|w| decided.sensitivity(w), f64::NAN, "", positives));
    rows.push("specificity", "", boot.estimate(|w| decided.specificity(w), f64::NAN, "", n - positives));
    let auroc = boot.estimate(|w| ranking.auroc(w), area, kind, n);
    let half = 1.96 * hanley_mcneil(auroc.value, positives, n - positives);
    let (ci_low, ci_high) = ((auroc.value - half).max(0.0), (auroc.value + half).min(1.0));
    rows.push("auroc", "hanley_mcneil", Estimate { ci_low, ci_high, ..auroc.clone() });
    rows.push("auroc", "", auroc);
    if cav.fit.gradient_norm.is_finite() {
        rows.push_fact("gradient_norm", cav.fit.gradient_norm, f64::NAN, "", cav.fit.positives + cav.fit.negatives);
    }
    let fact = |name: &str| cav.facts.get(name).copied();
    let found = fact("false_positives").unwrap_or(f64::NAN);
    if let Some(count) = fact("false_positives") {
        rows.push_fact("false_positives", count, f64::NAN, "", cav.fit.positives + cav.fit.negatives);
    }
    if let Some(cosine) = fact("cos_classifier") {
        let null = fact("selection_null_cos").unwrap_or(f64::NAN);
        rows.push_fact("cos_classifier", cosine, null, "selection null", found as usize);
    }
    for name in ["unit_iou", "loce_spread"] {
        if let Some(value) = fact(name) {
            rows.push_fact(name, value, f64::NAN, "", cav.fit.positives + cav.fit.negatives);
        }
    }
    if cav.probe == "fp" {
        excess(unit, concept, &scores, rows);
    }
}

/// Accuracy and AUROC of the classifier fitted to permuted labels; one half where there is none.
fn null(unit: &Unit, concept: &Concept) -> (f64, f64, &'static str) {
    let Some(column) = unit.probe(&concept.name, "permuted") else { return (0.5, 0.5, "chance") };
    let scores = concept.scores(unit, column);
    let ones = vec![1.0; scores.len()];
    let accuracy = Decisions::new(&scores, &concept.present, 0.0).balanced(&ones);
    (accuracy, Ranking::new(&scores, &concept.present).auroc(&ones), "permuted labels")
}

/// How much better the FP-CAV finds the concept than directions that share nothing with it but its cosine with the
/// classifier (our definition).
fn excess(unit: &Unit, concept: &Concept, scores: &[f64], rows: &mut Rows<'_>) {
    let twins: Vec<Decisions> = unit
        .twins(&concept.name)
        .into_iter()
        .map(|column| Decisions::new(&concept.scores(unit, column), &concept.present, 0.0))
        .collect();
    if twins.is_empty() {
        return;
    }
    let own = Decisions::new(scores, &concept.present, 0.0);
    let twin = |w: &[f64]| twins.iter().map(|t| t.balanced(w)).sum::<f64>() / twins.len() as f64;
    let estimate = concept.bootstrap.estimate(|w| own.balanced(w) - twin(w), 0.0, "degraded twin", scores.len());
    rows.push("excess_over_twin", "", estimate);
}
