//! The metric tables: headline numbers by probe, and every row below them.

use serde::Serialize;

use super::super::finding::interval;
use super::super::info::{
    OF_CEILING, is_null, metric_info, metric_label, metric_order, metric_short, probe_label, probe_order,
};
use super::super::page::Refusal;
use super::super::plot::short_number;
use super::super::row::MetricRow;
use super::super::select::{headline, layers, natural, series, sorted, summarise};
use super::late::{Packed, packed};
use crate::metric::Estimate;

/// Columns of the short table; a metric without rows has none.
const SHOWN: [&str; 11] = [
    "accuracy",
    "auroc",
    "hard_h1",
    "hard_h2",
    "hard_h3",
    "seg_auroc",
    "seg_iou",
    "retention",
    "icc",
    "direction_cosine",
    "seed_stability",
];

/// A page with more numbers than this makes its tables when they are opened.
const MOST_WRITTEN: usize = 20_000;

/// The numbers of one layer.
#[derive(Debug, Serialize)]
pub(super) struct LayerTable {
    layer: String,
    columns: Vec<Column>,
    lines: Vec<Line>,
    /// How many numbers there are.
    count: usize,
    /// The numbers, unless they are packed.
    all: Vec<Full>,
    packed: Option<Packed>,
}

#[derive(Debug, Serialize)]
struct Column {
    short: String,
    explanation: &'static str,
}

#[derive(Debug, Serialize)]
struct Line {
    concept: String,
    /// First line of a concept, and the number of its lines.
    span: Option<usize>,
    probe: String,
    variant: String,
    null_probe: bool,
    cells: Vec<Cell>,
    /// Why some of the cells are not defined.
    reason: String,
}

/// One number of the short table.
#[derive(Debug, Default, Serialize)]
struct Cell {
    value: String,
    interval: String,
    null: String,
    /// The interval includes the null level.
    at_null: bool,
    undefined: bool,
    #[serde(skip)]
    reason: String,
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
    let late = rows.len() > MOST_WRITTEN;
    layers(rows)
        .into_iter()
        .map(|layer| {
            let rows: Vec<MetricRow> = rows.iter().filter(|r| r.layer == layer).cloned().collect();
            let shown: Vec<&str> = SHOWN.into_iter().filter(|m| rows.iter().any(|r| r.metric == *m)).collect();
            let column = |m: &&str| Column {
                short: metric_short(m).to_owned(),
                explanation: metric_info(m).map_or("", |i| i.explanation),
            };
            let all = all(refusals, &rows);
            let packed = late.then(|| packed(&all.iter().map(Full::cells).collect::<Vec<_>>()));
            LayerTable {
                layer: layer.to_owned(),
                columns: shown.iter().map(column).collect(),
                lines: lines(refusals, &rows, &shown),
                count: all.len(),
                all: if late { Vec::new() } else { all },
                packed,
            }
        })
        .collect()
}

fn lines(refusals: &[Refusal], rows: &[MetricRow], shown: &[&str]) -> Vec<Line> {
    // Picked once a metric, and once a concept: a table has thousands of rows.
    let picked: Vec<Vec<&MetricRow>> = shown.iter().map(|m| headline(rows, m)).collect();
    let mut out = Vec::new();
    for concept in sorted(rows.iter().map(|r| r.concept.as_str())) {
        let of_concept: Vec<&MetricRow> = rows.iter().filter(|r| r.concept == concept).collect();
        let picked: Vec<Vec<&MetricRow>> = picked
            .iter()
            .map(|of_metric| of_metric.iter().copied().filter(|r| r.concept == concept).collect())
            .collect();
        let all = series(of_concept.iter().copied().filter(|r| shown.contains(&r.metric.as_str())));
        for (i, (probe, variant)) in all.iter().enumerate() {
            let own = |r: &&&MetricRow| r.probe == *probe && r.variant == *variant;
            let cell = |(metric, of_metric): (&&str, &Vec<&MetricRow>)| {
                let values: Vec<&MetricRow> = of_metric.iter().filter(own).copied().collect();
                // Asked for and not defined is not the same as not measured.
                let asked = of_concept.iter().filter(own).find(|r| r.metric == *metric).copied();
                cell(refusals, &values, asked)
            };
            let cells: Vec<Cell> = shown.iter().zip(&picked).map(cell).collect();
            out.push(Line {
                reason: cells.iter().map(|c| c.reason.as_str()).find(|r| !r.is_empty()).unwrap_or_default().to_owned(),
                concept: concept.to_owned(),
                span: (i == 0).then_some(all.len()),
                probe: probe_label(probe).to_owned(),
                variant: (*variant).to_owned(),
                null_probe: is_null(probe),
                cells,
            });
        }
    }
    out
}

fn cell(refusals: &[Refusal], rows: &[&MetricRow], asked: Option<&MetricRow>) -> Cell {
    let Some(summary) = summarise(rows) else {
        let Some(row) = asked else { return Cell::default() };
        return Cell { value: "n/a".to_owned(), undefined: true, reason: reason(refusals, row), ..Cell::default() };
    };
    let level = if rows.iter().any(|r| r.estimate.has_ceiling()) { "network" } else { "null" };
    let null = summary.null.map(|n| format!("{level} {}", short_number(n))).unwrap_or_default();
    let value = short_number(summary.mean);
    let [row] = rows else {
        let interval = format!("mean of {}", rows.len());
        return Cell { value, interval, null, ..Cell::default() };
    };
    let e = &row.estimate;
    Cell { value, interval: bounds(e, short_number), null, at_null: includes_null(e), ..Cell::default() }
}

fn includes_null(e: &Estimate) -> bool {
    !e.has_ceiling() && e.null.is_finite() && e.ci_low <= e.null && e.null <= e.ci_high
}

fn bounds(e: &Estimate, text: fn(f64) -> String) -> String {
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
fn reason(refusals: &[Refusal], row: &MetricRow) -> String {
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
