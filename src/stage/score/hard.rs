//! Accuracy on hard samples: mined by a reference ensemble, matched by context, and edited.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::metric::accuracy::Decisions;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::hard::{HardSet, context_matched, edited_accuracy, hard_accuracy, reference_mined};

/// The hard samples of one concept under one layer and variant, the same for every probe.
pub(super) struct Hard {
    /// H1, and the accuracy of a fresh classifier on it: the line to compare with.
    mined: Option<(HardSet, f64)>,
    /// H2.
    matched: HardSet,
}

impl Hard {
    pub(super) fn of(unit: &Unit, concept: &Concept) -> Self {
        let labels: Vec<_> = concept.labels.iter().collect();
        let embedding = concept.embedding.as_deref();
        let matched = context_matched(&concept.present, &concept.coverage, &labels, &concept.name, embedding);
        Self { mined: mined(unit, concept), matched }
    }
}

/// What the reference ensemble gets wrong.
fn mined(unit: &Unit, concept: &Concept) -> Option<(HardSet, f64)> {
    let columns = unit.references(&concept.name);
    let (fresh, voters) = columns.split_last().filter(|(_, voters)| !voters.is_empty())?;
    let votes: Vec<Vec<bool>> =
        voters.iter().map(|c| concept.scores(unit, *c).iter().map(|s| *s > 0.0).collect()).collect();
    let set = reference_mined(&votes, &concept.present);
    let fresh = Decisions::new(&concept.scores(unit, *fresh), &concept.present, 0.0);
    let line = hard_accuracy(&fresh, &set, &vec![1.0; concept.known.len()]);
    Some((set, line))
}

/// H1, H2 and H3, and what each lacks to the normal accuracy.
pub(super) fn measure(hard: &Hard, unit: &Unit, concept: &Concept, k: usize, rows: &mut Rows<'_>) {
    let decided = Decisions::new(&concept.scores(unit, k), &concept.present, 0.0);
    if let Some((set, fresh)) = &hard.mined {
        push(concept, &decided, set, "h1", (*fresh, "fresh classifier"), rows);
    }
    push(concept, &decided, &hard.matched, "h2", (0.5, "chance"), rows);
    edited(unit, concept, k, &decided, rows);
}

fn push(
    concept: &Concept,
    decided: &Decisions,
    set: &HardSet,
    name: &str,
    (null, kind): (f64, &str),
    rows: &mut Rows<'_>,
) {
    let boot = &concept.bootstrap;
    let n = set.positives.len() + set.negatives.len();
    rows.push(&format!("hard_{name}"), "", boot.estimate(|w| hard_accuracy(decided, set, w), null, kind, n));
    let gap = boot.estimate(|w| decided.balanced(w) - hard_accuracy(decided, set, w), 0.0, "no gap", n);
    rows.push(&format!("hard_gap_{name}"), "", gap);
}

/// H3, where pictures can be edited, and the same for sham edits, which show what the editing does by itself.
fn edited(unit: &Unit, concept: &Concept, k: usize, decided: &Decisions, rows: &mut Rows<'_>) {
    let edits = &unit.edit_rows[concept.number];
    if edits.absent.is_empty() && edits.present.is_empty() {
        return;
    }
    let scores = |edited: &[(usize, usize)]| {
        let mut scores = vec![f64::NAN; concept.known.len()];
        for (sample, row) in edited {
            if let Ok(at) = concept.known.binary_search_by_key(sample, |at| unit.test[*at]) {
                scores[at] = unit.edits[[*row, k]];
            }
        }
        scores
    };
    let (with, without, sham) = (scores(&edits.present), scores(&edits.absent), scores(&edits.sham));
    let boot = &concept.bootstrap;
    let n = edits.present.len() + edits.absent.len();
    let hard = |w: &[f64]| edited_accuracy(&with, &without, 0.0, w);
    rows.push("hard_h3", "", boot.estimate(hard, 0.5, "chance", n));
    rows.push("hard_gap_h3", "", boot.estimate(|w| decided.balanced(w) - hard(w), 0.0, "no gap", n));
    if edits.sham.is_empty() {
        return;
    }
    let of = |present: bool| -> Vec<f64> {
        sham.iter().zip(&concept.present).map(|(s, p)| if *p == present { *s } else { f64::NAN }).collect()
    };
    let (still_with, still_without) = (of(true), of(false));
    let unmoved = |w: &[f64]| edited_accuracy(&still_with, &still_without, 0.0, w);
    rows.push("hard_h3_sham", "", boot.estimate(unmoved, 0.5, "chance", edits.sham.len()));
    rows.push("hard_gap_h3", "sham", boot.estimate(|w| unmoved(w) - hard(w), 0.0, "no gap", n));
    let clean = concept.scores(unit, k);
    let flip = |(sham, clean): (&f64, &f64)| {
        if sham.is_nan() { f64::NAN } else { f64::from(u8::from((*sham > 0.0) != (*clean > 0.0))) }
    };
    let flips: Vec<f64> = sham.iter().zip(&clean).map(flip).collect();
    rows.push("sham_flip_rate", "", boot.estimate(|w| weighted_mean(&flips, w), f64::NAN, "", edits.sham.len()));
}
