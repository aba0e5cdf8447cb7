//! Training of a network of the zoo to name every label of a picture: logistic loss, Adam, a fixed order of samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::weights::Weights;
use super::zoo::{self, Outputs};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::ops::activation::relu;
use crate::seed::Seed;

/// The `[train]` table: how `cavern train` trains the study's model on the study's dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the samples.
    pub epochs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Adam's learning rate, at the start where it falls.
    pub learning_rate: f64,
    /// Whether the learning rate falls to zero along half a cosine.
    pub cosine: bool,
    /// Share of the weights taken off a step, times the learning rate (decoupled from the gradient, as in AdamW).
    pub weight_decay: f64,
    /// Share of the groups that is kept out of training and measured on.
    pub held_out: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { epochs: 6, batch: 64, learning_rate: 1e-3, cosine: true, weight_decay: 1e-4, held_out: 0.1 }
    }
}

impl TrainOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When one is out of range.
    pub fn check(&self) -> Result<()> {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let checks = [
            ("epochs", self.epochs > 0, "must be at least 1", "epochs = 6"),
            ("batch", self.batch > 0, "must be at least 1", "batch = 64"),
            ("learning_rate", positive(self.learning_rate), "must be positive", "learning_rate = 0.001"),
            ("weight_decay", self.weight_decay >= 0.0, "must not be negative", "weight_decay = 0.0001"),
            ("held_out", positive(self.held_out) && self.held_out < 1.0, "must be a share in (0, 1)", "held_out = 0.1"),
        ];
        match checks.into_iter().find(|(_, fine, ..)| !fine) {
            Some((key, _, problem, hint)) => Err(Error::key(format!("train.{key}"), problem, hint)),
            None => Ok(()),
        }
    }
}

/// What one pass over the samples came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean loss of its steps in nats a label.
    pub loss: f64,
    /// Loss on the held-out samples after it.
    pub held_out_loss: f64,
    /// Mean balanced accuracy over the labels, on the held-out samples after it.
    pub accuracy: f64,
}

/// How well one label is named at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelAccuracy {
    /// The label.
    pub label: String,
    /// Share of the held-out samples that have it.
    pub share: f64,
    /// Balanced accuracy (mean of both classes' shares named right) on them; NaN where one class is empty.
    pub accuracy: f64,
}

/// The course of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// Every label at the end, in the order of the logits.
    pub labels: Vec<LabelAccuracy>,
}

/// A trained network's tensors by name, and how it got there.
#[derive(Debug)]
pub struct Trained {
    /// What [`zoo::save`] writes.
    pub tensors: BTreeMap<String, Tensor>,
    /// Its course.
    pub curve: Curve,
}

