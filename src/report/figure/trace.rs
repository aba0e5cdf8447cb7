//! Numbers by step, a small panel each: the objective of activation maximisation, or the course of a training.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::page::Trace;
use super::super::plot::{Area, GRID, INK, MUTED, failed, fitted, line, line_colour, short_number, svg, text, write};
use crate::error::Result;

const WIDTH: i32 = 1180;
const COLUMNS: i32 = 4;
const CELL: i32 = WIDTH / COLUMNS;
const PANEL: i32 = 170;
const LEFT: i32 = 58;
const TOP: i32 = 30;
const PLOT_W: i32 = CELL - LEFT - 14;
const PLOT_H: i32 = PANEL - TOP - 34;
/// More points than this cannot be told apart in a panel.
const MOST_POINTS: usize = 160;

/// What is counted along the panels, and the number of the first value.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) unit: &'static str,
    pub(super) first: usize,
}

/// The figure, or none without a trace.
pub(super) fn draw(traces: &[Trace], axis: Axis) -> Result<Option<String>> {
    let traces: Vec<&Trace> = traces.iter().filter(|t| t.values.iter().any(|v| v.is_finite())).collect();
    if traces.is_empty() {
        return Ok(None);
    }
    let lines = (traces.len() as i32 + COLUMNS - 1) / COLUMNS;
    let image = svg(WIDTH, PANEL * lines, |root| {
        for (i, trace) in traces.iter().enumerate() {
            let at = (i as i32 % COLUMNS * CELL, i as i32 / COLUMNS * PANEL);
            draw_trace(root, trace, axis, at)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_trace(root: &Area<'_>, trace: &Trace, axis: Axis, (left, top): (i32, i32)) -> Result<()> {
    let finite = || trace.values.iter().map(|v| f64::from(*v)).filter(|v| v.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let span = if high > low { high - low } else { 1.0 };
    let last = trace.values.len().saturating_sub(1).max(1);
    let x = |i: usize| left + LEFT + (i as f64 / last as f64 * f64::from(PLOT_W)).round() as i32;
    let y = |v: f64| top + TOP + ((high - v) / span * f64::from(PLOT_H)).round() as i32;
    let title = fitted(&trace.label, 12, PLOT_W + LEFT - 12);
    write(root, &title, (left + 12, top + 8), &text(12, INK, HPos::Left, VPos::Top))?;
    for v in [low, low + span / 2.0, low + span] {
        line(root, (x(0), y(v)), (x(last), y(v)), GRID)?;
        write(root, &tick(v), (x(0) - 8, y(v)), &text(12, MUTED, HPos::Right, VPos::Center))?;
    }
    let below = text(12, MUTED, HPos::Center, VPos::Top);
    let Axis { unit, first } = axis;
    write(root, &first.to_string(), (x(0), top + TOP + PLOT_H + 7), &below)?;
    write(root, &format!("{unit} {}", first + last), (x(last) - 22, top + TOP + PLOT_H + 7), &below)?;
    let stride = trace.values.len().div_ceil(MOST_POINTS);
    let path: Vec<(i32, i32)> = trace
        .values
        .iter()
        .enumerate()
        .filter(|(i, v)| v.is_finite() && (i % stride == 0 || *i == last))
        .map(|(i, v)| (x(i), y(f64::from(*v))))
        .collect();
    root.draw(&PathElement::new(path, line_colour(0).stroke_width(2))).map_err(failed)
}

/// Few characters whatever the size of the number.
fn tick(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(0.01..10_000.0).contains(&size) {
        return format!("{value:.0e}").replace('-', "−");
    }
    if size >= 100.0 { format!("{value:.0}").replace('-', "−") } else { short_number(value) }
}
