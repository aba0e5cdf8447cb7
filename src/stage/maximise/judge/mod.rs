//! How good the pictures are: each against real pictures, and in a network that did not make it.
//!
//! The objective itself ranks methods the wrong way round: what is climbed best is often what looks least like a picture.

mod bench;
mod features;
mod rows;
mod scores;

use serde::{Deserialize, Serialize};

use super::{Rendered, Set};
use crate::error::{Error, Result};
use crate::maximise::{MaximiseOptions, png};
use crate::report::MetricRow;
use crate::stage::{Context, Progress};
use crate::store::digest::{Digest, DigestBuilder};
use scores::Judge;

const KIND: &str = "judgement";
const TABLE: &str = "judged.json";

/// What was found of all pictures.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Judged {
    /// Metrics.
    pub metrics: Vec<MetricRow>,
    /// The real pictures with the highest scores, by objective.
    pub exemplars: Vec<Exemplar>,
}

/// A real picture that an objective scores highly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exemplar {
    /// The objective, as one of its renderings.
    pub rendered: Rendered,
    /// Its place among real pictures, from 0.
    pub rank: usize,
    /// The sample's digest.
    pub sample: Digest,
    /// The sample's readable name.
    pub name: String,
    /// The objective there.
    #[serde(with = "crate::store::nan")]
    pub score: f64,
}

/// Judges what has not been judged.
pub(super) fn run(context: &Context, options: &MaximiseOptions, sets: &[Set<'_>]) -> Result<()> {
    let judge = Judge::open(context, options)?;
    let key = key(context, options, sets, &judge)?;
    let mut progress = Progress::start("judge", "sets of pictures", sets.len())?;
    if context.store.has(KIND, &key) {
        progress.find(sets.len());
    } else {
        let parameters = serde_json::json!({ "judge": options.judge });
        context.store.get_or_make(KIND, &key, parameters, |draft| {
            let mut judged = Judged::default();
            for set in sets {
                judge.measure(set, &mut judged)?;
                progress.step(1);
            }
            draft.write_json(TABLE, &judged)
        })?;
        progress.keep()?;
    }
    progress.finish();
    Ok(())
}

pub(super) fn get(context: &Context, options: &MaximiseOptions, sets: &[Set<'_>]) -> Result<Judged> {
    let key = key(context, options, sets, &Judge::open(context, options)?)?;
    context.store.get(KIND, &key, "maximise")?.read_json(TABLE)
}

/// An exemplar as the study's network sees it, as a PNG.
pub(super) fn picture(context: &Context, exemplar: &Exemplar) -> Result<Vec<u8>> {
    let place = context.dataset.samples().iter().position(|s| s.id == exemplar.sample);
    let lost = || {
        let hint = "run `cavern maximise STUDY` again: the dataset has changed";
        Error::data(format!("picture `{}`", exemplar.name), "it is no longer in the dataset", hint)
    };
    png(&bench::of_sample(context, place.ok_or_else(lost)?)?.to_image())
}

fn key(context: &Context, options: &MaximiseOptions, sets: &[Set<'_>], judge: &Judge<'_>) -> Result<Digest> {
    let mut pictures = Vec::new();
    for set in sets {
        for (studio, orders) in &set.columns {
            pictures.extend(studio.keys(orders)?);
        }
    }
    let network = judge.network()?;
    DigestBuilder::new("judgement v1")
        .field("study", &context.study.name)
        .field("model name", &context.study.model.name)
        .field("judge", network.digest().as_str())
        .json("classes", &network.classes())?
        .json("preprocess", network.preprocess())?
        .json("pictures", &pictures)?
        .field("samples", context.samples_digest()?.as_str())
        .json("options", &options.judge)?
        .json("bootstrap", &context.study.score.bootstrap)?
        .json("batch", &context.study.activation.batch)?
        .json("seed", &context.study.seed)?
        .field("device", if context.device.is_cpu() { "cpu" } else { "cuda" })
        .finish_ok()
}
