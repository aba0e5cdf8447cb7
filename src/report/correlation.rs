//! Do metrics go with each other over concepts? Spearman's correlations with intervals over concepts.

use std::collections::{BTreeMap, BTreeSet};

use super::info::{ALIGNMENT, probe_order};
use super::select::Series;
use super::units::{Resamples, Run, Unit, layers, values};
use crate::metric::compare::CompareOptions;
use crate::metric::correlation::{spearman, spearman_difference, spearman_interval};
use crate::seed::Seed;

/// The metric that is the truth where renders with and without the concept exist.
pub const TRUTH: &str = "direction_cosine";

/// Fewest concepts a correlation is given for.
const FEWEST_CONCEPTS: usize = 3;

/// One row of `correlations.csv`: the rank correlation of one metric with another over concepts. A metric that is better
/// when lower is turned round first, so that a positive correlation always means that both speak for the same concepts.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlation {
    /// The metric correlated with: `accuracy`, or the truth, `direction_cosine`.
    pub against: String,
    /// The layer.
    pub layer: String,
    /// The variant; empty: both together.
    pub variant: String,
    /// The probe's kind; empty: all kinds together.
    pub probe: String,
    /// The metric.
    pub metric: String,
    /// Spearman's correlation; NaN of fewer than three concepts.
    pub rho: f64,
    /// Lower end of its 95 % interval; concepts are drawn with all their runs, kinds and variants. NaN with fewer than six.
    pub ci_low: f64,
    /// Upper end.
    pub ci_high: f64,
    /// Lower end of the interval with concepts drawn within every run on their own; NaN for a single run.
    pub within_low: f64,
    /// Upper end.
    pub within_high: f64,
    /// This correlation less that of accuracy with `against`; NaN where `against` is accuracy.
    pub gain: f64,
    /// Lower end of its 95 % interval over concepts.
    pub gain_low: f64,
    /// Upper end.
    pub gain_high: f64,
    /// Concepts.
    pub concepts: usize,
    /// Runs.
    pub runs: usize,
    /// Points: concepts, times runs, kinds and variants.
    pub points: usize,
}

/// One point of a correlation.
struct Point<'a> {
    unit: Unit<'a>,
    x: f64,
    y: f64,
    accuracy: f64,
}

/// Correlates `against` with accuracy and every alignment metric (without itself), at every layer: within a probe's kind
/// and variant, over all kinds of a variant, and over everything.
pub fn correlations(runs: &[Run<'_>], against: &str, options: &CompareOptions, seed: Seed) -> Vec<Correlation> {
    let mut out = Vec::new();
    for layer in layers(runs) {
        let (x, _) = values(runs, layer, against);
        if x.is_empty() {
            continue;
        }
        let (accuracy, _) = values(runs, layer, "accuracy");
        for metric in std::iter::once("accuracy").chain(ALIGNMENT).filter(|m| *m != against) {
            let (y, higher_is_better) = values(runs, layer, metric);
            let sign = if higher_is_better { 1.0 } else { -1.0 };
            for group in groups(x.keys().copied().filter(|s| y.contains_key(s))) {
                let of = |table: &BTreeMap<Series<'_>, BTreeMap<Unit<'_>, f64>>, s: &Series<'_>, u: &Unit<'_>| {
                    table.get(s).and_then(|t| t.get(u)).copied().unwrap_or(f64::NAN)
                };
                let points = group.series.iter().flat_map(|s| x[s].iter().map(move |(u, x)| (s, u, x))).filter_map(
                    |(s, u, x)| {
                        let y = sign * of(&y, s, u);
                        (!y.is_nan()).then(|| Point { unit: *u, x: *x, y, accuracy: of(&accuracy, s, u) })
                    },
                );
                let points: Vec<Point<'_>> = points.collect();
                out.push(correlate(&points, (against, layer, metric), &group, options, seed));
            }
        }
    }
    out
}

/// Series that are correlated together; an empty name stands for all.
struct Group<'a> {
    variant: &'a str,
    probe: &'a str,
    series: Vec<Series<'a>>,
}

fn groups<'a>(series: impl Iterator<Item = Series<'a>>) -> Vec<Group<'a>> {
    let mut all: Vec<Series<'a>> = series.collect();
    all.sort_by_key(|(probe, variant)| (*variant, probe_order(probe), *probe));
    let mut out: Vec<Group<'a>> = all.iter().map(|s| Group { variant: s.1, probe: s.0, series: vec![*s] }).collect();
    let variants: BTreeSet<&str> = all.iter().map(|s| s.1).collect();
    let of_variant = |v: &&'a str| all.iter().copied().filter(|s| s.1 == *v).collect::<Vec<_>>();
    out.extend(variants.iter().map(|v| Group { variant: v, probe: "", series: of_variant(v) }));
    if !all.is_empty() {
        out.push(Group { variant: "", probe: "", series: all });
    }
    out
}

