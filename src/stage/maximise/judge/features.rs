//! The judge's features of real pictures, and how far sets of others are from them.

use super::bench::Look;
use super::scores::mean;
use crate::metric::bootstrap::ratio;
use crate::metric::maximisation::{Principal, between_neighbours, dimensions, diversity, frechet, kernel_distance};

/// Sets of real pictures that distances of sets are held against.
const SETS: usize = 16;

/// Features of real pictures in units of their own size, so that distances are of the order of one for any network.
pub(super) struct Features {
    unit: f64,
    pub(super) rows: Vec<Vec<f64>>,
    /// Typical distance between neighbours.
    pub(super) between: f64,
    /// Of all of them.
    pub(super) diversity: f64,
    /// Of the second half, which other sets are held against.
    axes: Principal,
}

impl Features {
    pub(super) fn of(real: &[Look]) -> Self {
        let square: f64 = real.iter().flat_map(|look| &look.features).map(|v| v * v).sum();
        let mean_square = ratio(square, real.iter().map(|look| look.features.len()).sum::<usize>() as f64);
        let unit = if mean_square > 0.0 { mean_square.sqrt() } else { 1.0 };
        let rows = scaled(real, unit);
        let axes = Principal::of(&rows[rows.len() / 2..]);
        Self { unit, between: between_neighbours(&rows), diversity: diversity(&rows), axes, rows }
    }

    /// Features of other pictures in the same units.
    pub(super) fn scaled(&self, looks: &[Look]) -> Vec<Vec<f64>> {
        scaled(looks, self.unit)
    }

    /// Every distance of a set from the second half of the real pictures: its name, its value, and its mean over sets of as
    /// many of the first half, as few pictures have a larger one for that alone.
    pub(super) fn distances(&self, own: &[Vec<f64>]) -> [(&'static str, f64, f64); 2] {
        let (first, second) = self.rows.split_at(self.rows.len() / 2);
        let count = dimensions(own.len());
        let projected = self.axes.project(second, count);
        let with_null = |name, of: &dyn Fn(&[Vec<f64>]) -> f64| {
            let sets = first.chunks_exact(own.len().min(first.len()).max(1)).take(SETS);
            (name, of(own), mean(&sets.map(of).collect::<Vec<_>>()))
        };
        [
            with_null("am_kid", &|rows| kernel_distance(rows, second)),
            with_null("am_frechet", &|rows| frechet(&self.axes.project(rows, count), &projected)),
        ]
    }
}

fn scaled(looks: &[Look], unit: f64) -> Vec<Vec<f64>> {
    looks.iter().map(|look| look.features.iter().map(|v| v / unit).collect()).collect()
}
