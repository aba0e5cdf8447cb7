//! What one run has over another: the same probes on the same concepts, matched row by row.

use std::collections::{BTreeMap, BTreeSet};

use super::info::{ALIGNMENT, is_null, metric_order, probe_order};
use super::row::MetricRow;
use super::select::{headline, natural};
use super::units::Run;
use crate::metric::Bootstrap;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::compare::{CompareOptions, FEWEST, cohens_dz, sign_flip};
use crate::metric::holm::holm;
use crate::seed::Seed;

/// One row of `differences.csv`: how much a run exceeds the first one, over concepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The run that is held against the first.
    pub run: String,
    /// The layer.
    pub layer: String,
    /// The probe's kind.
    pub probe: String,
    /// Its variant.
    pub variant: String,
    /// The metric.
    pub metric: String,
    /// Mean over matched concepts in the first run.
    pub first: f64,
    /// The same in this run.
    pub other: f64,
    /// Mean over matched concepts of this run less the first.
    pub difference: f64,
    /// Lower end of its 95 % interval over concepts; NaN with fewer than six.
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
    /// Two-sided p-value of a sign-flip test over concepts.
    pub p: f64,
    /// Holm's adjustment of `p` over all layers and probes of this metric and run.
    pub p_holm: f64,
    /// Cohen's d_z over concepts.
    pub effect: f64,
    /// Matched concepts.
    pub n: usize,
    /// Whether a larger value of the metric is a better one.
    pub higher_is_better: bool,
}

impl Difference {
    /// Whether a difference has been shown: Holm's p-value is at most 0.05, the interval leaves zero out, and there are at
    /// least six concepts.
    pub fn holds(&self) -> bool {
        let off_zero = self.ci_low > 0.0 || self.ci_high < 0.0;
        self.n >= FEWEST && off_zero && self.p_holm <= 0.05
    }
}

/// One row of `matched.csv`: a number of the first run and the same one of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched<'a> {
    /// The run that is held against the first.
    pub run: &'a str,
    /// The first run's row.
    pub first: &'a MetricRow,
    /// The other's.
    pub other: &'a MetricRow,
}

/// How many rows of two runs are of the same thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlap {
    /// The run that is held against the first.
    pub run: String,
    /// Rows in both.
    pub matched: usize,
    /// Rows in the first alone.
    pub first_only: usize,
    /// Rows in this one alone.
    pub other_only: usize,
    /// What only one of them has, in words: layers, concepts, probes, metrics.
    pub unmatched: Vec<String>,
}

/// The runs after the first against it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Differences<'a> {
    /// Over concepts, by run, metric, layer and probe.
    pub over_concepts: Vec<Difference>,
    /// Every matched row, in the order of its key.
    pub matched: Vec<Matched<'a>>,
    /// One a run.
    pub overlaps: Vec<Overlap>,
}

/// What a row is of, whatever the run: layer, probe, variant, metric, concept, split, parameter.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

fn key(r: &MetricRow) -> Key<'_> {
    (&r.layer, &r.probe, &r.variant, &r.metric, &r.concept, &r.split, &r.parameter)
}

/// Holds every run after the first against the first, over the rows that both have. Over concepts: accuracy and every
/// alignment metric, of the probes that have a concept.
pub fn differences<'a>(runs: &[Run<'a>], options: &CompareOptions, seed: Seed) -> Differences<'a> {
    let mut out = Differences::default();
    let Some((first, others)) = runs.split_first() else { return out };
    for other in others {
        let (matched, overlap) = matched(first, other);
        let mut family = Vec::new();
        for metric in std::iter::once("accuracy").chain(ALIGNMENT) {
            family.extend(of_metric(first, other, metric, options, seed));
        }
        out.over_concepts.extend(family);
        out.matched.extend(matched);
        out.overlaps.push(overlap);
    }
    out
}

