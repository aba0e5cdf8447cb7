//! What the numbers allow to be said, in sentences computed from the rows.
//!
//! A sentence names a difference only where its 95 % interval leaves zero (or the null level) out, and one between probes
//! only where it also holds after Holm's correction over six concepts or more; everything else is given as a number without
//! a verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use super::comparison::Comparison;
use super::correlation::{Correlation, TRUTH};
use super::figure::with_interval;
use super::info::{is_null, metric_label, metric_short, probe_label};
use super::plot::short_number;
use super::row::MetricRow;
use super::select::{headline, layers, natural, series, sorted, summarise};
use crate::metric::Estimate;
use crate::metric::compare::FEWEST;

/// The classifier's accuracy on ordinary and on hard samples, for one concept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    /// The concept.
    pub concept: String,
    /// Layer and variant: those with the classifier's highest accuracy.
    pub place: String,
    /// Accuracy on ordinary test samples.
    pub normal: String,
    /// Accuracy on hard samples.
    pub hard: String,
    /// Their difference; empty where it was not measured.
    pub difference: String,
    /// What may be said of it.
    pub reading: String,
    /// Whether the difference is above zero with its whole interval.
    pub lower: bool,
}

/// A sentence with the subject it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject.
    pub about: String,
    /// The sentence.
    pub text: String,
}

/// Everything the findings section shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Short name of the hard accuracy that the gaps are about; empty without one.
    pub hard: String,
    /// One line a concept.
    pub gaps: Vec<Gap>,
    /// The sentences.
    pub sentences: Vec<Finding>,
}

/// The metrics that sentences name: the others stand in the tables.
const NAMED: [&str; 7] = ["accuracy", "hard_h3", "hard_h2", "seg_iou", "icc", "equivariance", "direction_cosine"];

/// Computes the findings of a table, its comparisons and its correlations.
pub fn findings(rows: &[MetricRow], comparisons: &[Comparison], correlations: &[Correlation]) -> Findings {
    let (hard, gaps) = gaps(rows);
    let mut sentences = Vec::new();
    sentences.extend(gap_sentence(hard, &gaps));
    sentences.extend(layers(rows).into_iter().filter_map(|layer| leaders(rows, layer)));
    sentences.extend(compared(comparisons));
    sentences.extend(layers(rows).into_iter().filter_map(|layer| correlated(correlations, "accuracy", layer)));
    sentences.extend(maps(rows));
    sentences.extend(fp_cosine(rows));
    sentences.extend(fp_excess(rows));
    sentences.extend(recalibrated(rows));
    sentences.extend(undefined(rows));
    Findings { hard: if gaps.is_empty() { String::new() } else { metric_short(hard).to_owned() }, gaps, sentences }
}

/// What several runs allow to be said: of the truth and accuracy against the other metrics, and of probes against each
/// other.
pub fn of_runs(comparisons: &[Comparison], correlations: &[Correlation]) -> Vec<Finding> {
    let mut out = Vec::new();
    for layer in sorted(correlations.iter().map(|c| c.layer.as_str())) {
        out.extend([TRUTH, "accuracy"].into_iter().filter_map(|against| correlated(correlations, against, layer)));
    }
    out.extend(compared(comparisons));
    out
}

/// A value with its interval.
pub(super) fn interval(e: &Estimate) -> String {
    if !e.value.is_finite() {
        return "n/a".to_owned();
    }
    if e.ci_low.is_finite() && e.ci_high.is_finite() {
        return format!("{} [{}, {}]", short_number(e.value), short_number(e.ci_low), short_number(e.ci_high));
    }
    short_number(e.value)
}

fn above(e: &Estimate, level: f64) -> bool {
    e.ci_low.is_finite() && level.is_finite() && e.ci_low > level
}

fn below(e: &Estimate, level: f64) -> bool {
    e.ci_high.is_finite() && level.is_finite() && e.ci_high < level
}

/// The gaps by concept, to counterfactual samples where those were measured, else to context-matched ones. Mined
/// samples (H1) are left out: the classifier fails on them by construction.
fn gaps(rows: &[MetricRow]) -> (&'static str, Vec<Gap>) {
    for (hard, gap) in [("hard_h3", "hard_gap_h3"), ("hard_h2", "hard_gap_h2")] {
        let found = gaps_to(rows, hard, gap);
        if !found.is_empty() {
            return (hard, found);
        }
    }
    ("hard_h3", Vec::new())
}

