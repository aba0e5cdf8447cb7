//! Segmentation-CAV with the surroundings of a cell in its label.

use super::kind::{Earlier, ProbeKind};
use super::segmentation::{self, Masked, masked_images};
use super::task::{Outcome, Task};
use crate::dataset::mask::cells;

/// As `segmentation`, with another label: the share of a box as large as the concept, centred at the cell, that lies on the
/// mask, where the box lies in the picture. The box is a square with the concept's mean area over the fit positives, in cells,
/// and at least one cell. After the intersection encoding of hybrid_learning; box and edges are our definition.
pub struct SegmentationBox;

impl ProbeKind for SegmentationBox {
    fn name(&self) -> &'static str {
        "segmentation_box"
    }

    fn about(&self) -> &'static str {
        "as segmentation, with the share of a concept-sized box about a cell as its label"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        segmentation::linear_form(task)?;
        let side = side(&masked_images(task, task.fit)?);
        let (height, width) = (task.set.shape[1], task.set.shape[2]);
        segmentation::fit(task, |coverage| {
            let shares = shares(coverage, (height, width), side);
            coverage.copy_from_slice(&shares);
        })
    }
}

/// The side of a square with the concept's mean area where it is seen, in cells; at least one.
fn side(images: &[Masked]) -> f64 {
    let areas = images.iter().map(|i| i.coverage.iter().map(|m| f64::from(*m)).sum::<f64>());
    let seen: Vec<f64> = areas.filter(|area| *area > 0.0).collect();
    (seen.iter().sum::<f64>() / seen.len().max(1) as f64).sqrt().max(1.0)
}

/// The covered share of the part in the grid of the box about each cell.
fn shares(coverage: &[f32], (height, width): (usize, usize), side: f64) -> Vec<f32> {
    let (down, across) = (boxes(height, side), boxes(width, side));
    let row = |down: &Vec<(usize, f64)>, across: &Vec<(usize, f64)>| -> f32 {
        let line = |y: usize| across.iter().map(|(x, part)| part * f64::from(coverage[y * width + x])).sum::<f64>();
        // Rounding may add to more than the whole.
        down.iter().map(|(y, part)| part * line(*y)).sum::<f64>().min(1.0) as f32
    };
    down.iter().flat_map(|down| across.iter().map(move |across| row(down, across))).collect()
}

/// Along one side of the grid: the cells that the box about each cell overlaps, with their shares of its part in the grid.
fn boxes(size: usize, side: f64) -> Vec<Vec<(usize, f64)>> {
    let about = |i: usize| {
        let centre = i as f64 + 0.5;
        let (from, to) = ((centre - side / 2.0).max(0.0), (centre + side / 2.0).min(size as f64));
        cells(from, to - from, 1, size).flatten().collect()
    };
    (0..size).map(about).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_of_one_cell_is_the_cell() {
        let coverage = [0.0, 0.25, 1.0, 0.5, 0.0, 1.0];
        assert_eq!(shares(&coverage, (2, 3), 1.0), coverage);
    }

    #[test]
    fn boxes_are_counted_where_they_lie_in_the_picture() {
        // Two cells wide: half of each neighbour and the whole of the cell, at the edge one and a half.
        let line = shares(&[1.0, 0.0, 0.0, 0.5], (1, 4), 2.0);
        for (got, wanted) in line.iter().zip([2.0 / 3.0, 0.25, 0.125, 1.0 / 3.0]) {
            assert!((got - wanted).abs() < 1e-6, "{line:?}");
        }
        // A box larger than the picture sees all of it; a covered picture is covered everywhere.
        assert!(shares(&[1.0, 0.0, 0.0, 0.0], (2, 2), 9.0).iter().all(|s| (s - 0.25).abs() < 1e-6));
        assert!(shares(&[1.0; 12], (3, 4), 2.3).iter().all(|s| (s - 1.0).abs() < 1e-6));
    }

    #[test]
    fn the_side_is_that_of_the_mean_area() {
        let image = |coverage: &[f32]| Masked { sample: 0, row: 0, coverage: coverage.to_vec() };
        assert_eq!(side(&[image(&[1.0; 6]), image(&[0.5; 4]), image(&[0.0; 9])]), 2.0);
        assert_eq!(side(&[image(&[0.1, 0.0])]), 1.0);
        assert_eq!(side(&[]), 1.0);
    }
}
