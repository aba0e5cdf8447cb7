//! Picking rows for a figure or sentence, and the mean over concepts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::info::{OF_CEILING, probe_order};
use super::row::MetricRow;
use super::table::metric_key;

/// The rows in the order of their keys: sums, and so the last digits of means, depend on the order.
pub(super) fn by_key(rows: &[MetricRow]) -> Vec<MetricRow> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| metric_key(a).cmp(&metric_key(b)));
    rows
}

/// One probe in one variant.
pub(super) type Series<'a> = (&'a str, &'a str);

/// Compares names so that `layer2` comes before `layer10`.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    pieces(a).cmp(&pieces(b)).then_with(|| a.cmp(b))
}

/// A name as runs of text and numbers; a number is ordered by its length first, hence by its value.
fn pieces(name: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut in_digits = false;
    for c in name.chars() {
        let digit = c.is_ascii_digit();
        if out.is_empty() || digit != in_digits {
            out.push((0, String::new()));
        }
        in_digits = digit;
        if let Some((length, text)) = out.last_mut() {
            text.push(c);
            *length = if digit { text.trim_start_matches('0').len() + 1 } else { 0 };
        }
    }
    out
}

/// The distinct layers, in natural order.
pub(super) fn layers(rows: &[MetricRow]) -> Vec<&str> {
    sorted(rows.iter().map(|r| r.layer.as_str()))
}

/// The distinct names, in natural order.
pub(super) fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    names.sort_by(|a, b| natural(a, b));
    names
}

/// The distinct probes with variant, in the order they are shown.
pub(super) fn series<'a>(rows: impl Iterator<Item = &'a MetricRow>) -> Vec<Series<'a>> {
    let mut all: Vec<Series<'a>> =
        rows.map(|r| (r.probe.as_str(), r.variant.as_str())).collect::<BTreeSet<_>>().into_iter().collect();
    all.sort_by_key(|(probe, variant)| (probe_order(probe), *probe, *variant));
    all
}

/// Rows of several runs averaged: one a model, layer, concept, probe, variant, split, metric and parameter, of no study and
/// without interval. Values that are not finite are left out.
pub(super) fn over_runs(rows: &[MetricRow]) -> Vec<MetricRow> {
    let mut all: BTreeMap<_, Vec<&MetricRow>> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.estimate.value.is_finite()) {
        let place = (&row.model, &row.layer, &row.concept, &row.probe, &row.variant);
        all.entry((place, &row.split, &row.metric, &row.parameter)).or_default().push(row);
    }
    let averaged = all.into_values().map(|rows| {
        let values: Vec<f64> = rows.iter().map(|r| r.estimate.value).collect();
        let mut out = rows[0].clone();
        (out.study, out.seed) = (String::new(), 0);
        (out.estimate.value, out.estimate.ci_low, out.estimate.ci_high) = (mean(&values), f64::NAN, f64::NAN);
        out
    });
    averaged.collect()
}

/// The finite rows that stand for a metric: of the test split where there is one, and those without a parameter where
/// there are any; else all parameters but the ceiling ratio.
pub(super) fn headline<'a>(rows: &'a [MetricRow], metric: &str) -> Vec<&'a MetricRow> {
    let of_metric =
        || rows.iter().filter(|r| r.metric == metric && r.parameter != OF_CEILING && r.estimate.value.is_finite());
    let has_test = of_metric().any(|r| r.split == "test");
    let has_plain = of_metric().any(|r| r.parameter.is_empty());
    of_metric().filter(|r| (!has_test || r.split == "test") && (!has_plain || r.parameter.is_empty())).collect()
}

/// A metric over concepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    /// Mean over concepts, each first averaged over its own rows (seeds, views).
    pub(super) mean: f64,
    /// Lowest concept; with a single row, the lower end of its interval.
    pub(super) low: f64,
    /// Highest concept; with a single row, the upper end of its interval.
    pub(super) high: f64,
    /// Mean null level of the rows that have one.
    pub(super) null: Option<f64>,
    /// Number of concepts.
    pub(super) concepts: usize,
}

/// Sums rows up over concepts; none without rows.
pub(super) fn summarise(rows: &[&MetricRow]) -> Option<Summary> {
    let mut by_concept: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        by_concept.entry(&row.concept).or_default().push(row.estimate.value);
    }
    let means: Vec<f64> = by_concept.values().map(|v| mean(v)).collect();
    if means.is_empty() {
        return None;
    }
    let (mut low, mut high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), m| (l.min(*m), h.max(*m)));
    if let [row] = rows
        && row.estimate.ci_low.is_finite()
        && row.estimate.ci_high.is_finite()
    {
        (low, high) = (row.estimate.ci_low, row.estimate.ci_high);
    }
    let nulls: Vec<f64> = rows.iter().map(|r| r.estimate.null).filter(|n| n.is_finite()).collect();
    let null = (!nulls.is_empty()).then(|| mean(&nulls));
    Some(Summary { mean: mean(&means), low, high, null, concepts: means.len() })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_averaged_where_they_have_a_value() {
        let of = |study: &str, concept: &str, value: f64| {
            let mut row = super::super::demo::row("l", concept, "classifier", "ti", "accuracy", value);
            row.study = study.to_owned();
            row
        };
        let rows = [of("one", "a", 0.5), of("two", "a", 1.0), of("one", "b", f64::NAN), of("two", "b", 0.25)];
        let found = over_runs(&rows);
        let told: Vec<_> = found.iter().map(|r| (r.concept.as_str(), r.estimate.value, r.study.as_str())).collect();
        assert_eq!(told, [("a", 0.75, ""), ("b", 0.25, "")]);
        assert!(found[0].estimate.ci_low.is_nan());
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let names = sorted(["layer10", "layer2", "b.1", "layer2.0"].into_iter());
        assert_eq!(names, ["b.1", "layer2", "layer2.0", "layer10"]);
    }
}