fn gaps_to(rows: &[MetricRow], hard: &str, gap: &str) -> Vec<Gap> {
    let classifier = |m: &str| headline(rows, m).into_iter().filter(|r| r.probe == "classifier").collect::<Vec<_>>();
    let (hards, differences) = (classifier(hard), classifier(gap));
    let mut best: BTreeMap<&str, &MetricRow> = BTreeMap::new();
    for row in classifier("accuracy") {
        let kept = best.entry(&row.concept).or_insert(row);
        if row.estimate.value > kept.estimate.value {
            *kept = row;
        }
    }
    let mut out: Vec<Gap> = best
        .values()
        .filter_map(|normal| {
            let same = |r: &&&MetricRow| {
                (&r.study, &r.model, &r.layer, &r.concept, &r.variant, r.seed)
                    == (&normal.study, &normal.model, &normal.layer, &normal.concept, &normal.variant, normal.seed)
            };
            let difference = differences.iter().find(same).map(|r| &r.estimate);
            Some(gap_of(normal, &hards.iter().find(same)?.estimate, difference))
        })
        .collect();
    out.sort_by(|a, b| natural(&a.concept, &b.concept));
    out
}

fn gap_of(normal: &MetricRow, hard: &Estimate, difference: Option<&Estimate>) -> Gap {
    let known = difference.filter(|d| d.ci_low.is_finite() && d.ci_high.is_finite());
    let mut reading = match known {
        Some(d) if above(d, 0.0) => "lower on hard samples",
        Some(d) if below(d, 0.0) => "higher on hard samples",
        Some(_) => "no difference shown",
        None => "difference has no interval",
    }
    .to_owned();
    if below(hard, hard.null) {
        reading.push_str("; below chance there");
    } else if hard.null.is_finite() && hard.ci_low.is_finite() && !above(hard, hard.null) {
        reading.push_str("; not told apart from chance there");
    }
    Gap {
        concept: normal.concept.clone(),
        place: format!("{}, {}", normal.layer, normal.variant),
        normal: interval(&normal.estimate),
        hard: interval(hard),
        difference: difference.map(interval).unwrap_or_default(),
        reading,
        lower: known.is_some_and(|d| above(d, 0.0)),
    }
}

fn finding(about: impl Into<String>, text: String) -> Finding {
    Finding { about: about.into(), text }
}

fn gap_sentence(hard: &str, gaps: &[Gap]) -> Option<Finding> {
    let lower = gaps.iter().filter(|g| g.lower).count();
    let kind = if hard == "hard_h3" { "counterfactual samples (H3)" } else { "context-matched samples (H2)" };
    let text = format!(
        "For {lower} of {} concepts the classifier's accuracy on {kind} is lower than on ordinary ones, with the whole \
         interval of the difference above zero.",
        gaps.len()
    );
    (!gaps.is_empty()).then(|| finding("Accuracy and meaning", text))
}

/// Which probe has the highest mean of each headline metric in a layer.
fn leaders(rows: &[MetricRow], layer: &str) -> Option<Finding> {
    let best = |metric: &str| {
        let picked: Vec<&MetricRow> =
            headline(rows, metric).into_iter().filter(|r| r.layer == layer && !is_null(&r.probe)).collect();
        let mut best: Option<((&str, &str), f64, usize)> = None;
        for s in series(picked.iter().copied()) {
            let own: Vec<_> = picked.iter().copied().filter(|r| (r.probe.as_str(), r.variant.as_str()) == s).collect();
            if let Some(summary) = summarise(&own)
                && best.is_none_or(|b| summary.mean > b.1)
            {
                best = Some((s, summary.mean, summary.concepts));
            }
        }
        best.map(|((probe, variant), mean, concepts)| {
            let who = format!("{} ({variant})", probe_label(probe));
            format!("{}: {who} {}, {concepts} concepts", metric_short(metric), short_number(mean))
        })
    };
    let parts: Vec<String> =
        ["accuracy", "hard_h3", "hard_h2", "seg_iou", "icc"].into_iter().filter_map(best).collect();
    (parts.len() >= 2).then(|| {
        let text = format!(
            "Highest mean over concepts by metric: {}. Being highest shows no difference: see the comparisons.",
            parts.join("; ")
        );
        finding(format!("Leaders in {layer}"), text)
    })
}

