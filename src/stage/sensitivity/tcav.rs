//! TCAV: does a class's logit rise with a concept? Every probe's direction against the gradients of the class, beside
//! random-set directions and further draws of the concept's own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ndarray::{Array2, ArrayView1, Axis, s};
use rayon::prelude::*;

use super::gradients::{self, Examples};
use super::{Found, make, table, table_key, units};
use crate::activation::LayerSet;
use crate::error::Result;
use crate::metric::bootstrap::{percentile_interval, weighted_mean};
use crate::metric::direction::mean_and_error;
use crate::metric::tcav::{TcavOptions, layer_agreement, smooth, tcav};
use crate::metric::welch::welch;
use crate::metric::{Bootstrap, Estimate};
use crate::probe::lbfgs::{dot, norm};
use crate::probe::{Cav, Labelled, Space, Task, Variant, logistic, null, random_set, scores};
use crate::report::MetricRow;
use crate::stage::fit::{self, Rows as FitRows};
use crate::stage::fitted::{Fitted, Refused};
use crate::stage::score::Rows;
use crate::stage::{Context, Progress, items};
use crate::store::digest::Digest;

const KIND: &str = "tcav";
const NULL_KIND: &str = "random sets";
/// Gradients whose spread is below this share of their size are the same up to rounding.
const CONSTANT: f64 = 1e-5;
/// Columns of gradients handled at once.
const BLOCK: usize = 4096;

pub(super) fn run(context: &Context, options: &TcavOptions) -> Result<()> {
    let units = units(context);
    let mut progress = Progress::start("tcav", "sets of class sensitivities", units.len())?;
    let lacking = progress.lacking(&context.store, KIND, units, |(l, v)| key(context, options, *l, *v))?;
    let (mut examples, mut rows) = (None, None);
    for ((layer, variant), key) in lacking {
        gradients::run(context, options, layer, &mut examples)?;
        make(context, KIND, &key, layer, || {
            let rows = match &mut rows {
                Some(rows) => rows,
                None => rows.insert(FitRows::of(context)?),
            };
            measure(context, options, rows, layer, variant)
        })?;
        progress.advance(1)?;
    }
    progress.finish();
    Ok(())
}

fn key(context: &Context, options: &TcavOptions, layer: usize, variant: Variant) -> Result<Digest> {
    Ok(table_key(context, "tcav v2", layer)?
        .field("probe", fit::key(context, layer, variant)?.as_str())
        .field("gradient", gradients::key(context, options, layer)?.as_str())
        .json("random sets", &options.random_sets)?
        .json("relative", &options.relative)?
        .finish())
}

pub(super) fn get(context: &Context, options: &TcavOptions, layer: usize, variant: Variant) -> Result<Found> {
    table(context, KIND, &key(context, options, layer, variant)?)
}

/// Sensitivities of one concept's further directions: `[example, draw]`.
struct Draws {
    /// Of the concept's classifier from other draws.
    concept: Array2<f64>,
    /// Of classifiers between random sets.
    random: Array2<f64>,
    /// Of the classifier between the concept and the study's other ones, where it is asked for.
    relative: Option<Array2<f64>>,
}