fn correlate(
    points: &[Point<'_>],
    (against, layer, metric): (&str, &str, &str),
    group: &Group<'_>,
    options: &CompareOptions,
    seed: Seed,
) -> Correlation {
    let units: Vec<Unit<'_>> = points.iter().map(|p| p.unit).collect();
    let column = |f: fn(&Point<'_>) -> f64| points.iter().map(f).collect::<Vec<f64>>();
    let (x, y) = (column(|p| p.x), column(|p| p.y));
    let concepts = units.iter().map(|u| u.concept).collect::<BTreeSet<_>>().len();
    // The same concepts are drawn for every metric, so that their correlations can be compared.
    let resamples = Resamples::new(&units, options.bootstrap, seed, &format!("correlate/{layer}"));
    let nan = f64::NAN;
    let (ci_low, ci_high) = spearman_interval(&x, &y, &resamples.concepts);
    let (within_low, within_high) =
        resamples.within_runs.as_ref().map_or((nan, nan), |within| spearman_interval(&x, &y, within));
    let (gain, gain_low, gain_high) = if against == "accuracy" || metric == "accuracy" || concepts < FEWEST_CONCEPTS {
        (nan, nan, nan)
    } else {
        spearman_difference(&x, &y, &column(|p| p.accuracy), &resamples.concepts)
    };
    Correlation {
        against: against.to_owned(),
        layer: layer.to_owned(),
        variant: group.variant.to_owned(),
        probe: group.probe.to_owned(),
        metric: metric.to_owned(),
        // Points of one or two concepts say nothing over concepts, however many kinds and runs they are of.
        rho: if concepts < FEWEST_CONCEPTS { nan } else { spearman(&x, &y) },
        ci_low,
        ci_high,
        within_low,
        within_high,
        gain,
        gain_low,
        gain_high,
        concepts,
        runs: units.iter().map(|u| u.run).collect::<BTreeSet<_>>().len(),
        points: points.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::demo::row;
    use super::super::row::MetricRow;
    use super::*;

    /// The flip rate goes against the true cosine, H3 with it, and accuracy with neither.
    fn rows() -> Vec<MetricRow> {
        let mut out = Vec::new();
        for i in 0..8 {
            let (concept, x) = (format!("c{i}"), f64::from(i));
            for probe in ["classifier", "pattern"] {
                let mut push = |metric: &str, value: f64| {
                    let mut row = row("l", &concept, probe, "ti", metric, value);
                    row.higher_is_better = metric != "flip_rate";
                    out.push(row);
                };
                push("direction_cosine", x / 10.0);
                push("hard_h3", 0.5 + x / 20.0);
                push("flip_rate", 0.4 - x / 40.0);
                push("accuracy", 0.8 + (x * 2.3).sin() / 10.0);
            }
            out.push(row("l", &concept, "random", "ti", "accuracy", 0.5));
        }
        out
    }

    #[test]
    fn metrics_that_are_better_lower_are_turned_round() {
        let rows = rows();
        let runs = [Run { name: "one", rows: &rows }];
        let found = correlations(&runs, TRUTH, &CompareOptions { bootstrap: 200 }, Seed(1));
        let of = |metric: &str, probe: &str, variant: &str| {
            found.iter().find(|c| c.metric == metric && c.probe == probe && c.variant == variant).unwrap()
        };
        for metric in ["hard_h3", "flip_rate"] {
            let c = of(metric, "classifier", "ti");
            assert!((c.rho - 1.0).abs() < 1e-12 && (c.concepts, c.points, c.runs) == (8, 8, 1), "{c:?}");
            assert!(c.gain > 0.0 && c.gain_low > 0.0, "{c:?}");
            let pooled = of(metric, "", "");
            assert_eq!((pooled.points, pooled.concepts), (16, 8));
        }
        let accuracy = of("accuracy", "classifier", "ti");
        assert!(accuracy.rho.abs() < 0.9 && accuracy.gain.is_nan() && accuracy.ci_low < accuracy.rho);
        assert!(found.iter().all(|c| c.metric != TRUTH && c.probe != "random"));
    }

    #[test]
    fn nothing_is_correlated_with_what_was_not_measured() {
        let rows: Vec<MetricRow> = rows().into_iter().filter(|r| r.metric != TRUTH).collect();
        let runs = [Run { name: "one", rows: &rows }];
        let options = CompareOptions { bootstrap: 200 };
        assert!(correlations(&runs, TRUTH, &options, Seed(1)).is_empty());
        let thesis = correlations(&runs, "accuracy", &options, Seed(1));
        assert!(thesis.iter().all(|c| c.against == "accuracy" && c.metric != "accuracy" && c.gain.is_nan()));
        assert_eq!(thesis.iter().filter(|c| c.metric == "hard_h3").count(), 4);
    }
}
