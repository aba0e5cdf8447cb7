//! Samples, and what a network should say of them.

use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;

use super::loss::Targets;
use super::options::TrainOptions;
use super::pictures::{Augmentation, Pictures};
use crate::dataset::{Dataset, Presence};
use crate::error::{Error, Result};
use crate::model::zoo::Outputs;
use crate::seed::Seed;

/// The samples, and what is asked about them.
pub(super) struct Labelled<'a> {
    pub(super) dataset: &'a dyn Dataset,
    pub(super) input: Input<'a>,
    pub(super) classes: Vec<String>,
    pub(super) outputs: Outputs,
}

/// What a network takes.
pub(super) enum Input<'a> {
    Pictures(Pictures<'a>),
    /// So many numbers a sample, sample by sample.
    Features(Vec<f32>, usize),
}

impl Labelled<'_> {
    /// The input of some samples, `[batch, channel, height, width]`.
    pub(super) fn input(&self, samples: &[usize], augmentation: Option<&Augmentation<'_>>) -> Result<Tensor> {
        match &self.input {
            Input::Pictures(pictures) => pictures.input(samples, augmentation),
            Input::Features(values, len) => {
                let rows = samples.iter().flat_map(|sample| &values[sample * len..][..*len]).copied().collect();
                Ok(Tensor::from_vec::<_, f32>(rows, (samples.len(), *len, 1, 1), &Device::Cpu)?)
            }
        }
    }

    /// What the network should say of some samples.
    ///
    /// # Errors
    /// When a sample is not of exactly one class and classes exclude each other.
    pub(super) fn targets(&self, samples: &[usize]) -> Result<Targets> {
        Ok(match self.outputs {
            Outputs::Exclusive => Targets::Exclusive(samples.iter().map(|i| self.class(*i)).collect::<Result<_>>()?),
            Outputs::Independent => Targets::Independent(
                samples.iter().flat_map(|i| self.labels(*i).map(|has| f32::from(u8::from(has)))).collect(),
            ),
        })
    }

    fn labels(&self, sample: usize) -> impl Iterator<Item = bool> + '_ {
        self.classes.iter().map(move |class| self.dataset.samples()[sample].labels.contains(class))
    }

    fn class(&self, sample: usize) -> Result<usize> {
        let mut shown = shown(self.dataset, sample);
        match (shown.next(), shown.next()) {
            (Some(concept), None) => {
                let name = &self.dataset.concepts()[concept];
                let class = self.classes.iter().position(|class| class == name);
                class.ok_or_else(|| Error::unknown("class", name, self.classes.iter().map(String::as_str)))
            }
            (first, _) => {
                let name = &self.dataset.samples()[sample].name;
                let problem = if first.is_some() { "is of several classes" } else { "is of none of the classes" };
                let hint = "the network names one class a picture: every sample must have exactly one, or set \
                            train.skip_unclear";
                Err(Error::data(format!("sample `{name}`"), problem, hint))
            }
        }
    }
}

/// The concepts that a sample shows.
fn shown(dataset: &dyn Dataset, sample: usize) -> impl Iterator<Item = usize> + '_ {
    let presence = &dataset.samples()[sample].presence;
    (0..presence.len()).filter(|concept| presence[*concept] == Presence::Present)
}

/// Shares the samples out to training and held-out: by source, or by whole groups.
pub(super) fn hold_out(dataset: &dyn Dataset, options: &TrainOptions, seed: Seed) -> Result<(Vec<usize>, Vec<usize>)> {
    let samples = dataset.samples();
    // Only networks whose classes exclude each other need samples of one.
    let clear = |i: &usize| !options.skip_unclear || shown(dataset, *i).take(2).count() == 1;
    let all = (0..samples.len()).filter(clear);
    if let Some(source) = &options.held_out_source {
        let (held_out, fit): (Vec<usize>, Vec<usize>) = all.partition(|i| &samples[*i].source == source);
        if held_out.is_empty() {
            let sources: BTreeSet<&str> = samples.iter().map(|s| s.source.as_str()).collect();
            return Err(Error::unknown("source", source, sources));
        }
        return enough(fit, held_out, "all of them are of one source");
    }
    let groups: BTreeSet<&str> = samples.iter().map(|s| s.group.as_str()).collect();
    let mut groups: Vec<&str> = groups.into_iter().collect();
    groups.shuffle(&mut seed.stream("train/held out"));
    let out: BTreeSet<&str> =
        groups[..(groups.len() as f64 * options.held_out).ceil() as usize].iter().copied().collect();
    let (held_out, fit) = all.partition(|i| out.contains(samples[*i].group.as_str()));
    enough(fit, held_out, &format!("they are {} groups", groups.len()))
}

fn enough(fit: Vec<usize>, held_out: Vec<usize>, why: &str) -> Result<(Vec<usize>, Vec<usize>)> {
    if fit.is_empty() || held_out.is_empty() {
        let problem = format!("samples cannot be shared out to training and held-out: {why}");
        return Err(Error::key("dataset.count", problem, "use more pictures"));
    }
    Ok((fit, held_out))
}
