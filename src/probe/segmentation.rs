//! Segmentation-CAV: every position is a sample, and the mask says which ones show the concept.
//!
//! Translation-invariant: one 1x1 logistic probe for all positions. Full: a probe of its own at every position, with the
//! shared probe's offset. Soft labels are the mask's coverage of a cell; mask cells weigh `alpha = 1 - mean coverage`,
//! the others `1 - alpha` (the class weights of Net2Vec, Fong & Vedaldi 2018). The image's score is the mean over
//! positions, so it stays linear; its offset is fitted on the validation split. The definition is ours.

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::kind::{Earlier, ProbeKind};
use super::lbfgs;
use super::logistic::{sigmoid, softplus};
use super::task::{Labelled, Offset, Outcome, Solution, Task, Weights};
use crate::error::Result;
use crate::probe::Variant;

/// Most solver steps for the shared probe, and for each position's own.
const STEPS: [usize; 2] = [150, 40];
/// Values of gathered activations held at once when every position is fitted by itself: 128 MB.
const BLOCK_VALUES: usize = 32 << 20;

/// Position-wise logistic regression on masks.
pub struct Segmentation;

impl ProbeKind for Segmentation {
    fn name(&self) -> &'static str {
        "segmentation"
    }

    fn about(&self) -> &'static str {
        "logistic regression of every position on the concept's mask"
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Result<Outcome> {
        let images = masked_images(task, task.fit)?;
        if !images.iter().any(|i| i.coverage.iter().any(|m| *m > 0.0)) {
            return Ok(Outcome::Refused("no sample of the fit split has a mask of the concept".into()));
        }
        let scaling = Scaling::of(task, &images)?;
        let train = gather(task, &images, &scaling, "segmentation/fit")?;
        let val = gather(task, &masked_images(task, task.val)?, &scaling, "segmentation/val")?;
        let shared = fit_shared(task, &train, &val);
        let counts = (task.fit.positive.len(), task.fit.negative.len());
        let mut solution = Solution::new(Vec::new(), Offset::Calibrated, counts);
        (solution.lambda, solution.gradient_norm) = (shared.lambda, shared.gradient_norm);
        solution.weights = Weights::Activations(match task.space.variant {
            Variant::TranslationInvariant => shared.v.iter().map(|v| v / scaling.scale).collect(),
            Variant::Full => fit_positions(task, &images, &scaling, &shared)?,
        });
        Ok(Outcome::Solved(solution))
    }
}

/// An image with its mask's coverage of the layer's grid.
struct Masked {
    sample: usize,
    row: usize,
    coverage: Vec<f32>,
}

