//! The figures of a survey: tests of its claims with their intervals, units by depth, ascents by size.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::plot::{Area, INK, MUTED, block, bold, failed, fitted, line, line_colour, pale, svg, text, write};
use super::super::select::sorted;
use super::super::survey::{Claim, ClaimKind, SurveyNetworkRow, SurveyPage, SurveyUnitRow, measures};
use super::axes::{Frame, range};
use crate::error::Result;
use crate::metric::claim::Verdict;

const WIDTH: i32 = 1180;
const LINE: i32 = 18;
const LABELS: i32 = 560;
const PANEL: i32 = 280;

/// All figures of a survey, as file name and SVG text.
///
/// # Errors
/// When a figure cannot be drawn.
pub fn survey_figures(page: &SurveyPage) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for kind in ClaimKind::ALL {
        let measures = measures(page.claims.iter().filter(|c| c.kind == kind));
        for (i, measure) in measures.iter().enumerate() {
            let own: Vec<&Claim> = page.claims.iter().filter(|c| c.kind == kind && c.measure == *measure).collect();
            all.push((format!("claim-{}-{}.svg", kind.name(), i + 1), tests(measure, &own)?));
        }
    }
    for data in sorted(page.units.iter().map(|u| u.data.as_str())) {
        all.push((format!("depth-{data}.svg"), by_depth(page, data)?));
        all.push((format!("size-{data}.svg"), by_size(page, data)?));
    }
    Ok(all)
}

/// A line a test: its effect and interval about zero.
fn tests(measure: &str, claims: &[&Claim]) -> Result<String> {
    let top = 44;
    let ends = claims.iter().flat_map(|c| [c.effect.value, c.effect.low, c.effect.high, 0.0]);
    let frame = Frame {
        at: (LABELS, top),
        size: (WIDTH - LABELS - 30, LINE * claims.len() as i32),
        x: wide(ends),
        y: (0.0, 1.0),
    };
    svg(WIDTH, frame.end().1 + 40, |root| {
        write(root, measure, (12, 16), &bold(14, INK, HPos::Left, VPos::Center))?;
        let side = if claims.first().is_some_and(|c| c.falls) { "◂ as claimed" } else { "as claimed ▸" };
        write(root, side, (LABELS, 30), &text(12, MUTED, HPos::Left, VPos::Center))?;
        frame.draw_x(root)?;
        line(root, (frame.x(0.0), frame.at.1), (frame.x(0.0), frame.end().1), INK)?;
        for (i, claim) in claims.iter().enumerate() {
            let y = frame.at.1 + LINE * i as i32 + LINE / 2;
            let name = if claim.control { format!("{} (untrained)", claim.about) } else { claim.about.clone() };
            let style = text(12, if claim.control { MUTED } else { INK }, HPos::Right, VPos::Center);
            write(root, &fitted(&name, 12, LABELS - 24), (LABELS - 12, y), &style)?;
            draw_test(root, &frame, claim, y)?;
        }
        Ok(())
    })
}

fn draw_test(root: &Area<'_>, frame: &Frame, claim: &Claim, y: i32) -> Result<()> {
    let colour = match claim.verdict() {
        _ if claim.control => MUTED,
        Verdict::Shown => line_colour(0),
        Verdict::Against => line_colour(1),
        Verdict::Open => MUTED,
    };
    if claim.effect.low.is_finite() {
        line(root, (frame.x(claim.effect.low), y), (frame.x(claim.effect.high), y), colour.stroke_width(2))?;
    }
    let x = frame.x(claim.effect.value);
    block(root, (x - 2, y - 5), (x + 2, y + 5), colour)
}

/// The range of the values with some room, never empty.
fn wide(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (-1.0, 1.0);
    }
    let room = 0.05 * (high - low).max(0.2);
    (low - room, high + room)
}