fn measure(context: &Context, options: &TcavOptions, rows: &FitRows, layer: usize, variant: Variant) -> Result<Found> {
    let (examples, set) = gradients::open(context, options, layer)?;
    let (_, fitted) = fit::get(context, layer, variant)?;
    let mut found = Found::default();
    if set.is_empty() {
        examples.iter().for_each(|class| found.refused.extend(too_few(class)));
        return Ok(found);
    }
    let draws = draws(context, options, rows, &fitted, &set, (layer, variant))?;
    for (concept, drawn) in context.concepts().iter().zip(&draws) {
        let mut refuse = |probe: &str, reason: String| {
            found.refused.push(Refused { concept: concept.clone(), probe: probe.to_owned(), reason });
        };
        match drawn {
            Err(reason) => refuse("TCAV null", reason.clone()),
            Ok(drawn) if options.relative && drawn.relative.is_none() => {
                let reason = "too few samples have another of the study's concepts and lack this one";
                refuse("relative TCAV", reason.to_owned());
            }
            Ok(_) => {}
        }
    }
    for cav in fitted.cavs.iter().filter(|cav| cav.has_map() && !cav.is_linear()) {
        let reason = "its score is no mean over positions, so that its direction is no gradient (probe.image_score)";
        let (concept, probe) = (cav.concept.clone(), format!("TCAV of {}", cav.probe));
        found.refused.push(Refused { concept, probe, reason: reason.to_owned() });
    }
    let cavs: Vec<&Cav> = fitted.cavs.iter().filter(|cav| cav.is_linear()).collect();
    let all: Vec<usize> = (0..set.len()).collect();
    let mut own = scores(&set, &all, &set, &cavs)?;
    own.axis_iter_mut(Axis(1)).zip(&cavs).for_each(|(mut column, cav)| column -= cav.bias);
    let mut start = 0;
    for class in &examples {
        let range = start..start + class.samples.len();
        start = range.end;
        let refused = match too_few(class) {
            Some(refused) => Some(refused),
            None => constant(&set, &range, variant)?.map(|reason| refused(class, reason)),
        };
        if refused.is_some() {
            found.refused.extend(refused);
            continue;
        }
        let measured = Class::new(context, class, range);
        for (k, cav) in cavs.iter().enumerate() {
            let number = context.concepts().iter().position(|c| *c == cav.concept);
            let drawn = number.and_then(|n| draws[n].as_ref().ok());
            let own = own.column(k).to_vec();
            measured.rows(&own, drawn, &mut Rows { context, cav, out: &mut found.metrics });
        }
    }
    Ok(found)
}

fn refused(class: &Examples, reason: String) -> Refused {
    Refused { concept: format!("class {}", class.name), probe: "TCAV".to_owned(), reason }
}

fn too_few(class: &Examples) -> Option<Refused> {
    let (count, wanted) = (class.samples.len(), TcavOptions::FEWEST);
    let reason = format!("{count} test pictures stand for the class, at least {wanted} wanted");
    (count < wanted).then(|| refused(class, reason))
}

/// Why the gradients of some examples say nothing: they are zero, or the same for all of them.
fn constant(set: &LayerSet, range: &Range<usize>, variant: Variant) -> Result<Option<String>> {
    let rows: Vec<usize> = range.clone().collect();
    let (mut spread, mut size) = (0.0, 0.0);
    let mut add = |block: &Array2<f32>| {
        for column in block.columns() {
            let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / column.len() as f64;
            spread += column.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
            size += column.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        }
    };
    let width = variant.width(set.shape);
    for first in (0..width).step_by(BLOCK) {
        add(&set.vectors(&rows, variant, first..(first + BLOCK).min(width))?);
    }
    Ok(if size == 0.0 {
        Some("its gradient at this layer is zero for every picture".to_owned())
    } else if spread.sqrt() < CONSTANT * size.sqrt() {
        Some(
            "its gradient at this layer is the same for every picture, as where only a mean and a linear layer follow: TCAV \
             could only be 0 or 1; take an earlier layer"
                .to_owned(),
        )
    } else {
        None
    })
}

