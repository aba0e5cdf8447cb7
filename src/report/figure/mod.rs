//! The figures of a report, one file each.

mod axes;
mod bars;
mod by_layer;
mod cosine;
mod forest;
mod fp;
mod norms;
mod scatter;
mod survey;
mod trace;
mod variance;

pub(super) use forest::{kinds, with_interval};
pub use survey::survey_figures;

use super::correlation::{Correlation, TRUTH};
use super::page::{Page, Trace};
use super::row::MetricRow;
use super::select;
use crate::error::Result;

/// What a figure shows, by the start of its file's name, in the order of the page.
const CAPTIONS: [(&str, &str); 18] = [
    (
        "claim",
        "Every test with its 95 % interval: blue where it shows the claim, orange where it shows the contrary, grey where it \
         is undecided or a control.",
    ),
    (
        "depth",
        "Means over the units of a layer that real pictures move, from the first layer looked at (0) to the last (1).",
    ),
    ("size", "At the best step size of every network; transformers have a ring."),
    (
        "forest-truth",
        "Rank correlation of the cosine with the true direction with each metric, over concepts and runs: the line over all \
         kinds of probe with its interval over concepts, a dot for each kind. Metrics that are better lower are turned round \
         first.",
    ),
    (
        "scatter-truth",
        "The cosine with the true direction against each metric; one point a concept, probe and variant, the mean over runs. \
         Rank correlations are of the runs' own points.",
    ),
    (
        "fp",
        "F1. Accuracy of Classifier and FP-CAV by concept, with FP's at the recalibrated threshold and that of its degraded \
         twins. Right, the cosines of the two; outlined, F1b: what the selection of false positives alone gives.",
    ),
    ("bars", "F4. Probe by metric: normal, hard, segmentation and robustness, full beside translation-invariant."),
    ("layers", "F5. The same by layer, from left to right in the order of their names. Circles full, triangles ti."),
    (
        "scatter",
        "F6. Accuracy against alignment over concepts, probes and variants of a layer; lines across are the mean null levels. \
         Intervals of the rank correlation draw concepts.",
    ),
    (
        "concept",
        "Accuracy against alignment for this concept: a point for each layer, probe and variant; lines at points are 95 % \
         intervals, lines across the mean null levels.",
    ),
    (
        "forest",
        "F6. Rank correlation over concepts with its interval: the line over all kinds of probe, a dot for each kind. Metrics \
         that are better lower are turned round first.",
    ),
    ("cosine", "F7. Cosines between the kinds of probe."),
    (
        "norms",
        "F7. Norm of a full direction's weights by position, over their mean: white half of it, dark twice. First the mean of \
         classifiers from different draws, then each kind's one direction.",
    ),
    ("kinds", "F8. The same by kind of concept, at the last layer."),
    ("planted", "F9. Planted truth: cosine with the true direction, localisation and accuracy after edits."),
    ("variance", "Variance of unit directions over draws against the number of samples a class. One line a concept."),
    ("trace", "Objective of activation maximisation by step."),
    ("training", "Loss, held-out loss, held-out accuracy and learning rate by epoch."),
];

/// More concepts than this have no figure of their own.
const MOST_CONCEPTS: usize = 40;

/// The caption of a figure file.
pub(super) fn caption(file: &str) -> &'static str {
    CAPTIONS.iter().find(|(start, _)| file.starts_with(start)).map_or("", |c| c.1)
}