/// Trains a network from random weights to name, for every one of its classes, whether a sample's labels hold it.
/// `on_epoch` is told every epoch when it ends.
///
/// # Errors
/// When an option is out of range, the network's outputs exclude each other, the dataset is too small to hold samples
/// out, or a picture cannot be read.
pub fn train(
    model: &str,
    dataset: &dyn Dataset,
    options: &TrainOptions,
    seed: Seed,
    on_epoch: &mut dyn FnMut(&Epoch),
) -> Result<Trained> {
    options.check()?;
    if zoo::info(model)?.outputs != Outputs::Independent {
        let hint = "train `elements_cnn`, whose logits stand for labels of their own";
        return Err(Error::key("model.name", format!("`{model}` names one class a picture and is not trained"), hint));
    }
    let vars = zoo::initial(model, seed)?.into_iter().map(|(name, t)| Ok((name, Var::from_tensor(&t)?)));
    let vars: BTreeMap<String, Var> = vars.collect::<Result<_>>()?;
    let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let graph = zoo::from_weights(model, &Weights::from_tensors(Path::new(model), tensors), &Device::Cpu)?;
    let data = Labelled { dataset, graph: &graph };
    let (mut fit, held_out) = hold_out(dataset, options.held_out, seed)?;

    let params =
        ParamsAdamW { lr: options.learning_rate, weight_decay: options.weight_decay, ..ParamsAdamW::default() };
    let mut adam = AdamW::new(vars.values().cloned().collect(), params)?;
    let mut curve = Curve { epochs: Vec::new(), labels: Vec::new() };
    let steps = fit.len().div_ceil(options.batch) * options.epochs;
    let mut step = 0;
    for epoch in 1..=options.epochs {
        fit.shuffle(&mut seed.stream(&format!("train/order/{epoch}")));
        let mut total = 0.0;
        for batch in fit.chunks(options.batch) {
            if options.cosine {
                let done = step as f64 / steps as f64;
                adam.set_learning_rate(options.learning_rate * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0);
            }
            let (logits, targets) = data.run(batch)?;
            let loss = logistic_loss(&logits, &targets)?;
            adam.step(&loss.backward()?)?;
            total += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
            step += 1;
        }
        let (held_out_loss, labels) = data.measure(&held_out, options.batch)?;
        let known: Vec<f64> = labels.iter().map(|l| l.accuracy).filter(|a| a.is_finite()).collect();
        let accuracy = known.iter().sum::<f64>() / known.len() as f64;
        curve.epochs.push(Epoch { epoch, loss: total / fit.len() as f64, held_out_loss, accuracy });
        curve.labels = labels;
        curve.epochs.iter().skip(epoch - 1).for_each(&mut *on_epoch);
    }
    let tensors = vars.into_iter().map(|(name, var)| (name, var.as_tensor().detach())).collect();
    Ok(Trained { tensors, curve })
}

/// Shares the samples out to training and held-out by whole groups.
fn hold_out(dataset: &dyn Dataset, share: f64, seed: Seed) -> Result<(Vec<usize>, Vec<usize>)> {
    let groups: BTreeSet<&str> = dataset.samples().iter().map(|s| s.group.as_str()).collect();
    let mut groups: Vec<&str> = groups.into_iter().collect();
    groups.shuffle(&mut seed.stream("train/held out"));
    let out: BTreeSet<&str> = groups[..(groups.len() as f64 * share).ceil() as usize].iter().copied().collect();
    let all = 0..dataset.samples().len();
    let (held_out, fit): (Vec<usize>, Vec<usize>) =
        all.partition(|i| out.contains(dataset.samples()[*i].group.as_str()));
    if fit.is_empty() || held_out.is_empty() {
        let problem = format!("{} groups of samples cannot be shared out to training and held-out", groups.len());
        return Err(Error::key("dataset.count", problem, "use more pictures"));
    }
    Ok((fit, held_out))
}

/// `mean(log(1 + exp(z)) - z t)` over logits z and targets t in {0, 1}, without overflow.
fn logistic_loss(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let rest = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(relu(logits)?.sub(&logits.mul(targets)?)?.add(&rest)?.mean_all()?)
}

/// Samples as a network's inputs and targets.
struct Labelled<'a> {
    dataset: &'a dyn Dataset,
    graph: &'a Graph,
}

