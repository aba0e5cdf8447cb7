//! One metric against the alignment metrics, a panel each, with a point for each concept, probe and variant of one layer:
//! accuracy against what it is taken to stand for, or the truth against what is to tell of it.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::correlation::Correlation;
use super::super::info::{ALIGNMENT, is_null, metric_label, metric_short, probe_label};
use super::super::plot::{Area, INK, MUTED, bold, failed, line, pale, probe_colour, svg, text, text_width, write};
use super::super::row::MetricRow;
use super::super::select::{Series, headline, series};
use super::axes::{Frame, range};
use super::forest::with_interval;
use crate::error::Result;
use crate::metric::Estimate;

const WIDTH: i32 = 1180;
const COLUMNS: i32 = 3;
const CELL: i32 = WIDTH / COLUMNS;
const PANEL: i32 = 348;
const LEFT: i32 = 58;
const TOP: i32 = 48;
const PLOT_W: i32 = CELL - LEFT - 18;
const PLOT_H: i32 = PANEL - TOP - 54;

/// The colour of null levels.
const NULL: RGBColor = RGBColor(120, 126, 136);

/// The metrics of a concept's own figure.
const OF_CONCEPT: [&str; 6] = ["hard_h3", "hard_h2", "seg_auroc", "seg_iou", "icc", "direction_cosine"];

/// One layer, concept, probe and variant.
struct Point<'a> {
    series: Series<'a>,
    x: &'a Estimate,
    y: &'a Estimate,
}

/// One alignment metric.
struct Panel<'a> {
    metric: &'a str,
    against: &'a str,
    remark: String,
    points: Vec<Point<'a>>,
}

fn points<'a>(rows: &'a [MetricRow], against: &str, metric: &str) -> Vec<Point<'a>> {
    let key = |r: &'a MetricRow| (&r.study, &r.model, &r.layer, &r.concept, &r.probe, &r.variant, r.seed);
    let across: BTreeMap<_, &Estimate> = headline(rows, against).into_iter().map(|r| (key(r), &r.estimate)).collect();
    headline(rows, metric)
        .into_iter()
        .filter_map(|r| {
            let x = across.get(&key(r))?;
            Some(Point { series: (&r.probe, &r.variant), x, y: &r.estimate })
        })
        .collect()
}

/// The figure of one layer, with `against` across, or none where no metric has two points. `correlations` may have the
/// rank correlation of a panel.
pub(super) fn draw(
    rows: &[MetricRow],
    layer: &str,
    against: &str,
    correlations: &[Correlation],
) -> Result<Option<String>> {
    let own: Vec<MetricRow> = rows.iter().filter(|r| r.layer == layer).cloned().collect();
    let all = |c: &&Correlation| c.layer == layer && c.variant.is_empty() && c.probe.is_empty();
    let of_layer: Vec<&Correlation> = correlations.iter().filter(all).filter(|c| c.against == against).collect();
    let metrics: Vec<&str> = std::iter::once("accuracy").chain(ALIGNMENT).filter(|m| *m != against).collect();
    drawn(&own, layer, against, &metrics, &|metric| {
        let rho = of_layer.iter().find(|c| c.metric == metric);
        rho.map_or("rank correlation n/a".to_owned(), |c| {
            format!("rank correlation {}, {} concepts", with_interval(c), c.concepts)
        })
    })
}

/// The figure of one concept: accuracy across, a point for each layer, probe and variant.
pub(super) fn of_concept(rows: &[MetricRow], concept: &str) -> Result<Option<String>> {
    let own: Vec<MetricRow> = rows.iter().filter(|r| r.concept == concept).cloned().collect();
    drawn(&own, concept, "accuracy", &OF_CONCEPT, &|_| String::new())
}