/// Draws all figures the page has numbers for, as file name and SVG text, always in the same order.
///
/// `fp.svg`, `bars.svg`, `layers.svg`; `scatter-1.svg`, …, `forest-1.svg`, …, `cosine-1.svg`, … and `norms-1.svg`, …, one a
/// layer in natural order; `concept-1.svg`, … where there are few; `kinds.svg`, `planted.svg`, `variance.svg`, `trace.svg`, `training.svg`.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn figures(page: &Page<'_>) -> Result<Vec<(String, String)>> {
    let rows = &select::by_key(page.rows);
    let layers = select::layers(rows);
    let mut all = measured(rows)?;
    for (i, layer) in layers.iter().enumerate() {
        all.add(&format!("scatter-{}.svg", i + 1), scatter::draw(rows, layer, "accuracy", &page.correlations)?);
        all.add(&format!("forest-{}.svg", i + 1), forest::draw(&page.correlations, layer, "accuracy")?);
    }
    for (i, layer) in select::sorted(page.cosines.iter().map(|m| m.layer.as_str())).iter().enumerate() {
        all.add(&format!("cosine-{}.svg", i + 1), cosine::draw(&page.cosines, layer)?);
    }
    for (i, layer) in select::sorted(page.norms.iter().map(|m| m.layer.as_str())).iter().enumerate() {
        all.add(&format!("norms-{}.svg", i + 1), norms::draw(&page.norms, layer)?);
    }
    let concepts = page.concepts();
    for (i, concept) in concepts.iter().enumerate().filter(|_| concepts.len() <= MOST_CONCEPTS) {
        all.add(&format!("concept-{}.svg", i + 1), scatter::of_concept(rows, concept)?);
    }
    all.add("kinds.svg", bars::draw(&by_kind(rows, &page.kinds), &bars::OVERVIEW)?);
    all.add("trace.svg", trace::draw(&page.traces, trace::Axis { unit: "step", first: 0 })?);
    all.add("training.svg", by_epoch(&page.training)?);
    Ok(all.0)
}

/// The figures of several runs: what was measured, and the truth against every metric, a layer each.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn compared(rows: &[MetricRow], correlations: &[Correlation]) -> Result<Vec<(String, String)>> {
    let rows = &select::by_key(rows);
    let mut all = measured(rows)?;
    let averaged = &select::over_runs(rows);
    for (i, layer) in select::layers(rows).iter().enumerate() {
        for (name, against) in [("truth", TRUTH), ("accuracy", "accuracy")] {
            all.add(&format!("forest-{name}-{}.svg", i + 1), forest::draw(correlations, layer, against)?);
            all.add(&format!("scatter-{name}-{}.svg", i + 1), scatter::draw(averaged, layer, against, correlations)?);
        }
    }
    Ok(all.0)
}

/// Figures with their file names.
struct Drawn(Vec<(String, String)>);

impl Drawn {
    fn add(&mut self, name: &str, svg: Option<String>) {
        self.0.extend(svg.map(|svg| (name.to_owned(), svg)));
    }
}

/// The figures that need the metric table alone.
fn measured(rows: &[MetricRow]) -> Result<Drawn> {
    let mut all = Drawn(Vec::new());
    let of_layer = |l: &&str| (l.to_string(), rows.iter().filter(|r| r.layer == *l).cloned().collect());
    let panels: Vec<(String, Vec<MetricRow>)> = select::layers(rows).iter().map(of_layer).collect();
    all.add("fp.svg", fp::draw(rows)?);
    all.add("bars.svg", bars::draw(&panels, &bars::OVERVIEW)?);
    all.add("layers.svg", by_layer::draw(rows)?);
    if rows.iter().any(|r| r.metric == TRUTH) {
        all.add("planted.svg", bars::draw(&panels, &bars::PLANTED)?);
    }
    all.add("variance.svg", variance::draw(rows)?);
    Ok(all)
}

/// The rows of the last layer by kind of concept; none with a single kind.
fn by_kind(rows: &[MetricRow], kinds: &[(String, String)]) -> Vec<(String, Vec<MetricRow>)> {
    let names = select::sorted(kinds.iter().map(|k| k.1.as_str()));
    let last = select::layers(rows).last().map(ToString::to_string).unwrap_or_default();
    if names.len() < 2 {
        return Vec::new();
    }
    let of = |kind: &&str| {
        let concepts: Vec<&str> = kinds.iter().filter(|k| k.1 == *kind).map(|k| k.0.as_str()).collect();
        let own = rows.iter().filter(|r| r.layer == last && concepts.contains(&r.concept.as_str()));
        (format!("{kind}: {}", concepts.join(", ")), own.cloned().collect())
    };
    names.iter().map(of).collect()
}

/// Draws numbers by epoch, a panel each, as an SVG text; none where there is nothing to draw.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn by_epoch(traces: &[Trace]) -> Result<Option<String>> {
    trace::draw(traces, trace::Axis { unit: "epoch", first: 1 })
}
