//! The variance of directions against the number of samples, both as logarithms: a panel a layer and variant.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::info::probe_label;
use super::super::plot::{Area, GRID, INK, MUTED, bold, failed, line, pale, probe_colour, svg, text, write};
use super::super::row::MetricRow;
use super::super::select::{layers, sorted};
use super::axes::Frame;
use crate::error::Result;

const WIDTH: i32 = 1180;
const COLUMNS: i32 = 3;
const CELL: i32 = WIDTH / COLUMNS;
const PANEL: i32 = 300;

/// The figure, or none where no curve was measured.
pub(super) fn draw(rows: &[MetricRow]) -> Result<Option<String>> {
    let rows: Vec<&MetricRow> =
        rows.iter().filter(|r| r.metric == "direction_variance" && r.estimate.value > 0.0).collect();
    let mut panels: Vec<(String, Vec<&MetricRow>)> = Vec::new();
    let owned: Vec<MetricRow> = rows.iter().map(|r| (*r).clone()).collect();
    for layer in layers(&owned) {
        for variant in sorted(rows.iter().filter(|r| r.layer == layer).map(|r| r.variant.as_str())) {
            let own = rows.iter().copied().filter(|r| r.layer == layer && r.variant == variant).collect();
            panels.push((format!("{layer} · {variant}"), own));
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let lines = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let image = svg(WIDTH, PANEL * lines, |root| {
        for (i, (title, rows)) in panels.iter().enumerate() {
            let at = (i as i32 % COLUMNS * CELL, i as i32 / COLUMNS * PANEL);
            draw_panel(root, title, rows, at)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

/// Number of samples and variance, as logarithms to the base of ten.
fn point(row: &MetricRow) -> Option<(f64, f64)> {
    Some((row.parameter.parse::<f64>().ok()?.log10(), row.estimate.value.log10()))
}

fn draw_panel(root: &Area<'_>, title: &str, rows: &[&MetricRow], (left, top): (i32, i32)) -> Result<()> {
    let points: Vec<(f64, f64)> = rows.iter().filter_map(|r| point(r)).collect();
    let bounds = |f: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            points.iter().map(f).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        (low - 0.1, high + 0.1)
    };
    let (x, y) = (bounds(|p| p.0), bounds(|p| p.1));
    let frame = Frame { at: (left + 70, top + 36), size: (CELL - 90, PANEL - 92), x, y };
    for size in sorted(rows.iter().map(|r| r.parameter.as_str())) {
        let x = frame.x(size.parse::<f64>().map_or(f64::NAN, f64::log10));
        line(root, (x, frame.at.1), (x, frame.end().1), GRID)?;
        write(root, size, (x, frame.end().1 + 8), &text(12, MUTED, HPos::Center, VPos::Top))?;
    }
    for exponent in (y.0.ceil() as i32)..=(y.1.floor() as i32) {
        let v = f64::from(exponent);
        line(root, (frame.at.0, frame.y(v)), (frame.end().0, frame.y(v)), GRID)?;
        let label =
            if exponent < 0 { format!("{}", 10f64.powi(exponent)) } else { format!("{}", 10i32.pow(exponent as u32)) };
        write(root, &label, (frame.at.0 - 8, frame.y(v)), &text(12, MUTED, HPos::Right, VPos::Center))?;
    }
    // A slope of minus one, through the first mean.
    let start =
        points.iter().filter(|p| p.0 <= frame.x.0 + 0.11).map(|p| p.1).fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    if start.1 > 0.0 {
        let at = |x: f64| (frame.x(x), frame.y(start.0 / start.1 - (x - frame.x.0 - 0.1)));
        line(root, at(frame.x.0 + 0.1), at(frame.x.1), pale(INK, 0.3).stroke_width(2))?;
    }
    for key in sorted(rows.iter().map(|r| r.concept.as_str())) {
        for probe in sorted(rows.iter().map(|r| r.probe.as_str())) {
            let mut own: Vec<(f64, f64)> =
                rows.iter().filter(|r| r.concept == key && r.probe == probe).filter_map(|r| point(r)).collect();
            own.sort_by(|a, b| a.0.total_cmp(&b.0));
            let path: Vec<(i32, i32)> = own.iter().map(|(x, y)| (frame.x(*x), frame.y(*y))).collect();
            root.draw(&PathElement::new(path, pale(probe_colour(probe), 0.3))).map_err(failed)?;
        }
    }
    write(root, title, (left + 70, top + 10), &bold(13, INK, HPos::Left, VPos::Top))?;
    let probes = sorted(rows.iter().map(|r| r.probe.as_str()));
    let mut at = left + 70;
    for probe in probes {
        line(root, (at, top + PANEL - 24), (at + 16, top + PANEL - 24), probe_colour(probe).stroke_width(3))?;
        let label = probe_label(probe);
        write(root, label, (at + 22, top + PANEL - 24), &text(12, INK, HPos::Left, VPos::Center))?;
        at += 40 + 7 * label.len() as i32;
    }
    write(root, "grey: slope −1", (at, top + PANEL - 24), &text(12, MUTED, HPos::Left, VPos::Center))
}
