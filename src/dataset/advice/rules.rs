//! What is wrong, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Concept, Kind, Wanted, Warning};
use crate::dataset::sample::{Dataset, Presence, Sample};
use crate::dataset::split::{Part, Split};
use crate::error::Error;

/// Balanced accuracy of the source alone from which on it is a shortcut.
const SHORTCUT: f64 = 0.7;
/// Fewest blocks that a bootstrap over blocks can say something with.
const BLOCKS: usize = 5;
/// Fewest test samples of a side for an interval of accuracy within 14 points.
const SAMPLES: usize = 50;
/// Largest share of apart samples at which two concepts count as never apart.
const APART: f64 = 0.05;
/// Largest share of samples without the other at which one concept counts as never without it.
const WITHOUT: f64 = 0.02;
/// Fewest samples with both concepts before anything is said of a pair.
const TOGETHER: usize = 5;
/// Median coverage from which on masks are large.
const LARGE: f32 = 0.8;
/// Median coverage below which masks are small: a cell of a grid of 7 x 7.
const SMALL: f32 = 1.0 / 49.0;

fn warning(kind: Kind, concepts: &[&str], found: String, advice: impl Into<String>) -> Warning {
    Warning { kind, concepts: concepts.iter().map(|c| (*c).to_owned()).collect(), found, advice: advice.into() }
}

/// What concerns the groups and not one concept.
pub(super) fn of_groups(dataset: &dyn Dataset, split: Result<&Split, &Error>, wanted: &Wanted) -> Vec<Warning> {
    match split {
        Err(reason) => {
            let text = reason.to_string();
            let found = text.lines().next().unwrap_or_default().to_owned();
            let advice = "the study cannot run: give samples that do not belong together groups of their own";
            vec![warning(Kind::FewGroups, &[], found, advice)]
        }
        Ok(split) => {
            let samples = dataset.samples();
            [shared_clips(samples, split, wanted), same_pictures(samples, split)].into_iter().flatten().collect()
        }
    }
}

/// Values of the samples in use that are in more than one part.
fn straddling<'a>(samples: &'a [Sample], split: &Split, of: impl Fn(&'a Sample) -> &'a str) -> (usize, usize) {
    let mut parts: HashMap<&str, BTreeSet<Part>> = HashMap::new();
    for (sample, part) in samples.iter().zip(&split.part).filter(|(_, part)| **part != Part::Out) {
        parts.entry(of(sample)).or_default().insert(*part);
    }
    (parts.values().filter(|p| p.len() > 1).count(), parts.len())
}

fn shared_clips(samples: &[Sample], split: &Split, wanted: &Wanted) -> Option<Warning> {
    let (shared, all) = straddling(samples, split, |s| &s.group);
    let found = format!(
        "{shared} of {all} groups are in more than one part of the split, cut in time with gaps of {} s: what stays the \
         same in a clip (camera, place, weather) is known from fitting when it is measured",
        wanted.gap
    );
    let advice =
        "raise split.gap, or use more clips and a split.block longer than any of them, so that clips stay whole";
    (shared > 0).then(|| warning(Kind::SharedClips, &[], found, advice))
}

fn same_pictures(samples: &[Sample], split: &Split) -> Option<Warning> {
    let (shared, _) = straddling(samples, split, |s| s.id.as_str());
    let found = format!("{shared} pictures are in more than one part of the split with the same pixels");
    let advice = "remove the copies, or give copies the same group";
    (shared > 0).then(|| warning(Kind::SamePicture, &[], found, advice))
}

/// What concerns one concept.
pub(super) fn of_concept(
    dataset: &dyn Dataset,
    c: usize,
    concept: &Concept,
    is_split: bool,
    wanted: &Wanted,
) -> Vec<Warning> {
    let of_split = is_split.then(|| [too_few(concept, wanted), few_blocks(concept), wide(concept, wanted)]);
    let others = [shortcut(concept), one_group(dataset, c, concept), unknown(concept, wanted), masks(concept)];
    of_split.into_iter().flatten().chain(others).flatten().collect()
}