/// Which differences between probes hold, a sentence a metric; one for all where there are too few concepts.
fn compared(comparisons: &[Comparison]) -> Vec<Finding> {
    let over_concepts: Vec<&Comparison> = comparisons.iter().filter(|c| c.concept.is_empty()).collect();
    let Some(most) = over_concepts.iter().map(|c| c.n).max() else { return Vec::new() };
    if most < FEWEST {
        let text = format!(
            "With {most} concepts at most, no difference between probes is claimed: {FEWEST} are the fewest with which \
             one could be shown. The differences stand in the table of comparisons."
        );
        return vec![finding("Comparisons of probes", text)];
    }
    let of_metric = |metric: &str| {
        let own: Vec<&Comparison> = over_concepts.iter().copied().filter(|c| c.metric == metric).collect();
        let mut held: Vec<&Comparison> = own.iter().copied().filter(|c| c.holds()).collect();
        held.sort_by(|a, b| b.difference.abs().total_cmp(&a.difference.abs()));
        let largest = match held.as_slice() {
            [] => String::new(),
            _ => format!(" The largest: {}.", held.iter().take(3).map(|c| described(c)).collect::<Vec<_>>().join("; ")),
        };
        let concepts = own.iter().map(|c| c.n).max().unwrap_or(0);
        // What a sign-flip test gives where every concept agrees, times Holm's first factor.
        let least = 0.5f64.powi(concepts as i32 - 1);
        let hopeless = if least * own.len() as f64 > 0.05 {
            format!(
                " None could: {concepts} concepts give a p of {} at best, which the correction multiplies by {}.",
                short_number(least),
                own.len()
            )
        } else {
            String::new()
        };
        let text = format!(
            "{} of {} differences between probes over {concepts} concepts hold after Holm's correction.{hopeless}{largest} \
             Where none is shown, probes are not shown to be equal.",
            held.len(),
            own.len(),
        );
        (!own.is_empty()).then(|| finding(format!("Probes by {}", metric_short(metric)), text))
    };
    NAMED.into_iter().filter_map(of_metric).collect()
}

fn described(c: &Comparison) -> String {
    let side = |probe: &str, variant: &str| format!("{} ({variant})", probe_label(probe));
    let (mut first, mut second) = (side(&c.probe_a, &c.variant_a), side(&c.probe_b, &c.variant_b));
    let (mut low, mut high) = (c.ci_low, c.ci_high);
    if c.difference < 0.0 {
        (first, second, low, high) = (second, first, -high, -low);
    }
    format!(
        "{first} above {second} by {} [{}, {}] in {} (Holm's p {})",
        short_number(c.difference.abs()),
        short_number(low),
        short_number(high),
        c.layer,
        p_value(c.p_holm)
    )
}

/// A p-value of three decimals.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "below 0.001".to_owned() } else { format!("{p:.3}") }
}

/// The rank correlations of a metric with the others at a layer, over all kinds and variants.
fn correlated(correlations: &[Correlation], against: &str, layer: &str) -> Option<Finding> {
    let own: Vec<&Correlation> = correlations
        .iter()
        .filter(|c| c.against == against && c.layer == layer && c.variant.is_empty() && c.probe.is_empty())
        .filter(|c| NAMED.contains(&c.metric.as_str()) && c.rho.is_finite())
        .collect();
    let concepts = own.iter().map(|c| c.concepts).max()?;
    let parts: Vec<String> = own.iter().map(|c| format!("{} {}", metric_short(&c.metric), with_interval(c))).collect();
    let shown: Vec<&str> =
        own.iter().filter(|c| c.ci_low > 0.0 || c.ci_high < 0.0).map(|c| metric_short(&c.metric)).collect();
    let verdict = if concepts < FEWEST {
        format!("With fewer than {FEWEST} concepts this describes the points and no more.")
    } else if shown.is_empty() {
        "No interval leaves zero out: no relation is shown.".to_owned()
    } else {
        format!("The interval leaves zero out for {}.", shown.join(", ").trim_end_matches('.'))
    };
    let text = format!(
        "Rank correlation of {} over {concepts} concepts and all probes with {}. {verdict}",
        metric_label(against).to_lowercase(),
        parts.join(", ")
    );
    let about = if against == TRUTH { "What follows the truth?" } else { "Does accuracy tell?" };
    Some(finding(format!("{about} {layer}"), text))
}

/// How often the map of a probe points at the concept better than its null.
fn maps(rows: &[MetricRow]) -> Option<Finding> {
    let picked = headline(rows, "seg_auroc");
    let parts: Vec<String> = series(picked.iter().copied().filter(|r| !is_null(&r.probe)))
        .into_iter()
        .filter_map(|(probe, variant)| {
            let own: Vec<_> = picked
                .iter()
                .filter(|r| r.probe == probe && r.variant == variant && r.estimate.null.is_finite())
                .collect();
            let better = own.iter().filter(|r| above(&r.estimate, r.estimate.null)).count();
            (!own.is_empty()).then(|| format!("{} ({variant}) {better} of {}", probe_label(probe), own.len()))
        })
        .collect();
    (!parts.is_empty()).then(|| {
        let text = format!(
            "Maps whose pixel AUROC (S1) is above its null with the whole interval, over layers and concepts: {}.",
            parts.join("; ")
        );
        finding("Where the probes look", text)
    })
}

