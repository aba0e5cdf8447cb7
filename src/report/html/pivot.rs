//! The headline numbers of one concept: a line a layer, probe and variant, a column a metric.

use serde::Serialize;

use super::super::info::{is_null, metric_info, metric_short, probe_label};
use super::super::page::Refusal;
use super::super::plot::short_number;
use super::super::row::MetricRow;
use super::super::select::{headline, layers, series, summarise};
use super::metrics::{bounds, reason};
use crate::metric::Estimate;

/// The columns; a metric without rows has none. First accuracy, then what it is taken to stand for.
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

/// The table of one concept.
#[derive(Debug, Serialize)]
pub(super) struct Pivot {
    columns: Vec<Column>,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Column {
    short: String,
    explanation: &'static str,
}

#[derive(Debug, Serialize)]
struct Line {
    layer: String,
    /// First line of a layer, and the number of its lines.
    span: Option<usize>,
    probe: String,
    variant: String,
    /// Its class in the style sheet: of a layer's first line, and of a probe without a concept.
    kind: &'static str,
    cells: Vec<Cell>,
    /// Why some of the cells are not defined.
    reason: String,
}

/// One number.
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

/// The table of the rows of one concept.
pub(super) fn pivot(rows: &[MetricRow], refusals: &[Refusal]) -> Pivot {
    let shown: Vec<&str> = SHOWN.into_iter().filter(|m| rows.iter().any(|r| r.metric == *m)).collect();
    let column = |m: &&str| Column {
        short: metric_short(m).to_owned(),
        explanation: metric_info(m).map_or("", |i| i.explanation),
    };
    let picked: Vec<Vec<&MetricRow>> = shown.iter().map(|m| headline(rows, m)).collect();
    let of_layer = |layer: &str| {
        let own: Vec<&MetricRow> =
            rows.iter().filter(|r| r.layer == layer && shown.contains(&r.metric.as_str())).collect();
        let all = series(own.iter().copied());
        let line = |(i, (probe, variant)): (usize, &(&str, &str))| {
            let same = |r: &&&MetricRow| r.layer == layer && r.probe == *probe && r.variant == *variant;
            let cell = |(metric, of_metric): (&&str, &Vec<&MetricRow>)| {
                let values: Vec<&MetricRow> = of_metric.iter().filter(same).copied().collect();
                // Asked for and not defined is not the same as not measured.
                let asked = own.iter().filter(same).find(|r| r.metric == *metric).copied();
                cell(refusals, &values, asked)
            };
            let cells: Vec<Cell> = shown.iter().zip(&picked).map(cell).collect();
            Line {
                reason: cells.iter().map(|c| c.reason.as_str()).find(|r| !r.is_empty()).unwrap_or_default().to_owned(),
                layer: layer.to_owned(),
                span: (i == 0).then_some(all.len()),
                probe: probe_label(probe).to_owned(),
                variant: (*variant).to_owned(),
                kind: match (i == 0, is_null(probe)) {
                    (true, true) => "start nullprobe",
                    (true, false) => "start",
                    (false, true) => "nullprobe",
                    (false, false) => "",
                },
                cells,
            }
        };
        all.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    Pivot { columns: shown.iter().map(column).collect(), lines: layers(rows).into_iter().flat_map(of_layer).collect() }
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