fn masked_images(task: &Task<'_>, rows: &Labelled) -> Result<Vec<Masked>> {
    let mut rows: Vec<usize> = rows.positive.iter().chain(&rows.negative).copied().collect();
    rows.sort_unstable();
    let masked = rows.into_par_iter().map(|row| {
        let coverage = (task.coverage)(row)?;
        Ok(coverage.map(|coverage| Masked { sample: task.space.samples[row], row, coverage }))
    });
    Ok(masked.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Mean and scale of single positions' activations, so that regularisation means the same at every layer.
struct Scaling {
    mean: Vec<f32>,
    scale: f64,
}

impl Scaling {
    /// From the positions of up to 200 images.
    fn of(task: &Task<'_>, images: &[Masked]) -> Result<Self> {
        let (channels, positions) = (task.set.shape[0], task.set.positions());
        let step = images.len().div_ceil(200).max(1);
        let (mut sum, mut square, mut count) = (vec![0.0; channels], 0.0, 0.0);
        for image in images.iter().step_by(step) {
            let map = task.set.map(image.sample)?;
            for (channel, total) in map.chunks_exact(positions).zip(&mut sum) {
                *total += channel.iter().map(|v| f64::from(*v)).sum::<f64>();
            }
            square += map.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
            count += positions as f64;
        }
        let mean: Vec<f64> = sum.iter().map(|s| s / f64::max(count, 1.0)).collect();
        let variance = square / f64::max(count, 1.0) - lbfgs::dot(&mean, &mean);
        let scale = variance.max(f64::MIN_POSITIVE).sqrt();
        Ok(Self { mean: mean.iter().map(|m| *m as f32).collect(), scale })
    }

    fn apply(&self, value: f32, channel: usize) -> f32 {
        (value - self.mean[channel]) / self.scale as f32
    }
}

/// Positions as samples: `x` `[position, channel]`, the coverage as soft label, and a weight.
#[derive(Default)]
struct Positions {
    channels: usize,
    x: Vec<f32>,
    label: Vec<f32>,
    weight: Vec<f64>,
}

/// Draws positions from every image, inside and outside its mask alike; weights undo the unequal shares.
fn gather(task: &Task<'_>, images: &[Masked], scaling: &Scaling, stream: &str) -> Result<Positions> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let quota = (task.options.positions / images.len().max(1)).max(2);
    let parts = images.par_iter().map(|image| {
        let mut rng = task.stream(&format!("{stream}/{}", image.row));
        let map = task.set.map(image.sample)?;
        let mut part = Positions { channels, ..Positions::default() };
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..positions).partition(|p| image.coverage[*p] > 0.0);
        let take_inside = inside.len().min(quota / 2);
        let take_outside = outside.len().min(quota - take_inside);
        for (mut cells, take) in [(inside, take_inside), (outside, take_outside)] {
            cells.shuffle(&mut rng);
            let weight = cells.len() as f64 / take.max(1) as f64;
            cells.truncate(take);
            cells.sort_unstable();
            for p in cells {
                part.x.extend((0..channels).map(|c| scaling.apply(map[c * positions + p], c)));
                part.label.push(image.coverage[p]);
                part.weight.push(weight);
            }
        }
        Ok(part)
    });
    let mut all = Positions { channels, ..Positions::default() };
    for part in parts.collect::<Result<Vec<_>>>()? {
        all.x.extend(part.x);
        all.label.extend(part.label);
        all.weight.extend(part.weight);
    }
    all.balance_classes();
    Ok(all)
}

impl Positions {
    /// Multiplies the weights by the class weights, and makes them sum to one.
    fn balance_classes(&mut self) {
        let total: f64 = self.weight.iter().sum();
        let covered: f64 = self.weight.iter().zip(&self.label).map(|(w, m)| w * f64::from(*m)).sum();
        let alpha = 1.0 - covered / total.max(f64::MIN_POSITIVE);
        for (weight, label) in self.weight.iter_mut().zip(&self.label) {
            *weight *= class_weight(alpha, *label);
        }
        let total: f64 = self.weight.iter().sum();
        self.weight.iter_mut().for_each(|w| *w /= total.max(f64::MIN_POSITIVE));
    }

    /// Weighted logistic loss with soft labels plus ridge, and its gradient; the last parameter is the offset.
    fn loss(&self, parameters: &[f64], lambda: f64, gradient: &mut [f64]) -> f64 {
        let (v, b) = parameters.split_at(self.channels);
        let v32: Vec<f32> = v.iter().map(|v| *v as f32).collect();
        let mut sums = vec![0f32; self.channels];
        let (mut loss, mut bias) = (0.5 * lambda * lbfgs::dot(v, v), 0.0);
        for ((x, label), weight) in self.x.chunks_exact(self.channels).zip(&self.label).zip(&self.weight) {
            let score = f64::from(dot32(x, &v32)) + b[0];
            let label = f64::from(*label);
            loss += weight * (softplus(score) - label * score);
            let residual = weight * (sigmoid(score) - label);
            bias += residual;
            let residual = residual as f32;
            sums.iter_mut().zip(x).for_each(|(s, x)| *s += residual * x);
        }
        for ((g, s), v) in gradient.iter_mut().zip(&sums).zip(v) {
            *g = f64::from(*s) + lambda * v;
        }
        gradient[self.channels] = bias;
        loss
    }
}

fn class_weight(alpha: f64, label: f32) -> f64 {
    let label = f64::from(label);
    label * alpha + (1.0 - label) * (1.0 - alpha)
}

/// Inner product in sixteen partial sums, which the compiler can keep in vector registers.
fn dot32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..16 {
            lanes[i] += a[i] * b[i];
        }
    }
    let tail: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + tail
}