fn fp_cosine(rows: &[MetricRow]) -> Option<Finding> {
    let picked: Vec<&MetricRow> = headline(rows, "cos_classifier").into_iter().filter(|r| r.probe == "fp").collect();
    let all = summarise(&picked)?;
    let with_null: Vec<&MetricRow> = picked.iter().copied().filter(|r| r.estimate.null.is_finite()).collect();
    let text = match summarise(&with_null).and_then(|s| s.null.map(|null| (s.mean, null))) {
        Some((mean, null)) => {
            format!(
                "The FP direction has a mean cosine of {} with the classifier; the selection of false positives alone \
                 gives {} (null). {} A cosine near its null says nothing about shortcuts.",
                short_number(mean),
                short_number(null),
                beyond_null(&with_null)
            )
        }
        None => format!(
            "The FP direction has a mean cosine of {} with the classifier. No selection null was measured beside it, \
             so the number says nothing about shortcuts.",
            short_number(all.mean)
        ),
    };
    Some(finding("FP and classifier", text))
}

/// In how many cases a value, or its whole interval where every one has an interval, is above its null.
fn beyond_null(rows: &[&MetricRow]) -> String {
    let of = rows.len();
    if rows.iter().all(|r| r.estimate.ci_low.is_finite()) {
        let beyond = rows.iter().filter(|r| above(&r.estimate, r.estimate.null)).count();
        return format!("The interval is above that null in {beyond} of {of} cases.");
    }
    let beyond = rows.iter().filter(|r| r.estimate.value > r.estimate.null).count();
    format!(
        "The value is above that null in {beyond} of {of} cases; it has no interval, so this is a description only."
    )
}

fn fp_excess(rows: &[MetricRow]) -> Option<Finding> {
    let picked = headline(rows, "excess_over_twin");
    let all = summarise(&picked)?;
    let beyond = picked.iter().filter(|r| above(&r.estimate, 0.0)).count();
    let text = format!(
        "The FP probe's accuracy exceeds that of random directions with the same cosine to the classifier by {} on \
         average; the interval is above zero in {beyond} of {} cases.",
        short_number(all.mean),
        picked.len()
    );
    Some(finding("FP and its degraded twin", text))
}

/// FP-CAV and cured CAV at their own threshold and at the one chosen on the validation split.
fn recalibrated(rows: &[MetricRow]) -> Option<Finding> {
    let mean = |probe: &str, parameter: &str| {
        let same = |r: &&MetricRow| r.metric == "accuracy" && r.probe == probe && r.parameter == parameter;
        let own: Vec<&MetricRow> = rows.iter().filter(same).filter(|r| r.estimate.value.is_finite()).collect();
        summarise(&own).map(|s| short_number(s.mean))
    };
    let part = |probe: &str| {
        let (own, chosen) = (mean(probe, "")?, mean(probe, "calibrated")?);
        Some(format!("{} {own} at its own threshold, {chosen} at the recalibrated one", probe_label(probe)))
    };
    let parts: Vec<String> = ["fp", "cured"].into_iter().filter_map(part).collect();
    let text = format!(
        "Mean accuracy: {}. A low accuracy that recalibration mends is a matter of the threshold, not of the direction.",
        parts.join("; ")
    );
    (!parts.is_empty()).then(|| finding("FP and cured, recalibrated", text))
}

fn undefined(rows: &[MetricRow]) -> Option<Finding> {
    let count = rows.iter().filter(|r| !r.estimate.value.is_finite()).count();
    let text =
        format!("{count} of {} numbers are not defined; they are shown as n/a and left out of means.", rows.len());
    (count > 0).then(|| finding("Not defined", text))
}

#[cfg(test)]
mod tests {
    use super::super::demo::row;
    use super::*;

    fn with(mut row: MetricRow, low: f64, high: f64, null: f64) -> MetricRow {
        (row.estimate.ci_low, row.estimate.ci_high, row.estimate.null) = (low, high, null);
        row
    }

    fn gap_rows(low: f64) -> Vec<MetricRow> {
        vec![
            with(row("l", "red", "classifier", "full", "accuracy", 0.95), 0.93, 0.97, 0.5),
            with(row("l", "red", "classifier", "full", "hard_h3", 0.55), 0.48, 0.62, 0.5),
            with(row("l", "red", "classifier", "full", "hard_gap_h3", 0.40), low, 0.45, 0.0),
        ]
    }