/// Further directions of every concept, in coordinates of the samples' span, or why there are none.
fn draws(
    context: &Context,
    options: &TcavOptions,
    rows: &FitRows,
    fitted: &Fitted,
    gradients: &LayerSet,
    (layer, variant): (usize, Variant),
) -> Result<Vec<std::result::Result<Draws, String>>> {
    let set = context.extraction().open(&context.store, &items::plain(context), layer)?;
    let space = Space::new(&set, variant, &rows.samples, rows.fitted)?.prepared_for(&context.study.probe.lambda);
    let gradients = space.gradients(&set, gradients)?;
    let without_masks = |_: usize, _: (usize, usize)| Ok(None);
    let of = |concept: usize| {
        let name = &context.concepts()[concept];
        let Some(classifier) = fitted.cavs.iter().find(|c| c.probe == "classifier" && c.concept == *name) else {
            return Ok(Err("there is no `classifier` to draw again".to_owned()));
        };
        let labels = rows.labels(context, concept);
        let task = rows.task(context, (&set, &space), concept, &labels, &without_masks);
        let (lambda, count) = (classifier.fit.lambda, classifier.fit.positives);
        let mut drawn = [Vec::new(), Vec::new()];
        for draw in 0..options.random_sets {
            let again = null::reference(&task, lambda, draw)?;
            let sets = match random_set::sets(&task, count, &format!("tcav/random set {draw}")) {
                Ok(sets) => sets,
                Err(reason) => return Ok(Err(reason)),
            };
            let random = logistic::fit(&space, &sets, lambda)?;
            drawn[0].push(again.coordinates().map(<[f64]>::to_vec).unwrap_or_default());
            drawn[1].push(random.weights);
        }
        let [of_concept, random] = drawn.map(|weights| sensitivities(&gradients, &weights, space.scale));
        let relative = match relative_sets(context, options, rows, &task, concept) {
            Some(sets) => {
                let weights = logistic::fit(&space, &sets, lambda)?.weights;
                Some(sensitivities(&gradients, &[weights], space.scale))
            }
            None => None,
        };
        Ok(Ok(Draws { concept: of_concept, random, relative }))
    };
    (0..context.concepts().len()).into_par_iter().map(of).collect()
}

/// The concept's samples against those that have another of the study's concepts and lack it, as many of both; `None` where
/// they are not asked for, or too few.
fn relative_sets(
    context: &Context,
    options: &TcavOptions,
    rows: &FitRows,
    task: &Task<'_>,
    concept: usize,
) -> Option<Labelled> {
    let others = (0..context.concepts().len()).filter(|other| *other != concept);
    let of_others: BTreeSet<usize> = others.flat_map(|other| rows.labels(context, other)[0].positive.clone()).collect();
    let negative: Vec<usize> = task.fit.negative.iter().copied().filter(|row| of_others.contains(row)).collect();
    let enough = options.relative && negative.len() >= task.options.min_samples;
    let sets = Labelled { positive: task.fit.positive.clone(), negative };
    enough.then(|| task.balanced(&sets, "tcav/relative"))
}

/// Sensitivities `[example, direction]` to the unit directions of weights in coordinates.
fn sensitivities(gradients: &Array2<f64>, weights: &[Vec<f64>], scale: f64) -> Array2<f64> {
    Array2::from_shape_fn((gradients.nrows(), weights.len()), |(example, draw)| {
        let row = gradients.row(example);
        let along = row.as_slice().map_or(f64::NAN, |row| dot(row, &weights[draw]));
        // Coordinates keep inner products but for the scale.
        along * scale / norm(&weights[draw])
    })
}

/// A class and the resamples of its examples.
struct Class<'a> {
    name: &'a str,
    range: Range<usize>,
    bootstrap: Bootstrap,
}

impl<'a> Class<'a> {
    fn new(context: &Context, examples: &'a Examples, range: Range<usize>) -> Self {
        let blocks: Vec<usize> = examples.samples.iter().map(|s| context.split.block[*s]).collect();
        let mut rng = context.seed.stream(&format!("tcav/bootstrap/{}", examples.name));
        let bootstrap = Bootstrap::new(&blocks, context.study.score.bootstrap, &mut rng);
        Self { name: &examples.name, range, bootstrap }
    }

