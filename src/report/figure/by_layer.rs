//! F5: every metric from layer to layer, a panel each and a line for every probe and variant.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::info::metric_label;
use super::super::plot::{Area, INK, MUTED, bold, failed, fitted, probe_colour, svg, text, write};
use super::super::row::MetricRow;
use super::super::select::{Series, headline, layers, series, summarise};
use super::axes::{Frame, range};
use super::bars::OVERVIEW;
use super::scatter::mark;
use crate::error::Result;

const WIDTH: i32 = 1180;
const COLUMNS: i32 = 3;
const CELL: i32 = WIDTH / COLUMNS;
const PANEL: i32 = 260;

/// The figure, or none with fewer than two layers. Colours are those of the bars; a triangle is a `ti` probe.
pub(super) fn draw(rows: &[MetricRow]) -> Result<Option<String>> {
    let names = layers(rows);
    let metrics: Vec<&str> = OVERVIEW.into_iter().filter(|m| !headline(rows, m).is_empty()).collect();
    if names.len() < 2 || metrics.is_empty() {
        return Ok(None);
    }
    let lines = (metrics.len() as i32 + COLUMNS - 1) / COLUMNS;
    let image = svg(WIDTH, PANEL * lines, |root| {
        for (i, metric) in metrics.iter().enumerate() {
            let at = (i as i32 % COLUMNS * CELL, i as i32 / COLUMNS * PANEL);
            draw_panel(root, rows, metric, &names, at)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_panel(
    root: &Area<'_>,
    rows: &[MetricRow],
    metric: &str,
    names: &[&str],
    (left, top): (i32, i32),
) -> Result<()> {
    let picked = headline(rows, metric);
    let mean = |s: Series<'_>, layer: &str| {
        let own: Vec<&MetricRow> = picked
            .iter()
            .copied()
            .filter(|r| r.layer == layer && (r.probe.as_str(), r.variant.as_str()) == s)
            .collect();
        summarise(&own).map(|s| s.mean)
    };
    let all = series(picked.iter().copied());
    let means = all.iter().flat_map(|s| names.iter().filter_map(|l| mean(*s, l)));
    let frame = Frame {
        at: (left + 58, top + 34),
        size: (CELL - 76, PANEL - 74),
        x: (-0.2, names.len() as f64 - 0.8),
        y: range(means),
    };
    frame.draw_y(root)?;
    let space = frame.size.0 / names.len() as i32;
    for (i, name) in names.iter().enumerate() {
        let at = (frame.x(i as f64), frame.end().1 + 9);
        write(root, &fitted(name, 12, space), at, &text(12, MUTED, HPos::Center, VPos::Top))?;
    }
    for s in &all {
        let points: Vec<(i32, i32)> = names
            .iter()
            .enumerate()
            .filter_map(|(i, layer)| Some((frame.x(i as f64), frame.y(mean(*s, layer)?))))
            .collect();
        root.draw(&PathElement::new(points.clone(), probe_colour(s.0).stroke_width(2))).map_err(failed)?;
        points.iter().try_for_each(|at| mark(root, *at, *s))?;
    }
    write(root, metric_label(metric), (left + 58, top + 8), &bold(13, INK, HPos::Left, VPos::Top))
}