/// A panel's title, its number of a unit, and what that is compared with.
type Panel = (&'static str, fn(&SurveyUnitRow) -> f64, Option<f64>);

/// Means of a layer's units by depth, a line a network: spectral centroid and class purity.
fn by_depth(page: &SurveyPage, data: &str) -> Result<String> {
    let networks = networks(page, data);
    let legend = 24 + 16 * (networks.len() as i32 + 2) / 3;
    svg(WIDTH, PANEL + legend, |root| {
        let real = page.centroids.iter().find(|(name, _)| name == data).map(|c| c.1);
        let purities = page.units.iter().find(|u| u.data == data).map(|u| u.chance);
        let panels: [Panel; 2] = [
            ("Spectral centroid, cycles a pixel (grey: real pictures)", |u| u.centroid, real),
            ("Class purity of highest-scoring real pictures (grey: chance)", |u| u.purity, purities),
        ];
        for (i, (title, of, reference)) in panels.into_iter().enumerate() {
            let lines: Vec<Vec<(f64, f64)>> = networks.iter().map(|n| means(page, n, of)).collect();
            let values = lines.iter().flatten().map(|p| p.1).chain(reference);
            let left = 58 + i as i32 * WIDTH / 2;
            let frame =
                Frame { at: (left, 40), size: (WIDTH / 2 - 84, PANEL - 80), x: (-0.03, 1.03), y: range(values) };
            frame.draw_x(root)?;
            frame.draw_y(root)?;
            write(root, title, (left, 16), &bold(13, INK, HPos::Left, VPos::Center))?;
            if let Some(reference) = reference.filter(|r| r.is_finite()) {
                let y = frame.y(reference);
                line(root, (frame.at.0, y), (frame.end().0, y), MUTED.stroke_width(2))?;
            }
            for (n, points) in lines.iter().enumerate() {
                draw_line(root, &frame, points, n)?;
            }
        }
        draw_legend(root, &networks, PANEL + 8)
    })
}

fn draw_line(root: &Area<'_>, frame: &Frame, points: &[(f64, f64)], number: usize) -> Result<()> {
    let colour = shade(number);
    let at: Vec<(i32, i32)> = points.iter().filter(|p| p.1.is_finite()).map(|p| (frame.x(p.0), frame.y(p.1))).collect();
    root.draw(&PathElement::new(at.clone(), colour.stroke_width(2))).map_err(failed)?;
    at.into_iter().try_for_each(|at| root.draw(&Circle::new(at, 3, colour.filled())).map_err(failed))
}

/// Colours in order; from the seventh line on paler ones.
fn shade(number: usize) -> RGBColor {
    pale(line_colour(number), 0.35 * (number / 6) as f64)
}

fn draw_legend(root: &Area<'_>, networks: &[&str], top: i32) -> Result<()> {
    for (n, name) in networks.iter().enumerate() {
        let (x, y) = (58 + n as i32 % 3 * (WIDTH / 3), top + 16 * (n as i32 / 3) + 8);
        line(root, (x, y), (x + 18, y), shade(n).stroke_width(3))?;
        write(root, name, (x + 24, y), &text(12, INK, HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// Networks of a data set in the page's order.
fn networks<'p>(page: &'p SurveyPage, data: &str) -> Vec<&'p str> {
    page.networks.iter().filter(|n| n.data == data).map(|n| n.network.as_str()).collect()
}

/// Means over a network's living units by depth.
fn means(page: &SurveyPage, network: &str, of: fn(&SurveyUnitRow) -> f64) -> Vec<(f64, f64)> {
    let mut by: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
    for unit in page.units.iter().filter(|u| u.network == network && !u.dead && of(u).is_finite()) {
        by.entry((unit.depth * 1e6) as u64).or_insert((unit.depth, Vec::new())).1.push(of(unit));
    }
    by.into_values().map(|(depth, values)| (depth, values.iter().sum::<f64>() / values.len() as f64)).collect()
}

/// Mean steps and failures at each network's best step size against its number of parameters.
fn by_size(page: &SurveyPage, data: &str) -> Result<String> {
    let own: Vec<_> = page.networks.iter().filter(|n| n.data == data).collect();
    let size = |parameters: usize| (parameters.max(1) as f64).log10();
    let names = networks(page, data);
    let legend = 24 + 16 * (names.len() as i32 + 2) / 3;
    svg(WIDTH, PANEL + legend, |root| {
        for (i, title) in ["Mean steps to the threshold", "Share of ascents that fail"].into_iter().enumerate() {
            let value = |n: &&&SurveyNetworkRow| {
                n.sweeps.get(n.best).map_or(f64::NAN, |s| if i == 0 { s.mean_steps } else { s.failed })
            };
            let left = 58 + i as i32 * WIDTH / 2;
            let values = own.iter().map(|n| value(&n));
            let y = if i == 0 { (0.0, wide(values).1) } else { (0.0, range(values).1) };
            let x = wide(own.iter().map(|n| size(n.parameters)));
            let frame = Frame { at: (left, 40), size: (WIDTH / 2 - 84, PANEL - 80), x, y };
            frame.draw_x(root)?;
            frame.draw_y(root)?;
            let title = format!("{title}, against parameters (powers of ten)");
            write(root, &title, (left, 16), &bold(13, INK, HPos::Left, VPos::Center))?;
            for (k, network) in own.iter().enumerate().filter(|(_, n)| value(n).is_finite()) {
                let at = (frame.x(size(network.parameters)), frame.y(value(&network)));
                root.draw(&Circle::new(at, 5, shade(k).filled())).map_err(failed)?;
                if network.family == "vit" {
                    root.draw(&Circle::new(at, 7, INK)).map_err(failed)?;
                }
            }
        }
        draw_legend(root, &names, PANEL + 8)
    })
}