fn too_few(concept: &Concept, wanted: &Wanted) -> Option<Warning> {
    let sides =
        [("fit", concept.fit, wanted.least), ("validation", concept.val, 2), ("test", concept.test, wanted.least)];
    let short: Vec<String> = sides
        .iter()
        .filter(|(_, [with, without], least)| with.min(without) < least)
        .map(|(part, [with, without], least)| {
            format!("{part} has {with} with and {without} without it, at least {least} of each are wanted")
        })
        .collect();
    let advice = if concept.too_small > concept.present {
        format!(
            "the concept will be left out: add pictures, or lower dataset.present_from ({} samples show less of it than {})",
            concept.too_small, wanted.present_from
        )
    } else {
        "the concept will be left out: add pictures that are known to have it and known to lack it".to_owned()
    };
    (!short.is_empty())
        .then(|| warning(Kind::TooFew, &[&concept.name], format!("`{}`: {}", concept.name, short.join("; ")), advice))
}

fn few_blocks(concept: &Concept) -> Option<Warning> {
    let few = concept.test[0] > 0 && concept.test_blocks < BLOCKS;
    let found = format!(
        "`{}`: its {} test positives are from {} group(s) or block(s): intervals are drawn over those and mean little \
         below {BLOCKS}",
        concept.name, concept.test[0], concept.test_blocks
    );
    few.then(|| {
        warning(Kind::FewGroups, &[&concept.name], found, "use more groups, or a smaller split.block for clips")
    })
}

fn wide(concept: &Concept, wanted: &Wanted) -> Option<Warning> {
    let [with, without] = concept.test;
    let fewer = with.min(without);
    // 1.96 standard errors of a share of one half.
    let points = 98.0 / (fewer as f64).sqrt();
    let found = format!(
        "`{}`: {with} test samples with and {without} without it: the accuracy on the fewer is known to about ±{points:.0} \
         points",
        concept.name
    );
    let advice = "read differences smaller than that as none, or add pictures";
    (fewer >= wanted.least && fewer < SAMPLES).then(|| warning(Kind::WideInterval, &[&concept.name], found, advice))
}

fn shortcut(concept: &Concept) -> Option<Warning> {
    let source = &concept.source;
    let accuracy = source.accuracy.filter(|a| *a >= SHORTCUT)?;
    let ((yes, with), (no, without)) = (source.positives.as_ref()?, source.negatives.as_ref()?);
    let found = format!(
        "`{}`: a sample's source alone tells it with balanced accuracy {accuracy:.2} ({:.2} of {:.2} bits): {with} of {} \
         positives are from `{yes}`, {without} of {} negatives from `{no}`",
        concept.name, source.bits, source.bits_of, concept.present, concept.absent
    );
    let advice = "a probe can learn the source's look instead: take negatives from the sources of the positives, or study \
                  one source at a time";
    Some(warning(Kind::SourceShortcut, &[&concept.name], found, advice))
}

fn one_group(dataset: &dyn Dataset, c: usize, concept: &Concept) -> Option<Warning> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in dataset.samples().iter().filter(|s| s.presence[c] == Presence::Present) {
        *counts.entry(&sample.group).or_default() += 1;
    }
    let (group, most) = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))?;
    let found = format!(
        "`{}`: {most} of its {} positives are of the group `{group}`: a probe can learn that group",
        concept.name, concept.present
    );
    let advice = "add positives of other groups, or use fewer of this one";
    (most >= TOGETHER && 2 * most > concept.present).then(|| warning(Kind::OneGroup, &[&concept.name], found, advice))
}

fn unknown(concept: &Concept, wanted: &Wanted) -> Option<Warning> {
    let all = concept.present + concept.absent + concept.unknown;
    let found = format!(
        "`{}`: it is unknown in {} of {all} samples; in {} of them it covers less than {} of the picture, the others are \
         not annotated for it",
        concept.name, concept.unknown, concept.too_small, wanted.present_from
    );
    let advice = if 2 * concept.too_small > concept.unknown {
        "they are left out, not taken as negatives; a lower dataset.present_from makes them positives"
    } else {
        "they are left out, not taken as negatives: list what is absent, or choose a part that is annotated for it"
    };
    (2 * concept.unknown > all).then(|| warning(Kind::Unknown, &[&concept.name], found, advice))
}

