//! Net2Vec's weights of binary maps, read as a direction of the activations.

use super::kind::{Earlier, ProbeKind};
use super::quantile::{ABOVE, Channel, channels};
use super::segmentation::{Masked, choose, draw, masked_images, masks_for_channels, solution};
use super::task::{Outcome, Task};
use super::weighted::Weighted;
use crate::error::Result;

/// Logistic regression of every position on the mask's coverage, as `segmentation`, of binary activations: one where a channel
/// is above its 99.5 % quantile over the fit split (Fong & Vedaldi 2018). Ours: each weight is divided by its channel's standard
/// deviation and multiplies the activation itself, so that the score stays linear; the loss has logarithms, a ridge and
/// images without the concept, and is taken on the layer's grid.
pub struct Net2Vec;

impl ProbeKind for Net2Vec {
    fn name(&self) -> &'static str {
        "net2vec"
    }

    fn about(&self) -> &'static str {
        "the weights of channels cut at their 99.5 % quantile, over their deviation; translation-invariant only"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        let images = masks_for_channels(task)?;
        let samples: Vec<usize> = images.iter().map(|image| image.sample).collect();
        let channels = channels(task.set, &samples)?;
        let train = binary(task, &images, &channels, "net2vec/fit")?;
        let val = binary(task, &masked_images(task, task.val)?, &channels, "net2vec/val")?;
        let shared = choose(&task.options.lambda, &train, &val);
        let linear = |(v, channel): (&f64, &Channel)| if channel.deviation > 0.0 { v / channel.deviation } else { 0.0 };
        let weights = shared.v.iter().zip(&channels).map(linear).collect();
        Ok(solution(task, weights, &shared))
    }
}

/// Positions as binary rows, of about unit mean square norm: a channel is above its threshold at a share of [`ABOVE`] of them.
fn binary(task: &Task<'_>, images: &[Masked], channels: &[Channel], stream: &str) -> Result<Weighted<f32>> {
    let positions = task.set.positions();
    let one = (1.0 / (ABOVE * (1.0 - ABOVE) * channels.len() as f64).sqrt()) as f32;
    let row = |map: &[f32], p: usize, x: &mut Vec<f32>| {
        let above = |(c, channel): (usize, &Channel)| map[c * positions + p] > channel.threshold;
        x.extend(channels.iter().enumerate().map(|channel| if above(channel) { one } else { 0.0 }));
    };
    Ok(draw(task, images, stream, |image| Ok(image.coverage.clone()), row)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Variant;
    use crate::probe::fixture::World;
    use crate::probe::lbfgs::{dot, norm};
    use crate::probe::task::Weights;

    #[test]
    fn rows_say_which_channels_are_above_their_threshold() {
        let world = World::scaled([3, 4, 5], 60, 30, Variant::TranslationInvariant, 1.0);
        world.with(|task| {
            let images = masked_images(task, task.fit).unwrap();
            let samples: Vec<usize> = images.iter().map(|image| image.sample).collect();
            let channels = channels(task.set, &samples).unwrap();
            let rows = binary(task, &images, &channels, "test").unwrap();
            // Of 1200 positions six are above in each channel.
            assert_eq!(rows.len(), 1200);
            let one = rows.x.iter().copied().fold(0.0, f32::max);
            for c in 0..3 {
                let column: Vec<f32> = rows.x.iter().skip(c).step_by(3).copied().collect();
                assert_eq!(column.iter().filter(|v| **v == one).count(), 6);
                assert_eq!(column.iter().filter(|v| **v == 0.0).count(), 1194);
            }
        });
    }

    #[test]
    fn channels_that_carry_the_concept_have_the_weights() {
        let world = World::planted_by([12, 3, 4], 90, 40, Variant::TranslationInvariant, 6.0);
        let solution = world.with(|task| Net2Vec.fit(task, &Earlier::new()).unwrap());
        let Weights::Activations(weights) = solution.weights else { panic!("no weights on activations") };
        let planted = world.planted();
        let cosine = dot(&weights, &planted) / (norm(&weights) * norm(&planted));
        // The other channels' five largest values are noise, and so are their weights.
        assert!(cosine > 0.6 && weights[..6].iter().all(|w| *w > 0.3), "{cosine} {weights:?}");
    }
}
