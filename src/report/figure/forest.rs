//! Rank correlations with their intervals: a line a metric, a panel a layer and variant.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::correlation::Correlation;
use super::super::info::{metric_label, probe_label};
use super::super::plot::{
    Area, INK, MUTED, block, bold, failed, line, pale, probe_colour, short_number, svg, text, write,
};
use super::super::select::sorted;
use super::axes::Frame;
use crate::error::Result;

const WIDTH: i32 = 1180;
const LABELS: i32 = 230;
const LINE: i32 = 20;
const GAP: i32 = 34;

/// A correlation with its interval as text.
pub(in super::super) fn with_interval(c: &Correlation) -> String {
    if !c.rho.is_finite() {
        return "n/a".to_owned();
    }
    if !c.ci_low.is_finite() {
        return short_number(c.rho);
    }
    format!("{} [{}, {}]", short_number(c.rho), short_number(c.ci_low), short_number(c.ci_high))
}

/// Correlations of one layer with `against`, two variants beside each other: the thick line is over all kinds of probe, a
/// dot each kind's own. None without a correlation.
pub(super) fn draw(correlations: &[Correlation], layer: &str, against: &str) -> Result<Option<String>> {
    let own: Vec<&Correlation> =
        correlations.iter().filter(|c| c.layer == layer && c.against == against && c.rho.is_finite()).collect();
    let variants = sorted(own.iter().map(|c| c.variant.as_str()).filter(|v| !v.is_empty()));
    let mut metrics: Vec<&str> = Vec::new();
    own.iter().for_each(|c| {
        if !metrics.contains(&c.metric.as_str()) {
            metrics.push(&c.metric);
        }
    });
    if metrics.is_empty() || variants.is_empty() {
        return Ok(None);
    }
    let height = 48 + LINE * metrics.len() as i32 + GAP;
    let width = (WIDTH - LABELS - 20) / variants.len() as i32;
    let image = svg(WIDTH, height, |root| {
        write(root, layer, (12, 14), &bold(15, INK, HPos::Left, VPos::Center))?;
        for (i, metric) in metrics.iter().enumerate() {
            let y = 48 + LINE * i as i32 + LINE / 2;
            write(root, metric_label(metric), (LABELS - 12, y), &text(13, INK, HPos::Right, VPos::Center))?;
        }
        for (v, variant) in variants.iter().enumerate() {
            let frame = Frame {
                at: (LABELS + v as i32 * width, 48),
                size: (width - 40, LINE * metrics.len() as i32),
                x: (-1.0, 1.0),
                y: (0.0, 1.0),
            };
            draw_panel(root, &frame, &own, &metrics, variant)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_panel(root: &Area<'_>, frame: &Frame, own: &[&Correlation], metrics: &[&str], variant: &str) -> Result<()> {
    write(root, variant, (frame.at.0, 32), &text(13, MUTED, HPos::Left, VPos::Center))?;
    frame.draw_x(root)?;
    line(root, (frame.x(0.0), frame.at.1), (frame.x(0.0), frame.end().1), INK)?;
    for (i, metric) in metrics.iter().enumerate() {
        let y = frame.at.1 + LINE * i as i32 + LINE / 2;
        for c in own.iter().filter(|c| c.metric == *metric && c.variant == variant) {
            let x = frame.x(c.rho);
            if !c.probe.is_empty() {
                let colour = probe_colour(&c.probe);
                root.draw(&Circle::new((x, y), 4, pale(colour, 0.3).filled())).map_err(failed)?;
                root.draw(&Circle::new((x, y), 4, colour)).map_err(failed)?;
                continue;
            }
            if c.ci_low.is_finite() {
                line(root, (frame.x(c.ci_low), y), (frame.x(c.ci_high), y), INK.stroke_width(2))?;
            }
            block(root, (x - 2, y - 7), (x + 2, y + 7), INK)?;
        }
    }
    Ok(())
}

/// The kinds of probe that have a dot, for a legend in words.
pub(in super::super) fn kinds(correlations: &[Correlation]) -> Vec<&str> {
    let mut names = sorted(correlations.iter().map(|c| c.probe.as_str()).filter(|p| !p.is_empty()));
    names.sort_by_key(|p| super::super::info::probe_order(p));
    names.into_iter().map(probe_label).collect()
}