fn masks(concept: &Concept) -> Option<Warning> {
    let share = concept.mask?;
    if share >= LARGE {
        let found = format!(
            "`{}`: its masks cover {:.0} % of the picture in the median: a map that is everywhere scores nearly as well as \
             a right one",
            concept.name,
            100.0 * share
        );
        let advice = "cut pictures into tiles (dataset.tile), or do not read its segmentation scores";
        return Some(warning(Kind::LargeMasks, &[&concept.name], found, advice));
    }
    let found = format!(
        "`{}`: its masks cover {:.2} % of the picture in the median, less than one cell of a grid of 7 x 7",
        concept.name,
        100.0 * share
    );
    let advice = "study earlier layers, cut pictures into tiles (dataset.tile), or raise dataset.present_from";
    (share < SMALL).then(|| warning(Kind::SmallMasks, &[&concept.name], found, advice))
}

/// Which samples have a concept, and which lack it, one bit each.
struct Bits {
    with: Vec<u64>,
    without: Vec<u64>,
}

impl Bits {
    fn of(samples: &[Sample], c: usize) -> Self {
        let pack = |wanted| {
            let word = |chunk: &[Sample]| {
                let bits = chunk.iter().zip(0..).filter(|(s, _)| s.presence[c] == wanted);
                bits.fold(0u64, |word, (_, bit)| word | 1 << bit)
            };
            samples.chunks(64).map(word).collect()
        };
        Self { with: pack(Presence::Present), without: pack(Presence::Absent) }
    }
}

fn common(a: &[u64], b: &[u64]) -> usize {
    a.iter().zip(b).map(|(a, b)| (a & b).count_ones() as usize).sum()
}

/// What concerns two concepts: whether they can be told apart.
pub(super) fn of_pairs(dataset: &dyn Dataset) -> Vec<Warning> {
    let names = dataset.concepts();
    let bits: Vec<Bits> = (0..names.len()).map(|c| Bits::of(dataset.samples(), c)).collect();
    let mut warnings = Vec::new();
    for a in 0..names.len() {
        for b in a + 1..names.len() {
            let (p, q) = (&bits[a], &bits[b]);
            let both = common(&p.with, &q.with);
            let (only_a, only_b) = (common(&p.with, &q.without), common(&p.without, &q.with));
            if both < TOGETHER {
                continue;
            }
            let neither = common(&p.without, &q.without);
            let apart = only_a + only_b;
            if (apart as f64) <= APART * (both + apart) as f64 {
                warnings.extend(never_apart(&names[a], &names[b], [both, apart, neither]));
            } else {
                warnings.extend(never_without(&names[a], &names[b], [both, only_a, only_b, neither]));
                warnings.extend(never_without(&names[b], &names[a], [both, only_b, only_a, neither]));
            }
        }
    }
    warnings
}

/// Where neither is ever absent nothing is learnt of the pair; that is told by the negatives that lack.
fn never_apart(a: &str, b: &str, [both, apart, neither]: [usize; 3]) -> Option<Warning> {
    let found = format!(
        "`{a}` and `{b}` are together in {both} samples and apart in {apart}: no score can tell a direction of the one from \
         a direction of the other"
    );
    let advice = "add pictures with one of them alone, or take the two as one concept";
    (neither > 0).then(|| warning(Kind::NeverApart, &[a, b], found, advice))
}

/// Told where the other is not there anyway: in half of the samples without the first at most.
fn never_without(a: &str, b: &str, [both, alone, other, neither]: [usize; 4]) -> Option<Warning> {
    let never = alone as f64 <= WITHOUT * (both + alone) as f64;
    let telling = other <= neither;
    let found = format!(
        "`{a}` is without `{b}` in {alone} of {} samples; `{b}` is in {other} of the {} samples without `{a}`: a probe for \
         `{a}` may have learnt `{b}`",
        both + alone,
        other + neither
    );
    let advice = format!("add pictures of `{a}` without `{b}`, and look at the scores on `{b}` without `{a}`");
    (never && telling).then(|| warning(Kind::NeverWithout, &[a, b], found, advice))
}
