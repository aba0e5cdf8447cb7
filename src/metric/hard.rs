//! Hard samples, and the accuracy on them. Which samples are hard is our definition; there are three of them.
//!
//! H1 is mined by a reference ensemble, H2 is matched by context without any probe, H3 edits the pictures.

use std::collections::{BTreeMap, BTreeSet};

use super::accuracy::Decisions;
use super::bootstrap::{quantile, ratio};
use super::direction::cosine;

/// How many positives one negative may be matched to: without a bound the few most crowded pictures take all matches.
const REUSE: usize = 3;

/// Indices of the samples that are hard, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HardSet {
    /// Samples with the concept that are easily missed.
    pub positives: Vec<usize>,
    /// Samples without the concept that are easily taken for it.
    pub negatives: Vec<usize>,
}

/// H1: what the majority of a reference ensemble gets wrong. `votes[reference][sample]` is whether the reference says
/// present. Our definition.
///
/// Mine with references that are not evaluated: of themselves they would get next to nothing right. Members of their
/// family stay below one half by construction, so a fresh member of it is the line to compare with.
pub fn reference_mined(votes: &[Vec<bool>], present: &[bool]) -> HardSet {
    let mut set = HardSet::default();
    for (sample, is_present) in present.iter().enumerate() {
        let says_present = votes.iter().filter(|v| v[sample]).count();
        if *is_present && 2 * says_present < votes.len() {
            set.positives.push(sample);
        } else if !is_present && 2 * says_present > votes.len() {
            set.negatives.push(sample);
        }
    }
    set
}

/// H2: samples whose context misleads, found without a probe. `labels` has everything known to be in each picture;
/// `embedding` a vector for each, where pictures are to be matched by that. Our definition.
///
/// Hard negatives are the negatives matched to positives: each positive, in order, takes the negative most like it, the
/// first of several; a negative is taken three times at most, and counts once. Alike is what has a high Jaccard index of
/// labels, the concept left out (a positive that shares no label with any negative left has no match), or a high cosine of
/// embeddings.
///
/// Hard positives are those whose coverage is below the first quartile of all positives' coverage. Where no positive has a
/// coverage they are those of rarest context: [`mean_pmi`] below its first quartile.
pub fn context_matched(
    present: &[bool],
    coverage: &[f32],
    labels: &[&BTreeSet<String>],
    concept: &str,
    embedding: Option<&[Vec<f32>]>,
) -> HardSet {
    let of = |wanted: bool| (0..present.len()).filter(move |i| present[*i] == wanted).collect::<Vec<_>>();
    let (positives, negatives) = (of(true), of(false));
    let similar = |a: usize, b: usize| match embedding {
        Some(vectors) => Some(cosine(&vectors[a], &vectors[b])),
        None => Some(jaccard(labels[a], labels[b], concept)).filter(|index| *index > 0.0),
    };
    let mut size: Vec<f64> = positives.iter().map(|i| f64::from(coverage[*i])).collect();
    if size.iter().all(|s| s.is_nan()) {
        let pmi = mean_pmi(present, labels, concept);
        size = positives.iter().map(|i| pmi[*i]).collect();
    }
    HardSet { positives: below_first_quartile(&positives, &size), negatives: matched(&positives, &negatives, similar) }
}

/// How usual the context of every positive is for the concept: the mean over its other labels l of the pointwise mutual
/// information `log(p(c, l) / (p(c) p(l)))` with the concept c, in nats, each p a share of the samples (Church & Hanks
/// 1990). Low where what else is in the picture mostly comes without the concept. NaN for a negative, and for a positive
/// without another label.
pub fn mean_pmi(present: &[bool], labels: &[&BTreeSet<String>], concept: &str) -> Vec<f64> {
    let mut counts: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (labels, present) in labels.iter().zip(present) {
        for label in *labels {
            let (with, all) = counts.entry(label).or_default();
            *with += f64::from(u8::from(*present));
            *all += 1.0;
        }
    }
    let positives = present.iter().filter(|p| **p).count() as f64;
    let pmi = |label: &String| {
        let (with, all) = counts.get(label.as_str()).copied().unwrap_or_default();
        (with * present.len() as f64 / (positives * all)).ln()
    };
    let mean = |labels: &BTreeSet<String>| {
        let others: Vec<f64> = labels.iter().filter(|l| *l != concept).map(pmi).collect();
        ratio(others.iter().sum(), others.len() as f64)
    };
    present.iter().zip(labels).map(|(p, labels)| if *p { mean(labels) } else { f64::NAN }).collect()
}

