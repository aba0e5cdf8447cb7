//! What all figures share: the palette, text styles, and the way from a drawing to an SVG text.
//!
//! SVG only, with the reader's own sans-serif font, on a white ground.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

/// A part of a figure, in pixels.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
/// Text of less weight.
pub(super) const MUTED: RGBColor = RGBColor(96, 103, 117);
/// Lines of a grid.
pub(super) const GRID: RGBColor = RGBColor(228, 231, 236);

/// Lines that stand for no probe, told apart by order.
const LINE_COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// The colour of a probe in every figure: Okabe and Ito's, which stay apart for colour-blind eyes, for the kinds that are
/// always there; shades of the nearest of those for their relatives; greys for the nulls.
pub(super) fn probe_colour(probe: &str) -> RGBColor {
    match probe {
        "classifier" => RGBColor(0, 114, 178),
        "svm" => RGBColor(86, 180, 233),
        "ridge" => RGBColor(30, 60, 120),
        "lda" => RGBColor(120, 160, 210),
        "car" => RGBColor(0, 160, 170),
        "pattern" => RGBColor(230, 159, 0),
        "mean_difference" => RGBColor(240, 205, 80),
        "fast_cav" => RGBColor(160, 110, 0),
        "segmentation" => RGBColor(0, 158, 115),
        "combination" => RGBColor(0, 95, 65),
        "combination_sum" => RGBColor(120, 200, 120),
        "combination_span" => RGBColor(150, 160, 40),
        "fp" => RGBColor(213, 94, 0),
        "cured" => RGBColor(204, 121, 167),
        "cured_partial" => RGBColor(130, 60, 120),
        "cured_span" => RGBColor(230, 170, 215),
        "cured_leace" => RGBColor(170, 60, 90),
        "fp_top" => RGBColor(240, 140, 90),
        "segmentation_hard" => RGBColor(60, 190, 160),
        "segmentation_pattern" => RGBColor(0, 120, 130),
        "segmentation_box" => RGBColor(130, 220, 200),
        "segmentation_upsampled" => RGBColor(0, 190, 120),
        "segmentation_gate" => RGBColor(20, 80, 90),
        "positions" => RGBColor(70, 130, 60),
        "net2vec" => RGBColor(110, 90, 190),
        "netdissect" => RGBColor(70, 50, 120),
        "loce" => RGBColor(170, 150, 230),
        "imported" => RGBColor(120, 80, 50),
        "random" => RGBColor(150, 150, 150),
        "permuted" => RGBColor(95, 95, 95),
        "random_set" => RGBColor(190, 190, 190),
        _ => RGBColor(30, 30, 30),
    }
}

/// The colour of the n-th line.
pub(super) fn line_colour(index: usize) -> RGBColor {
    LINE_COLOURS[index % LINE_COLOURS.len()]
}

/// The colour mixed with white: 0 leaves it, 1 is white.
pub(super) fn pale(colour: RGBColor, share: f64) -> RGBColor {
    mix(colour, WHITE, share)
}

/// From `a` (share 0) to `b` (share 1).
pub(super) fn mix(a: RGBColor, b: RGBColor, share: f64) -> RGBColor {
    let channel = |x: u8, y: u8| (f64::from(x) + (f64::from(y) - f64::from(x)) * share).round() as u8;
    RGBColor(channel(a.0, b.0), channel(a.1, b.1), channel(a.2, b.2))
}

/// A text style of that many CSS pixels.
pub(super) fn text(pixels: u32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    font(pixels, FontStyle::Normal, colour).pos(Pos::new(h, v))
}

/// A bold text style of that many CSS pixels.
pub(super) fn bold(pixels: u32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    font(pixels, FontStyle::Bold, colour).pos(Pos::new(h, v))
}

fn font(pixels: u32, style: FontStyle, colour: RGBColor) -> TextStyle<'static> {
    // The backend divides sizes by this factor before it writes them.
    const BACKEND: f64 = 1.24;
    FontDesc::new(FontFamily::SansSerif, f64::from(pixels) * BACKEND, style).color(&colour)
}

/// Width of a text in pixels, roughly: the reader's font is not known.
pub(super) fn text_width(text: &str, pixels: u32) -> i32 {
    (text.chars().count() as f64 * f64::from(pixels) * 0.56).ceil() as i32
}

/// The text, shortened to fit into that many pixels.
pub(super) fn fitted(text: &str, pixels: u32, width: i32) -> String {
    let most = (f64::from(width) / (f64::from(pixels) * 0.56)).floor().max(1.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Draws a figure of that size.
pub(super) fn svg(width: i32, height: i32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (width.max(1) as u32, height.max(1) as u32)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        draw(&root)?;
        root.present().map_err(failed)?;
    }
    Ok(out)
}

/// Turns plotters' error into the library's.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
pub(super) fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Error {
    Error::Failure(format!("cannot draw a figure: {error}"))
}

/// Draws a text at a place.
pub(super) fn write(area: &Area<'_>, content: &str, at: (i32, i32), style: &TextStyle<'_>) -> Result<()> {
    area.draw(&Text::new(content.to_owned(), at, style.clone())).map_err(failed)
}

/// Draws a straight line.
pub(super) fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: impl Into<ShapeStyle>) -> Result<()> {
    area.draw(&PathElement::new(vec![from, to], style)).map_err(failed)
}

/// Draws a filled rectangle.
pub(super) fn block(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<()> {
    area.draw(&Rectangle::new([from, to], colour.filled())).map_err(failed)
}

/// A number of two decimals with a typographic minus, for axes and cells.
pub(super) fn short_number(value: f64) -> String {
    let text = format!("{value:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text.replace('-', "−") }
}
