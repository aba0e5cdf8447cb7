//! What the report says of probes against each other: comparisons with the pictures' own uncertainty, and correlations.

use std::collections::{BTreeMap, HashMap};

use super::Context;
use crate::metric::{Bootstrap, Decisions};
use crate::report::{self, ByProbe, Comparison, Correlation, MetricRow, Pictures, Run, SampleRow};

/// Comparisons of all pairs of probes, and rank correlations of accuracy with the other metrics and of all of them with the
/// truth.
pub fn statistics(
    context: &Context,
    metrics: &[MetricRow],
    samples: &[SampleRow],
) -> (Vec<Comparison>, Vec<Correlation>) {
    let runs = [Run { name: &context.study.name, rows: metrics }];
    let (options, seed) = (&context.study.compare, context.seed);
    let compared = report::comparisons(&runs, &pictures(context, samples), options, seed);
    let mut correlated = report::correlations(&runs, "accuracy", options, seed);
    correlated.extend(report::correlations(&runs, report::TRUTH, options, seed));
    (compared, correlated)
}

/// Blocks and resamples of every probe's accuracy. The resamples are those of the score stage.
fn pictures(context: &Context, samples: &[SampleRow]) -> ByProbe {
    let numbers: HashMap<&str, usize> =
        context.dataset.samples().iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
    let mut by_probe: BTreeMap<[&str; 4], Vec<&SampleRow>> = BTreeMap::new();
    for row in samples {
        by_probe.entry([&row.layer, &row.concept, &row.probe, &row.variant]).or_default().push(row);
    }
    let mut resamples: BTreeMap<&str, Bootstrap> = BTreeMap::new();
    let mut out = ByProbe::new();
    for ([layer, concept, probe, variant], rows) in by_probe {
        let block = |r: &&SampleRow| numbers.get(r.name.as_str()).map_or(0, |i| context.split.block[*i]);
        let blocks: Vec<usize> = rows.iter().map(block).collect();
        // A concept's rows are in the same order for every probe.
        let bootstrap = resamples.entry(concept).or_insert_with(|| {
            let mut rng = context.seed.stream(&format!("bootstrap/{concept}"));
            Bootstrap::new(&blocks, context.study.score.bootstrap, &mut rng)
        });
        let key = (layer.to_owned(), concept.to_owned(), probe.to_owned(), variant.to_owned());
        out.insert(key, accuracy(&rows, &blocks, bootstrap));
    }
    out
}

fn accuracy(rows: &[&SampleRow], blocks: &[usize], bootstrap: &Bootstrap) -> Pictures {
    let scores: Vec<f64> = rows.iter().map(|r| r.score).collect();
    let present: Vec<bool> = rows.iter().map(|r| r.present).collect();
    let decided = Decisions::new(&scores, &present, 0.0);
    let positives = present.iter().filter(|p| **p).count();
    // What a right decision adds to the balanced accuracy.
    let share = |p: bool| 0.5 / if p { positives } else { present.len() - positives } as f64;
    let mut sums: BTreeMap<usize, f64> = blocks.iter().map(|b| (*b, 0.0)).collect();
    for (i, block) in blocks.iter().enumerate().filter(|(i, _)| decided.right(*i)) {
        *sums.entry(*block).or_default() += share(present[i]);
    }
    Pictures { blocks: sums.into_values().collect(), resamples: bootstrap.statistics(|w| decided.balanced(w)) }
}
