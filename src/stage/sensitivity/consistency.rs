//! Do the directions of two layers say the same? A step along the first, gone through the network, against one along the
//! second.

use rand::seq::SliceRandom;

use super::{Found, layer_before, make, network, table, table_key, units};
use crate::activation::{Held, Item};
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::localise::weights;
use crate::metric::Bootstrap;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::consistency::{ConsistencyOptions, best_step, inconsistency};
use crate::probe::{Cav, Variant};
use crate::stage::fitted::Refused;
use crate::stage::score::Rows;
use crate::stage::{Context, Progress, fit};
use crate::store::digest::Digest;

const KIND: &str = "consistency";

/// Two layers of the study, one after the other, in a variant that both have.
pub(super) struct Pair {
    pub(super) first: usize,
    second: usize,
    pub(super) variant: Variant,
}

/// All pairs, by their place in the network.
pub(super) fn pairs(context: &Context) -> Vec<Pair> {
    let units = units(context);
    let pair = |(second, variant): &(usize, Variant)| {
        let first = layer_before(context, *second)?;
        units.contains(&(first, *variant)).then_some(Pair { first, second: *second, variant: *variant })
    };
    units.iter().filter_map(pair).collect()
}

pub(super) fn run(context: &Context, options: &ConsistencyOptions) -> Result<()> {
    let pairs = pairs(context);
    let mut progress = Progress::start("consistency", "pairs of layers", pairs.len())?;
    let lacking = progress.lacking(&context.store, KIND, pairs, |pair| key(context, options, pair))?;
    for (pair, key) in lacking {
        make(context, KIND, &key, pair.first, || measure(context, options, &pair))?;
        progress.advance(1)?;
    }
    progress.finish();
    Ok(())
}

fn key(context: &Context, options: &ConsistencyOptions, pair: &Pair) -> Result<Digest> {
    Ok(table_key(context, "consistency v2", pair.first)?
        .json("second", &context.layers[pair.second].node)?
        .field("probe", fit::key(context, pair.first, pair.variant)?.as_str())
        .field("second probe", fit::key(context, pair.second, pair.variant)?.as_str())
        .json("options", options)?
        .finish())
}

pub(super) fn get(context: &Context, options: &ConsistencyOptions, pair: &Pair) -> Result<Found> {
    table(context, KIND, &key(context, options, pair)?)
}

fn measure(context: &Context, options: &ConsistencyOptions, pair: &Pair) -> Result<Found> {
    let Pair { first, second, variant } = *pair;
    let network = network(context)?;
    let mut samples = context.part(Part::Test);
    samples.shuffle(&mut context.seed.stream("consistency/pictures"));
    samples.truncate(options.pictures);
    samples.sort_unstable();
    let items: Vec<Item> = samples.iter().copied().map(Item::plain).collect();
    let inputs = context.extraction().inputs(network.graph(), &items)?;
    let mut found = Found::default();
    let between = match Between::new(context, network.hold(&inputs, context.layers[first].node)?, second, options.gamma)
    {
        Err(Error::Data { problem, .. }) => {
            let reason = format!("{}: {problem}", context.layers[second].name);
            let (concept, probe) = ("all".to_owned(), "layer consistency".to_owned());
            found.refused.push(Refused { concept, probe, reason });
            return Ok(found);
        }
        between => between?,
    };
    let blocks: Vec<usize> = samples.iter().map(|s| context.split.block[*s]).collect();
    let mut rng = context.seed.stream("consistency/bootstrap");
    let bootstrap = Bootstrap::new(&blocks, context.study.score.bootstrap, &mut rng);
    let [(_, firsts), (_, seconds)] = [fit::get(context, first, variant)?, fit::get(context, second, variant)?];
    let later = |concept: &str, probe: &str| seconds.cavs.iter().find(|c| c.concept == concept && c.probe == probe);
    for cav in firsts.cavs.iter().filter(|cav| cav.has_map()) {
        let Some(own) = later(&cav.concept, &cav.probe) else { continue };
        let compared = between.compare(cav, own, later(&cav.concept, "random"))?;
        let [own, random, projected, optimised] =
            compared.map(|values| (weighted_mean(&values, &vec![1.0; values.len()]), values));
        let name = &context.layers[second].name;
        let mut rows = Rows { context, cav, out: &mut found.metrics };
        let mut push = |parameter: &str, values: &[f64]| {
            let estimate = bootstrap.estimate(|w| weighted_mean(values, w), random.0, "random direction", values.len());
            rows.push("layer_inconsistency", parameter, estimate);
        };
        push(name, &own.1);
        push(&format!("{name} projected"), &projected.1);
        push(&format!("{name} optimised"), &optimised.1);
    }
    Ok(found)
}

/// What lies between two layers, for some pictures.
struct Between<'a> {
    held: Held<'a>,
    node: usize,
    /// Activations of the second layer as they are.
    before: Vec<f32>,
    /// Lengths of steps at both layers.
    lengths: [f64; 2],
}

impl<'a> Between<'a> {
    fn new(context: &Context, held: Held<'a>, second: usize, gamma: f64) -> Result<Self> {
        let node = context.layers[second].node;
        let maps = held.maps()?;
        let width = maps.len() / held.len().max(1);
        // The way of every moved activation, with no step.
        let before = held.moved(&vec![0.0; width], node)?;
        let later = before.len() / held.len().max(1);
        let lengths = [(&maps, width), (&before, later)].map(|(maps, width)| {
            let norms = maps.chunks_exact(width.max(1)).map(norm);
            gamma * norms.sum::<f64>() / held.len().max(1) as f64
        });
        Ok(Self { held, node, before, lengths })
    }

    /// For every picture, how far a step along `first` is at the second layer from one along `second`, along the random
    /// direction there, and along the mean of what such steps become, all three at one length; and how far it is, in that
    /// length, from the step of any length that is nearest to all.
    fn compare(&self, first: &Cav, second: &Cav, random: Option<&Cav>) -> Result<[Vec<f64>; 4]> {
        let moved = self.held.moved(&scaled(&weights(first), self.lengths[0]), self.node)?;
        let width = self.before.len() / self.held.len().max(1);
        let steps: Vec<f32> = moved.iter().zip(&self.before).map(|(moved, before)| moved - before).collect();
        let mut mean = vec![0f32; width];
        for step in steps.chunks_exact(width) {
            mean.iter_mut().zip(step).for_each(|(m, step)| *m += step);
        }
        let to = |step: &[f32]| -> Vec<f64> {
            let pairs = moved.chunks_exact(width).zip(self.before.chunks_exact(width));
            pairs.map(|(moved, before)| inconsistency(moved, before, step)).collect()
        };
        let off = |direction: &[f32]| to(&scaled(direction, self.lengths[1]));
        let best = best_step(&steps, width);
        let in_lengths = norm(&best) / self.lengths[1];
        let optimised = to(&best).into_iter().map(|off| off * in_lengths).collect();
        let random = random.map_or_else(|| vec![f64::NAN; self.held.len()], |cav| off(&weights(cav)));
        Ok([off(&weights(second)), random, off(&mean), optimised])
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// A direction at a length.
fn scaled(direction: &[f32], length: f64) -> Vec<f32> {
    let factor = length / norm(direction).max(f64::MIN_POSITIVE);
    direction.iter().map(|v| (f64::from(*v) * factor) as f32).collect()
}