fn matched<'a>(first: &Run<'a>, other: &Run<'a>) -> (Vec<Matched<'a>>, Overlap) {
    let by_key = |run: &Run<'a>| run.rows.iter().map(|r| (key(r), r)).collect::<BTreeMap<_, _>>();
    let (a, b) = (by_key(first), by_key(other));
    let both: Vec<Matched<'a>> =
        a.iter().filter_map(|(k, a)| Some(Matched { run: other.name, first: a, other: b.get(k)? })).collect();
    let overlap = Overlap {
        run: other.name.to_owned(),
        matched: both.len(),
        first_only: a.len() - both.len(),
        other_only: b.len() - both.len(),
        unmatched: unmatched(first, other),
    };
    (both, overlap)
}

/// What only one of two runs has.
fn unmatched(first: &Run<'_>, other: &Run<'_>) -> Vec<String> {
    let names = |run: &Run<'_>| {
        let of = |r: &MetricRow| {
            [
                ("layer", &r.layer),
                ("concept", &r.concept),
                ("probe", &r.probe),
                ("variant", &r.variant),
                ("metric", &r.metric),
            ]
            .map(|(what, name)| (what, name.clone()))
        };
        run.rows.iter().flat_map(of).collect::<BTreeSet<_>>()
    };
    let (all_a, all_b) = (names(first), names(other));
    let mut out = Vec::new();
    for what in ["layer", "concept", "probe", "variant", "metric"] {
        let of = |all: &BTreeSet<(&str, String)>| all.iter().filter(|n| n.0 == what).map(|n| n.1.clone()).collect();
        let (a, b): (BTreeSet<String>, BTreeSet<String>) = (of(&all_a), of(&all_b));
        for (run, mine, theirs) in [(first.name, &a, &b), (other.name, &b, &a)] {
            let only: Vec<&str> = mine.difference(theirs).map(String::as_str).collect();
            if !only.is_empty() {
                out.push(format!("only {run} has {what} {}", only.join(", ")));
            }
        }
    }
    out
}

/// Pairs of values by concept.
type ByConcept<'a> = BTreeMap<&'a str, Vec<(f64, f64)>>;

/// One metric at every layer, probe and variant: a family of tests.
fn of_metric(first: &Run<'_>, other: &Run<'_>, metric: &str, options: &CompareOptions, seed: Seed) -> Vec<Difference> {
    let theirs: BTreeMap<Key<'_>, f64> =
        headline(other.rows, metric).into_iter().map(|r| (key(r), r.estimate.value)).collect();
    // Pairs of values by layer, probe and variant, then by concept: one a split and parameter.
    let mut places: BTreeMap<(&str, &str, &str), ByConcept<'_>> = BTreeMap::new();
    let mut higher_is_better = true;
    for row in headline(first.rows, metric).into_iter().filter(|r| !is_null(&r.probe)) {
        if let Some(theirs) = theirs.get(&key(row)) {
            higher_is_better = row.higher_is_better;
            let place = places.entry((&row.layer, &row.probe, &row.variant)).or_default();
            place.entry(&row.concept).or_default().push((row.estimate.value, *theirs));
        }
    }
    let mut family: Vec<Difference> = places
        .into_iter()
        .map(|((layer, probe, variant), concepts)| {
            let name = format!("differences/{}/{metric}/{layer}/{probe}/{variant}", other.name);
            let concepts: Vec<(f64, f64)> = concepts.into_values().map(|pairs| mean(&pairs)).collect();
            Difference {
                run: other.name.to_owned(),
                layer: layer.to_owned(),
                probe: probe.to_owned(),
                variant: variant.to_owned(),
                metric: metric.to_owned(),
                higher_is_better,
                ..tested(&concepts, options, seed, &name)
            }
        })
        .collect();
    let p: Vec<f64> = family.iter().map(|d| d.p).collect();
    family.iter_mut().zip(holm(&p)).for_each(|(d, p)| d.p_holm = p);
    family.sort_by(|a, b| {
        let place = |d: &Difference| (metric_order(&d.metric), probe_order(&d.probe));
        natural(&a.layer, &b.layer).then_with(|| place(a).cmp(&place(b))).then_with(|| a.variant.cmp(&b.variant))
    });
    family
}

