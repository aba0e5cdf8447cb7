//! Accuracy on hard samples: mined by a reference ensemble, matched by context, and edited.

use super::Rows;
use super::unit::{Concept, Unit};
use crate::metric::accuracy::Decisions;
use crate::metric::hard::{HardSet, context_matched, edited_accuracy, hard_accuracy, reference_mined};

/// H1, H2 and H3, and what each lacks to the normal accuracy.
pub(super) fn measure(unit: &Unit, concept: &Concept, k: usize, rows: &mut Rows<'_>) {
    let decided = Decisions::new(&concept.scores(unit, k), &concept.present, 0.0);
    if let Some((set, fresh)) = mined(unit, concept) {
        push(concept, &decided, &set, "h1", (fresh, "fresh classifier"), rows);
    }
    let labels: Vec<_> = concept.labels.iter().collect();
    let set = context_matched(&concept.present, &concept.coverage, &labels, &concept.name);
    push(concept, &decided, &set, "h2", (0.5, "chance"), rows);
    edited(unit, concept, k, &decided, rows);
}

/// What the reference ensemble gets wrong, and the accuracy of a fresh classifier on it: the line to compare with.
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

/// H3, where pictures can be edited: the concept kept with its companion swapped, and the concept swapped away.
fn edited(unit: &Unit, concept: &Concept, k: usize, decided: &Decisions, rows: &mut Rows<'_>) {
    let swapped = &unit.edit_rows[concept.number].swapped;
    if swapped.is_empty() {
        return;
    }
    let mut kept = vec![f64::NAN; concept.known.len()];
    let mut removed = kept.clone();
    for (sample, removed_row, kept_row) in swapped {
        if let Some(at) = concept.known.iter().position(|at| unit.test[*at] == *sample) {
            removed[at] = unit.edits[[*removed_row, k]];
            kept[at] = unit.edits[[*kept_row, k]];
        }
    }
    let boot = &concept.bootstrap;
    let n = 2 * swapped.len();
    rows.push("hard_h3", "", boot.estimate(|w| edited_accuracy(&kept, &removed, 0.0, w), 0.5, "chance", n));
    let gap = boot.estimate(|w| decided.balanced(w) - edited_accuracy(&kept, &removed, 0.0, w), 0.0, "no gap", n);
    rows.push("hard_gap_h3", "", gap);
}
