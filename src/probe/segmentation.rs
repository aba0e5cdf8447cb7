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
use super::task::{Labelled, Offset, Outcome, Solution, Task, Unsolved, Weights, refused};
use super::weighted::Weighted;
use crate::error::Result;
use crate::probe::Variant;

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

    fn needs_masks(&self) -> bool {
        true
    }

    fn fit(&self, task: &Task<'_>, _: &Earlier) -> Outcome {
        fit(task, |_| ())
    }
}

/// Fits positions to labels that `label` makes of the coverage of an image's cells; a label of NaN leaves a position out.
pub(super) fn fit(task: &Task<'_>, label: impl Fn(&mut [f32])) -> Outcome {
    linear_form(task)?;
    let labelled = |rows: &Labelled| -> Result<Vec<Masked>> {
        let mut images = masked_images(task, rows)?;
        images.iter_mut().for_each(|image| label(&mut image.coverage));
        Ok(images)
    };
    let images = labelled(task.fit)?;
    some_mask(&images)?;
    fit_images(task, &images, &labelled(task.val)?, "segmentation")
}

/// Fits positions to the labels of images, drawn from the streams of a kind.
pub(super) fn fit_images(task: &Task<'_>, images: &[Masked], val: &[Masked], kind: &str) -> Outcome {
    let scaling = Scaling::of(task, images)?;
    let train = gather(task, images, &scaling, &format!("{kind}/fit"))?;
    let val = gather(task, val, &scaling, &format!("{kind}/val"))?;
    let shared = choose(&task.options.lambda, &train, &val);
    let weights = match task.space.variant {
        Variant::Full => fit_positions(task, images, &scaling, &shared)?,
        _ => shared.v.iter().map(|v| v / scaling.scale).collect(),
    };
    Ok(solution(task, weights, &shared))
}

/// A solution with weights on the activations that were fitted to positions; its offset is fitted on the validation split.
pub(super) fn solution(task: &Task<'_>, weights: Vec<f64>, shared: &Shared) -> Solution {
    let counts = (task.fit.positive.len(), task.fit.negative.len());
    let mut solution = Solution::new(Vec::new(), Offset::Calibrated, counts);
    solution.weights = Weights::Activations(weights);
    (solution.lambda, solution.gradient_norm) = (shared.lambda, shared.gradient_norm);
    solution.image_score = task.options.image_score;
    solution
}

/// Refuses a variant in which the image's score is no mean of its positions'.
pub(super) fn linear_form(task: &Task<'_>) -> std::result::Result<(), Unsolved> {
    let variant = task.space.variant;
    if variant.is_linear() {
        return Ok(());
    }
    refused(format!("the image's score is no mean of its positions' in the variant `{variant}`"))
}

/// The fit split's masks, for kinds with one weight a channel that want some.
pub(super) fn masks_for_channels(task: &Task<'_>) -> std::result::Result<Vec<Masked>, Unsolved> {
    one_weight_a_channel(task)?;
    let images = masked_images(task, task.fit)?;
    some_mask(&images)?;
    Ok(images)
}

/// Refuses every variant but `ti`, for kinds that have one weight a channel: in `full` they would be the same probe.
pub(super) fn one_weight_a_channel(task: &Task<'_>) -> std::result::Result<(), Unsolved> {
    linear_form(task)?;
    match task.space.variant {
        Variant::Full => refused("it has one weight a channel: ask for it in the variant `ti`"),
        _ => Ok(()),
    }
}

/// Refuses images none of which has a cell with a label above zero.
pub(super) fn some_mask(images: &[Masked]) -> std::result::Result<(), Unsolved> {
    if images.iter().any(|i| i.coverage.iter().any(|m| *m > 0.0)) {
        return Ok(());
    }
    refused("no sample of the fit split has a mask of the concept, or none as large as the kind wants")
}

/// An image with its mask's coverage of the layer's grid.
pub(super) struct Masked {
    pub(super) sample: usize,
    pub(super) row: usize,
    pub(super) coverage: Vec<f32>,
}

