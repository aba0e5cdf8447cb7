//! How well a network in training names samples it was not trained on.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::data::Labelled;
use super::loss::{Targets, loss};
use super::rounded;
use crate::error::Result;
use crate::model::graph::Graph;

/// How well one label is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelAccuracy {
    /// The label.
    pub label: String,
    /// Share of the held-out samples that have it.
    pub share: f64,
    /// Exclusive classes: share of its samples that are named right. Independent ones: balanced accuracy, the mean of both
    /// classes' shares. NaN where there are no samples.
    #[serde(with = "crate::store::nan")]
    pub accuracy: f64,
}

/// Samples with and without a label, and how many of each are named right.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    all: [usize; 2],
    right: [usize; 2],
}

/// What was measured.
pub(super) struct Measurement {
    /// Mean loss, without smoothing.
    pub(super) loss: f64,
    /// Exclusive classes: share of samples named right. Independent ones: mean balanced accuracy over the labels.
    pub(super) accuracy: f64,
    pub(super) labels: Vec<LabelAccuracy>,
}

/// Runs a network, as it is after training, on samples.
pub(super) fn measure(graph: &Graph, data: &Labelled<'_>, samples: &[usize], batch: usize) -> Result<Measurement> {
    let mut counts = vec![Count::default(); data.classes.len()];
    let (mut total, mut exclusive) = (0.0, false);
    for samples in samples.chunks(batch) {
        let logits = graph.forward(&data.input(samples, None)?, &[graph.layers().len()])?.remove(0);
        let targets = data.targets(samples)?;
        total += loss(&logits, &targets, 0.0)?.0 * samples.len() as f64;
        exclusive = matches!(targets, Targets::Exclusive(_));
        count(&logits, &targets, &mut counts)?;
    }
    let rate = |c: &Count, class: usize| c.right[class] as f64 / c.all[class] as f64;
    let accuracy = |c: &Count| if exclusive { rate(c, 1) } else { f64::midpoint(rate(c, 0), rate(c, 1)) };
    let labels: Vec<LabelAccuracy> = data
        .classes
        .iter()
        .zip(&counts)
        .map(|(label, c)| {
            let share = rounded(c.all[1] as f64 / samples.len() as f64);
            LabelAccuracy { label: label.clone(), share, accuracy: rounded(accuracy(c)) }
        })
        .collect();
    let known: Vec<f64> = labels.iter().map(|l| l.accuracy).filter(|a| a.is_finite()).collect();
    let accuracy = if exclusive {
        counts.iter().map(|c| c.right[1]).sum::<usize>() as f64 / samples.len() as f64
    } else {
        known.iter().sum::<f64>() / known.len() as f64
    };
    Ok(Measurement { loss: total / samples.len() as f64, accuracy, labels })
}

fn count(logits: &Tensor, targets: &Targets, counts: &mut [Count]) -> Result<()> {
    let rows = logits.to_vec2::<f32>()?;
    match targets {
        Targets::Exclusive(wanted) => {
            for (row, wanted) in rows.iter().zip(wanted) {
                // The first of the largest.
                let best = (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
                counts[*wanted].all[1] += 1;
                counts[*wanted].right[1] += usize::from(best == *wanted);
            }
        }
        Targets::Independent(wanted) => {
            for (row, wanted) in rows.iter().zip(wanted.chunks(counts.len())) {
                for ((logit, t), count) in row.iter().zip(wanted).zip(counts.iter_mut()) {
                    let has = *t > 0.5;
                    count.all[usize::from(has)] += 1;
                    count.right[usize::from(has)] += usize::from((*logit > 0.0) == has);
                }
            }
        }
    }
    Ok(())
}
