//! The `[train]` table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How `cavern train` trains the study's model on the study's dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the samples.
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// Samples a step; the last step of an epoch may have fewer.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// The rule of a step.
    pub optimiser: Optimiser,
    /// The learning rate after the warm-up, before it falls.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Epochs, or parts of one, in which the learning rate rises evenly from zero.
    #[schemars(range(min = 0))]
    pub warm_up: f64,
    /// Schedule `step`: epochs at whose end the learning rate is multiplied by `step_factor`.
    pub step_at: Vec<usize>,
    /// Schedule `step`: the factor.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub step_factor: f64,
    /// SGD: share of the last step that goes on.
    #[schemars(extend("minimum" = 0, "exclusiveMaximum" = 1))]
    pub momentum: f64,
    /// SGD: whether the gradient is that at the place momentum leads to (Nesterov), in PyTorch's form.
    pub nesterov: bool,
    /// Pull of kernels, matrices, class tokens and embeddings towards zero; biases and norms feel none. SGD adds it to the gradient, Adam takes it
    /// off the weights (AdamW).
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Share of the target that is spread over all classes; exclusive classes only.
    #[schemars(extend("minimum" = 0, "exclusiveMaximum" = 1))]
    pub label_smoothing: f64,
    /// Pixels of black around a picture out of which a window of its size is cut at random.
    pub crop: usize,
    /// Whether every other picture is mirrored, left to right.
    pub flip: bool,
    /// Share of the groups that is kept out of training and measured on.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub held_out: f64,
    /// Instead of a share: the source whose samples are kept out, such as `test` of an IDX dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out_source: Option<String>,
    /// Leaves out samples that show none or several of the classes, instead of refusing them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub skip_unclear: bool,
    /// Trains a linear head on this layer of the network, whose weights stay as they are, instead of the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_on: Option<String>,
    /// Epochs between two checkpoints to go on from; zero: none.
    pub checkpoint_every: usize,
}

/// The rule of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay (AdamW); betas 0.9 and 0.999.
    Adam,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// To zero along half a cosine.
    Cosine,
    /// By a factor at the end of some epochs.
    Step,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 6,
            batch: 64,
            optimiser: Optimiser::Adam,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            warm_up: 0.0,
            step_at: Vec::new(),
            step_factor: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 1e-4,
            label_smoothing: 0.0,
            crop: 0,
            flip: false,
            held_out: 0.1,
            held_out_source: None,
            skip_unclear: false,
            head_on: None,
            checkpoint_every: 1,
        }
    }
}

impl TrainOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When one is out of range.
    pub fn check(&self) -> Result<()> {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        let share = |v: f64| (0.0..1.0).contains(&v);
        let rising = self.step_at.is_sorted_by(|a, b| a < b) && self.step_at.first() != Some(&0);
        let checks = [
            ("epochs", self.epochs > 0, "must be at least 1", "epochs = 6"),
            ("batch", self.batch > 0, "must be at least 1", "batch = 64"),
            ("learning_rate", positive(self.learning_rate), "must be positive", "learning_rate = 0.001"),
            ("warm_up", self.warm_up.is_finite() && self.warm_up >= 0.0, "must not be negative", "warm_up = 1"),
            ("step_at", rising, "must be epochs from 1 on, in order", "step_at = [6, 9]"),
            ("step_factor", positive(self.step_factor), "must be positive", "step_factor = 0.1"),
            ("momentum", share(self.momentum), "must lie in [0, 1)", "momentum = 0.9"),
            ("weight_decay", self.weight_decay >= 0.0, "must not be negative", "weight_decay = 0.0001"),
            ("label_smoothing", share(self.label_smoothing), "must lie in [0, 1)", "label_smoothing = 0.1"),
            ("held_out", positive(self.held_out) && self.held_out < 1.0, "must be a share in (0, 1)", "held_out = 0.1"),
        ];
        match checks.into_iter().find(|(_, fine, ..)| !fine) {
            Some((key, _, problem, hint)) => Err(Error::key(format!("train.{key}"), problem, hint)),
            None => Ok(()),
        }
    }

    /// The learning rate of a step, counted from zero, where an epoch has `steps` of them.
    pub(super) fn rate(&self, step: usize, steps: usize) -> f64 {
        let epoch = step as f64 / steps as f64;
        if epoch < self.warm_up {
            return self.learning_rate * (step as f64 + 1.0) / (self.warm_up * steps as f64).max(1.0);
        }
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine => {
                let done = (epoch - self.warm_up) / (self.epochs as f64 - self.warm_up).max(f64::MIN_POSITIVE);
                self.learning_rate * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0
            }
            Schedule::Step => {
                let falls = self.step_at.iter().filter(|at| epoch >= **at as f64).count();
                self.learning_rate * self.step_factor.powi(falls as i32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_and_falls_as_told() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let mut options = TrainOptions { epochs: 4, learning_rate: 0.8, warm_up: 1.0, ..TrainOptions::default() };
        close(options.rate(0, 10), 0.08);
        close(options.rate(9, 10), 0.8);
        close(options.rate(10, 10), 0.8);
        close(options.rate(25, 10), 0.4);
        assert!(options.rate(39, 10) < 0.8 / 300.0);
        options = TrainOptions { schedule: Schedule::Step, step_at: vec![2, 3], warm_up: 0.0, ..options };
        close(options.rate(19, 10), 0.8);
        close(options.rate(20, 10), 0.08);
        close(options.rate(39, 10), 0.008);
        options.schedule = Schedule::Constant;
        close(options.rate(39, 10), 0.8);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let refused = |options: TrainOptions, key: &str| {
            let message = options.check().unwrap_err().to_string();
            assert!(message.contains(&format!("train.{key}")), "{message}");
        };
        let base = TrainOptions::default;
        base().check().unwrap();
        refused(TrainOptions { epochs: 0, ..base() }, "epochs");
        refused(TrainOptions { momentum: 1.0, ..base() }, "momentum");
        refused(TrainOptions { learning_rate: f64::NAN, ..base() }, "learning_rate");
        refused(TrainOptions { step_at: vec![3, 2], ..base() }, "step_at");
        refused(TrainOptions { held_out: 1.0, ..base() }, "held_out");
    }
}
