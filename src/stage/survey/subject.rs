//! One network of a survey, with the units that are drawn of it.

use candle_core::Device;
use rand::seq::index;

use super::data::Pictures;
use crate::error::{Error, Result, near_hint};
use crate::maximise::view::View;
use crate::maximise::{Objective, unit};
use crate::model::{Graph, zoo};
use crate::seed::Seed;
use crate::stage::context;
use crate::study::{Resize, SurveyNetwork};

/// A network that is looked at.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) spec: &'a SurveyNetwork,
    pub(super) graph: Graph,
    pub(super) units: Vec<Unit>,
}

/// A unit: the mean of a channel over positions, or a value of a vector.
pub(super) struct Unit {
    pub(super) layer: String,
    /// Place of its layer among those that are looked at: 0 the first, 1 the last.
    pub(super) depth: f64,
    /// As in `cavern maximise`.
    pub(super) text: String,
    pub(super) objective: Objective,
}

impl<'a> Subject<'a> {
    /// Builds the network and draws `count` units of each of its layers.
    ///
    /// # Errors
    /// When the network or a layer cannot be had.
    pub(super) fn open(
        (name, spec): (&'a str, &'a SurveyNetwork),
        pictures: &Pictures,
        device: &Device,
        count: usize,
        seed: Seed,
    ) -> Result<Self> {
        let graph = if spec.untrained { untrained(spec, pictures, seed)? } else { trained(name, spec, device)? };
        let mut nodes: Vec<usize> = Vec::new();
        for pattern in &spec.model.layers {
            nodes.extend(graph.select(pattern).map_err(|e| of_network(name, e))?);
        }
        nodes.sort_unstable();
        nodes.dedup();
        let mut units = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            let layer = graph.layer_name(*node).to_owned();
            let channels = View::of(graph.layout(*node)).channels;
            let mut rng = seed.stream(&format!("survey units {layer} {channels}"));
            let mut drawn = index::sample(&mut rng, channels, count.min(channels)).into_vec();
            drawn.sort_unstable();
            for channel in drawn {
                let text = format!("{layer}:{channel}");
                let objective = unit::parse(&graph, &text)?;
                let depth = place as f64 / (nodes.len() - 1).max(1) as f64;
                units.push(Unit { layer: layer.clone(), depth, text, objective });
            }
        }
        Ok(Self { name, spec, graph, units })
    }

    /// What a look at a picture costs, in millions of multiply-adds, at least one: networks differ a thousandfold.
    pub(super) fn look(&self) -> usize {
        self.look_to(self.graph.logits())
    }

    /// What a step of an ascent costs: as far as the objective looks, and back to the picture.
    pub(super) fn step(&self, objective: &Objective) -> usize {
        2 * self.look_to(objective.nodes().into_iter().max().unwrap_or(0))
    }

    fn look_to(&self, node: usize) -> usize {
        self.graph.multiply_adds_to(node).div_ceil(1_000_000).max(1)
    }
}

/// A name that is missing, with the network that lacks it: a survey has several.
fn of_network(network: &str, error: Error) -> Error {
    match error {
        Error::Name { kind, name, near } => {
            let key = format!("network.{network}.model.layers");
            Error::key(key, format!("no {kind} is called `{name}`"), near_hint(&near))
        }
        other => other,
    }
}

fn trained(name: &str, spec: &SurveyNetwork, device: &Device) -> Result<Graph> {
    context::network(&spec.model, device)?.ok_or_else(|| {
        let hint = "name a network of `cavern ls models` or an ONNX file";
        Error::key(format!("network.{name}.model.name"), "imported activations have no network", hint)
    })
}

/// The network with random weights, and as many classes as there are.
fn untrained(spec: &SurveyNetwork, pictures: &Pictures, seed: Seed) -> Result<Graph> {
    let model = &spec.model;
    let choices = zoo::Options { classes: Some(pictures.names().len()), ..model.recipe().choices() };
    let mut graph = zoo::random_with(&model.name, &choices, seed)?;
    if model.resize == Resize::Stretch {
        graph.stretch();
    }
    Ok(graph)
}
