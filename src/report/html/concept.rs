//! A part of the page for each concept: verdicts, accuracy beside alignment, maps, renderings beside real pictures.

use serde::Serialize;

use super::super::page::{Overlay, Page, Refusal, RenderingFigure};
use super::super::row::MetricRow;
use super::super::verdict::Judged;
use super::pictures::{self, Grid};
use super::pivot::{Pivot, pivot};
use super::short::{Mark, marks};
use super::{Drawing, drawings};

/// Everything about one concept.
#[derive(Debug, Serialize)]
pub(super) struct Concept<'a> {
    name: &'a str,
    marks: Vec<Mark>,
    numbers: Pivot,
    figures: Vec<Drawing<'a>>,
    maps: Vec<Grid>,
    renderings: Vec<Grid>,
    refusals: Vec<&'a Refusal>,
}

/// A part for each of `names`; `maps` are the overlays that the page holds.
pub(super) fn concepts<'a>(
    page: &'a Page<'_>,
    rows: &[MetricRow],
    names: &[&'a str],
    judged: &[Judged<'_>],
    maps: &[&Overlay],
    figures: &'a [(String, String)],
) -> Vec<Concept<'a>> {
    let concept = |(i, name): (usize, &&'a str)| {
        let own: Vec<MetricRow> = rows.iter().filter(|r| r.concept == *name).cloned().collect();
        Concept {
            name,
            marks: marks(judged, name),
            numbers: pivot(&own, &page.refusals),
            figures: drawings(figures, &format!("concept-{}.", i + 1)),
            maps: pictures::overlays(&of(maps, |o| o.concept == *name)),
            renderings: pictures::renderings(&page.renderings.iter().filter(|r| is_of(r, name)).collect::<Vec<_>>()),
            refusals: page.refusals.iter().filter(|r| r.concept == *name).collect(),
        }
    };
    names.iter().enumerate().map(concept).collect()
}

/// The renderings of no concept: random directions, and units.
pub(super) fn others<'a>(page: &'a Page<'_>, names: &[&str]) -> Vec<&'a RenderingFigure> {
    page.renderings.iter().filter(|r| !names.iter().any(|name| is_of(r, name))).collect()
}

fn is_of(r: &RenderingFigure, concept: &str) -> bool {
    r.concept == concept && r.role != "random"
}

fn of<'a>(maps: &[&'a Overlay], wanted: impl Fn(&Overlay) -> bool) -> Vec<&'a Overlay> {
    maps.iter().copied().filter(|o| wanted(o)).collect()
}
