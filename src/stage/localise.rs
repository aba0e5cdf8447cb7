//! The third stage: attribution maps of every test and validation sample under every linear probe of its concepts.

use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{Context, Progress, fit, items};
use crate::activation::LayerSet;
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::localise::{Baseline, Cell, linear};
use crate::probe::{Cav, Variant};
use crate::store::artifact::Artifact;
use crate::store::digest::{Digest, DigestBuilder};

const KIND: &str = "map";
/// One file a part of the split: the test split's maps are measured, those of the validation split set thresholds.
const FILES: [(Part, &str); 2] = [(Part::Test, "maps.safetensors"), (Part::Val, "validation.safetensors")];

/// Computes what the store lacks.
///
/// # Errors
/// When activations or directions are missing or damaged.
pub fn run(context: &Context) -> Result<()> {
    let units = context.units();
    let mut progress = Progress::start("localise", units.len());
    for (layer, variant) in units {
        let key = key(context, layer, variant)?;
        let missing = !context.store.has(KIND, &key);
        if missing {
            let (_, fitted) = fit::get(context, layer, variant)?;
            let set = context.extraction().open(&context.store, &items::plain(context), layer)?;
            let linear: Vec<&Cav> = fitted.cavs.iter().filter(|cav| cav.is_linear()).collect();
            if linear.len() < fitted.cavs.len() {
                let (count, name) = (fitted.cavs.len() - linear.len(), &context.layers[layer].name);
                tracing::info!(
                    "{count} probes of `{name}` in `{variant}` have no maps: their scores are no sums over positions"
                );
            }
            let baseline = baseline(context, &set)?;
            let compute = |(part, file)| Ok((file, compute(context, &set, &linear, baseline.as_deref(), part)?));
            let files = FILES.into_iter().map(compute).collect::<Result<Vec<_>>>()?;
            let parameters = serde_json::json!({
                "layer": context.layers[layer].name, "variant": variant, "localise": context.study.localise,
            });
            context.store.get_or_make(KIND, &key, parameters, |draft| {
                files.iter().try_for_each(|(file, bytes)| draft.write(file, bytes))
            })?;
        }
        progress.advance(1, missing);
    }
    progress.finish("sets of maps");
    Ok(())
}

/// The key of one unit's maps: its directions, and how they are mapped.
///
/// # Errors
/// When a value has no JSON form.
pub fn key(context: &Context, layer: usize, variant: Variant) -> Result<Digest> {
    Ok(DigestBuilder::new("map v3")
        .field("probe", fit::key(context, layer, variant)?.as_str())
        .json("baseline", &context.study.localise.baseline)?
        .json("cell", &context.study.localise.cell)?
        .finish())
}

/// Test samples with a known label of a concept: those its maps are measured on, in order.
pub fn samples(context: &Context, concept: usize) -> Vec<usize> {
    known(context, concept, Part::Test)
}

/// Validation samples with a known label of a concept, in order.
pub fn validation_samples(context: &Context, concept: usize) -> Vec<usize> {
    known(context, concept, Part::Val)
}

fn known(context: &Context, concept: usize, part: Part) -> Vec<usize> {
    let known = |s: &usize| context.dataset.samples()[*s].presence[concept] != Presence::Unknown;
    context.part(part).into_iter().filter(known).collect()
}

/// `concept/probe` of a direction: the name of its maps in the artifact.
fn name(cav: &Cav) -> String {
    format!("{}/{}", cav.concept, cav.probe)
}

/// What maps are measured from: the mean map of the fit split, or `None` for zero.
///
/// # Errors
/// When activations are missing or damaged.
pub fn baseline(context: &Context, set: &LayerSet) -> Result<Option<Vec<f32>>> {
    match context.study.localise.baseline {
        Baseline::None => Ok(None),
        Baseline::Mean => mean(set, &context.part(Part::Fit)).map(Some),
    }
}

/// Maps of one sample under probes, from the baseline.
///
/// # Errors
/// When its activation is missing or damaged.
pub fn maps(
    set: &LayerSet,
    sample: usize,
    cavs: &[&Cav],
    baseline: Option<&[f32]>,
    cell: Cell,
) -> Result<Vec<Vec<f32>>> {
    let mut z = set.map(sample)?;
    if let Some(mean) = baseline {
        z.iter_mut().zip(mean).for_each(|(z, m)| *z -= m);
    }
    Ok(linear::maps(cavs, &z, cell))
}

