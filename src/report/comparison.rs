//! Probes against each other: paired over concepts, and over the pictures of one concept.
//!
//! The concept is the unit of inference. Where several runs measured the same concept, its mean over runs is what is
//! tested; an interval draws the concept with all its runs.

use std::collections::{BTreeMap, BTreeSet};

use super::info::{ALIGNMENT, is_null, probe_order};
use super::select::Series;
use super::units::{Resamples, Run, Unit, by_concept, layers, values};
use crate::metric::bootstrap::{percentile_interval, weighted_mean};
use crate::metric::compare::{CompareOptions, FEWEST, cohens_dz, nested_interval, sign_flip};
use crate::metric::holm::holm;
use crate::seed::Seed;

/// One row of `comparisons.csv`: how much `probe_a` exceeds `probe_b` in one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The layer.
    pub layer: String,
    /// The metric.
    pub metric: String,
    /// The concept whose pictures are the units; empty where concepts are.
    pub concept: String,
    /// The first probe's kind.
    pub probe_a: String,
    /// Its variant.
    pub variant_a: String,
    /// The second probe's kind.
    pub probe_b: String,
    /// Its variant.
    pub variant_b: String,
    /// Mean of the first less the second.
    pub difference: f64,
    /// Lower end of its 95 % interval over concepts (or pictures); NaN with fewer than six.
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
    /// Lower end of the interval with concepts drawn within every run on their own; NaN for a single run.
    pub within_low: f64,
    /// Upper end.
    pub within_high: f64,
    /// Two-sided p-value of a sign-flip test over concepts (or blocks of pictures).
    pub p: f64,
    /// Holm's adjustment of `p` over all layers, pairs and concepts of this metric.
    pub p_holm: f64,
    /// Cohen's d_z over concepts; NaN over pictures.
    pub effect: f64,
    /// Concepts (or blocks of pictures).
    pub n: usize,
    /// Runs.
    pub runs: usize,
    /// Whether a larger value of the metric is a better one.
    pub higher_is_better: bool,
}

impl Comparison {
    /// Whether a difference has been shown: Holm's p-value is at most 0.05, the interval leaves zero out, and there are at
    /// least six units.
    pub fn holds(&self) -> bool {
        let off_zero = self.ci_low > 0.0 || self.ci_high < 0.0;
        self.n >= FEWEST && off_zero && self.p_holm <= 0.05
    }
}

/// What the pictures of one concept say of one probe's accuracy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pictures {
    /// What each block of test pictures adds to the balanced accuracy: they sum to it.
    pub blocks: Vec<f64>,
    /// Balanced accuracy over resamples of the blocks; the same resamples for every probe of a concept.
    pub resamples: Vec<f64>,
}

/// [`Pictures`] by layer, concept, probe and variant.
pub type ByProbe = BTreeMap<(String, String, String, String), Pictures>;

