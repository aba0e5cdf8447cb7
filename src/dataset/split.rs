//! Which samples are fitted on, chosen on, and measured on. What belongs together is never parted.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::sample::{Dataset, Presence, Sample};
use super::spec::SplitSpec;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Probes are fitted on it.
    Fit,
    /// Regularisation, offsets and thresholds are chosen on it.
    Val,
    /// Probes are measured on it.
    Test,
    /// Too near in time to a sample of another part.
    Out,
}

impl Part {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Val => "val",
            Self::Test => "test",
            Self::Out => "out",
        }
    }
}

/// The part and the block of every sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// For each sample its part.
    pub part: Vec<Part>,
    /// For each sample its block: blocks are dealt out whole, and resampled whole.
    pub block: Vec<usize>,
}

/// The split that a dataset brings along, or one that is dealt.
///
/// # Errors
/// When it must be dealt and there are fewer blocks than parts.
pub fn of(dataset: &dyn Dataset, spec: &SplitSpec, seed: Seed) -> Result<Split> {
    dataset.split().map_or_else(|| split(dataset.samples(), spec, seed), |given| Ok(given.clone()))
}

/// Deals blocks to parts. A block is a group, or where samples have a time a piece of the group `spec.block` seconds
/// long. Each block, in random order, goes to the part that lacks most of what the block has: samples, and positives of
/// each concept, so that rare concepts reach every part. Then samples nearer than `spec.gap` seconds to a sample of the
/// same group in another part are left out, on the side of fit and validation where one of the two is test.
///
/// The result depends on the samples and the seed, not on the samples' order.
///
/// # Errors
/// When there are fewer blocks than parts.
pub fn split(samples: &[Sample], spec: &SplitSpec, seed: Seed) -> Result<Split> {
    let names = block_names(samples, spec);
    let mut members: BTreeMap<&(String, i64), Vec<usize>> = BTreeMap::new();
    for (sample, name) in names.iter().enumerate() {
        members.entry(name).or_default().push(sample);
    }
    if members.len() < 3 {
        let problem = format!("{} blocks cannot be dealt to fit, validation and test", members.len());
        let hint = "use more groups, or a smaller split.block where samples have a time";
        return Err(Error::data("the dataset", problem, hint));
    }
    let mut block = vec![0; samples.len()];
    for (number, rows) in members.values().enumerate() {
        rows.iter().for_each(|r| block[*r] = number);
    }
    let blocks: Vec<Vec<usize>> = members.into_values().collect();
    let parts = deal(samples, &blocks, spec, seed);
    let mut part: Vec<Part> = block.iter().map(|b| parts[*b]).collect();
    leave_gaps(samples, spec.gap, &mut part);
    Ok(Split { part, block })
}

/// The group of every sample and its piece of time.
fn block_names(samples: &[Sample], spec: &SplitSpec) -> Vec<(String, i64)> {
    let mut first: BTreeMap<&str, f64> = BTreeMap::new();
    for sample in samples {
        if let Some(time) = sample.time {
            let start = first.entry(&sample.group).or_insert(time);
            *start = start.min(time);
        }
    }
    let piece = |s: &Sample| s.time.map_or(0, |t| ((t - first[s.group.as_str()]) / spec.block).floor() as i64);
    samples.iter().map(|s| (s.group.clone(), piece(s))).collect()
}

/// What a block has: samples, and positives of each concept.
fn content(samples: &[Sample], rows: &[usize]) -> Vec<f64> {
    let concepts = samples.first().map_or(0, |s| s.presence.len());
    let mut content = vec![0.0; 1 + concepts];
    content[0] = rows.len() as f64;
    for row in rows {
        for (count, presence) in content[1..].iter_mut().zip(&samples[*row].presence) {
            *count += f64::from(u8::from(*presence == Presence::Present));
        }
    }
    content
}

fn deal(samples: &[Sample], blocks: &[Vec<usize>], spec: &SplitSpec, seed: Seed) -> Vec<Part> {
    let targets = [(Part::Fit, spec.fit), (Part::Val, spec.val), (Part::Test, spec.test)];
    let all: Vec<usize> = (0..samples.len()).collect();
    let total = content(samples, &all);
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.shuffle(&mut seed.stream("split"));
    // Large blocks first: small ones then even out what they left. The sort keeps the random order of equals.
    order.sort_by_key(|b| std::cmp::Reverse(blocks[*b].len()));
    let mut have = vec![vec![0.0; total.len()]; targets.len()];
    let mut parts = vec![Part::Fit; blocks.len()];
    for b in order {
        let content = content(samples, &blocks[b]);
        // How much of what this block has does a part lack, relative to its share?
        let lack = |p: usize| {
            let kinds = content.iter().zip(&total).zip(&have[p]).filter(|((c, t), _)| **c > 0.0 && **t > 0.0);
            kinds.map(|((c, t), h)| c / t * (1.0 - h / (t * targets[p].1))).sum::<f64>()
        };
        let best = (0..targets.len()).rev().max_by(|a, b| lack(*a).total_cmp(&lack(*b))).unwrap_or(0);
        parts[b] = targets[best].0;
        have[best].iter_mut().zip(&content).for_each(|(h, c)| *h += c);
    }
    parts
}

