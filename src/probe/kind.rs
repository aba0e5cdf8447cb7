//! The table of probe kinds. A kind is one file with one implementation of [`ProbeKind`], and one line here.

use std::collections::BTreeMap;

use super::task::{Outcome, Solution, Task, Unsolved};
use super::{
    car, classifier, combination, combination_span, combination_sum, cured, cured_leace, cured_partial, cured_span,
    false_positive, fp_top, imported, lda, loce, mean_difference, net2vec, netdissect, null, pattern, positions,
    random_set, ridge, segmentation, segmentation_box, segmentation_gate, segmentation_hard, segmentation_pattern,
    segmentation_upsampled, svm,
};

/// A way of turning labelled activations into a direction.
pub trait ProbeKind: Sync {
    /// The name in study files and tables.
    fn name(&self) -> &'static str;

    /// One line for `cavern ls probes`.
    fn about(&self) -> &'static str;

    /// Kinds whose solutions this one is made from; they stand before it in [`KINDS`].
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it reads the concept's masks.
    fn needs_masks(&self) -> bool {
        false
    }

    /// Fits the direction. `earlier` holds the kinds already solved for this task.
    ///
    /// # Errors
    /// A refusal where the data do not allow it; a failure when activations or masks cannot be read.
    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Outcome;
}

/// Solutions of the same task, by kind.
pub type Earlier = BTreeMap<String, Solution>;

/// Every kind, in the order they are fitted.
pub const KINDS: &[&dyn ProbeKind] = &[
    &classifier::Classifier,
    &ridge::Ridge,
    &svm::Svm,
    &pattern::Pattern,
    &mean_difference::MeanDifference,
    &mean_difference::FastCav,
    &lda::Lda,
    &false_positive::FalsePositive,
    &fp_top::FpTop,
    &cured::Cured,
    &cured_partial::CuredPartial,
    &cured_span::CuredSpan,
    &cured_leace::CuredLeace,
    &segmentation::Segmentation,
    &segmentation_hard::SegmentationHard,
    &segmentation_pattern::SegmentationPattern,
    &segmentation_box::SegmentationBox,
    &segmentation_upsampled::SegmentationUpsampled,
    &segmentation_gate::SegmentationGate,
    &positions::Positions,
    &net2vec::Net2Vec,
    &netdissect::NetDissect,
    &loce::Loce,
    &combination::Combination,
    &combination_sum::CombinationSum,
    &combination_span::CombinationSpan,
    &car::Car,
    &imported::Imported,
    &null::RandomDirection,
    &null::PermutedLabels,
    &random_set::RandomSet,
];

/// The names of kinds as a JSON schema, for keys of study files that list some.
pub(crate) fn kind_names() -> serde_json::Value {
    serde_json::json!({ "type": "string", "enum": KINDS.iter().map(|k| k.name()).collect::<Vec<_>>() })
}