/// A panel for each alignment metric; `remark` stands below a panel's title.
fn drawn(
    rows: &[MetricRow],
    title: &str,
    against: &str,
    metrics: &[&str],
    remark: &dyn Fn(&str) -> String,
) -> Result<Option<String>> {
    let panels: Vec<Panel<'_>> = metrics
        .iter()
        .map(|metric| Panel { metric, against, remark: remark(metric), points: points(rows, against, metric) })
        .filter(|p| p.points.len() >= 2)
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let shown = series(rows.iter());
    let lines = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let head = legend(&shown).last().map_or(0, |l| l.1.1) + 20;
    let image = svg(WIDTH, head + PANEL * lines, |root| {
        draw_head(root, title, &shown)?;
        for (i, panel) in panels.iter().enumerate() {
            let at = (i as i32 % COLUMNS * CELL, head + i as i32 / COLUMNS * PANEL);
            draw_panel(root, panel, at)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_head(root: &Area<'_>, title: &str, drawn: &[Series<'_>]) -> Result<()> {
    write(root, title, (12, 16), &bold(15, INK, HPos::Left, VPos::Center))?;
    for (probe, at) in legend(drawn) {
        mark(root, at, (probe, "full"))?;
        write(root, probe_label(probe), (at.0 + 11, at.1), &text(13, INK, HPos::Left, VPos::Center))?;
    }
    let mut x = WIDTH - 130;
    for (variant, label) in [("full", "full"), ("ti", "ti")] {
        shape(root, (x, 16), variant, MUTED, WHITE)?;
        write(root, label, (x + 11, 16), &text(13, MUTED, HPos::Left, VPos::Center))?;
        x += text_width(label, 13) + 32;
    }
    Ok(())
}

/// The probes and where each stands in the head.
fn legend<'a>(drawn: &[Series<'a>]) -> Vec<(&'a str, (i32, i32))> {
    let mut probes: Vec<&str> = drawn.iter().map(|s| s.0).collect();
    probes.dedup();
    let (mut x, mut y) = (18, 42);
    let mut out = Vec::new();
    for probe in probes {
        let width = text_width(probe_label(probe), 13) + 34;
        if x + width > WIDTH {
            (x, y) = (18, y + 22);
        }
        out.push((probe, (x, y)));
        x += width;
    }
    out
}

fn draw_panel(root: &Area<'_>, panel: &Panel<'_>, (left, top): (i32, i32)) -> Result<()> {
    let nulls = (null(panel.points.iter().map(|p| p.x)), null(panel.points.iter().map(|p| p.y)));
    let frame = Frame {
        at: (left + LEFT, top + TOP),
        size: (PLOT_W, PLOT_H),
        x: range(panel.points.iter().map(|p| p.x.value).chain(nulls.0)),
        y: range(panel.points.iter().map(|p| p.y.value).chain(nulls.1)),
    };
    frame.draw_x(root)?;
    frame.draw_y(root)?;
    draw_nulls(root, nulls, &frame)?;
    for p in &panel.points {
        let faint = pale(probe_colour(p.series.0), 0.6);
        let (x, y) = (frame.x(p.x.value), frame.y(p.y.value));
        if p.x.ci_low.is_finite() && p.x.ci_high.is_finite() {
            line(root, (frame.x(p.x.ci_low), y), (frame.x(p.x.ci_high), y), faint)?;
        }
        if p.y.ci_low.is_finite() && p.y.ci_high.is_finite() {
            line(root, (x, frame.y(p.y.ci_low)), (x, frame.y(p.y.ci_high)), faint)?;
        }
    }
    for p in &panel.points {
        mark(root, (frame.x(p.x.value), frame.y(p.y.value)), p.series)?;
    }
    write(root, metric_label(panel.metric), (left + LEFT, top + 8), &bold(13, INK, HPos::Left, VPos::Top))?;
    write(root, &panel.remark, (left + LEFT, top + 26), &text(12, MUTED, HPos::Left, VPos::Top))?;
    let middle = left + LEFT + PLOT_W / 2;
    let below = text(12, INK, HPos::Center, VPos::Top);
    write(root, metric_short(panel.against), (middle, top + TOP + PLOT_H + 28), &below)
}

/// Where the two numbers would be with nothing to find.
fn draw_nulls(root: &Area<'_>, (x, y): (Option<f64>, Option<f64>), frame: &Frame) -> Result<()> {
    let ((left, top), (right, bottom)) = (frame.at, frame.end());
    if let Some(x) = x.map(|null| frame.x(null)) {
        line(root, (x, top), (x, bottom), NULL)?;
    }
    if let Some(y) = y.map(|null| frame.y(null)) {
        line(root, (left, y), (right, y), NULL)?;
        write(root, "null", (right, y - 3), &text(11, MUTED, HPos::Right, VPos::Bottom))?;
    }
    Ok(())
}

/// The mean null level; a ceiling is none.
fn null<'a>(of: impl Iterator<Item = &'a Estimate>) -> Option<f64> {
    let nulls: Vec<f64> = of.filter(|e| !e.has_ceiling() && e.null.is_finite()).map(|e| e.null).collect();
    (!nulls.is_empty()).then(|| nulls.iter().sum::<f64>() / nulls.len() as f64)
}

/// A point: filled for a probe, hollow for one that only shows chance.
pub(super) fn mark(root: &Area<'_>, at: (i32, i32), (probe, variant): Series<'_>) -> Result<()> {
    let colour = probe_colour(probe);
    shape(root, at, variant, colour, if is_null(probe) { WHITE } else { pale(colour, 0.25) })
}

/// A circle for full probes, a triangle for translation-invariant ones.
fn shape(root: &Area<'_>, (x, y): (i32, i32), variant: &str, edge: RGBColor, fill: RGBColor) -> Result<()> {
    if variant == "full" {
        root.draw(&Circle::new((x, y), 5, fill.filled())).map_err(failed)?;
        return root.draw(&Circle::new((x, y), 5, edge)).map_err(failed);
    }
    let corners = vec![(x, y - 6), (x + 6, y + 5), (x - 6, y + 5), (x, y - 6)];
    root.draw(&Polygon::new(corners.clone(), fill)).map_err(failed)?;
    root.draw(&PathElement::new(corners, edge)).map_err(failed)
}
