//! A plot's frame: from values to pixels, with a grid and its labels.

use plotters::style::text_anchor::{HPos, VPos};

use super::super::plot::{Area, GRID, MUTED, line, short_number, text, write};
use crate::error::Result;

/// Where a plot lies in its figure, and the values at its edges.
pub(super) struct Frame {
    /// Left and upper edge in pixels.
    pub(super) at: (i32, i32),
    /// Width and height in pixels.
    pub(super) size: (i32, i32),
    /// Values at the left and right edge.
    pub(super) x: (f64, f64),
    /// Values at the lower and upper edge.
    pub(super) y: (f64, f64),
}

impl Frame {
    /// Column of a value; values outside lie on the edge.
    pub(super) fn x(&self, v: f64) -> i32 {
        let (low, high) = self.x;
        self.at.0 + ((v.clamp(low, high) - low) / (high - low) * f64::from(self.size.0)).round() as i32
    }

    /// Row of a value.
    pub(super) fn y(&self, v: f64) -> i32 {
        let (low, high) = self.y;
        self.at.1 + ((high - v.clamp(low, high)) / (high - low) * f64::from(self.size.1)).round() as i32
    }

    /// The lowest row and the right column.
    pub(super) fn end(&self) -> (i32, i32) {
        (self.at.0 + self.size.0, self.at.1 + self.size.1)
    }

    /// Upright lines with their values below.
    pub(super) fn draw_x(&self, root: &Area<'_>) -> Result<()> {
        for v in ticks(self.x) {
            line(root, (self.x(v), self.at.1), (self.x(v), self.end().1), GRID)?;
            write(root, &short_number(v), (self.x(v), self.end().1 + 9), &text(12, MUTED, HPos::Center, VPos::Top))?;
        }
        Ok(())
    }

    /// Level lines with their values to the left.
    pub(super) fn draw_y(&self, root: &Area<'_>) -> Result<()> {
        for v in ticks(self.y) {
            line(root, (self.at.0, self.y(v)), (self.end().0, self.y(v)), GRID)?;
            write(root, &short_number(v), (self.at.0 - 8, self.y(v)), &text(12, MUTED, HPos::Right, VPos::Center))?;
        }
        Ok(())
    }
}

/// The range of the values with some room, in steps of a tenth; (0, 1) of none.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    // No room is left beyond 0 and 1 where no value goes there: most metrics end at them.
    let down = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let up = if high <= 1.0 { 1.0 } else { f64::INFINITY };
    let (low, high) = (((low * 10.0 - 0.3).floor() / 10.0).max(down), ((high * 10.0 + 0.3).ceil() / 10.0).min(up));
    if high - low < 0.2 { (low - 0.1, high + 0.1) } else { (low, high) }
}

/// A round step that gives about five labels.
fn step(low: f64, high: f64) -> f64 {
    [0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .find(|s| (high - low) / s <= 6.0)
        .unwrap_or((high - low) / 5.0)
}

fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let step = step(low, high);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}