fn below_first_quartile(samples: &[usize], values: &[f64]) -> Vec<usize> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let bound = quantile(&sorted, 0.25);
    samples.iter().zip(values).filter(|(_, v)| **v < bound).map(|(s, _)| *s).collect()
}

/// For every positive the most similar negative that is not used up; the unique ones, ascending.
fn matched(positives: &[usize], negatives: &[usize], similar: impl Fn(usize, usize) -> Option<f64>) -> Vec<usize> {
    let mut uses = vec![0; negatives.len()];
    for positive in positives {
        let mut best: Option<(usize, f64)> = None;
        for (at, negative) in negatives.iter().enumerate().filter(|(at, _)| uses[*at] < REUSE) {
            if let Some(similarity) = similar(*positive, *negative)
                && best.is_none_or(|(_, highest)| similarity > highest)
            {
                best = Some((at, similarity));
            }
        }
        if let Some((at, _)) = best {
            uses[at] += 1;
        }
    }
    negatives.iter().zip(uses).filter(|(_, uses)| *uses > 0).map(|(n, _)| *n).collect()
}

/// Jaccard index `|a ∩ b| / |a ∪ b|` of two sets of labels without the concept itself, in [0, 1]; zero of two empty
/// sets, which have no context in common.
fn jaccard(a: &BTreeSet<String>, b: &BTreeSet<String>, concept: &str) -> f64 {
    let without = |s: &BTreeSet<String>| s.len() - usize::from(s.contains(concept));
    let both = a.intersection(b).filter(|l| *l != concept).count();
    let either = without(a) + without(b) - both;
    if either == 0 { 0.0 } else { both as f64 / either as f64 }
}

/// Hard accuracy `(TPR on hard positives + TNR on hard negatives) / 2`, in [0, 1]; NaN where a side is empty. Our
/// definition. Its gap is the normal accuracy less this one: [`super::Bootstrap::difference`] pairs them.
pub fn hard_accuracy(decisions: &Decisions, set: &HardSet, weights: &[f64]) -> f64 {
    let rate = |samples: &[usize]| {
        let right = samples.iter().filter(|s| decisions.right(**s)).map(|s| weights[*s]).sum();
        ratio(right, samples.iter().map(|s| weights[*s]).sum())
    };
    f64::midpoint(rate(&set.positives), rate(&set.negatives))
}