    /// TCAV and magnitude of one direction; for the classifier also those of its draws, and the test against random sets.
    fn rows(&self, own: &[f64], draws: Option<&Draws>, rows: &mut Rows<'_>) {
        let own = &own[self.range.clone()];
        let n = own.len();
        let ones = vec![1.0; n];
        let lists = |of: fn(&[f64], &[f64]) -> f64, drawn: &Array2<f64>| -> Vec<f64> {
            drawn.columns().into_iter().map(|c| of(&c.to_vec()[self.range.clone()], &ones)).collect()
        };
        let mean = |values: &[f64]| mean_and_error(values).0;
        let random = draws.map(|d| (lists(tcav, &d.random), lists(weighted_mean, &d.random)));
        let nulls = random.as_ref().map(|(shares, sizes)| (mean(shares), mean(sizes)));
        let ((null, null_magnitude), kind) = nulls.map_or(((f64::NAN, f64::NAN), ""), |n| (n, NULL_KIND));
        let boot = &self.bootstrap;
        rows.push("tcav", self.name, boot.estimate(|w| tcav(own, w), null, kind, n));
        rows.push("tcav_magnitude", self.name, boot.estimate(|w| weighted_mean(own, w), null_magnitude, kind, n));
        if let Some(draws) = draws {
            self.smooth_rows(own, draws, rows);
        }
        let (Some(draws), Some((random, _)), "classifier") = (draws, random, rows.cav.probe.as_str()) else { return };
        let concept = lists(tcav, &draws.concept);
        let (value, n) = (mean(&concept), concept.len());
        let (ci_low, ci_high) = percentile_interval(concept.clone());
        rows.push("tcav_draws", self.name, Estimate { value, ci_low, ci_high, null, null_kind: kind.to_owned(), n });
        if let Some(relative) = &draws.relative {
            let relative = relative.column(0).to_vec()[self.range.clone()].to_vec();
            let count = relative.len();
            rows.push("tcav_relative", self.name, self.bootstrap.estimate(|w| tcav(&relative, w), null, kind, count));
        }
        let none = (f64::NAN, f64::NAN);
        let (value, (ci_low, ci_high)) = (welch(&concept, &random).p, none);
        let (null, null_kind) = (f64::NAN, String::new());
        rows.push("tcav_p", self.name, Estimate { value, ci_low, ci_high, null, null_kind, n: 2 * n });
    }

    /// TCAV without its step at zero, on the scale of the random sets' sensitivities.
    fn smooth_rows(&self, own: &[f64], draws: &Draws, rows: &mut Rows<'_>) {
        let random = draws.random.slice(s![self.range.clone(), ..]);
        let scale = (random.iter().map(|s| s * s).sum::<f64>() / random.len().max(1) as f64).sqrt();
        let ones = vec![1.0; own.len()];
        let of_set = |set: ArrayView1<'_, f64>| smooth(&set.to_vec(), scale, &ones);
        let null = mean_and_error(&random.columns().into_iter().map(of_set).collect::<Vec<_>>()).0;
        let estimate = self.bootstrap.estimate(|w| smooth(own, scale, w), null, NULL_KIND, own.len());
        rows.push("tcav_smooth", self.name, estimate);
    }
}

/// Whether layers agree on the side of the null, for every concept, probe and class: a row of the last layer measured.
pub(super) fn agreement(rows: &[MetricRow]) -> Vec<MetricRow> {
    let measured = || rows.iter().filter(|r| r.metric == "tcav" && r.estimate.null.is_finite());
    let series = |r: &MetricRow| (r.concept.clone(), r.probe.clone(), r.variant.clone(), r.parameter.clone());
    let mut pairs: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for row in measured() {
        pairs.entry(series(row)).or_default().push((row.estimate.value, row.estimate.null));
    }
    let mut seen = BTreeSet::new();
    let last = measured().rev().filter(|row| seen.insert(series(row)));
    let made = last.filter_map(|row| {
        let pairs = &pairs[&series(row)];
        let value = layer_agreement(pairs);
        let (ci_low, ci_high, null, null_kind) = (f64::NAN, f64::NAN, f64::NAN, String::new());
        let estimate = Estimate { value, ci_low, ci_high, null, null_kind, n: pairs.len() };
        let metric = "tcav_layer_agreement".to_owned();
        (!value.is_nan()).then(|| MetricRow { metric, estimate, higher_is_better: true, ..row.clone() })
    });
    made.collect()
}
