//! Every number: a long table a layer, and that of the false positives.

use serde::Serialize;

use super::super::finding::interval;
use super::super::info::{OF_CEILING, metric_label, metric_order, probe_label, probe_order};
use super::super::page::Refusal;
use super::super::plot::short_number;
use super::super::row::MetricRow;
use super::super::select::{headline, layers, natural};
use super::late::{Packed, is_long, packed};
use crate::metric::Estimate;

/// The numbers of one layer.
#[derive(Debug, Serialize)]
pub(super) struct LayerTable {
    layer: String,
    /// How many numbers there are.
    count: usize,
    /// The numbers, unless they are packed.
    all: Vec<Full>,
    packed: Option<Packed>,
}

/// One row of the long table.
#[derive(Debug, Serialize)]
struct Full {
    concept: String,
    probe: String,
    variant: String,
    seed: u64,
    split: String,
    metric: String,
    name: String,
    parameter: String,
    value: String,
    /// For sorting.
    raw: String,
    interval: String,
    null: String,
    null_kind: String,
    n: usize,
    better: &'static str,
    reason: String,
}

impl Full {
    /// The row's cells in the order of the columns; why a number is not defined, refusals tell.
    fn cells(&self) -> [String; 13] {
        let (n, seed) = (self.n.to_string(), self.seed.to_string());
        let text = String::clone;
        [
            text(&self.concept),
            text(&self.probe),
            text(&self.variant),
            text(&self.metric),
            text(&self.parameter),
            text(&self.value),
            text(&self.interval),
            text(&self.null),
            text(&self.null_kind),
            n,
            self.better.to_owned(),
            text(&self.split),
            seed,
        ]
    }
}

/// A cosine with its selection null, and the accuracies that belong beside it.
#[derive(Debug, Serialize)]
pub(super) struct FpCosine {
    layer: String,
    concept: String,
    variant: String,
    accuracy: String,
    recalibrated: String,
    excess: String,
    cured: String,
    cosine: String,
    null: String,
    null_kind: String,
    n: usize,
}

/// The cosines of the FP probe with the classifier, each beside its null.
pub(super) fn fp_cosines(rows: &[MetricRow]) -> Vec<FpCosine> {
    let mut picked: Vec<&MetricRow> =
        headline(rows, "cos_classifier").into_iter().filter(|r| r.probe == "fp").collect();
    picked.sort_by(|a, b| {
        natural(&a.layer, &b.layer)
            .then_with(|| natural(&a.concept, &b.concept))
            .then_with(|| a.variant.cmp(&b.variant))
    });
    let near: Vec<&MetricRow> = rows.iter().filter(|r| ["fp", "cured"].contains(&r.probe.as_str())).collect();
    let beside = |r: &MetricRow, probe: &str, metric: &str, parameter: &str| {
        let same = |o: &&MetricRow| {
            (&o.layer, &o.concept, &o.variant, o.seed) == (&r.layer, &r.concept, &r.variant, r.seed)
                && (o.probe.as_str(), o.metric.as_str(), o.parameter.as_str()) == (probe, metric, parameter)
        };
        near.iter().copied().find(same).map(|o| interval(&o.estimate)).unwrap_or_default()
    };
    picked
        .into_iter()
        .map(|r| FpCosine {
            layer: r.layer.clone(),
            concept: r.concept.clone(),
            variant: r.variant.clone(),
            accuracy: beside(r, "fp", "accuracy", ""),
            recalibrated: beside(r, "fp", "accuracy", "calibrated"),
            excess: beside(r, "fp", "excess_over_twin", ""),
            cured: beside(r, "cured", "accuracy", "calibrated"),
            cosine: interval(&r.estimate),
            null: defined(r.estimate.null, short_number).unwrap_or_else(|| "not measured".to_owned()),
            null_kind: r.estimate.null_kind.clone(),
            n: r.estimate.n,
        })
        .collect()
}

