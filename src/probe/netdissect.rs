//! The single channel that finds the concept best.

use rayon::prelude::*;

use super::kind::{Earlier, ProbeKind};
use super::quantile::{Channel, channels};
use super::segmentation::{Masked, Shared, masks_for_channels, solution};
use super::task::{Outcome, Task, refused};
use crate::error::Result;

/// Images whose counts are held at once.
const BATCH: usize = 64;

/// The channel whose cells above its own 99.5 % quantile have the best set IoU with the masks, over positives and negatives of
/// the fit split: the sum of what both cover over the sum of what either does (Bau et al. 2017). Ours: maps are not enlarged,
/// a cell above the threshold counts whole and a mask by its coverage. The direction is the channel's.
pub struct NetDissect;

impl ProbeKind for NetDissect {
    fn name(&self) -> &'static str {
        "netdissect"
    }

    fn about(&self) -> &'static str {
        "the single channel with the best set IoU at its 99.5 % quantile; translation-invariant only"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let images = masks_for_channels(task)?;
        let samples: Vec<usize> = images.iter().map(|image| image.sample).collect();
        let ious = ious(task, &images, &channels(task.set, &samples)?)?;
        let best = (0..ious.len()).reduce(|best, c| if ious[c] > ious[best] { c } else { best });
        let Some(unit) = best.filter(|c| ious[*c] > 0.0) else {
            return refused("no channel is above its 99.5 % quantile on a mask");
        };
        let mut weights = vec![0.0; ious.len()];
        weights[unit] = 1.0;
        let closed = Shared { v: Vec::new(), bias: 0.0, lambda: f64::NAN, gradient_norm: f64::NAN };
        let mut solution = solution(task, weights, &closed);
        solution.facts.extend([("unit".into(), unit as f64), ("unit_iou".into(), ious[unit])]);
        Ok(solution)
    }
}

/// The set IoU of every channel.
fn ious(task: &Task<'_>, images: &[Masked], channels: &[Channel]) -> Result<Vec<f64>> {
    let (mut both, mut active, mut covered) = (vec![0.0; channels.len()], vec![0.0; channels.len()], 0.0);
    for images in images.chunks(BATCH) {
        let counts = images.par_iter().map(|image| Ok(count(&task.set.map(image.sample)?, &image.coverage, channels)));
        for (image, counts) in images.iter().zip(counts.collect::<Result<Vec<_>>>()?) {
            covered += image.coverage.iter().map(|m| f64::from(*m)).sum::<f64>();
            for (c, (inside, cells)) in counts.into_iter().enumerate() {
                both[c] += inside;
                active[c] += cells;
            }
        }
    }
    let iou = |(both, active): (&f64, &f64)| both / (active + covered - both).max(f64::MIN_POSITIVE);
    Ok(both.iter().zip(&active).map(iou).collect())
}

/// For every channel of a map, how much of the mask its cells above the threshold cover, and how many they are.
fn count(map: &[f32], coverage: &[f32], channels: &[Channel]) -> Vec<(f64, f64)> {
    let of_channel = |(z, channel): (&[f32], &Channel)| {
        let active = z.iter().zip(coverage).filter(|(z, _)| **z > channel.threshold);
        active.fold((0.0, 0.0), |(inside, cells), (_, m)| (inside + f64::from(*m), cells + 1.0))
    };
    map.chunks_exact(coverage.len().max(1)).zip(channels).map(of_channel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Variant;
    use crate::probe::fixture::World;

    #[test]
    fn cells_above_the_threshold_are_counted() {
        let channels = [0.5, 2.0].map(|threshold| Channel { threshold, deviation: 1.0 });
        let map = [0.6, 0.5, 9.0, 0.0, 1.0, 2.0, 1.9, 2.1];
        let counts = count(&map, &[1.0, 1.0, 0.25, 0.0], &channels);
        assert_eq!(counts, [(1.25, 2.0), (0.0, 1.0)]);
    }

    #[test]
    fn the_unit_is_one_that_carries_the_concept() {
        let world = World::planted_by([12, 3, 4], 90, 40, Variant::TranslationInvariant, 6.0);
        let solution = world.with(|task| NetDissect.fit(task, &Earlier::new()).unwrap());
        let (unit, iou) = (solution.facts["unit"], solution.facts["unit_iou"]);
        // Five cells of 1080 are above, and 240 on the masks: no IoU is larger.
        assert!(unit < 6.0 && (iou - 5.0 / 240.0).abs() < 1e-12, "{unit} {iou}");
    }
}