/// The solution of an earlier kind, or the refusal that follows from its absence.
///
/// # Errors
/// The refusal.
pub fn needed<'a>(earlier: &'a Earlier, kind: &str) -> Result<&'a Solution, Unsolved> {
    earlier.get(kind).ok_or_else(|| Unsolved::Refused(format!("there is no `{kind}` direction to start from")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture::World;
    use crate::probe::lbfgs::{dot, norm};
    use crate::probe::task::{Offset, Weights};
    use crate::probe::{Space, Variant};

    const SHAPE: [usize; 3] = [12, 3, 4];

    /// Kinds that are the same probe at every position, so that `full` has none.
    const ONE_WEIGHT_A_CHANNEL: [&str; 5] = ["combination", "segmentation_upsampled", "net2vec", "netdissect", "loce"];

    /// Every kind's weights on the activations, and its own offset of them if it has one.
    type Directions = BTreeMap<&'static str, (Vec<f64>, Option<f64>)>;

    fn directions(world: &World) -> Directions {
        world.with(|task| {
            let (mut earlier, mut out) = (Earlier::new(), BTreeMap::new());
            for kind in KINDS {
                let solution = match kind.fit(task, &earlier) {
                    Ok(solution) => solution,
                    Err(Unsolved::Refused(reason)) if may_refuse(*kind, task) => {
                        assert!(!reason.is_empty());
                        continue;
                    }
                    Err(other) => panic!("{}: {other:?}", kind.name()),
                };
                if matches!(solution.weights, Weights::Kernel(_)) {
                    earlier.insert(kind.name().to_owned(), solution);
                    continue;
                }
                // Closed forms have none.
                let left = solution.gradient_norm;
                assert!(left.is_nan() || left < 1e-7, "{}: {left}", kind.name());
                let (weights, shift) = task.on_activations(&[&solution]).unwrap().remove(0);
                let offset = match solution.offset {
                    Offset::Native(bias) => Some(bias + shift),
                    Offset::Calibrated => None,
                };
                out.insert(kind.name(), (weights, offset));
                earlier.insert(kind.name().to_owned(), solution);
            }
            out
        })
    }

    /// Kinds that need what this world or variant lacks.
    fn may_refuse(kind: &dyn ProbeKind, task: &Task<'_>) -> bool {
        let positions = kind.needs_masks() || ["combination_sum", "positions"].contains(&kind.name());
        kind.name() == "imported"
            || ONE_WEIGHT_A_CHANNEL.contains(&kind.name()) && task.space.variant == Variant::Full
            || kind.name() == "segmentation_gate" && task.space.variant != Variant::Full
            || positions && !task.space.variant.is_linear()
    }

    fn world(variant: Variant, factor: f32) -> World {
        World::scaled(SHAPE, 90, 40, variant, factor)
    }

    /// The same directions, lengths and offsets up to a factor of the activations.
    fn assert_alike(left: &Directions, right: &Directions, factor: f64, tolerance: f64) {
        for (kind, (a, a_offset)) in left {
            let (b, b_offset) = &right[kind];
            let cosine = dot(a, b) / (norm(a) * norm(b));
            assert!(1.0 - cosine < tolerance, "{kind}: cosine {cosine}");
            // At unit length an offset is in the units of the activations.
            let unit = |offset: &Option<f64>, w: &[f64]| offset.map_or(0.0, |o| o / norm(w));
            let (a, b) = (unit(a_offset, a), unit(b_offset, b) / factor);
            assert!((a - b).abs() < tolerance * (1.0 + a.abs()), "{kind}: offsets {a} and {b}");
        }
    }

    #[test]
    fn names_are_unique_and_needs_stand_before() {
        for (i, kind) in KINDS.iter().enumerate() {
            let before: Vec<_> = KINDS[..i].iter().map(|k| k.name()).collect();
            assert!(!before.contains(&kind.name()), "{} stands twice", kind.name());
            assert!(kind.needs().iter().all(|needed| before.contains(needed)), "{} stands too early", kind.name());
        }
    }

    #[test]
    fn the_span_of_the_samples_loses_nothing() {
        let mut world = world(Variant::Full, 1.0);
        let span = directions(&world);
        world.space = Space::primal(&world.activations(), &world.samples, world.fitted(), Variant::Full);
        assert_eq!(world.space.dimension(), SHAPE.iter().product::<usize>());
        assert_alike(&span, &directions(&world), 1.0, 1e-5);
    }

    #[test]
    fn the_scale_of_the_activations_does_not_matter() {
        for variant in [Variant::Full, Variant::TranslationInvariant] {
            let [one, large] = [1.0, 1024.0].map(|factor| directions(&world(variant, factor)));
            assert_alike(&one, &large, 1024.0, 1e-9);
        }
    }

    #[test]
    fn threads_change_no_byte() {
        for variant in [Variant::Full, Variant::TranslationInvariant] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| directions(&world(variant, 1.0)))
            };
            assert!(run(1) == run(2));
        }
    }

    #[test]
    fn kinds_find_what_was_planted_and_nulls_do_not() {
        // Random directions have cosines of about 0.08 and 0.29 there: one over the root of the dimension.
        let pooled = [(Variant::TranslationInvariant, 0.6), (Variant::LogSumExp(1.0), 0.5), (Variant::Max, 0.4)];
        for (variant, least) in pooled.into_iter().chain([(Variant::Full, 0.3)]) {
            let world = world(variant, 1.0);
            let planted = world.planted();
            let cosine = |w: &[f64]| dot(w, &planted) / (norm(w) * norm(&planted));
            // False positives were chosen by the classifier's score, so a cure removes some of the concept itself.
            let found = directions(&world)
                .into_iter()
                .filter(|(kind, _)| !kind.starts_with("fp") && !kind.starts_with("cured"))
                // Too few positions for what is in the largest of two hundred.
                .filter(|(kind, _)| !["net2vec", "netdissect"].contains(kind));
            let cosines: Vec<_> = found.map(|(kind, (weights, _))| (kind, cosine(&weights))).collect();
            let is_null = |kind| ["random", "permuted", "random_set"].contains(&kind);
            assert!(cosines.iter().all(|(kind, c)| is_null(kind) == (*c < least)), "{variant:?}: {cosines:?}");
        }
    }

    #[test]
    fn too_few_samples_are_a_refusal_with_a_sentence() {
        let mut world = world(Variant::Full, 1.0);
        world.options.min_samples = 30;
        let earlier =
            world.with(|task| Earlier::from([("classifier".to_owned(), KINDS[0].fit(task, &Earlier::new()).unwrap())]));
        for (kind, part) in [("random_set", "50 samples without the concept"), ("cured_span", "there is no `fp`")] {
            let kind = KINDS.iter().find(|k| k.name() == kind).unwrap();
            match world.with(|task| kind.fit(task, &earlier)) {
                Err(Unsolved::Refused(reason)) => assert!(reason.contains(part), "{reason}"),
                other => panic!("{} has no refusal: {other:?}", kind.name()),
            }
        }
    }
}