/// The rows that have a mask, or need none because the concept is absent.
pub(super) fn masked_images(task: &Task<'_>, rows: &Labelled) -> Result<Vec<Masked>> {
    let mut rows: Vec<usize> = rows.positive.iter().chain(&rows.negative).copied().collect();
    rows.sort_unstable();
    let masked = rows.into_par_iter().map(|row| {
        let coverage = (task.coverage)(row, (task.set.shape[1], task.set.shape[2]))?;
        Ok(coverage.map(|coverage| Masked { sample: task.space.samples[row], row, coverage }))
    });
    Ok(masked.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Mean and scale of single positions' activations, so that regularisation means the same at every layer.
pub(super) struct Scaling {
    mean: Vec<f32>,
    pub(super) scale: f64,
}

impl Scaling {
    /// From the positions of up to 200 images.
    pub(super) fn of(task: &Task<'_>, images: &[Masked]) -> Result<Self> {
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

    /// A channel's value, less the mean, in units of the scale.
    pub(super) fn apply(&self, value: f32, channel: usize) -> f32 {
        (value - self.mean[channel]) / self.scale as f32
    }
}

/// Draws positions from every image, inside and outside its mask alike; weights undo the unequal shares.
pub(super) fn gather(task: &Task<'_>, images: &[Masked], scaling: &Scaling, stream: &str) -> Result<Weighted<f32>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let row = |map: &[f32], p: usize, x: &mut Vec<f32>| {
        x.extend((0..channels).map(|c| scaling.apply(map[c * positions + p], c)));
    };
    Ok(draw(task, images, stream, |image| Ok(image.coverage.clone()), row)?.0)
}

/// Draws cells of every image by their labels, those above zero and the others alike, and names the cell of each sample. A
/// label of NaN leaves a cell out; `row` appends a cell's columns, one a channel, from its image's map.
pub(super) fn draw(
    task: &Task<'_>,
    images: &[Masked],
    stream: &str,
    labels: impl Fn(&Masked) -> Result<Vec<f32>> + Sync,
    row: impl Fn(&[f32], usize, &mut Vec<f32>) + Sync,
) -> Result<(Weighted<f32>, Vec<usize>)> {
    let quota = (task.options.positions / images.len().max(1)).max(2);
    let empty = || (Weighted { columns: task.set.shape[0], ..Weighted::default() }, Vec::new());
    let parts = images.par_iter().map(|image| {
        let mut rng = task.stream(&format!("{stream}/{}", image.row));
        let (map, labels) = (task.set.map(image.sample)?, labels(image)?);
        let (mut part, mut drawn) = empty();
        let known = (0..labels.len()).filter(|p| !labels[*p].is_nan());
        let (inside, outside): (Vec<usize>, Vec<usize>) = known.partition(|p| labels[*p] > 0.0);
        let take_inside = inside.len().min(quota / 2);
        let take_outside = outside.len().min(quota - take_inside);
        for (mut cells, take) in [(inside, take_inside), (outside, take_outside)] {
            cells.shuffle(&mut rng);
            let weight = cells.len() as f64 / take.max(1) as f64;
            cells.truncate(take);
            cells.sort_unstable();
            for p in cells {
                row(&map, p, &mut part.x);
                part.label.push(labels[p]);
                part.weight.push(weight);
                drawn.push(p);
            }
        }
        Ok((part, drawn))
    });
    let (mut all, mut cells) = empty();
    for (part, drawn) in parts.collect::<Result<Vec<_>>>()? {
        all.x.extend(part.x);
        all.label.extend(part.label);
        all.weight.extend(part.weight);
        cells.extend(drawn);
    }
    balance_classes(&mut all);
    Ok((all, cells))
}

/// Multiplies the weights by the class weights, and makes them sum to one.
pub(super) fn balance_classes(samples: &mut Weighted<f32>) {
    let total: f64 = samples.weight.iter().sum();
    let covered: f64 = samples.weight.iter().zip(&samples.label).map(|(w, m)| w * f64::from(*m)).sum();
    let alpha = 1.0 - covered / total.max(f64::MIN_POSITIVE);
    for (weight, label) in samples.weight.iter_mut().zip(&samples.label) {
        *weight *= class_weight(alpha, *label);
    }
    samples.normalise();
}

fn class_weight(alpha: f64, label: f32) -> f64 {
    let label = f64::from(label);
    label * alpha + (1.0 - label) * (1.0 - alpha)
}

/// The probe shared by all samples.
pub(super) struct Shared {
    pub(super) v: Vec<f64>,
    pub(super) bias: f64,
    pub(super) lambda: f64,
    pub(super) gradient_norm: f64,
}

/// Fits every lambda, the strongest first as a start for the next, and keeps the one with the least validation loss.
pub(super) fn choose<T: Copy + Into<f64>>(lambdas: &[f64], train: &Weighted<T>, val: &Weighted<T>) -> Shared {
    let mut grid = lambdas.to_vec();
    grid.sort_by(|a, b| b.total_cmp(a));
    let mut scratch = vec![0.0; train.columns];
    let mut best: Option<(f64, Shared)> = None;
    for (lambda, end) in grid.iter().zip(train.path(&grid)) {
        let (v, bias) = end.x.split_at(train.columns);
        let (loss, _) = val.loss(v, bias[0], 0.0, &mut scratch);
        if best.as_ref().is_none_or(|(least, _)| loss < *least) {
            let gradient_norm = end.gradient_norm;
            best = Some((loss, Shared { v: v.to_vec(), bias: bias[0], lambda: *lambda, gradient_norm }));
        }
    }
    best.map_or(Shared { v: vec![0.0; train.columns], bias: 0.0, lambda: f64::NAN, gradient_norm: f64::NAN }, |b| b.1)
}

/// Fits every position by itself, from the shared probe on, and returns weights `[channel, height, width]`.
fn fit_positions(task: &Task<'_>, images: &[Masked], scaling: &Scaling, shared: &Shared) -> Result<Vec<f64>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let known = || images.iter().flat_map(|i| &i.coverage).filter(|m| !m.is_nan());
    let alpha = 1.0 - known().map(|m| f64::from(*m)).sum::<f64>() / known().count().max(1) as f64;
    let block = (BLOCK_VALUES / (images.len() * channels).max(1)).clamp(1, positions);
    let mut weights = vec![0.0; channels * positions];
    for first in (0..positions).step_by(block) {
        let cells: Vec<usize> = (first..(first + block).min(positions)).collect();
        let data = gather_cells(task, images, scaling, &cells, alpha)?;
        let solved: Vec<Vec<f64>> =
            data.par_iter().map(|cell| cell.fit_without_offset(&shared.v, shared.bias, shared.lambda).x).collect();
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
) -> Result<Vec<Weighted<f32>>> {
    let (channels, positions) = (task.set.shape[0], task.set.positions());
    let mut data: Vec<Weighted<f32>> =
        cells.iter().map(|_| Weighted { columns: channels, ..Weighted::default() }).collect();
    for image in images {
        let map = task.set.map(image.sample)?;
        data.par_iter_mut().zip(cells).filter(|(_, p)| !image.coverage[**p].is_nan()).for_each(|(cell, p)| {
            cell.x.extend((0..channels).map(|c| scaling.apply(map[c * positions + p], c)));
            cell.label.push(image.coverage[*p]);
            cell.weight.push(class_weight(alpha, image.coverage[*p]));
        });
    }
    data.iter_mut().for_each(Weighted::normalise);
    Ok(data)
}
