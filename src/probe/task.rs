//! What a probe is fitted to: one concept at one layer, in one form of the activations.

use rand::seq::SliceRandom;
use std::collections::BTreeMap;

use super::image_score::ImageScore;
use super::kernel::Kernel;
use super::options::{Balance, ProbeOptions};
use super::space::Space;
use crate::activation::LayerSet;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Rows of a [`Space`] with a known label.
#[derive(Debug, Clone, Default)]
pub struct Labelled {
    /// Rows where the concept is present.
    pub positive: Vec<usize>,
    /// Rows where it is known to be absent.
    pub negative: Vec<usize>,
}

/// Gives the share of each cell of a grid `(height, width)` over the picture that the concept covers in a row,
/// `[height * width]` in [0, 1]; `None` without a mask.
pub type CoverageOf<'a> = dyn Fn(usize, (usize, usize)) -> Result<Option<Vec<f32>>> + Sync + 'a;

/// One concept at one layer.
pub struct Task<'a> {
    /// The concept's name.
    pub concept: &'a str,
    /// The layer's activations.
    pub set: &'a LayerSet,
    /// Coordinates of the fit and validation samples.
    pub space: &'a Space,
    /// Rows to fit on.
    pub fit: &'a Labelled,
    /// Rows to choose regularisation, offsets and thresholds on.
    pub val: &'a Labelled,
    /// For each row, the block it belongs to: folds never part a block.
    pub blocks: &'a [usize],
    /// For each row, the source it comes from: negatives are matched by it.
    pub sources: &'a [usize],
    /// For a row, the share of each cell of a grid that the concept covers; `None` where it has no mask.
    pub coverage: &'a CoverageOf<'a>,
    /// Settings.
    pub options: &'a ProbeOptions,
    /// The study's seed.
    pub seed: Seed,
}

impl Task<'_> {
    /// The random stream `name` of this concept, layer and variant.
    pub fn stream(&self, name: &str) -> rand_chacha::ChaCha8Rng {
        let variant = self.space.variant;
        self.seed.stream(&format!("probe/{}/{}/{variant}/{name}", self.set.layer, self.concept))
    }

    /// The weights of solutions on the activations, and what their coordinates' mean adds to their offsets; none of a
    /// kernel.
    ///
    /// # Errors
    /// When activations cannot be read.
    pub fn on_activations(&self, solutions: &[&Solution]) -> Result<Vec<(Vec<f64>, f64)>> {
        on_activations(self.space, self.set, solutions)
    }

    /// The rows in `probe.folds` folds drawn from the stream `name`: for each fold the rows outside it, and those in it.
    /// Folds keep blocks whole; one that is empty, or without which a class is, is left out.
    pub fn folds(&self, rows: &Labelled, name: &str) -> Vec<(Labelled, Labelled)> {
        let mut blocks: Vec<usize> = rows.positive.iter().chain(&rows.negative).map(|r| self.blocks[*r]).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.shuffle(&mut self.stream(name));
        let fold: BTreeMap<usize, usize> =
            blocks.iter().enumerate().map(|(i, b)| (*b, i % self.options.folds)).collect();
        let part = |rows: &[usize], k: usize| -> (Vec<usize>, Vec<usize>) {
            rows.iter().partition(|r| fold.get(&self.blocks[**r]) != Some(&k))
        };
        let split = |k| {
            let ((positive, out), (negative, without)) = (part(&rows.positive, k), part(&rows.negative, k));
            (Labelled { positive, negative }, Labelled { positive: out, negative: without })
        };
        let of_use = |(rest, held_out): &(Labelled, Labelled)| {
            let held_out = held_out.positive.len() + held_out.negative.len();
            held_out > 0 && !rest.positive.is_empty() && !rest.negative.is_empty()
        };
        (0..self.options.folds).map(split).filter(of_use).collect()
    }

    /// The rows that a fit gets where classes count alike: all of them where `probe.balance` weighs classes, as fits do, or
    /// those of [`Task::subsampled`].
    pub fn balanced(&self, from: &Labelled, name: &str) -> Labelled {
        match self.options.balance {
            Balance::Subsample => self.subsampled(from, name),
            Balance::Weights => from.clone(),
        }
    }

    /// As many positives as negatives, drawn from the stream `name`: the larger side is subsampled, and negatives keep
    /// the positives' shares of every source as far as there are enough of them.
    pub fn subsampled(&self, from: &Labelled, name: &str) -> Labelled {
        let mut rng = self.stream(name);
        let (mut positive, mut negative) = (from.positive.clone(), from.negative.clone());
        positive.shuffle(&mut rng);
        negative.shuffle(&mut rng);
        let count = positive.len().min(negative.len());
        positive.truncate(count);
        let negative = self.match_sources(&positive, &negative, count);
        let mut out = Labelled { positive, negative };
        out.positive.sort_unstable();
        out.negative.sort_unstable();
        out
    }

    /// Takes `count` of the shuffled `negative` rows: first up to the number of positives of each source, then any.
    fn match_sources(&self, positive: &[usize], negative: &[usize], count: usize) -> Vec<usize> {
        let mut wanted = BTreeMap::new();
        for row in positive {
            *wanted.entry(self.sources[*row]).or_insert(0usize) += 1;
        }
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for row in negative {
            match wanted.get_mut(&self.sources[*row]) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    taken.push(*row);
                }
                _ => rest.push(*row),
            }
        }
        taken.extend(rest);
        taken.truncate(count);
        taken
    }
}