/// A table for each layer.
pub(super) fn layer_tables(rows: &[MetricRow], refusals: &[Refusal]) -> Vec<LayerTable> {
    let late = is_long(rows);
    layers(rows)
        .into_iter()
        .map(|layer| {
            let rows: Vec<MetricRow> = rows.iter().filter(|r| r.layer == layer).cloned().collect();
            let all = all(refusals, &rows);
            let packed = late.then(|| packed(&all.iter().map(Full::cells).collect::<Vec<_>>()));
            LayerTable { layer: layer.to_owned(), count: all.len(), all: if late { Vec::new() } else { all }, packed }
        })
        .collect()
}

pub(super) fn bounds(e: &Estimate, text: fn(f64) -> String) -> String {
    if e.ci_low.is_finite() && e.ci_high.is_finite() {
        return format!("[{}, {}]", text(e.ci_low), text(e.ci_high));
    }
    String::new()
}

fn all(refusals: &[Refusal], rows: &[MetricRow]) -> Vec<Full> {
    let mut rows: Vec<&MetricRow> = rows.iter().collect();
    rows.sort_by(|a, b| {
        natural(&a.concept, &b.concept)
            .then_with(|| {
                (probe_order(&a.probe), &a.probe, &a.variant).cmp(&(probe_order(&b.probe), &b.probe, &b.variant))
            })
            .then_with(|| (metric_order(&a.metric), &a.metric).cmp(&(metric_order(&b.metric), &b.metric)))
            .then_with(|| natural(&a.parameter, &b.parameter))
            .then_with(|| (&a.split, a.seed, &a.study, &a.model).cmp(&(&b.split, b.seed, &b.study, &b.model)))
    });
    rows.into_iter().map(|r| full(refusals, r)).collect()
}

fn full(refusals: &[Refusal], r: &MetricRow) -> Full {
    let e = &r.estimate;
    let value = defined(e.value, number);
    Full {
        concept: r.concept.clone(),
        probe: probe_label(&r.probe).to_owned(),
        variant: r.variant.clone(),
        seed: r.seed,
        split: r.split.clone(),
        metric: metric_label(&r.metric).to_owned(),
        name: r.metric.clone(),
        parameter: if r.parameter == OF_CEILING { "share of ceiling".to_owned() } else { r.parameter.clone() },
        raw: defined(e.value, |v| v.to_string()).unwrap_or_default(),
        reason: if value.is_none() { reason(refusals, r) } else { String::new() },
        value: value.unwrap_or_else(|| "n/a".to_owned()),
        interval: bounds(e, number),
        null: defined(e.null, number).unwrap_or_default(),
        null_kind: e.null_kind.clone(),
        n: e.n,
        better: if r.higher_is_better { "higher" } else { "lower" },
    }
}

/// Why a number is not defined, as far as the page knows.
pub(super) fn reason(refusals: &[Refusal], row: &MetricRow) -> String {
    let refused = refusals
        .iter()
        .find(|r| (&r.layer, &r.concept, &r.probe, &r.variant) == (&row.layer, &row.concept, &row.probe, &row.variant));
    match refused {
        Some(refusal) => refusal.reason.clone(),
        None if row.estimate.n == 0 => "no samples to measure it on".to_owned(),
        None => String::new(),
    }
}

fn defined(value: f64, text: impl Fn(f64) -> String) -> Option<String> {
    value.is_finite().then(|| text(value))
}

/// Three decimals; whole numbers without any, very small and large ones with an exponent.
fn number(value: f64) -> String {
    let size = value.abs();
    let text = if value.fract() == 0.0 && size < 1e7 {
        format!("{value:.0}")
    } else if (0.0005..10_000.0).contains(&size) {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 12.0, 0.123_45, -0.5, 1.234e-7, 123_456.7].map(number),
            ["0", "12", "0.123", "−0.500", "1.2e−7", "1.2e5"]
        );
    }
}
