//! The report's answer: which probes mean their concept, compared with what, how sure.

use serde::Serialize;

use super::super::finding::interval;
use super::super::info::{is_null, metric_short, probe_label};
use super::super::verdict::{Judged, Side, Verdict, kinds};

/// Names of concepts that a sentence lists before it counts the rest.
const MOST_NAMED: usize = 4;
/// Share of intervals of 95 % that lie above their null by chance alone.
const BY_CHANCE: f64 = 0.025;

/// Sentences and a table, a line a concept, a column a kind of probe.
#[derive(Debug, Serialize)]
pub(super) struct Short {
    sentences: Vec<(String, String)>,
    columns: Vec<String>,
    lines: Vec<Line>,
    /// The words that occur, with what they stand for.
    legend: Vec<Word>,
}

#[derive(Debug, Serialize)]
struct Line {
    concept: String,
    cells: Vec<Option<Mark>>,
}

/// One verdict.
#[derive(Debug, Serialize)]
pub(super) struct Mark {
    word: Word,
    /// Best first, for sorting.
    rank: usize,
    probe: String,
    place: String,
    /// What was asked and how it was answered.
    answers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Word {
    name: &'static str,
    /// Its colour's name in the style sheet.
    class: &'static str,
    explanation: &'static str,
}

impl Word {
    fn of(verdict: Verdict) -> Self {
        let class = match verdict {
            Verdict::Means => "good",
            Verdict::Partly => "fair",
            Verdict::Else => "warn",
            Verdict::Open | Verdict::Unasked | Verdict::Blind => "",
        };
        Self { name: verdict.words(), class, explanation: verdict.explanation() }
    }
}

/// The answer of a page, or none where no probe was judged. `concepts` are the page's, in its order.
pub(super) fn short(judged: &[Judged<'_>], concepts: &[&str]) -> Option<Short> {
    let all = kinds(judged);
    let (nulls, shown): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|k| is_null(k));
    if shown.is_empty() {
        return None;
    }
    let mut sentences: Vec<(String, String)> =
        shown.iter().map(|kind| (probe_label(kind).to_owned(), sentence(judged, kind))).collect();
    sentences.push(("Compared with what".to_owned(), compared(judged, &nulls)));
    sentences.push(("How sure".to_owned(), sure(judged)));
    let line = |concept: &&str| Line {
        concept: (*concept).to_owned(),
        cells: shown.iter().map(|k| find(judged, concept, k).map(mark)).collect(),
    };
    let occurs = |v: &Verdict| judged.iter().any(|j| j.verdict == *v && !is_null(j.probe));
    Some(Short {
        sentences,
        columns: shown.iter().map(|k| probe_label(k).to_owned()).collect(),
        lines: concepts.iter().map(line).collect(),
        legend: Verdict::ALL.into_iter().filter(occurs).map(Word::of).collect(),
    })
}

/// The verdicts of one concept.
pub(super) fn marks(judged: &[Judged<'_>], concept: &str) -> Vec<Mark> {
    judged.iter().filter(|j| j.concept == concept && !is_null(j.probe)).map(mark).collect()
}

fn find<'a, 'b>(judged: &'b [Judged<'a>], concept: &str, probe: &str) -> Option<&'b Judged<'a>> {
    judged.iter().find(|j| j.concept == concept && j.probe == probe)
}

fn mark(j: &Judged<'_>) -> Mark {
    let mut answers = vec![format!("accuracy {}", interval(j.accuracy))];
    answers.extend(
        j.asked.iter().map(|(metric, e, side)| format!("{} {}, {}", metric_short(metric), interval(e), beside(*side))),
    );
    if j.drops {
        answers.push("hard samples cost accuracy".to_owned());
    }
    answers.extend(j.truth.map(|truth| format!("cosine with the true direction {}", interval(truth))));
    let rank = Verdict::ALL.iter().position(|v| *v == j.verdict).unwrap_or_default();
    let place = format!("{}, {}", j.layer, j.variant);
    Mark { word: Word::of(j.verdict), rank, probe: probe_label(j.probe).to_owned(), place, answers }
}

fn beside(side: Side) -> String {
    format!("{} its null", side.words())
}

/// How often each verdict fell for one kind of probe.
fn sentence(judged: &[Judged<'_>], kind: &str) -> String {
    let own: Vec<&Judged<'_>> = judged.iter().filter(|j| j.probe == kind).collect();
    let part = |verdict: Verdict| {
        let names: Vec<&str> = own.iter().filter(|j| j.verdict == verdict).map(|j| j.concept).collect();
        (!names.is_empty()).then(|| format!("{} {} ({})", phrase(verdict), names.len(), listed(&names)))
    };
    let parts: Vec<String> = Verdict::ALL.into_iter().filter_map(part).collect();
    let plural = if own.len() == 1 { "" } else { "s" };
    format!("Of {} concept{plural}, {}.", own.len(), parts.join("; "))
}

const fn phrase(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Means => "the direction means its concept in",
        Verdict::Partly => "in part in",
        Verdict::Open => "nothing is shown in",
        Verdict::Else => "it means something else in",
        Verdict::Unasked => "nothing but accuracy was measured in",
        Verdict::Blind => "the concept was not found in",
    }
}

fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(MOST_NAMED)].join(", ");
    if names.len() > MOST_NAMED { format!("{shown} and {} more", names.len() - MOST_NAMED) } else { shown }
}

/// What stood beside the probes: the nulls, and the probes that have no concept by construction.
fn compared(judged: &[Judged<'_>], nulls: &[&str]) -> String {
    let mut kinds: Vec<&str> = judged
        .iter()
        .flat_map(|j| std::iter::once(j.accuracy).chain(j.asked.iter().map(|a| a.1)))
        .map(|e| e.null_kind.as_str())
        .filter(|k| !k.is_empty())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let beside =
        if kinds.is_empty() { "No null was measured.".to_owned() } else { format!("Nulls: {}.", kinds.join(", ")) };
    let control = |kind: &str| {
        let own = || judged.iter().filter(|j| j.probe == kind);
        let pass = own().filter(|j| j.verdict <= Verdict::Partly).count();
        format!("{} {pass} of {}", probe_label(kind), own().count())
    };
    let controls: Vec<String> = nulls.iter().map(|kind| control(kind)).collect();
    if controls.is_empty() {
        return format!(
            "{beside} No probe without a concept was fitted beside these, so the rule itself was not tried."
        );
    }
    format!("{beside} By the same rule, probes that have no concept pass, wholly or in part: {}.", controls.join(", "))
}

/// What the verdicts rest on.
fn sure(judged: &[Judged<'_>]) -> String {
    let own = || judged.iter().filter(|j| !is_null(j.probe));
    let answers: usize = own().map(|j| 1 + j.asked.len()).sum();
    let n: Vec<usize> = own().map(|j| j.accuracy.n).collect();
    let (least, most) = (n.iter().min().copied().unwrap_or(0), n.iter().max().copied().unwrap_or(0));
    let samples = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    format!(
        "A question is answered where a whole 95 % interval over {samples} test samples lies on one side of its null, at the layer \
         and variant where the probe is most accurate. Intervals are not corrected for their number: of {answers}, {:.1} would lie \
         above by chance alone.",
        BY_CHANCE * answers as f64
    )
}