/// See [`Task::on_activations`].
///
/// # Errors
/// When activations cannot be read.
pub fn on_activations(space: &Space, set: &LayerSet, solutions: &[&Solution]) -> Result<Vec<(Vec<f64>, f64)>> {
    let coordinates: Vec<Vec<f64>> = solutions.iter().filter_map(|s| s.coordinates().map(<[f64]>::to_vec)).collect();
    let mut made = space.directions(set, &coordinates)?.into_iter();
    let weights = solutions.iter().map(|s| match &s.weights {
        Weights::Activations(w) => (w.clone(), 0.0),
        Weights::Coordinates(_) => made.next().unwrap_or_default(),
        Weights::Kernel(_) => (Vec::new(), 0.0),
    });
    Ok(weights.collect())
}

/// Weights of a solved probe.
#[derive(Debug, Clone)]
pub enum Weights {
    /// In the coordinates of the task's [`Space`].
    Coordinates(Vec<f64>),
    /// On the activations themselves, `[channel, height, width]` or `[channel]`.
    Activations(Vec<f64>),
    /// None: the score is no linear function of the activations.
    Kernel(Kernel),
}

/// Where the offset of a probe comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Offset {
    /// It belongs to the solution, in the same form as the weights.
    Native(f64),
    /// The kind has none: one-dimensional logistic regression on the validation scores gives it.
    Calibrated,
}

/// A solved probe, before its direction is made.
#[derive(Debug, Clone)]
pub struct Solution {
    /// The weights.
    pub weights: Weights,
    /// The offset.
    pub offset: Offset,
    /// Regularisation strength; NaN without one.
    pub lambda: f64,
    /// Gradient norm at the solution; NaN for closed forms.
    pub gradient_norm: f64,
    /// Positives and negatives it was fitted on.
    pub counts: (usize, usize),
    /// Other numbers known of it, by metric name.
    pub facts: BTreeMap<String, f64>,
    /// What a picture's score is of its positions'.
    pub image_score: ImageScore,
}

impl Solution {
    /// A solution in coordinates with its own offset.
    pub fn new(weights: Vec<f64>, offset: Offset, counts: (usize, usize)) -> Self {
        Self {
            weights: Weights::Coordinates(weights),
            offset,
            lambda: f64::NAN,
            gradient_norm: f64::NAN,
            counts,
            facts: BTreeMap::new(),
            image_score: ImageScore::Mean,
        }
    }

    /// The weights in coordinates, if that is their form.
    pub fn coordinates(&self) -> Option<&[f64]> {
        match &self.weights {
            Weights::Coordinates(w) => Some(w),
            Weights::Activations(_) | Weights::Kernel(_) => None,
        }
    }
}

/// What came of a fit.
pub type Outcome = std::result::Result<Solution, Unsolved>;

/// Why there is no solution.
#[derive(Debug)]
pub enum Unsolved {
    /// The data do not allow it, and why: "38 false positives, 50 wanted". The study goes on without it.
    Refused(String),
    /// Something is broken. The study stops.
    Failed(Error),
}

impl From<Error> for Unsolved {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A refusal with its reason.
///
/// # Errors
/// Always.
pub fn refused<T>(reason: impl Into<String>) -> std::result::Result<T, Unsolved> {
    Err(Unsolved::Refused(reason.into()))
}
