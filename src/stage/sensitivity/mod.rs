//! The stage that asks the network itself: does a class rise with a concept, do other ways of looking see what the maps
//! show, do the directions of two layers say the same? Each part has its table in the study and is left out without it.

mod ascent;
mod consistency;
mod gradients;
mod opinion;
mod tcav;

use serde::{Deserialize, Serialize};

use super::Context;
use super::fitted::Refused;
use crate::activation::Network;
use crate::error::Result;
use crate::probe::Variant;
use crate::report::{MetricRow, Overlay, Refusal};
use crate::store::digest::{Digest, DigestBuilder};

/// The table of an artifact of this stage.
const TABLE: &str = "found.json";

/// What was found of one layer and variant, and what could not be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Found {
    metrics: Vec<MetricRow>,
    refused: Vec<Refused>,
}

/// What the stage has to show.
#[derive(Debug, Default)]
pub struct Shown {
    /// Metrics.
    pub metrics: Vec<MetricRow>,
    /// What could not be asked, and why.
    pub refusals: Vec<Refusal>,
    /// Maps of second opinions over their pictures.
    pub overlays: Vec<Overlay>,
}

/// Computes what the store lacks.
///
/// # Errors
/// When an artifact of an earlier stage is missing or damaged, or the study's table does not fit the network.
pub fn run(context: &Context) -> Result<()> {
    if let Some(options) = &context.study.tcav {
        tcav::run(context, options)?;
    }
    if let Some(options) = &context.study.opinion {
        opinion::run(context, options)?;
    }
    if let Some(options) = &context.study.consistency {
        consistency::run(context, options)?;
    }
    Ok(())
}

/// Everything that was found.
///
/// # Errors
/// When it has not been, or an artifact is damaged.
pub fn get(context: &Context) -> Result<Shown> {
    let mut shown = Shown::default();
    if let Some(options) = &context.study.tcav {
        for (layer, variant) in units(context) {
            shown.add(context, layer, variant, tcav::get(context, options, layer, variant)?);
        }
        shown.metrics.extend(tcav::agreement(&shown.metrics));
    }
    if let Some(options) = &context.study.opinion {
        for (layer, variant) in opinion::units(context, options)? {
            let (found, overlays) = opinion::get(context, options, layer, variant)?;
            shown.add(context, layer, variant, found);
            shown.overlays.extend(overlays);
        }
    }
    if let Some(options) = &context.study.consistency {
        for pair in consistency::pairs(context) {
            shown.add(context, pair.first, pair.variant, consistency::get(context, options, &pair)?);
        }
    }
    Ok(shown)
}

impl Shown {
    fn add(&mut self, context: &Context, layer: usize, variant: Variant, found: Found) {
        self.metrics.extend(found.metrics);
        self.refusals.extend(found.refused.into_iter().map(|refused| Refusal {
            layer: context.layers[layer].name.clone(),
            variant: variant.name(),
            concept: refused.concept,
            probe: refused.probe,
            reason: refused.reason,
        }));
    }
}

/// The units whose probes have a linear score: only that has a direction to hold a gradient against.
fn units(context: &Context) -> Vec<(usize, Variant)> {
    context.units().into_iter().filter(|(_, variant)| variant.is_linear()).collect()
}

/// The layer of the study that the network comes to before this one.
fn layer_before(context: &Context, layer: usize) -> Option<usize> {
    let node = context.layers[layer].node;
    let before = (0..context.layers.len()).filter(|l| context.layers[*l].node < node);
    before.max_by_key(|l| context.layers[*l].node)
}

fn network(context: &Context) -> Result<Network<'_>> {
    Ok(Network::new(context.network()?, &context.device, context.study.activation.batch))
}

/// What every key of this stage depends on: the network as it is asked, and the samples.
fn key(context: &Context, kind: &str, layer: usize) -> Result<DigestBuilder> {
    let graph = context.network()?;
    DigestBuilder::new(kind)
        .field("model", graph.digest().as_str())
        .json("preprocess", graph.preprocess())?
        .json("node", &context.layers[layer].node)?
        .field("samples", context.samples_digest()?.as_str())
        .field("device", if context.device.is_cpu() { "cpu" } else { "cuda" })
        .json("batch", &context.study.activation.batch)?
        .json("seed", &context.study.seed)
}

/// What the keys of tables depend on besides: rows hold names and intervals.
fn table_key(context: &Context, kind: &str, layer: usize) -> Result<DigestBuilder> {
    key(context, kind, layer)?
        .field("study", &context.study.name)
        .field("model name", &context.study.model.name)
        .json("bootstrap", &context.study.score.bootstrap)
}

/// Makes the table of one artifact, if the store lacks it; says whether it did.
fn make(
    context: &Context,
    kind: &str,
    key: &Digest,
    layer: usize,
    found: impl FnOnce() -> Result<Found>,
) -> Result<()> {
    let parameters = serde_json::json!({ "layer": context.layers[layer].name });
    context.store.get_or_make(kind, key, parameters, |draft| draft.write_json(TABLE, &found()?)).map(drop)
}

fn table(context: &Context, kind: &str, key: &Digest) -> Result<Found> {
    context.store.get(kind, key, "sensitivity")?.read_json(TABLE)
}
