//! Pictures of what directions ask for, with their controls.

use serde::{Deserialize, Serialize};

use super::{Context, Progress, fit};
use crate::error::Result;
use crate::maximise::{Job, MaximiseOptions, Rendering, maximise_on, png};
use crate::model::Graph;
use crate::probe::{Cav, Variant};
use crate::store::artifact::Artifact;
use crate::store::digest::{Digest, DigestBuilder};

const KIND: &str = "rendering";
const TABLE: &str = "renderings.json";

/// What a rendered direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The CAV.
    Cav,
    /// Its opposite.
    Negative,
    /// A random direction.
    Random,
}

impl Role {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cav => "cav",
            Self::Negative => "negative",
            Self::Random => "random",
        }
    }
}

/// One picture that was, or is to be, rendered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rendered {
    /// The layer's number in the study.
    pub layer: usize,
    /// The concept; `random` for a random direction.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// The form of the activations it is a direction of.
    pub variant: Variant,
    /// What the direction is.
    pub role: Role,
    /// The picture's seed.
    pub seed: u64,
    /// The direction's offset: score = objective + bias.
    pub bias: f64,
    /// The objective by step; empty before it is rendered.
    pub trace: Vec<f32>,
    /// The objective of the picture without transforms; NaN before it is rendered.
    #[serde(with = "crate::store::nan")]
    pub score: f64,
    /// What is wrong with it: "gradient is zero".
    pub diagnosis: Option<String>,
}

/// Jobs of one artifact.
struct Batch {
    rendered: Vec<Rendered>,
    directions: Vec<Vec<f32>>,
    key: Digest,
}

/// Renders what the store lacks.
///
/// # Errors
/// When directions are missing, or the network fails.
pub fn run(context: &Context) -> Result<()> {
    let Some(options) = &context.study.maximise else { return Ok(()) };
    let graph = context.network()?;
    let batches = batches(context, graph, options)?;
    let mut progress = Progress::start("maximise", batches.iter().map(|b| b.rendered.len() * options.steps).sum());
    for batch in batches {
        let steps = batch.rendered.len() * options.steps;
        if context.store.has(KIND, &batch.key) {
            progress.advance(steps, false);
            continue;
        }
        let size = batch.rendered.len();
        let renderings = render(context, graph, options, &batch, |_| progress.advance(size, true))?;
        publish(context, options, batch, &renderings)?;
    }
    progress.finish("picture steps");
    Ok(())
}

/// Every picture of the study with its PNG, in order.
///
/// # Errors
/// When one is missing or damaged.
pub fn get(context: &Context) -> Result<Vec<(Rendered, Vec<u8>)>> {
    let Some(options) = &context.study.maximise else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for batch in batches(context, context.network()?, options)? {
        let artifact: Artifact = context.store.get(KIND, &batch.key, "maximise")?;
        for (i, rendered) in artifact.read_json::<Vec<Rendered>>(TABLE)?.into_iter().enumerate() {
            all.push((rendered, artifact.read(&format!("{i}.png"))?));
        }
    }
    Ok(all)
}

fn batches(context: &Context, graph: &Graph, options: &MaximiseOptions) -> Result<Vec<Batch>> {
    let mut out = Vec::new();
    for (layer, variant) in context.units() {
        let name = &context.layers[layer].name;
        let wanted =
            options.variants.contains(&variant) && (options.layers.is_empty() || options.layers.contains(name));
        if !wanted {
            continue;
        }
        let (_, fitted) = fit::get(context, layer, variant)?;
        let jobs = jobs(layer, &fitted.cavs, options);
        for jobs in jobs.chunks(options.batch) {
            let (rendered, directions): (Vec<_>, Vec<_>) = jobs.iter().cloned().unzip();
            let mut digest = DigestBuilder::new("rendering v1")
                .field("model", graph.digest().as_str())
                .json("preprocess", graph.preprocess())?
                .json("node", &context.layers[layer].node)?
                .json("options", options)?
                .json("jobs", &rendered)?
                .json("seed", &context.study.seed)?
                .field("device", if context.device.is_cpu() { "cpu" } else { "cuda" });
            for direction in &directions {
                digest = digest.field("direction", direction.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
            }
            out.push(Batch { rendered, directions, key: digest.finish() });
        }
    }
    Ok(out)
}

/// For every chosen direction and seed: the direction and its opposite, and once a layer a random one.
fn jobs(layer: usize, cavs: &[Cav], options: &MaximiseOptions) -> Vec<(Rendered, Vec<f32>)> {
    let mut jobs = Vec::new();
    let mut random: Option<&Cav> = None;
    let job = |cav: &Cav, role: Role, seed: u64| {
        let sign = if role == Role::Negative { -1.0 } else { 1.0 };
        let rendered = Rendered {
            layer,
            concept: cav.concept.clone(),
            probe: cav.probe.clone(),
            variant: cav.variant,
            role,
            seed,
            bias: f64::from(sign) * cav.bias,
            trace: Vec::new(),
            score: f64::NAN,
            diagnosis: None,
        };
        (rendered, cav.direction.iter().map(|v| sign * v).collect())
    };
    for cav in cavs.iter().filter(|cav| cav.kernel.is_none()) {
        if cav.probe == "random" {
            random = random.or(Some(cav));
        }
        if options.kinds.contains(&cav.probe) {
            for seed in 0..options.seeds as u64 {
                jobs.push(job(cav, Role::Cav, seed));
            }
            if options.controls {
                jobs.push(job(cav, Role::Negative, 0));
            }
        }
    }
    if let (Some(cav), true) = (random, options.controls && !jobs.is_empty()) {
        jobs.extend((0..options.seeds as u64).map(|seed| job(cav, Role::Random, seed)));
    }
    jobs
}

fn render(
    context: &Context,
    graph: &Graph,
    options: &MaximiseOptions,
    batch: &Batch,
    done: impl FnMut(usize),
) -> Result<Vec<Rendering>> {
    let node = context.layers[batch.rendered.first().map_or(0, |r| r.layer)].node;
    let jobs: Vec<Job> = batch
        .rendered
        .iter()
        .zip(&batch.directions)
        .map(|(r, direction)| Job {
            label: format!("{} {} {} {}", r.concept, r.probe, r.variant.name(), r.role.name()),
            direction: direction.clone(),
            variant: r.variant,
            seed: r.seed,
        })
        .collect();
    maximise_on(&context.device, graph, node, &jobs, options, context.seed, done)
}

fn publish(context: &Context, options: &MaximiseOptions, batch: Batch, renderings: &[Rendering]) -> Result<()> {
    let mut rendered = batch.rendered;
    for (r, rendering) in rendered.iter_mut().zip(renderings) {
        r.trace.clone_from(&rendering.trace);
        r.score = f64::from(rendering.final_score);
        r.diagnosis.clone_from(&rendering.diagnosis);
    }
    let parameters = serde_json::json!({ "maximise": options });
    context.store.get_or_make(KIND, &batch.key, parameters, |draft| {
        for (i, rendering) in renderings.iter().enumerate() {
            draft.write(&format!("{i}.png"), &png(&rendering.picture)?)?;
            draft.write(&format!("{i}-best.png"), &png(&rendering.best)?)?;
        }
        draft.write_json(TABLE, &rendered)
    })?;
    Ok(())
}