fn leave_gaps(samples: &[Sample], gap: f64, part: &mut [Part]) {
    let mut by_group: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    for (i, sample) in samples.iter().enumerate() {
        if let Some(time) = sample.time {
            by_group.entry(&sample.group).or_default().push((time, i));
        }
    }
    let dealt = part.to_vec();
    for rows in by_group.values_mut() {
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at, (time, i)) in rows.iter().enumerate() {
            // Test samples stay; validation samples give way to test, fit samples to both.
            let yields_to = |other: Part| other > dealt[*i];
            let near = |other: &&(f64, usize)| (other.0 - time).abs() < gap;
            let before = rows[..at].iter().rev().take_while(near);
            let after = rows[at + 1..].iter().take_while(near);
            if before.chain(after).any(|(_, j)| yields_to(dealt[*j])) {
                part[*i] = Part::Out;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::digest::Digest;

    fn sample(i: usize, group: String, time: Option<f64>) -> Sample {
        let presence = vec![
            if i.is_multiple_of(3) { Presence::Present } else { Presence::Absent },
            if i.is_multiple_of(20) { Presence::Present } else { Presence::Unknown },
        ];
        let (id, name) = (Digest::of(&i.to_le_bytes()), format!("s{i}"));
        let (coverage, labels) = (vec![f32::NAN; 2], std::collections::BTreeSet::new());
        Sample { id, name, group, time, source: "s".into(), presence, coverage, masks: None, labels }
    }

    fn clips() -> Vec<Sample> {
        (0..600).map(|i| sample(i, format!("clip{}", i / 150), Some(f64::from(i as u32 % 150)))).collect()
    }

    #[test]
    fn groups_stay_together_and_shares_are_met() {
        let samples: Vec<Sample> = (0..500).map(|i| sample(i, format!("g{}", i / 5), None)).collect();
        let split = split(&samples, &SplitSpec::default(), Seed(4)).unwrap();
        for group in 0..100 {
            assert!(split.part[group * 5..group * 5 + 5].iter().all(|p| *p == split.part[group * 5]));
        }
        for (part, share) in [(Part::Fit, 0.5), (Part::Val, 0.17), (Part::Test, 0.33)] {
            let got = split.part.iter().filter(|p| **p == part).count() as f64 / 500.0;
            assert!((got - share).abs() < 0.04, "{part:?} {got}");
            assert!((0..500).any(|i| split.part[i] == part && i % 20 == 0), "rare concepts reach {part:?}");
        }
    }

    #[test]
    fn neighbours_in_time_never_straddle() {
        let samples = clips();
        let spec = SplitSpec { block: 20.0, gap: 2.5, ..SplitSpec::default() };
        let split = split(&samples, &spec, Seed(4)).unwrap();
        for i in 0..600usize {
            for j in 0..600usize {
                let near = i / 150 == j / 150 && i.abs_diff(j) < 3;
                let parts = (split.part[i], split.part[j]);
                let kept = parts.0 != Part::Out && parts.1 != Part::Out;
                assert!(!(near && kept) || parts.0 == parts.1, "{i} {j} {parts:?}");
            }
        }
        assert!(split.part.iter().filter(|p| **p == Part::Out).count() < 120);
    }

    #[test]
    fn the_order_of_samples_changes_nothing() {
        let samples = clips();
        let mut turned = samples.clone();
        turned.reverse();
        let (a, b) = (split(&samples, &SplitSpec::default(), Seed(1)), split(&turned, &SplitSpec::default(), Seed(1)));
        let (a, mut b) = (a.unwrap(), b.unwrap());
        b.part.reverse();
        b.block.reverse();
        assert_eq!(a, b);
    }

    #[test]
    fn too_few_groups_are_refused() {
        let samples: Vec<Sample> = (0..10).map(|i| sample(i, "one".into(), None)).collect();
        assert!(split(&samples, &SplitSpec::default(), Seed(1)).unwrap_err().to_string().contains("1 blocks"));
    }
}