/// The probe shared by all positions.
struct Shared {
    v: Vec<f64>,
    bias: f64,
    lambda: f64,
    gradient_norm: f64,
}

fn fit_shared(task: &Task<'_>, train: &Positions, val: &Positions) -> Shared {
    let mut grid = task.options.lambda.clone();
    grid.sort_by(|a, b| b.total_cmp(a));
    let mut start = vec![0.0; train.channels + 1];
    let mut best: Option<(f64, Shared)> = None;
    let mut scratch = start.clone();
    for lambda in grid {
        let end = lbfgs::minimise(start, STEPS[0], 1e-6, |p, g| train.loss(p, lambda, g));
        let loss = val.loss(&end.x, 0.0, &mut scratch);
        if best.as_ref().is_none_or(|(least, _)| loss < *least) {
            let (v, b) = end.x.split_at(train.channels);
            best = Some((loss, Shared { v: v.to_vec(), bias: b[0], lambda, gradient_norm: end.gradient_norm }));
        }
        start = end.x;
    }
    best.map_or(Shared { v: vec![0.0; train.channels], bias: 0.0, lambda: f64::NAN, gradient_norm: f64::NAN }, |b| b.1)
}

/// Fits every position by itself, from the shared probe on, and returns weights `[channel, height, width]`.
fn fit_positions(task: &Task<'_>, images: &[Masked], scaling: &Scaling, shared: &Shared) -> Result<Vec<f64>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let covered: f64 = images.iter().flat_map(|i| &i.coverage).map(|m| f64::from(*m)).sum();
    let alpha = 1.0 - covered / (images.len() * positions) as f64;
    let block = (BLOCK_VALUES / (images.len() * channels).max(1)).clamp(1, positions);
    let mut weights = vec![0.0; channels * positions];
    for first in (0..positions).step_by(block) {
        let cells: Vec<usize> = (first..(first + block).min(positions)).collect();
        let data = gather_cells(task, images, scaling, &cells, alpha)?;
        let solved: Vec<Vec<f64>> = data.par_iter().map(|cell| fit_position(cell, shared)).collect();
        for (p, v) in cells.iter().zip(solved) {
            // The image's score is the mean over positions.
            let share = 1.0 / (scaling.scale * positions as f64);
            v.iter().enumerate().for_each(|(c, v)| weights[c * positions + p] = v * share);
        }
    }
    Ok(weights)
}

/// The images' activations at each of `cells`, as one set of positions a cell.
fn gather_cells(
    task: &Task<'_>,
    images: &[Masked],
    scaling: &Scaling,
    cells: &[usize],
    alpha: f64,
) -> Result<Vec<Positions>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let mut data: Vec<Positions> = cells.iter().map(|_| Positions { channels, ..Positions::default() }).collect();
    for image in images {
        let map = task.set.map(image.sample)?;
        data.par_iter_mut().zip(cells).for_each(|(cell, p)| {
            cell.x.extend((0..channels).map(|c| scaling.apply(map[c * positions + p], c)));
            cell.label.push(image.coverage[*p]);
            cell.weight.push(class_weight(alpha, image.coverage[*p]));
        });
    }
    for cell in &mut data {
        let total: f64 = cell.weight.iter().sum();
        cell.weight.iter_mut().for_each(|w| *w /= total.max(f64::MIN_POSITIVE));
    }
    Ok(data)
}

fn fit_position(cell: &Positions, shared: &Shared) -> Vec<f64> {
    let mut scratch = vec![0.0; cell.channels + 1];
    let mut parameters = [shared.v.as_slice(), &[shared.bias]].concat();
    lbfgs::minimise(shared.v.clone(), STEPS[1], 1e-5, |v, gradient| {
        parameters[..cell.channels].copy_from_slice(v);
        let loss = cell.loss(&parameters, shared.lambda, &mut scratch);
        gradient.copy_from_slice(&scratch[..cell.channels]);
        loss
    })
    .x
}