/// One tensor `[sample, height, width]` a direction.
fn compute(context: &Context, set: &LayerSet, cavs: &[&Cav], baseline: Option<&[f32]>, part: Part) -> Result<Vec<u8>> {
    let known: Vec<Vec<usize>> = (0..context.concepts().len()).map(|c| known(context, c, part)).collect();
    let concept_of = |cav: &&Cav| context.concepts().iter().position(|c| *c == cav.concept).unwrap_or(0);
    let concepts: Vec<usize> = cavs.iter().map(concept_of).collect();
    let size = set.positions();
    let maps = context.part(part).into_par_iter().map(|sample| {
        let wanted: Vec<usize> =
            (0..cavs.len()).filter(|k| known[concepts[*k]].binary_search(&sample).is_ok()).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let chosen: Vec<&Cav> = wanted.iter().map(|k| cavs[*k]).collect();
        Ok(wanted
            .into_iter()
            .zip(maps(set, sample, &chosen, baseline, context.study.localise.cell)?)
            .collect::<Vec<_>>())
    });
    let mut bytes: Vec<Vec<u8>> = cavs.iter().map(|_| Vec::new()).collect();
    for (k, map) in maps.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
        bytes[k].extend(map.iter().flat_map(|v| v.to_le_bytes()));
    }
    let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("cannot write maps: {e}"));
    let views = cavs.iter().zip(&bytes).map(|(cav, bytes)| {
        let shape = vec![bytes.len() / (4 * size), set.shape[1], set.shape[2]];
        TensorView::new(Dtype::F32, shape, bytes).map(|view| (name(cav), view)).map_err(failure)
    });
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None).map_err(failure)
}

/// Mean map of samples, `[channel, height, width]`.
fn mean(set: &LayerSet, samples: &[usize]) -> Result<Vec<f32>> {
    let mut sum = vec![0f64; set.width()];
    for sample in samples {
        sum.iter_mut().zip(set.map(*sample)?).for_each(|(s, z)| *s += f64::from(z));
    }
    Ok(sum.iter().map(|s| (s / samples.len().max(1) as f64) as f32).collect())
}

/// The maps of one unit.
pub struct Maps {
    artifact: Artifact,
    /// Of each of [`FILES`].
    bytes: Vec<Vec<u8>>,
}

impl Maps {
    /// Opens them.
    ///
    /// # Errors
    /// When they have not been made, or are damaged.
    pub fn open(context: &Context, layer: usize, variant: Variant) -> Result<Self> {
        let artifact = context.store.get(KIND, &key(context, layer, variant)?, "localise")?;
        let bytes = FILES.iter().map(|(_, file)| artifact.read(file)).collect::<Result<Vec<_>>>()?;
        Ok(Self { artifact, bytes })
    }

    /// The maps `[height * width]` of one direction, one for each of [`samples`].
    ///
    /// # Errors
    /// When the artifact lacks them.
    pub fn of(&self, cav: &Cav) -> Result<Vec<Vec<f32>>> {
        self.read(0, cav)
    }

    /// The same, one for each of [`validation_samples`].
    ///
    /// # Errors
    /// When the artifact lacks them.
    pub fn of_validation(&self, cav: &Cav) -> Result<Vec<Vec<f32>>> {
        self.read(1, cav)
    }

    fn read(&self, file: usize, cav: &Cav) -> Result<Vec<Vec<f32>>> {
        let size = (cav.shape[1] * cav.shape[2] * 4).max(1);
        let damaged = |e: safetensors::SafeTensorError| {
            let path = self.artifact.file(FILES[file].1).unwrap_or_default();
            Error::file(&path, format!("{}: {e}", name(cav)), "delete its folder and run `cavern localise` again")
        };
        let tensors = SafeTensors::deserialize(&self.bytes[file]).map_err(damaged)?;
        let tensor = tensors.tensor(&name(cav)).map_err(damaged)?;
        let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Ok(tensor.data().chunks_exact(size).map(|m| m.chunks_exact(4).map(value).collect()).collect())
    }
}
