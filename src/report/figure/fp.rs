//! F1: the accuracy of Classifier and FP-CAV by concept, and their cosines, with what selection alone gives beside both.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::plot::{Area, INK, MUTED, block, bold, failed, fitted, line, pale, probe_colour, svg, text, write};
use super::super::row::MetricRow;
use super::super::select::{layers, natural, sorted};
use super::axes::{Frame, range};
use crate::error::Result;

const WIDTH: i32 = 1180;
const LABELS: i32 = 170;
const LINE: i32 = 18;
const TOP: i32 = 74;
const BELOW: i32 = 46;
const LEAST: i32 = 120;
const BINS: usize = 20;

/// What is shown of one concept.
#[derive(Default)]
struct Line {
    classifier: Option<f64>,
    fp: Option<f64>,
    recalibrated: Option<f64>,
    /// Accuracy of the degraded twins.
    twin: Option<f64>,
    cosine: Option<f64>,
    /// Cosine that selection alone gives.
    null: Option<f64>,
}

/// The figure, or none without an FP-CAV.
pub(super) fn draw(rows: &[MetricRow]) -> Result<Option<String>> {
    let mut panels = Vec::new();
    for layer in layers(rows) {
        for variant in sorted(rows.iter().filter(|r| r.layer == layer).map(|r| r.variant.as_str())) {
            let lines = lines(rows, layer, variant);
            if lines.values().any(|l| l.fp.is_some()) {
                panels.push((format!("{layer} · {variant}"), lines));
            }
        }
    }
    let heights: Vec<i32> = panels.iter().map(|(_, l)| TOP + (LINE * l.len() as i32).max(LEAST) + BELOW).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let image = svg(WIDTH, heights.iter().sum(), |root| {
        let mut top = 0;
        for ((title, lines), height) in panels.iter().zip(&heights) {
            write(root, title, (12, top + 16), &bold(15, INK, HPos::Left, VPos::Center))?;
            draw_accuracy(root, lines, top)?;
            draw_cosines(root, lines, top, height - TOP - BELOW)?;
            top += height;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

/// The concepts of a layer and variant; the mean over seeds and studies where there are several.
fn lines(rows: &[MetricRow], layer: &str, variant: &str) -> BTreeMap<Natural, Line> {
    let mean = |concept: &str, probe: &str, metric: &str, parameter: &str, of: fn(&MetricRow) -> f64| {
        let same = |r: &&MetricRow| {
            (r.layer.as_str(), r.variant.as_str(), r.concept.as_str(), r.probe.as_str())
                == (layer, variant, concept, probe)
                && (r.metric.as_str(), r.parameter.as_str()) == (metric, parameter)
        };
        let found: Vec<f64> = rows.iter().filter(same).map(of).filter(|v| v.is_finite()).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    };
    let value = |r: &MetricRow| r.estimate.value;
    let concepts = sorted(rows.iter().filter(|r| r.layer == layer && r.variant == variant).map(|r| r.concept.as_str()));
    let line = |concept: &&str| {
        let fp = mean(concept, "fp", "accuracy", "", value);
        let excess = mean(concept, "fp", "excess_over_twin", "", value);
        Line {
            classifier: mean(concept, "classifier", "accuracy", "", value),
            recalibrated: mean(concept, "fp", "accuracy", "calibrated", value),
            twin: fp.zip(excess).map(|(fp, excess)| fp - excess),
            cosine: mean(concept, "fp", "cos_classifier", "", value),
            null: mean(concept, "fp", "cos_classifier", "", |r| r.estimate.null),
            fp,
        }
    };
    concepts.iter().map(|c| (Natural((*c).to_owned()), line(c))).collect()
}

/// A name in natural order.
#[derive(PartialEq, Eq)]
struct Natural(String);

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        natural(&self.0, &other.0)
    }
}

fn draw_accuracy(root: &Area<'_>, lines: &BTreeMap<Natural, Line>, top: i32) -> Result<()> {
    let all = lines.values().flat_map(|l| [l.classifier, l.fp, l.recalibrated, l.twin]).flatten();
    let (low, high) = range(all);
    let frame = Frame {
        at: (LABELS, top + TOP),
        size: (430, LINE * lines.len() as i32),
        x: (low.min(0.4), high.max(1.0)),
        y: (0.0, 1.0),
    };
    frame.draw_x(root)?;
    let (classifier, fp) = (probe_colour("classifier"), probe_colour("fp"));
    let mut legend = LABELS;
    for (label, colour, filled) in [
        ("Classifier", classifier, true),
        ("FP", fp, true),
        ("FP, recalibrated", fp, false),
        ("degraded twin", MUTED, true),
    ] {
        dot(root, (legend, top + 52), colour, filled)?;
        write(root, label, (legend + 10, top + 52), &text(12, INK, HPos::Left, VPos::Center))?;
        legend += 34 + 7 * label.len() as i32;
    }
    write(root, "accuracy", (LABELS, top + 34), &text(13, MUTED, HPos::Left, VPos::Center))?;
    for (i, (Natural(name), of)) in lines.iter().enumerate() {
        let y = frame.at.1 + LINE * i as i32 + LINE / 2;
        let name = fitted(name, 12, LABELS - 20);
        write(root, &name, (LABELS - 10, y), &text(12, INK, HPos::Right, VPos::Center))?;
        if let (Some(a), Some(b)) = (of.classifier, of.fp) {
            line(root, (frame.x(a), y), (frame.x(b), y), pale(INK, 0.6))?;
        }
        for (value, colour, filled) in
            [(of.twin, MUTED, true), (of.recalibrated, fp, false), (of.classifier, classifier, true), (of.fp, fp, true)]
        {
            if let Some(value) = value {
                dot(root, (frame.x(value), y), colour, filled)?;
            }
        }
    }
    Ok(())
}

fn dot(root: &Area<'_>, at: (i32, i32), colour: RGBColor, filled: bool) -> Result<()> {
    let fill = if filled { pale(colour, 0.2) } else { WHITE };
    root.draw(&Circle::new(at, 4, fill.filled())).map_err(failed)?;
    root.draw(&Circle::new(at, 4, colour)).map_err(failed)
}

/// Histograms of the cosines (filled) and of what selection alone gives (outlined).
fn draw_cosines(root: &Area<'_>, lines: &BTreeMap<Natural, Line>, top: i32, height: i32) -> Result<()> {
    let column = |f: fn(&Line) -> Option<f64>| lines.values().filter_map(f).collect::<Vec<f64>>();
    let (found, null) = (column(|l| l.cosine), column(|l| l.null));
    let low = if found.iter().chain(&null).any(|v| *v < 0.0) { -1.0 } else { 0.0 };
    let count = |values: &[f64]| {
        let mut bins = [0usize; BINS];
        let bin = |v: &f64| (((v - low) / (1.0 - low) * BINS as f64) as usize).min(BINS - 1);
        values.iter().for_each(|v| bins[bin(v)] += 1);
        bins
    };
    let (found, null) = (count(&found), count(&null));
    let most = found.iter().chain(&null).max().copied().unwrap_or(0).max(1);
    let frame = Frame { at: (690, top + TOP), size: (450, height), x: (low, 1.0), y: (0.0, most as f64) };
    frame.draw_x(root)?;
    let edge = |i: usize| frame.x(low + (1.0 - low) * i as f64 / BINS as f64);
    for i in 0..BINS {
        let (left, right, bottom) = (edge(i) + 1, edge(i + 1) - 1, frame.end().1);
        if found[i] > 0 {
            block(root, (left, frame.y(found[i] as f64)), (right, bottom), pale(probe_colour("fp"), 0.35))?;
        }
        if null[i] > 0 {
            let outline = [(left, frame.y(null[i] as f64)), (right, bottom)];
            root.draw(&Rectangle::new(outline, INK.stroke_width(2))).map_err(failed)?;
        }
    }
    let title = "cosine of FP with the classifier";
    write(root, title, (690, top + 34), &text(13, MUTED, HPos::Left, VPos::Center))?;
    block(root, (690, top + 47), (702, top + 57), pale(probe_colour("fp"), 0.35))?;
    write(root, "found", (708, top + 52), &text(12, INK, HPos::Left, VPos::Center))?;
    root.draw(&Rectangle::new([(770, top + 47), (782, top + 57)], INK.stroke_width(2))).map_err(failed)?;
    write(root, "selection null (F1b)", (788, top + 52), &text(12, INK, HPos::Left, VPos::Center))?;
    write(root, &format!("0 to {most} concepts"), (1140, top + 52), &text(12, MUTED, HPos::Right, VPos::Center))
}