/// Compares all pairs of probes of a variant, and the two variants of a probe, in accuracy and every alignment metric:
/// over concepts, and for accuracy over the pictures of every concept where `pictures` has them. The interval of accuracy
/// is then nested: concepts are drawn, and for each one of its resamples.
pub fn comparisons(runs: &[Run<'_>], pictures: &ByProbe, options: &CompareOptions, seed: Seed) -> Vec<Comparison> {
    let mut all = Vec::new();
    for metric in std::iter::once("accuracy").chain(ALIGNMENT) {
        let mut over_concepts: Vec<Comparison> =
            layers(runs).into_iter().flat_map(|layer| of_layer(runs, layer, metric, options, seed)).collect();
        if metric == "accuracy" && !pictures.is_empty() {
            over_concepts.iter_mut().for_each(|c| nest(c, pictures, options, seed));
        }
        adjust(&mut over_concepts);
        all.extend(over_concepts);
    }
    let mut over_pictures = of_pictures(pictures);
    adjust(&mut over_pictures);
    all.extend(over_pictures);
    all
}

/// Holm's adjustment over one family of tests.
fn adjust(family: &mut [Comparison]) {
    let p: Vec<f64> = family.iter().map(|c| c.p).collect();
    family.iter_mut().zip(holm(&p)).for_each(|(c, p)| c.p_holm = p);
}

/// Pairs that are compared: other probes of the same variant, and the other variant of the same probe. The probe that is
/// shown first comes first.
fn pairs(mut series: Vec<Series<'_>>) -> Vec<(Series<'_>, Series<'_>)> {
    series.retain(|s| !is_null(s.0));
    series.sort_by_key(|(probe, variant)| (probe_order(probe), *probe, *variant));
    let pair = |i: usize| series[i + 1..].iter().map(move |b| (i, *b)).collect::<Vec<_>>();
    let all = (0..series.len()).flat_map(pair).map(|(i, b)| (series[i], b));
    all.filter(|(a, b)| a.0 == b.0 || a.1 == b.1).collect()
}

fn of_layer(runs: &[Run<'_>], layer: &str, metric: &str, options: &CompareOptions, seed: Seed) -> Vec<Comparison> {
    let (measured, higher_is_better) = values(runs, layer, metric);
    let units: Vec<Unit<'_>> =
        measured.values().flat_map(BTreeMap::keys).copied().collect::<BTreeSet<_>>().into_iter().collect();
    let resamples = Resamples::new(&units, options.bootstrap, seed, &format!("compare/{layer}/{metric}"));
    let compare = |(a, b): (Series<'_>, Series<'_>)| {
        let of = |s: Series<'_>, unit: &Unit<'_>| measured[&s].get(unit).copied().unwrap_or(f64::NAN);
        let differences: Vec<f64> = units.iter().map(|u| of(a, u) - of(b, u)).collect();
        let tested = by_concept(&units, &differences);
        let mut out = named(layer, metric, "", a, b);
        (out.n, out.higher_is_better) = (tested.len(), higher_is_better);
        out.runs = units
            .iter()
            .zip(&differences)
            .filter(|(_, d)| !d.is_nan())
            .map(|(u, _)| u.run)
            .collect::<BTreeSet<_>>()
            .len();
        out.difference = weighted_mean(&differences, &vec![1.0; differences.len()]);
        (out.p, out.effect) = (sign_flip(&tested), cohens_dz(&tested));
        if out.n >= FEWEST {
            (out.ci_low, out.ci_high) = resamples.concepts.interval(|w| weighted_mean(&differences, w));
            if let Some(within) = &resamples.within_runs {
                (out.within_low, out.within_high) = within.interval(|w| weighted_mean(&differences, w));
            }
        }
        out
    };
    pairs(measured.keys().copied().collect()).into_iter().map(compare).filter(|c| c.n > 0).collect()
}

/// Puts the pictures' own uncertainty into the interval of a comparison over concepts.
fn nest(c: &mut Comparison, pictures: &ByProbe, options: &CompareOptions, seed: Seed) {
    let of = |probe: &str, variant: &str| -> BTreeMap<&str, &Pictures> {
        let same = |key: &(String, String, String, String)| key.0 == c.layer && key.2 == probe && key.3 == variant;
        pictures.iter().filter(|(key, _)| same(key)).map(|(key, p)| (key.1.as_str(), p)).collect()
    };
    let (a, b) = (of(&c.probe_a, &c.variant_a), of(&c.probe_b, &c.variant_b));
    let both = a.iter().filter_map(|(concept, a)| Some((a, b.get(concept)?)));
    let difference =
        |(a, b): (&&Pictures, &&Pictures)| a.resamples.iter().zip(&b.resamples).map(|(a, b)| a - b).collect();
    let units: Vec<Vec<f64>> = both.map(difference).collect();
    let name = format!("nested/{}/{}/{}/{}/{}", c.layer, c.probe_a, c.variant_a, c.probe_b, c.variant_b);
    (c.ci_low, c.ci_high) = nested_interval(&units, options.bootstrap, &mut seed.stream(&name));
}

/// Accuracy of every pair over the pictures of every concept.
fn of_pictures(pictures: &ByProbe) -> Vec<Comparison> {
    let places: BTreeSet<(&str, &str)> = pictures.keys().map(|k| (k.0.as_str(), k.1.as_str())).collect();
    let mut out = Vec::new();
    for (layer, concept) in places {
        let here: BTreeMap<Series<'_>, &Pictures> = pictures
            .iter()
            .filter(|(k, _)| k.0 == layer && k.1 == concept)
            .map(|(k, p)| ((k.2.as_str(), k.3.as_str()), p))
            .collect();
        for (a, b) in pairs(here.keys().copied().collect()) {
            let (first, second) = (here[&a], here[&b]);
            let minus = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<f64>>();
            let blocks = minus(&first.blocks, &second.blocks);
            let mut row = named(layer, "accuracy", concept, a, b);
            (row.n, row.runs, row.difference) = (blocks.len(), 1, blocks.iter().sum());
            row.p = sign_flip(&blocks);
            if row.n >= FEWEST {
                (row.ci_low, row.ci_high) = percentile_interval(minus(&first.resamples, &second.resamples));
            }
            out.push(row);
        }
    }
    out
}

/// A comparison with nothing measured yet.
fn named(layer: &str, metric: &str, concept: &str, a: Series<'_>, b: Series<'_>) -> Comparison {
    let nan = f64::NAN;
    Comparison {
        layer: layer.to_owned(),
        metric: metric.to_owned(),
        concept: concept.to_owned(),
        probe_a: a.0.to_owned(),
        variant_a: a.1.to_owned(),
        probe_b: b.0.to_owned(),
        variant_b: b.1.to_owned(),
        difference: nan,
        ci_low: nan,
        ci_high: nan,
        within_low: nan,
        within_high: nan,
        p: nan,
        p_holm: nan,
        effect: nan,
        n: 0,
        runs: 0,
        higher_is_better: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::demo::row;
    use super::super::row::MetricRow;
    use super::*;

    const CONCEPTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    /// `fp` is 0.1 below `classifier` for every concept, with a little noise.
    fn rows(concepts: usize, shift: f64) -> Vec<MetricRow> {
        let mut out = Vec::new();
        for (i, concept) in CONCEPTS.iter().take(concepts).enumerate() {
            let x = shift + (i as f64).sin() * 0.02;
            out.push(row("l", concept, "classifier", "full", "accuracy", 0.9 + x));
            out.push(row("l", concept, "fp", "full", "accuracy", 0.8 - x));
            out.push(row("l", concept, "random", "full", "accuracy", 0.5));
        }
        out
    }

    fn compare(runs: &[Run<'_>]) -> Vec<Comparison> {
        comparisons(runs, &ByProbe::new(), &CompareOptions { bootstrap: 500 }, Seed(1))
    }

    #[test]
    fn a_constant_difference_holds_from_six_concepts_on() {
        for (concepts, holds) in [(5, false), (6, true), (8, true)] {
            let rows = rows(concepts, 0.0);
            let found = compare(&[Run { name: "one", rows: &rows }]);
            let [c] = found.as_slice() else { panic!("one pair, not {}", found.len()) };
            assert_eq!((c.probe_a.as_str(), c.probe_b.as_str(), c.n, c.runs), ("classifier", "fp", concepts, 1));
            assert!((c.p - 2.0 / f64::from(1 << concepts)).abs() < 1e-12, "{}", c.p);
            assert!((c.difference - 0.1).abs() < 0.02 && c.effect > 1.0);
            assert_eq!((c.holds(), c.ci_low.is_nan()), (holds, !holds));
            assert!(c.within_low.is_nan());
        }
    }

    #[test]
    fn runs_do_not_make_more_concepts() {
        let (one, two) = (rows(6, 0.0), rows(6, 0.01));
        let found = compare(&[Run { name: "one", rows: &one }, Run { name: "two", rows: &two }]);
        assert_eq!((found[0].n, found[0].runs, found[0].p), (6, 2, 0.03125));
        assert!(found[0].within_low.is_finite());
        assert!(compare(&[]).is_empty());
    }

    #[test]
    fn the_order_of_rows_and_runs_changes_nothing() {
        let (one, mut two) = (rows(7, 0.0), rows(7, 0.01));
        let forth = compare(&[Run { name: "one", rows: &one }, Run { name: "two", rows: &two }]);
        two.reverse();
        let back = compare(&[Run { name: "two", rows: &two }, Run { name: "one", rows: &one }]);
        assert_eq!(forth, back);
    }

    #[test]
    fn pictures_are_tested_by_concept_and_widen_the_interval() {
        let rows = rows(6, 0.0);
        let mut pictures = ByProbe::new();
        for concept in CONCEPTS.iter().take(6) {
            for (probe, right) in [("classifier", 20), ("fp", 12)] {
                let blocks: Vec<f64> = (0..20).map(|i| if i < right { 0.05 } else { 0.0 }).collect();
                let resamples = (0..200).map(|i| f64::from(right) / 20.0 + 0.1 * (f64::from(i) * 0.7).sin());
                let resamples = if probe == "fp" { resamples.rev().collect() } else { resamples.collect() };
                let key = ("l".to_owned(), (*concept).to_owned(), probe.to_owned(), "full".to_owned());
                pictures.insert(key, Pictures { blocks, resamples });
            }
        }
        let run = [Run { name: "one", rows: &rows }];
        let found = comparisons(&run, &pictures, &CompareOptions { bootstrap: 500 }, Seed(1));
        let bare = compare(&run);
        assert!(found[0].ci_high - found[0].ci_low > bare[0].ci_high - bare[0].ci_low);
        let by_concept: Vec<&Comparison> = found.iter().filter(|c| !c.concept.is_empty()).collect();
        assert_eq!(by_concept.len(), 6);
        // Eight pictures of one mind: 2 / 2^8, and six such tests.
        assert!(by_concept.iter().all(|c| (c.p - 2.0 / 256.0).abs() < 1e-12 && (c.p_holm - 6.0 * c.p).abs() < 1e-12));
        assert!((by_concept[0].difference - 0.4).abs() < 1e-12 && by_concept[0].n == 20);
    }
}
