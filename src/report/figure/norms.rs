//! F7: where the weights of full directions lie on the grid, a small map for each concept and probe of one layer.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::page::NormMap;
use super::super::plot::{Area, INK, MUTED, block, bold, fitted, mix, svg, text, write};
use super::super::select::sorted;
use crate::error::Result;

const LABELS: i32 = 150;
const SIDE: i32 = 84;
const GAP: i32 = 14;
const HEAD: i32 = 62;
/// More cells a side than this cannot be told apart: neighbours are averaged.
const MOST: usize = 14;
/// Half the mean, the mean, twice the mean.
const LITTLE: RGBColor = RGBColor(247, 251, 255);
const MEAN: RGBColor = RGBColor(107, 174, 214);
const MUCH: RGBColor = RGBColor(8, 48, 107);

/// The figure of one layer, or none without a map.
pub(super) fn draw(maps: &[NormMap], layer: &str) -> Result<Option<String>> {
    let own: Vec<&NormMap> = maps.iter().filter(|m| m.layer == layer && !m.norms.is_empty()).collect();
    let concepts = sorted(own.iter().map(|m| m.concept.as_str()));
    let mut labels: Vec<&str> = Vec::new();
    own.iter().for_each(|m| {
        if !labels.contains(&m.label.as_str()) {
            labels.push(&m.label);
        }
    });
    if own.is_empty() {
        return Ok(None);
    }
    let step = SIDE + GAP;
    let size = ((LABELS + step * labels.len() as i32).max(420), HEAD + step * concepts.len() as i32);
    let image = svg(size.0, size.1, |root| {
        write(root, layer, (12, 14), &bold(15, INK, HPos::Left, VPos::Center))?;
        for (i, label) in labels.iter().enumerate() {
            let at = (LABELS + step * i as i32 + SIDE / 2, HEAD - 10);
            write(root, &fitted(label, 11, step), at, &text(11, MUTED, HPos::Center, VPos::Bottom))?;
        }
        for (i, concept) in concepts.iter().enumerate() {
            let top = HEAD + step * i as i32;
            let name = fitted(concept, 12, LABELS - 20);
            write(root, &name, (LABELS - 10, top + SIDE / 2), &text(12, INK, HPos::Right, VPos::Center))?;
            for map in own.iter().filter(|m| m.concept == *concept) {
                let column = labels.iter().position(|l| *l == map.label).unwrap_or(0) as i32;
                draw_map(root, map, (LABELS + step * column, top))?;
            }
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_map(root: &Area<'_>, map: &NormMap, (left, top): (i32, i32)) -> Result<()> {
    let (height, width) = map.grid;
    let (rows, columns) = (height.min(MOST), width.min(MOST));
    let mean = map.norms.iter().sum::<f64>() / map.norms.len() as f64;
    for r in 0..rows {
        for c in 0..columns {
            let (ys, xs) = (r * height / rows..(r + 1) * height / rows, c * width / columns..(c + 1) * width / columns);
            let cells: Vec<f64> = ys.flat_map(|y| xs.clone().map(move |x| map.norms[y * width + x])).collect();
            let share = cells.iter().sum::<f64>() / cells.len() as f64 / mean;
            let at = |i: usize, of: usize| SIDE * i as i32 / of as i32;
            let corners =
                ((left + at(c, columns), top + at(r, rows)), (left + at(c + 1, columns), top + at(r + 1, rows)));
            block(root, corners.0, corners.1, colour(share))?;
        }
    }
    Ok(())
}

/// From half the mean over the mean to twice the mean, by the logarithm.
fn colour(share: f64) -> RGBColor {
    let at = if share > 0.0 { share.log2().clamp(-1.0, 1.0) } else { -1.0 };
    if at < 0.0 { mix(MEAN, LITTLE, -at) } else { mix(MEAN, MUCH, at) }
}
