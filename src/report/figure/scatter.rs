//! Accuracy against what accuracy is taken to stand for: one panel for each alignment metric, a point for each concept,
//! probe and variant of one layer.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::info::{is_null, metric_label, metric_short, probe_label};
use super::super::plot::{
    Area, GRID, INK, MUTED, bold, failed, line, pale, probe_colour, short_number, svg, text, text_width, write,
};
use super::super::row::MetricRow;
use super::super::select::{Series, headline, series, spearman};
use crate::error::Result;
use crate::metric::Estimate;

/// The alignment metrics, each in its own panel.
const AGAINST: [&str; 6] = ["hard_h3", "hard_h2", "hard_h1", "seg_iou", "icc", "direction_cosine"];

const WIDTH: i32 = 1180;
const COLUMNS: i32 = 3;
const CELL: i32 = WIDTH / COLUMNS;
const PANEL: i32 = 348;
const LEFT: i32 = 58;
const TOP: i32 = 48;
const PLOT_W: i32 = CELL - LEFT - 18;
const PLOT_H: i32 = PANEL - TOP - 54;

/// One concept, probe and variant.
struct Point<'a> {
    series: Series<'a>,
    x: &'a Estimate,
    y: &'a Estimate,
}

/// One alignment metric.
struct Panel<'a> {
    metric: &'a str,
    points: Vec<Point<'a>>,
}

/// The rank correlation of accuracy with a metric within a layer, and the number of points, the null probes left out.
pub(in super::super) fn correlation(rows: &[MetricRow], layer: &str, metric: &str) -> Option<(f64, usize)> {
    let pairs = compared(&points(rows, layer, metric));
    spearman(&pairs).map(|rho| (rho, pairs.len()))
}

fn compared(points: &[Point<'_>]) -> Vec<(f64, f64)> {
    points.iter().filter(|p| !is_null(p.series.0)).map(|p| (p.x.value, p.y.value)).collect()
}

fn points<'a>(rows: &'a [MetricRow], layer: &str, metric: &str) -> Vec<Point<'a>> {
    let key = |r: &'a MetricRow| (&r.study, &r.model, &r.concept, &r.probe, &r.variant, r.seed);
    let of_layer = |name: &str| headline(rows, name).into_iter().filter(|r| r.layer == layer).collect::<Vec<_>>();
    let accuracy: BTreeMap<_, &Estimate> = of_layer("accuracy").into_iter().map(|r| (key(r), &r.estimate)).collect();
    of_layer(metric)
        .into_iter()
        .filter_map(|r| {
            let x = accuracy.get(&key(r))?;
            Some(Point { series: (&r.probe, &r.variant), x, y: &r.estimate })
        })
        .collect()
}