impl Labelled<'_> {
    /// Logits and targets, each `[batch, label]`.
    fn run(&self, samples: &[usize]) -> Result<(Tensor, Tensor)> {
        let [channels, height, width] = self.graph.input_shape();
        let input = channels * height * width;
        let mut pixels = vec![0f32; samples.len() * input];
        pixels.par_chunks_mut(input).zip(samples).try_for_each(|(out, sample)| -> Result<()> {
            let preprocess = self.graph.preprocess();
            preprocess.normalise(&preprocess.picture(&self.dataset.image(*sample)?)?, out);
            Ok(())
        })?;
        let x = Tensor::from_vec(pixels, (samples.len(), channels, height, width), &Device::Cpu)?;
        let logits = self.graph.forward(&x, &[self.graph.layers().len()])?.remove(0);
        let targets = samples.iter().flat_map(|i| self.labels(*i).map(|has| f32::from(u8::from(has)))).collect();
        Ok((logits, Tensor::from_vec::<_, f32>(targets, (samples.len(), self.graph.classes().len()), &Device::Cpu)?))
    }

    fn labels(&self, sample: usize) -> impl Iterator<Item = bool> + '_ {
        self.graph.classes().iter().map(move |class| self.dataset.samples()[sample].labels.contains(class))
    }

    /// Mean loss, and the accuracy of every label.
    fn measure(&self, samples: &[usize], batch: usize) -> Result<(f64, Vec<LabelAccuracy>)> {
        let classes = self.graph.classes();
        // For every label: samples without and with it, and how many of each are named right.
        let mut counts = vec![[[0usize; 2]; 2]; classes.len()];
        let mut total = 0.0;
        for samples in samples.chunks(batch) {
            let (logits, targets) = self.run(samples)?;
            total += f64::from(logistic_loss(&logits, &targets)?.to_scalar::<f32>()?) * samples.len() as f64;
            for (sample, row) in samples.iter().zip(logits.to_vec2::<f32>()?) {
                for ((has, logit), [all, right]) in self.labels(*sample).zip(row).zip(&mut counts) {
                    all[usize::from(has)] += 1;
                    right[usize::from(has)] += usize::from((logit > 0.0) == has);
                }
            }
        }
        let accuracy = |(label, [all, right]): (&String, &[[usize; 2]; 2])| {
            let rate = |class: usize| right[class] as f64 / all[class] as f64;
            let share = all[1] as f64 / samples.len() as f64;
            LabelAccuracy { label: label.clone(), share, accuracy: f64::midpoint(rate(0), rate(1)) }
        };
        Ok((total / samples.len() as f64, classes.iter().zip(&counts).map(accuracy).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::elements::{self, Elements};
    use crate::dataset::{DatasetSpec, Format, World};

    fn elements(count: usize) -> Elements {
        let spec = DatasetSpec {
            format: Format::Elements,
            root: None,
            concepts: Vec::new(),
            present_from: 0.02,
            tile: None,
            max_skipped: 0.0,
            group_until: None,
            world: Some(World::E1),
            count: Some(count),
        };
        elements::open(&spec, Seed(1)).unwrap()
    }

    #[test]
    fn the_loss_is_that_of_the_formula() {
        let z = Tensor::new(&[0f32, 2.0, -3.0, 90.0], &Device::Cpu).unwrap();
        let t = Tensor::new(&[1f32, 0.0, 0.0, 1.0], &Device::Cpu).unwrap();
        let wanted = (2f64.ln() + (1.0 + 2f64.exp()).ln() + (1.0 + (-3f64).exp()).ln()) / 4.0;
        let got = f64::from(logistic_loss(&z, &t).unwrap().to_scalar::<f32>().unwrap());
        assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
    }

    #[test]
    fn training_learns_and_is_repeatable() {
        let data = elements(80);
        let options = TrainOptions { epochs: 2, batch: 16, ..TrainOptions::default() };
        let run = |seed| {
            let mut said = 0;
            let trained = train("elements_cnn", &data, &options, Seed(seed), &mut |_| said += 1).unwrap();
            assert_eq!(said, 2);
            trained
        };
        let (a, b) = (run(1), run(1));
        assert_eq!(a.curve.epochs, b.curve.epochs);
        let values = |t: &Trained| t.tensors["conv6.weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&a), values(&b));
        assert_ne!(values(&a), values(&run(2)));
        assert!(a.curve.epochs[1].loss < a.curve.epochs[0].loss);
        assert_eq!(a.curve.labels.len(), 14);
    }

    #[test]
    fn impossible_wishes_are_refused() {
        let data = elements(1);
        let refused = |model, options: TrainOptions| {
            let error = train(model, &data, &options, Seed(1), &mut |_| {}).unwrap_err();
            assert!(error.is_users_mistake(), "{error}");
        };
        refused("elements_cnn", TrainOptions::default());
        refused("elements_cnn", TrainOptions { held_out: 1.0, ..TrainOptions::default() });
        refused("elements_cnn", TrainOptions { batch: 0, ..TrainOptions::default() });
        refused("efficientnet_lite0", TrainOptions::default());
        refused("no_such_net", TrainOptions::default());
    }
}
