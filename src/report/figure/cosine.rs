//! Cosines between the probe kinds: a coloured matrix for each concept and variant of one layer.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::super::info::{probe_label, probe_short};
use super::super::page::CosineMatrix;
use super::super::plot::{Area, INK, MUTED, block, bold, fitted, mix, short_number, svg, text, text_width, write};
use super::super::select::natural;
use crate::error::Result;

const WIDTH: i32 = 1180;
const CELL: i32 = 46;
const TITLE: i32 = 34;
const GAP: i32 = 28;
const HEAD: i32 = 34;
/// Ends of the colour scale; the middle is white.
const NEGATIVE: RGBColor = RGBColor(33, 102, 172);
const POSITIVE: RGBColor = RGBColor(178, 24, 43);

/// The figure of one layer, or none without a matrix.
pub(super) fn draw(matrices: &[CosineMatrix], layer: &str) -> Result<Option<String>> {
    let mut own: Vec<&CosineMatrix> = matrices.iter().filter(|m| m.layer == layer && !m.names.is_empty()).collect();
    own.sort_by(|a, b| natural(&a.concept, &b.concept).then_with(|| a.variant.cmp(&b.variant)));
    let Some(most) = own.iter().map(|m| m.names.len() as i32).max() else {
        return Ok(None);
    };
    let labels = own.iter().flat_map(|m| &m.names).map(|n| text_width(probe_label(n), 12)).max().unwrap_or(0) + 12;
    let (width, height) = (labels + most * CELL + GAP, TITLE + most * CELL + 24 + GAP);
    let columns = (WIDTH / width).clamp(1, own.len() as i32);
    let lines = (own.len() as i32 + columns - 1) / columns;
    let image = svg((columns * width).max(420), HEAD + lines * height, |root| {
        write(root, layer, (12, 16), &bold(15, INK, HPos::Left, VPos::Center))?;
        for (i, matrix) in own.iter().enumerate() {
            let at = (i as i32 % columns * width, HEAD + i as i32 / columns * height);
            draw_matrix(root, matrix, at, labels)?;
        }
        Ok(())
    })?;
    Ok(Some(image))
}

fn draw_matrix(root: &Area<'_>, matrix: &CosineMatrix, (left, top): (i32, i32), labels: i32) -> Result<()> {
    let title = format!("{} · {}", matrix.concept, matrix.variant);
    let space = labels + CELL * matrix.names.len() as i32;
    write(root, &fitted(&title, 13, space), (left + labels, top + 8), &bold(13, INK, HPos::Left, VPos::Top))?;
    for (i, name) in matrix.names.iter().enumerate() {
        let i = i as i32;
        let middle = top + TITLE + i * CELL + CELL / 2;
        write(root, probe_label(name), (left + labels - 8, middle), &text(12, INK, HPos::Right, VPos::Center))?;
        let below = (left + labels + i * CELL + CELL / 2, top + TITLE + CELL * matrix.names.len() as i32 + 6);
        write(root, &fitted(probe_short(name), 11, CELL), below, &text(11, MUTED, HPos::Center, VPos::Top))?;
    }
    for (r, values) in matrix.values.iter().enumerate() {
        for (c, value) in values.iter().enumerate() {
            let at = (left + labels + c as i32 * CELL, top + TITLE + r as i32 * CELL);
            draw_cell(root, *value, at)?;
        }
    }
    Ok(())
}

fn draw_cell(root: &Area<'_>, value: f64, (x, y): (i32, i32)) -> Result<()> {
    let (fill, ink, label) = if value.is_finite() {
        let end = if value < 0.0 { NEGATIVE } else { POSITIVE };
        let strength = value.abs().min(1.0);
        (mix(WHITE, end, strength), readable(mix(WHITE, end, strength)), short_number(value))
    } else {
        (RGBColor(240, 240, 240), MUTED, "n/a".to_owned())
    };
    block(root, (x, y), (x + CELL - 2, y + CELL - 2), fill)?;
    write(root, &label, (x + CELL / 2 - 1, y + CELL / 2 - 1), &text(12, ink, HPos::Center, VPos::Center))
}

/// White or black, whichever stands out more: the luminance of WCAG 2.2 at which the two are equal is 0.179.
fn readable(ground: RGBColor) -> RGBColor {
    let linear = |v: u8| ((f64::from(v) / 255.0 + 0.055) / 1.055).powf(2.4);
    let luminance = 0.2126 * linear(ground.0) + 0.7152 * linear(ground.1) + 0.0722 * linear(ground.2);
    if luminance > 0.179 { BLACK } else { WHITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2), by the definition's two branches.
    fn luminance(c: RGBColor) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(c.0) + 0.7152 * linear(c.1) + 0.0722 * linear(c.2)
    }

    #[test]
    fn every_cosine_can_be_read() {
        for end in [NEGATIVE, POSITIVE] {
            for step in 0..=100 {
                let ground = mix(WHITE, end, f64::from(step) / 100.0);
                let (a, b) = (luminance(ground) + 0.05, luminance(readable(ground)) + 0.05);
                assert!(a.max(b) / a.min(b) >= 4.5, "{step}: {ground:?}");
            }
        }
    }
}