/// The figure of one layer, or none where no metric has two points.
pub(super) fn draw(rows: &[MetricRow], layer: &str) -> Result<Option<String>> {
    let panels: Vec<Panel<'_>> = AGAINST
        .into_iter()
        .map(|metric| Panel { metric, points: points(rows, layer, metric) })
        .filter(|p| p.points.len() >= 2)
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let drawn = series(rows.iter().filter(|r| r.layer == layer));
    let lines = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let head = 62;
    let image = svg(WIDTH, head + PANEL * lines, |root| {
        draw_head(root, layer, &drawn)?;
        for (i, panel) in panels.iter().enumerate() {
            let at = (i as i32 % COLUMNS * CELL, head + i as i32 / COLUMNS * PANEL);
            draw_panel(root, panel, at)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_head(root: &Area<'_>, layer: &str, drawn: &[Series<'_>]) -> Result<()> {
    write(root, layer, (12, 16), &bold(15, INK, HPos::Left, VPos::Center))?;
    let mut probes: Vec<&str> = drawn.iter().map(|s| s.0).collect();
    probes.dedup();
    let mut x = 18;
    for probe in probes {
        mark(root, (x, 42), (probe, "full"))?;
        write(root, probe_label(probe), (x + 11, 42), &text(13, INK, HPos::Left, VPos::Center))?;
        x += text_width(probe_label(probe), 13) + 34;
    }
    for (variant, label) in [("full", "full"), ("ti", "ti")] {
        shape(root, (x, 42), variant, MUTED, WHITE)?;
        write(root, label, (x + 11, 42), &text(13, MUTED, HPos::Left, VPos::Center))?;
        x += text_width(label, 13) + 32;
    }
    Ok(())
}

/// The range of the values with some room, in steps of a tenth.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    // No room is left beyond 0 and 1 where no value goes there: most metrics end at them.
    let down = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let up = if high <= 1.0 { 1.0 } else { f64::INFINITY };
    let (low, high) = (((low * 10.0 - 0.3).floor() / 10.0).max(down), ((high * 10.0 + 0.3).ceil() / 10.0).min(up));
    if high - low < 0.2 { (low - 0.1, high + 0.1) } else { (low, high) }
}

/// A round step that gives about five labels.
fn step(low: f64, high: f64) -> f64 {
    [0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .find(|s| (high - low) / s <= 6.0)
        .unwrap_or((high - low) / 5.0)
}

fn draw_panel(root: &Area<'_>, panel: &Panel<'_>, (left, top): (i32, i32)) -> Result<()> {
    let xs = range(panel.points.iter().map(|p| p.x.value));
    let ys = range(panel.points.iter().map(|p| p.y.value));
    let x = |v: f64| left + LEFT + ((v.clamp(xs.0, xs.1) - xs.0) / (xs.1 - xs.0) * f64::from(PLOT_W)).round() as i32;
    let y = |v: f64| top + TOP + ((ys.1 - v.clamp(ys.0, ys.1)) / (ys.1 - ys.0) * f64::from(PLOT_H)).round() as i32;
    draw_grid(root, (xs, ys), &x, &y)?;
    for p in &panel.points {
        let faint = pale(probe_colour(p.series.0), 0.6);
        if p.x.ci_low.is_finite() && p.x.ci_high.is_finite() {
            line(root, (x(p.x.ci_low), y(p.y.value)), (x(p.x.ci_high), y(p.y.value)), faint)?;
        }
        if p.y.ci_low.is_finite() && p.y.ci_high.is_finite() {
            line(root, (x(p.x.value), y(p.y.ci_low)), (x(p.x.value), y(p.y.ci_high)), faint)?;
        }
    }
    for p in &panel.points {
        mark(root, (x(p.x.value), y(p.y.value)), p.series)?;
    }
    let pairs = compared(&panel.points);
    let rho = spearman(&pairs).map_or("rank correlation n/a".to_owned(), |r| {
        format!("rank correlation {}, {} points", short_number(r), pairs.len())
    });
    write(root, metric_label(panel.metric), (left + LEFT, top + 8), &bold(13, INK, HPos::Left, VPos::Top))?;
    write(root, &rho, (left + LEFT, top + 26), &text(12, MUTED, HPos::Left, VPos::Top))?;
    let middle = left + LEFT + PLOT_W / 2;
    let below = text(12, INK, HPos::Center, VPos::Top);
    write(root, metric_short("accuracy"), (middle, top + TOP + PLOT_H + 28), &below)
}

fn draw_grid(
    root: &Area<'_>,
    (xs, ys): ((f64, f64), (f64, f64)),
    x: &impl Fn(f64) -> i32,
    y: &impl Fn(f64) -> i32,
) -> Result<()> {
    for v in ticks(xs) {
        line(root, (x(v), y(ys.0)), (x(v), y(ys.1)), GRID)?;
        write(root, &short_number(v), (x(v), y(ys.0) + 9), &text(12, MUTED, HPos::Center, VPos::Top))?;
    }
    for v in ticks(ys) {
        line(root, (x(xs.0), y(v)), (x(xs.1), y(v)), GRID)?;
        write(root, &short_number(v), (x(xs.0) - 8, y(v)), &text(12, MUTED, HPos::Right, VPos::Center))?;
    }
    Ok(())
}

fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let step = step(low, high);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A point: filled for a probe, hollow for one that only shows chance.
fn mark(root: &Area<'_>, at: (i32, i32), (probe, variant): Series<'_>) -> Result<()> {
    let colour = probe_colour(probe);
    shape(root, at, variant, colour, if is_null(probe) { WHITE } else { pale(colour, 0.25) })
}

/// A circle for full probes, a triangle for translation-invariant ones.
fn shape(root: &Area<'_>, (x, y): (i32, i32), variant: &str, edge: RGBColor, fill: RGBColor) -> Result<()> {
    if variant != "ti" {
        root.draw(&Circle::new((x, y), 5, fill.filled())).map_err(failed)?;
        return root.draw(&Circle::new((x, y), 5, edge)).map_err(failed);
    }
    let corners = vec![(x, y - 6), (x + 6, y + 5), (x - 6, y + 5), (x, y - 6)];
    root.draw(&Polygon::new(corners.clone(), fill)).map_err(failed)?;
    root.draw(&PathElement::new(corners, edge)).map_err(failed)
}
