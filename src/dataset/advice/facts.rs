//! The numbers behind the advice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Advice, Concept, Source};
use crate::dataset::sample::{Dataset, Presence, Sample};
use crate::dataset::split::{Part, Split};

/// Sources with fewer samples than this count as one: a source of one sample tells that sample's label.
const SMALL: usize = 5;
const OTHERS: &str = "(small sources)";

pub(super) fn of(dataset: &dyn Dataset, split: Option<&Split>) -> Advice {
    let samples = dataset.samples();
    let distinct = |of: fn(&Sample) -> &str| samples.iter().map(of).collect::<BTreeSet<_>>().len();
    let groups = distinct(|s| &s.group);
    let blocks = split.map_or(groups, |s| s.block.iter().collect::<BTreeSet<_>>().len());
    let in_part = |part: Part| split.map_or(0, |s| s.part.iter().filter(|p| **p == part).count());
    Advice {
        samples: samples.len(),
        groups,
        blocks,
        sources: distinct(|s| &s.source),
        skipped: dataset.skipped().len(),
        parts: [Part::Fit, Part::Val, Part::Test, Part::Out].map(in_part),
        concepts: (0..dataset.concepts().len()).map(|c| concept(dataset, split, c)).collect(),
        warnings: Vec::new(),
    }
}

fn concept(dataset: &dyn Dataset, split: Option<&Split>, c: usize) -> Concept {
    let samples = dataset.samples();
    let count = |presence, part: Option<Part>| {
        let there = |i: &usize| part.is_none_or(|p| split.is_some_and(|s| s.part[*i] == p));
        (0..samples.len()).filter(there).filter(|i| samples[*i].presence[c] == presence).count()
    };
    let both = |part| [count(Presence::Present, Some(part)), count(Presence::Absent, Some(part))];
    let test_blocks = split.map_or(0, |s| {
        let shown = (0..samples.len()).filter(|i| samples[*i].presence[c] == Presence::Present);
        shown.filter(|i| s.part[*i] == Part::Test).map(|i| s.block[i]).collect::<BTreeSet<_>>().len()
    });
    let small = |s: &&Sample| s.presence[c] == Presence::Unknown && s.coverage[c] > 0.0;
    Concept {
        name: dataset.concepts()[c].clone(),
        present: count(Presence::Present, None),
        absent: count(Presence::Absent, None),
        unknown: count(Presence::Unknown, None),
        too_small: samples.iter().filter(small).count(),
        fit: both(Part::Fit),
        val: both(Part::Val),
        test: both(Part::Test),
        test_blocks,
        source: source(samples, c),
        mask: median(samples.iter().filter(|s| s.presence[c] == Presence::Present).map(|s| s.coverage[c])),
    }
}

fn median(shares: impl Iterator<Item = f32>) -> Option<f32> {
    let mut shares: Vec<f32> = shares.filter(|s| !s.is_nan()).collect();
    shares.sort_by(f32::total_cmp);
    shares.get(shares.len() / 2).copied()
}

/// Positives and negatives by source.
fn source(samples: &[Sample], c: usize) -> Source {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for sample in samples {
        match sample.presence[c] {
            Presence::Present => counts.entry(&sample.source).or_default()[0] += 1,
            Presence::Absent => counts.entry(&sample.source).or_default()[1] += 1,
            Presence::Unknown => {}
        }
    }
    let (small, mut large): (BTreeMap<&str, _>, BTreeMap<&str, _>) =
        counts.into_iter().partition(|(_, [with, without])| with + without < SMALL);
    for [with, without] in small.into_values() {
        let others: &mut [usize; 2] = large.entry(OTHERS).or_default();
        others[0] += with;
        others[1] += without;
    }
    let total = [0, 1].map(|side| large.values().map(|n| n[side]).sum::<usize>());
    let most = |side: usize| {
        let best = large.iter().max_by(|a, b| a.1[side].cmp(&b.1[side]).then(b.0.cmp(a.0)));
        best.filter(|(_, n)| n[side] > 0).map(|(name, n)| ((*name).to_owned(), n[side]))
    };
    let share = |n: &[usize; 2], side: usize| n[side] as f64 / total[side] as f64;
    let accuracy = || large.values().map(|n| share(n, 0).max(share(n, 1))).sum::<f64>() / 2.0;
    let all = (total[0] + total[1]) as f64;
    let bits = |n: &[usize; 2]| {
        let of_source = (n[0] + n[1]) as f64;
        let term = |side: usize| match n[side] as f64 {
            0.0 => 0.0,
            k => k / all * (k * all / (of_source * total[side] as f64)).log2(),
        };
        term(0) + term(1)
    };
    let entropy = |n: &usize| if *n == 0 { 0.0 } else { *n as f64 / all * (all / *n as f64).log2() };
    Source {
        accuracy: (total[0] > 0 && total[1] > 0).then(accuracy),
        bits: large.values().map(bits).sum::<f64>().max(0.0),
        bits_of: total.iter().map(entropy).sum(),
        positives: most(0),
        negatives: most(1),
    }
}
