//! A metric as a table: a line a unit, a column a probe. What comparisons and correlations are computed from.

use std::collections::{BTreeMap, BTreeSet};

use super::info::is_null;
use super::row::MetricRow;
use super::select::{Series, headline, sorted};
use crate::metric::Bootstrap;
use crate::metric::bootstrap::weighted_mean;
use crate::seed::Seed;

/// The measurements of one finished study.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What the run is called; no two of a comparison are called alike.
    pub name: &'a str,
    /// Its metric table.
    pub rows: &'a [MetricRow],
}

/// One concept in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unit<'a> {
    pub(super) concept: &'a str,
    pub(super) run: &'a str,
}

/// The names of layers that occur in any run, in natural order.
pub(super) fn layers<'a>(runs: &[Run<'a>]) -> Vec<&'a str> {
    sorted(runs.iter().flat_map(|r| r.rows.iter().map(|row| row.layer.as_str())))
}

/// The finite values of a metric at a layer, by probe and unit, the mean where a unit has several (parameters), and
/// whether more is better. Probes that only show chance are left out.
pub(super) fn values<'a>(
    runs: &[Run<'a>],
    layer: &str,
    metric: &str,
) -> (BTreeMap<Series<'a>, BTreeMap<Unit<'a>, f64>>, bool) {
    let mut all: BTreeMap<Series<'a>, BTreeMap<Unit<'a>, Vec<f64>>> = BTreeMap::new();
    let mut higher_is_better = true;
    for run in runs {
        let picked = headline(run.rows, metric).into_iter().filter(|r| r.layer == layer && !is_null(&r.probe));
        for row in picked {
            higher_is_better = row.higher_is_better;
            let unit = Unit { concept: &row.concept, run: run.name };
            let of_series = all.entry((row.probe.as_str(), row.variant.as_str())).or_default();
            of_series.entry(unit).or_default().push(row.estimate.value);
        }
    }
    let mean = |v: Vec<f64>| v.iter().sum::<f64>() / v.len() as f64;
    let means = all.into_iter().map(|(s, by_unit)| (s, by_unit.into_iter().map(|(u, v)| (u, mean(v))).collect()));
    (means.collect(), higher_is_better)
}

/// Resamples of a list of units, of which several may be the same.
pub(super) struct Resamples {
    /// Concepts are drawn, each with all its runs: what an inference over concepts needs.
    pub(super) concepts: Bootstrap,
    /// Concepts are drawn within every run, on their own: what it would be if runs were other concepts. Only with
    /// several runs.
    pub(super) within_runs: Option<Bootstrap>,
}

impl Resamples {
    pub(super) fn new(units: &[Unit<'_>], replicates: usize, seed: Seed, name: &str) -> Self {
        let number = |names: BTreeSet<&str>| -> BTreeMap<String, usize> {
            names.into_iter().enumerate().map(|(i, n)| (n.to_owned(), i)).collect()
        };
        let (concepts, runs) =
            (number(units.iter().map(|u| u.concept).collect()), number(units.iter().map(|u| u.run).collect()));
        let concept: Vec<usize> = units.iter().map(|u| concepts[u.concept]).collect();
        let run: Vec<usize> = units.iter().map(|u| runs[u.run]).collect();
        let within = || {
            let mut rng = seed.stream(&format!("{name}/within runs"));
            Bootstrap::within(&run, &concept, replicates, &mut rng)
        };
        Self {
            within_runs: (runs.len() > 1).then(within),
            concepts: Bootstrap::new(&concept, replicates, &mut seed.stream(&format!("{name}/concepts"))),
        }
    }
}

/// Means over runs, one a concept: what a test over concepts sees. NaN are left out.
pub(super) fn by_concept(units: &[Unit<'_>], values: &[f64]) -> Vec<f64> {
    let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (unit, value) in units.iter().zip(values) {
        all.entry(unit.concept).or_default().push(*value);
    }
    let means = all.into_values().map(|v| weighted_mean(&v, &vec![1.0; v.len()]));
    means.filter(|m| !m.is_nan()).collect()
}
