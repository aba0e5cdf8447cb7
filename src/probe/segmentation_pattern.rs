//! Pattern of masked positions: the Segmentation-CAV in closed form.

use super::kind::{Earlier, ProbeKind};
use super::lbfgs::norm;
use super::segmentation::{Masked, linear_form, masked_images};
use super::task::{Offset, Outcome, Solution, Task, Unsolved, Weights, refused};
use crate::error::Result;
use crate::probe::Variant;

/// Mean activation of positions on the concept's masks less that of the others (our definition): what `pattern` is to
/// images, this is to positions. The image's score is the mean over positions; its offset is fitted on the validation split.
pub struct SegmentationPattern;

impl ProbeKind for SegmentationPattern {
    fn name(&self) -> &'static str {
        "segmentation_pattern"
    }

    fn about(&self) -> &'static str {
        "mean activation of the positions on the masks less that of the others"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let weights = pattern_of_positions(task)?;
        let counts = (task.fit.positive.len(), task.fit.negative.len());
        let mut solution = Solution::new(Vec::new(), Offset::Calibrated, counts);
        solution.weights = Weights::Activations(weights);
        solution.image_score = task.options.image_score;
        Ok(solution)
    }
}

/// Mean activation of the positions inside the masks less that of those outside, a soft mask counting as both in part:
/// over all positions alike, or at each by itself, zero where less than one cell in all is covered.
///
/// # Errors
/// A refusal where nothing is covered, or positions have no part in the image's score; when activations or masks cannot be
/// read.
pub(super) fn pattern_of_positions(task: &Task<'_>) -> std::result::Result<Vec<f64>, Unsolved> {
    linear_form(task)?;
    let weights = difference(task, &masked_images(task, task.fit)?)?;
    if norm(&weights) <= 0.0 {
        return refused("no position of the grid is covered by as much as one cell");
    }
    Ok(weights)
}

fn difference(task: &Task<'_>, images: &[Masked]) -> Result<Vec<f64>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let cells = if task.space.variant == Variant::Full { positions } else { 1 };
    let (mut inside, mut outside) = (vec![0.0; channels * cells], vec![0.0; channels * cells]);
    let (mut covered, mut bare) = (vec![0.0; cells], vec![0.0; cells]);
    for image in images {
        let map = task.set.map(image.sample)?;
        for (p, m) in image.coverage.iter().enumerate() {
            let (cell, m) = (p % cells, f64::from(*m));
            covered[cell] += m;
            bare[cell] += 1.0 - m;
            for c in 0..channels {
                let z = f64::from(map[c * positions + p]);
                inside[c * cells + cell] += m * z;
                outside[c * cells + cell] += (1.0 - m) * z;
            }
        }
    }
    let difference = |(k, (i, o)): (usize, (&f64, &f64))| {
        let cell = k % cells;
        if covered[cell] >= 1.0 && bare[cell] > 0.0 { i / covered[cell] - o / bare[cell] } else { 0.0 }
    };
    Ok(inside.iter().zip(&outside).enumerate().map(difference).collect())
}
