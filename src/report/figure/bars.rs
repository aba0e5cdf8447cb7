//! Probe by metric bars, a panel for each layer or kind of concept: means over concepts with whiskers and null marks.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::info::{metric_short, probe_label};
use super::super::plot::{
    Area, GRID, INK, MUTED, block, bold, failed, line, pale, probe_colour, short_number, svg, text, text_width, write,
};
use super::super::row::MetricRow;
use super::super::select::{Series, Summary, headline, series, summarise};
use crate::error::Result;

/// From plain accuracy over hard accuracy to localisation and robustness.
pub(super) const OVERVIEW: [&str; 10] =
    ["accuracy", "hard_h1", "hard_h2", "hard_h3", "seg_auroc", "seg_iou", "seg_ap", "seg_nra", "icc", "equivariance"];
/// What only pictures that can be drawn again know, and what is held against it.
pub(super) const PLANTED: [&str; 4] = ["direction_cosine", "seg_auroc", "hard_h3", "accuracy"];

const WIDTH: i32 = 1180;
const LEFT: i32 = 52;
const RIGHT: i32 = 12;
const TITLE: i32 = 34;
const PLOT: i32 = 220;
const BELOW: i32 = 40;

/// One group of bars: a metric and the value of each probe.
struct Group<'a> {
    metric: &'a str,
    bars: Vec<(Series<'a>, Summary)>,
}

/// One layer, or one kind of concept.
struct Panel<'a> {
    title: &'a str,
    groups: Vec<Group<'a>>,
}

