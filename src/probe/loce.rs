//! One direction an image: how far pictures agree about the concept.

use rayon::prelude::*;

use super::combination::auroc;
use super::kind::{Earlier, ProbeKind};
use super::lbfgs::norm;
use super::segmentation::{
    Masked, Scaling, Shared, balance_classes, gather, masked_images, one_weight_a_channel, solution,
};
use super::task::{Outcome, Task, refused};
use super::weighted::Weighted;
use crate::error::Result;

/// Images whose directions are held at once.
const BATCH: usize = 64;

/// The mean of unit vectors, one for each image of the fit split whose mask covers a part of it: the logistic regression without
/// offset of that image's positions on their coverage, weighted as `segmentation` is, less the mean position (local concept
/// embeddings, LoCE). Mean, ridge and its choice, by the AUROC of validation positions along the mean, are our definition.
pub struct Loce;

impl ProbeKind for Loce {
    fn name(&self) -> &'static str {
        "loce"
    }

    fn about(&self) -> &'static str {
        "the mean of one direction an image, fitted on its own mask; translation-invariant only"
    }

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        one_weight_a_channel(task)?;
        let all = masked_images(task, task.fit)?;
        let scaling = Scaling::of(task, &all)?;
        let images: Vec<&Masked> = all.iter().filter(|image| is_partly_covered(&image.coverage)).collect();
        let val = gather(task, &masked_images(task, task.val)?, &scaling, "loce/val")?;
        let mut means = means(task, &images, &scaling)?;
        let value = |mean: &Shared| auroc(&val, &mean.v);
        let best = (0..means.len()).reduce(|a, b| if value(&means[b]) > value(&means[a]) { b } else { a });
        let Some(mean) = best.map(|best| means.swap_remove(best)).filter(|mean| norm(&mean.v) > 0.0) else {
            return refused("no sample of the fit split has a mask of the concept that covers a part of it");
        };
        let mut solution = solution(task, mean.v.clone(), &mean);
        solution.counts = (images.len(), 0);
        solution.facts.insert("loce_spread".into(), 1.0 - norm(&mean.v));
        Ok(solution)
    }
}

/// Whether the mask covers some of the picture, and not all of it.
fn is_partly_covered(coverage: &[f32]) -> bool {
    coverage.iter().any(|m| *m > 0.0) && coverage.iter().any(|m| *m < 1.0)
}

/// The mean unit vector for every lambda, with the largest gradient norm of its fits.
fn means(task: &Task<'_>, images: &[&Masked], scaling: &Scaling) -> Result<Vec<Shared>> {
    let zero =
        |lambda: &f64| Shared { v: vec![0.0; task.set.shape[0]], bias: 0.0, lambda: *lambda, gradient_norm: 0.0 };
    let mut means: Vec<Shared> = task.options.lambda.iter().map(zero).collect();
    for batch in images.chunks(BATCH) {
        let fits = batch.par_iter().map(|image| {
            let samples = positions(task, image, scaling)?;
            let start = vec![0.0; samples.columns];
            let fit = |lambda: &f64| samples.fit_without_offset(&start, 0.0, *lambda);
            Ok(task.options.lambda.iter().map(fit).collect::<Vec<_>>())
        });
        for fits in fits.collect::<Result<Vec<_>>>()? {
            for (mean, fit) in means.iter_mut().zip(fits) {
                mean.gradient_norm = mean.gradient_norm.max(fit.gradient_norm);
                let length = norm(&fit.x).max(f64::MIN_POSITIVE) * images.len() as f64;
                mean.v.iter_mut().zip(&fit.x).for_each(|(sum, v)| *sum += v / length);
            }
        }
    }
    Ok(means)
}

/// The positions of one image, with class weights.
fn positions(task: &Task<'_>, image: &Masked, scaling: &Scaling) -> Result<Weighted<f32>> {
    let (channels, cells) = (task.set.shape[0], task.set.positions());
    let map = task.set.map(image.sample)?;
    let x = (0..cells).flat_map(|p| (0..channels).map(move |c| (p, c)));
    let x = x.map(|(p, c)| scaling.apply(map[c * cells + p], c)).collect();
    let mut samples = Weighted { columns: channels, x, label: image.coverage.clone(), weight: vec![1.0; cells] };
    balance_classes(&mut samples);
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Variant;
    use crate::probe::fixture::World;
    use crate::probe::lbfgs::dot;
    use crate::probe::task::Weights;

    #[test]
    fn pictures_agree_where_the_concept_is_strong() {
        let spread = |strength| {
            let world = World::planted_by([12, 3, 4], 90, 40, Variant::TranslationInvariant, strength);
            let solution = world.with(|task| Loce.fit(task, &Earlier::new()).unwrap());
            let Weights::Activations(v) = &solution.weights else { panic!("no weights on activations") };
            let planted = world.planted();
            (solution.facts["loce_spread"], dot(v, &planted) / (norm(v) * norm(&planted)))
        };
        let [(weak, _), (strong, cosine)] = [0.0, 6.0].map(spread);
        // Forty unrelated unit vectors have a mean of length 0.16.
        assert!((weak - (1.0 - 0.16)).abs() < 0.1 && strong < 0.5 * weak && cosine > 0.95, "{weak} {strong} {cosine}");
    }

    #[test]
    fn masks_of_all_or_nothing_say_nothing() {
        assert!(!is_partly_covered(&[0.0, 0.0]) && !is_partly_covered(&[1.0, 1.0]));
        assert!(is_partly_covered(&[0.5, 0.5]) && is_partly_covered(&[0.0, 1.0]));
    }
}
