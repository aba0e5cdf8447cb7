//! The figures of a report, one file each.

mod bars;
mod cosine;
mod scatter;
mod trace;

pub(super) use scatter::correlation;

use super::page::{Page, Trace};
use super::select;
use crate::error::Result;

/// Draws all figures the page has numbers for, as file name and SVG text, always in the same order.
///
/// `bars.svg`; `scatter-1.svg`, `scatter-2.svg`, … and `cosine-1.svg`, …, one a layer in natural order; `trace.svg`,
/// `training.svg`.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn figures(page: &Page<'_>) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    let rows = &select::by_key(page.rows);
    if let Some(svg) = bars::draw(rows)? {
        all.push(("bars.svg".to_owned(), svg));
    }
    for (i, layer) in select::layers(rows).iter().enumerate() {
        if let Some(svg) = scatter::draw(rows, layer)? {
            all.push((format!("scatter-{}.svg", i + 1), svg));
        }
    }
    let layers = select::sorted(page.cosines.iter().map(|m| m.layer.as_str()));
    for (i, layer) in layers.iter().enumerate() {
        if let Some(svg) = cosine::draw(&page.cosines, layer)? {
            all.push((format!("cosine-{}.svg", i + 1), svg));
        }
    }
    if let Some(svg) = trace::draw(&page.traces, trace::Axis { unit: "step", first: 0 })? {
        all.push(("trace.svg".to_owned(), svg));
    }
    if let Some(svg) = by_epoch(&page.training)? {
        all.push(("training.svg".to_owned(), svg));
    }
    Ok(all)
}

/// Draws numbers by epoch, a panel each, as an SVG text; none where there is nothing to draw.
///
/// # Errors
/// When the figure cannot be drawn.
pub fn by_epoch(traces: &[Trace]) -> Result<Option<String>> {
    trace::draw(traces, trace::Axis { unit: "epoch", first: 1 })
}