/// The figure of these panels (title and rows) and metrics, or none without a row of a metric.
pub(super) fn draw(panels: &[(String, Vec<MetricRow>)], metrics: &[&str]) -> Result<Option<String>> {
    let shown: Vec<Panel<'_>> = panels.iter().filter_map(|(title, rows)| panel(title, rows, metrics)).collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let drawn = series(panels.iter().flat_map(|p| &p.1).filter(|r| metrics.contains(&r.metric.as_str())));
    let panels = shown;
    let legend = legend_height(&drawn);
    let each = TITLE + PLOT + BELOW;
    let image = svg(WIDTH, legend + each * panels.len() as i32, |root| {
        draw_legend(root, &drawn)?;
        for (i, panel) in panels.iter().enumerate() {
            draw_panel(root, panel, legend + each * i as i32)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn panel<'a>(title: &'a str, rows: &'a [MetricRow], metrics: &[&'a str]) -> Option<Panel<'a>> {
    let groups: Vec<Group<'a>> = metrics
        .iter()
        .copied()
        .filter_map(|metric| {
            let picked = headline(rows, metric);
            let bars: Vec<_> = series(picked.iter().copied())
                .into_iter()
                .filter_map(|s| {
                    let own: Vec<_> =
                        picked.iter().copied().filter(|r| (r.probe.as_str(), r.variant.as_str()) == s).collect();
                    summarise(&own).map(|summary| (s, summary))
                })
                .collect();
            (!bars.is_empty()).then_some(Group { metric, bars })
        })
        .collect();
    (!groups.is_empty()).then_some(Panel { title, groups })
}

/// The vertical axis: always 0 to 1, and below only where a value is.
fn bottom(panel: &Panel<'_>) -> f64 {
    let low = panel.groups.iter().flat_map(|g| &g.bars).map(|(_, s)| s.low.min(s.mean)).fold(0.0, f64::min);
    (low * 4.0).floor() / 4.0
}

fn draw_panel(root: &Area<'_>, panel: &Panel<'_>, top: i32) -> Result<()> {
    let low = bottom(panel).max(-1.0);
    let y = |v: f64| top + TITLE + ((1.0 - v.clamp(low, 1.0)) / (1.0 - low) * f64::from(PLOT)).round() as i32;
    write(root, panel.title, (LEFT, top + TITLE - 12), &bold(15, INK, HPos::Left, VPos::Bottom))?;
    let steps = ((1.0 - low) / 0.25).round() as i32;
    for i in 0..=steps {
        let v = low + 0.25 * f64::from(i);
        line(root, (LEFT, y(v)), (WIDTH - RIGHT, y(v)), if v == 0.0 { INK } else { GRID })?;
        write(root, &short_number(v), (LEFT - 8, y(v)), &text(12, MUTED, HPos::Right, VPos::Center))?;
    }
    let slots: usize = panel.groups.iter().map(|g| g.bars.len()).sum();
    let gap = 26;
    let space = WIDTH - LEFT - RIGHT - gap * panel.groups.len() as i32;
    let bar = (space / slots.max(1) as i32).clamp(4, 34);
    let used = bar * slots as i32 + gap * panel.groups.len() as i32;
    // What is left over goes evenly between the groups.
    let gap = gap + (WIDTH - LEFT - RIGHT - used) / panel.groups.len() as i32;
    let mut x = LEFT + gap / 2;
    for group in &panel.groups {
        let width = bar * group.bars.len() as i32;
        for (i, (series, summary)) in group.bars.iter().enumerate() {
            draw_bar(root, *series, summary, x + bar * i as i32, bar, &y)?;
        }
        let label = text(13, INK, HPos::Center, VPos::Top);
        write(root, metric_short(group.metric), (x + width / 2, top + TITLE + PLOT + 9), &label)?;
        x += width + gap;
    }
    Ok(())
}

fn draw_bar(
    root: &Area<'_>,
    (probe, variant): Series<'_>,
    summary: &Summary,
    x: i32,
    width: i32,
    y: &impl Fn(f64) -> i32,
) -> Result<()> {
    let colour = probe_colour(probe);
    let fill = if variant == "full" { colour } else { pale(colour, 0.55) };
    let (left, right, middle) = (x + 1, x + width - 1, x + width / 2);
    let (high, low) = (y(summary.mean.max(0.0)), y(summary.mean.min(0.0)));
    block(root, (left, high), (right, low), fill)?;
    if variant != "full" {
        root.draw(&Rectangle::new([(left, high), (right, low)], colour)).map_err(failed)?;
    }
    if summary.low < summary.high {
        line(root, (middle, y(summary.low)), (middle, y(summary.high)), INK)?;
    }
    if let Some(null) = summary.null {
        // A light edge keeps the mark visible on a dark bar.
        line(root, (x - 1, y(null)), (x + width + 1, y(null)), WHITE.stroke_width(5))?;
        line(root, (x - 1, y(null)), (x + width + 1, y(null)), INK.stroke_width(2))?;
    }
    Ok(())
}

/// The legend's entries: probes by colour, then how to read shade, whisker and mark.
fn legend(drawn: &[Series<'_>]) -> Vec<(String, Option<String>)> {
    let mut probes: Vec<&str> = drawn.iter().map(|s| s.0).collect();
    probes.dedup();
    let mut entries: Vec<_> = probes.iter().map(|p| (probe_label(p).to_owned(), Some((*p).to_owned()))).collect();
    entries.push((
        "pale, outlined: ti   ·   whisker: lowest to highest concept   ·   black mark: null level".to_owned(),
        None,
    ));
    entries
}

/// Where each entry stands.
fn legend_places(drawn: &[Series<'_>]) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (LEFT, 18);
    let mut places = Vec::new();
    for (label, _) in legend(drawn) {
        let width = text_width(&label, 13) + 36;
        if x + width > WIDTH && x > LEFT {
            (x, y) = (LEFT, y + 22);
        }
        places.push((x, y));
        x += width;
    }
    places
}

fn legend_height(drawn: &[Series<'_>]) -> i32 {
    legend_places(drawn).last().map_or(0, |p| p.1) + 18
}

fn draw_legend(root: &Area<'_>, drawn: &[Series<'_>]) -> Result<()> {
    for ((label, probe), (x, y)) in legend(drawn).iter().zip(legend_places(drawn)) {
        let style = text(13, if probe.is_some() { INK } else { MUTED }, HPos::Left, VPos::Center);
        let mut at = x;
        if let Some(probe) = probe {
            block(root, (x, y - 6), (x + 12, y + 6), probe_colour(probe))?;
            at += 18;
        }
        write(root, label, (at, y), &style)?;
    }
    Ok(())
}