fn mean(pairs: &[(f64, f64)]) -> (f64, f64) {
    let sum = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    (sum.0 / pairs.len() as f64, sum.1 / pairs.len() as f64)
}

/// What pairs of values, one a concept, allow to be said; without names.
fn tested(concepts: &[(f64, f64)], options: &CompareOptions, seed: Seed, name: &str) -> Difference {
    let differences: Vec<f64> = concepts.iter().map(|(first, other)| other - first).collect();
    let (n, (first, other)) = (concepts.len(), mean(concepts));
    let (mut ci_low, mut ci_high) = (f64::NAN, f64::NAN);
    if n >= FEWEST {
        let units: Vec<usize> = (0..n).collect();
        let bootstrap = Bootstrap::new(&units, options.bootstrap, &mut seed.stream(name));
        (ci_low, ci_high) = bootstrap.interval(|weights| weighted_mean(&differences, weights));
    }
    Difference {
        first,
        other,
        difference: other - first,
        ci_low,
        ci_high,
        p: sign_flip(&differences),
        effect: cohens_dz(&differences),
        n,
        p_holm: f64::NAN,
        run: String::new(),
        layer: String::new(),
        probe: String::new(),
        variant: String::new(),
        metric: String::new(),
        higher_is_better: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::demo::row;
    use super::*;

    fn rows(concepts: usize, shift: f64) -> Vec<MetricRow> {
        let one = |i: usize| {
            let name = format!("c{i}");
            let value = 0.8 + shift * (1.0 + 0.01 * i as f64);
            [
                row("l", &name, "classifier", "full", "accuracy", value),
                row("l", &name, "random", "full", "accuracy", 0.5),
            ]
        };
        (0..concepts).flat_map(one).collect()
    }

    fn found(first: &[MetricRow], other: &[MetricRow]) -> Vec<Difference> {
        let runs = [Run { name: "one", rows: first }, Run { name: "two", rows: other }];
        differences(&runs, &CompareOptions { bootstrap: 500 }, Seed(1)).over_concepts
    }

    #[test]
    fn a_shift_of_every_concept_is_shown_from_six_on_and_turns_with_the_runs() {
        for (concepts, holds) in [(5, false), (6, true), (9, true)] {
            let (first, other) = (rows(concepts, 0.0), rows(concepts, 0.1));
            let there = found(&first, &other);
            let [d] = there.as_slice() else { panic!("{}", there.len()) };
            assert_eq!((d.n, d.holds(), d.run.as_str()), (concepts, holds, "two"));
            assert!((d.p - 2.0 / f64::from(1 << concepts)).abs() < 1e-12 && (d.difference - 0.1).abs() < 0.01);
            let back = &found(&other, &first)[0];
            assert!((back.difference + d.difference).abs() < 1e-12 && back.p == d.p && back.holds() == holds);
        }
    }

    #[test]
    fn only_rows_of_both_runs_count() {
        let (first, mut other) = (rows(8, 0.0), rows(6, 0.1));
        other.push(row("l", "c0", "classifier", "full", "auroc", 0.9));
        let runs = [Run { name: "one", rows: &first }, Run { name: "two", rows: &other }];
        let all = differences(&runs, &CompareOptions { bootstrap: 100 }, Seed(1));
        assert_eq!((all.over_concepts[0].n, all.matched.len()), (6, 12));
        let overlap = &all.overlaps[0];
        assert_eq!((overlap.matched, overlap.first_only, overlap.other_only), (12, 4, 1));
        assert_eq!(overlap.unmatched, ["only one has concept c6, c7", "only two has metric auroc"]);
    }

    #[test]
    fn equal_runs_differ_in_nothing() {
        let rows = rows(7, 0.0);
        let d = &found(&rows, &rows)[0];
        assert_eq!((d.difference, d.p, d.holds()), (0.0, 1.0, false));
    }
}