    #[test]
    fn a_gap_is_named_only_where_its_interval_allows() {
        let sure = findings(&gap_rows(0.35), &[], &[]);
        assert_eq!(sure.gaps[0].reading, "lower on hard samples; not told apart from chance there");
        assert!(sure.sentences[0].text.starts_with("For 1 of 1 concepts"));
        let unsure = findings(&gap_rows(-0.05), &[], &[]);
        assert_eq!(unsure.gaps[0].reading, "no difference shown; not told apart from chance there");
        assert!(unsure.sentences[0].text.starts_with("For 0 of 1 concepts"));
        assert_eq!(
            findings(&gap_rows(f64::NAN), &[], &[]).gaps[0].reading.split(';').next(),
            Some("difference has no interval")
        );
    }

    #[test]
    fn an_fp_cosine_never_stands_without_its_null() {
        let bare = with(row("l", "red", "fp", "full", "cos_classifier", 0.62), 0.6, 0.64, f64::NAN);
        assert!(findings(&[bare], &[], &[]).sentences[0].text.contains("No selection null was measured"));
        let nulled = with(row("l", "red", "fp", "full", "cos_classifier", 0.62), 0.6, 0.64, 0.61);
        assert!(
            findings(&[nulled], &[], &[]).sentences[0]
                .text
                .contains("gives 0.61 (null). The interval is above that null in 0 of 1")
        );
        let bare = with(row("l", "red", "fp", "full", "cos_classifier", 0.62), f64::NAN, f64::NAN, 0.61);
        assert!(
            findings(&[bare], &[], &[]).sentences[0]
                .text
                .contains("above that null in 1 of 1 cases; it has no interval")
        );
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(findings(&[], &[], &[]), Findings { hard: String::new(), gaps: vec![], sentences: vec![] });
    }

    /// One difference of 0.1 over some concepts, and correlations of it.
    fn told(concepts: usize) -> String {
        let mut rows = Vec::new();
        for i in 0..concepts {
            let (concept, x) = (format!("c{i}"), i as f64);
            rows.push(row("l", &concept, "classifier", "full", "accuracy", 0.9 + x / 100.0));
            rows.push(row("l", &concept, "fp", "full", "accuracy", 0.8 + x / 120.0));
            rows.push(row("l", &concept, "classifier", "full", "hard_h3", 0.5 + x / 50.0));
        }
        let (runs, options) =
            ([super::super::Run { name: "one", rows: &rows }], crate::metric::CompareOptions::default());
        let seed = crate::seed::Seed(1);
        let compared = super::super::comparisons(&runs, &super::super::ByProbe::new(), &options, seed);
        let correlated = super::super::correlations(&runs, "accuracy", &options, seed);
        let told = findings(&rows, &compared, &correlated);
        told.sentences.into_iter().map(|f| f.text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_correction_that_nothing_can_pass_is_said() {
        let mut rows = Vec::new();
        for i in 0..6 {
            for (probe, value) in [("classifier", 0.9), ("pattern", 0.8), ("fp", 0.7)] {
                let value = value + f64::from(i) / 100.0;
                rows.push(row("l", &format!("c{i}"), probe, "full", "accuracy", value));
            }
        }
        let runs = [super::super::Run { name: "one", rows: &rows }];
        let options = crate::metric::CompareOptions { bootstrap: 100 };
        let found = super::super::comparisons(&runs, &super::super::ByProbe::new(), &options, crate::seed::Seed(1));
        let text = &compared(&found)[0].text;
        assert!(text.starts_with("0 of 3 differences"), "{text}");
        assert!(text.contains("None could: 6 concepts give a p of 0.03 at best") && text.contains("by 3."), "{text}");
    }

    #[test]
    fn differences_and_relations_are_claimed_from_six_concepts_on() {
        let few = told(5);
        assert!(few.contains("With 5 concepts at most, no difference between probes is claimed"), "{few}");
        assert!(few.contains("describes the points and no more") && !few.contains("hold after"), "{few}");
        let enough = told(7);
        assert!(enough.contains("1 of 1 differences between probes over 7 concepts hold after Holm's"), "{enough}");
        assert!(
            enough.contains("Classifier (full) above FP (full) by 0.10 [") && enough.contains("Holm's p 0.016"),
            "{enough}"
        );
        assert!(enough.contains("H3 edited 1.00 [1.00, 1.00]. The interval leaves zero out for H3 edited"), "{enough}");
    }
}
