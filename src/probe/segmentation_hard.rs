//! Segmentation-CAV of the positions whose label is beyond doubt.

use super::kind::{Earlier, ProbeKind};
use super::segmentation;
use super::task::{Outcome, Task};

/// As `segmentation`, with hard labels (our definition): a cell that the mask covers by half or more shows the concept, one
/// that it does not touch lacks it, and the cells between are left out.
pub struct SegmentationHard;

impl ProbeKind for SegmentationHard {
    fn name(&self) -> &'static str {
        "segmentation_hard"
    }

    fn about(&self) -> &'static str {
        "as segmentation, without the cells that the mask covers by less than half"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        segmentation::fit(task, |coverage| coverage.iter_mut().for_each(|m| *m = hard(*m)))
    }
}

/// The label of a coverage; NaN leaves the cell out.
fn hard(coverage: f32) -> f32 {
    match coverage {
        m if m >= 0.5 => 1.0,
        0.0 => 0.0,
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_cell_is_enough_and_less_says_nothing() {
        assert_eq!([0.0, 0.5, 1.0].map(hard), [0.0, 1.0, 1.0]);
        assert!(hard(0.49).is_nan() && hard(1e-6).is_nan());
    }
}