/// H3: hard accuracy on edited pictures: `(share of those with the concept scored present + share of those without it
/// scored absent) / 2`, in [0, 1]. `with` scores pictures that have the concept after the edit, `without` those that lack
/// it then; NaN for a sample that was not edited so, which is left out. NaN where a side is empty. Our definition.
pub fn edited_accuracy(with: &[f64], without: &[f64], threshold: f64, weights: &[f64]) -> f64 {
    let rate = |scores: &[f64], present: bool| {
        let (mut right, mut total) = (0.0, 0.0);
        for (s, w) in scores.iter().zip(weights).filter(|(s, _)| !s.is_nan()) {
            right += if (*s > threshold) == present { *w } else { 0.0 };
            total += w;
        }
        ratio(right, total)
    };
    f64::midpoint(rate(with, true), rate(without, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_mines() {
        let present = [true, true, false, false];
        let votes = [[false, true, true, false], [false, false, true, true], [true, true, false, false]].map(Vec::from);
        assert_eq!(reference_mined(&votes, &present), HardSet { positives: vec![0], negatives: vec![2] });
        assert_eq!(reference_mined(&[], &present), HardSet::default());
    }

    fn sets(labels: &[&str]) -> Vec<BTreeSet<String>> {
        labels.iter().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn negatives_are_matched_by_context() {
        let owned = sets(&["cat sofa lamp", "cat tree", "cat", "sofa lamp", "sofa", "tree", "cup"]);
        let labels: Vec<_> = owned.iter().collect();
        let present = [true, true, true, false, false, false, false];
        let set = context_matched(&present, &[0.1, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0], &labels, "cat", None);
        // The third positive has no context, and takes none of the negatives.
        assert_eq!(set, HardSet { positives: vec![0], negatives: vec![3, 5] });
    }

    #[test]
    fn a_negative_is_matched_three_times_at_most() {
        let owned = sets(&["c a", "c a", "c a", "c a", "a", "a b"]);
        let labels: Vec<_> = owned.iter().collect();
        let present = [true, true, true, true, false, false];
        let set = context_matched(&present, &[0.5; 6], &labels, "c", None);
        assert_eq!(set, HardSet { positives: vec![], negatives: vec![4, 5] });
    }

    #[test]
    fn without_coverage_a_rare_context_is_hard() {
        // A road mostly comes with a car, a kitchen without one.
        let owned =
            sets(&["car road", "car road", "car road", "car road kitchen", "car", "kitchen", "kitchen", "road"]);
        let labels: Vec<_> = owned.iter().collect();
        let present = [true, true, true, true, true, false, false, false];
        let pmi = mean_pmi(&present, &labels, "car");
        let (road, kitchen) = ((4.0 * 8.0 / (5.0 * 5.0f64)).ln(), (8.0 / (5.0 * 3.0f64)).ln());
        for (got, wanted) in pmi.iter().zip([road, road, road, f64::midpoint(road, kitchen)]) {
            assert!((got - wanted).abs() < 1e-12);
        }
        assert!(pmi[4..].iter().all(|v| v.is_nan()));
        let set = context_matched(&present, &[f32::NAN; 8], &labels, "car", None);
        assert_eq!(set, HardSet { positives: vec![3], negatives: vec![5, 7] });
    }

    #[test]
    fn negatives_are_matched_by_embedding() {
        let owned = sets(&["c", "c", "", "", ""]);
        let labels: Vec<_> = owned.iter().collect();
        let vectors = [[1.0f32, 0.0], [-0.1, -1.0], [2.0, 0.1], [0.0, -1.0], [-1.0, 0.5]].map(Vec::from);
        let set = context_matched(&[true, true, false, false, false], &[0.5; 5], &labels, "c", Some(&vectors));
        assert_eq!(set.negatives, [2, 3]);
    }

    #[test]
    fn hard_accuracy_by_hand() {
        let present = [true, true, false, false, false];
        let decisions = Decisions::new(&[1.0, -1.0, 1.0, -1.0, -2.0], &present, 0.0);
        let set = HardSet { positives: vec![1], negatives: vec![2, 3] };
        assert_eq!(hard_accuracy(&decisions, &set, &[1.0; 5]), 0.25);
        assert_eq!(hard_accuracy(&decisions, &set, &[1.0, 1.0, 1.0, 3.0, 1.0]), 0.375);
        assert!(hard_accuracy(&decisions, &set, &[1.0, 0.0, 1.0, 1.0, 1.0]).is_nan());
        assert!(hard_accuracy(&decisions, &HardSet { positives: vec![], ..set }, &[1.0; 5]).is_nan());
    }

    #[test]
    fn edited_accuracy_by_hand() {
        let (kept, removed) = ([1.0, -1.0, f64::NAN], [-1.0, f64::NAN, f64::NAN]);
        assert_eq!(edited_accuracy(&kept, &removed, 0.0, &[1.0; 3]), 0.75);
        assert_eq!(edited_accuracy(&kept, &removed, 0.0, &[3.0, 1.0, 1.0]), 0.875);
        assert!(edited_accuracy(&kept, &[f64::NAN; 3], 0.0, &[1.0; 3]).is_nan());
    }
}
