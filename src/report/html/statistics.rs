//! The tables of comparisons and correlations.

use serde::Serialize;

use super::super::comparison::Comparison;
use super::super::correlation::Correlation;
use super::super::finding::p_value;
use super::super::info::{metric_label, probe_label};
use super::super::plot::short_number;

/// More comparisons than this are not put on the page.
const MOST: usize = 400;

/// The comparisons that the page shows.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    lines: Vec<Line>,
    /// How many there are in all, in the csv.
    all: usize,
    several_runs: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    layer: String,
    metric: String,
    first: String,
    second: String,
    difference: String,
    interval: String,
    within: String,
    p: String,
    p_holm: String,
    effect: String,
    n: usize,
    holds: bool,
}

/// Comparisons over concepts; where there are many, those with the Classifier-CAV and between variants, as far as there is
/// room.
pub(super) fn compared(comparisons: &[Comparison]) -> Compared {
    let over_concepts = || comparisons.iter().filter(|c| c.concept.is_empty());
    let mut shown: Vec<&Comparison> = over_concepts().collect();
    if shown.len() > MOST {
        shown.retain(|c| c.probe_a == "classifier" || c.probe_a == c.probe_b);
        shown.truncate(MOST);
    }
    Compared {
        lines: shown.into_iter().map(line).collect(),
        all: comparisons.len(),
        several_runs: over_concepts().any(|c| c.runs > 1),
    }
}

fn line(c: &Comparison) -> Line {
    let side = |probe: &str, variant: &str| format!("{}, {variant}", probe_label(probe));
    let p = |p: f64| if p.is_finite() { p_value(p) } else { String::new() };
    Line {
        layer: c.layer.clone(),
        metric: metric_label(&c.metric).to_owned(),
        first: side(&c.probe_a, &c.variant_a),
        second: side(&c.probe_b, &c.variant_b),
        difference: number(c.difference),
        interval: bounds(c.ci_low, c.ci_high),
        within: bounds(c.within_low, c.within_high),
        p: p(c.p),
        p_holm: p(c.p_holm),
        effect: number(c.effect),
        n: c.n,
        holds: c.holds(),
    }
}

/// One correlation.
#[derive(Debug, Serialize)]
pub(super) struct Correlated {
    layer: String,
    variant: String,
    probe: String,
    metric: String,
    rho: String,
    interval: String,
    within: String,
    gain: String,
    concepts: usize,
    runs: usize,
    points: usize,
    /// Over all kinds of probe.
    pooled: bool,
    /// The interval leaves zero out.
    shown: bool,
}

/// The correlations with one metric.
pub(super) fn correlated(correlations: &[Correlation], against: &str) -> Vec<Correlated> {
    let one = |c: &Correlation| Correlated {
        layer: c.layer.clone(),
        variant: if c.variant.is_empty() { "both".to_owned() } else { c.variant.clone() },
        probe: if c.probe.is_empty() { "all kinds".to_owned() } else { probe_label(&c.probe).to_owned() },
        metric: metric_label(&c.metric).to_owned(),
        rho: number(c.rho),
        interval: bounds(c.ci_low, c.ci_high),
        within: bounds(c.within_low, c.within_high),
        gain: [number(c.gain), bounds(c.gain_low, c.gain_high)].join(" ").trim().to_owned(),
        concepts: c.concepts,
        runs: c.runs,
        points: c.points,
        pooled: c.probe.is_empty(),
        shown: c.ci_low > 0.0 || c.ci_high < 0.0,
    };
    correlations.iter().filter(|c| c.against == against && c.rho.is_finite()).map(one).collect()
}

fn number(value: f64) -> String {
    if value.is_finite() { short_number(value) } else { String::new() }
}

fn bounds(low: f64, high: f64) -> String {
    if low.is_finite() && high.is_finite() {
        return format!("[{}, {}]", short_number(low), short_number(high));
    }
    String::new()
}
