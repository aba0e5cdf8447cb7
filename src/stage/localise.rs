//! The third stage: attribution maps of every test and validation sample under every linear probe of its concepts.

use std::collections::BTreeMap;

use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{Context, Progress, fit, items};
use crate::activation::LayerSet;
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::localise::{Baseline, Cell, Centres, Edge, Emblem, Enlarging, Upsampling, emblem, linear};
use crate::probe::{Cav, Variant};
use crate::stage::fitted::Refused;
use crate::store::artifact::{Artifact, Draft};
use crate::store::digest::{Digest, DigestBuilder};

const KIND: &str = "map";
/// One file a part of the split: the test split's maps are measured, those of the validation split set thresholds.
const FILES: [(Part, &str); 2] = [(Part::Test, "maps.safetensors"), (Part::Val, "validation.safetensors")];
/// The range of every direction's maps, by name; only where cells are emblems.
const EMBLEMS: &str = "emblems.json";

/// Computes what the store lacks.
///
/// # Errors
/// When activations or directions are missing or damaged.
pub fn run(context: &Context) -> Result<()> {
    let units = context.units();
    let mut progress = Progress::start("localise", "sets of maps", units.len())?;
    let lacking = progress.lacking(&context.store, KIND, units, |(l, v)| key(context, *l, *v))?;
    for ((layer, variant), key) in lacking {
        let parameters = serde_json::json!({
            "layer": context.layers[layer].name, "variant": variant, "localise": context.study.localise,
        });
        context.store.get_or_make(KIND, &key, parameters, |draft| make(context, layer, variant, draft))?;
        progress.advance(1)?;
    }
    for (layer, variant) in context.units() {
        let zero = refused(context, layer, variant)?;
        if !zero.is_empty() {
            let names: Vec<String> = zero.iter().map(|r| format!("{} of {}", r.probe, r.concept)).collect();
            let (layer, names) = (&context.layers[layer].name, names.join(", "));
            tracing::warn!("emblems do not separate at `{layer}` in `{variant}`: maps are zero of {names}");
        }
    }
    progress.finish();
    Ok(())
}

/// The maps of one unit.
fn make(context: &Context, layer: usize, variant: Variant, draft: &mut Draft) -> Result<()> {
    let (_, fitted) = fit::get(context, layer, variant)?;
    let set = context.extraction().open(&context.store, &items::plain(context), layer)?;
    let linear: Vec<&Cav> = fitted.cavs.iter().filter(|cav| cav.has_map()).collect();
    if linear.len() < fitted.cavs.len() {
        let (count, name) = (fitted.cavs.len() - linear.len(), &context.layers[layer].name);
        tracing::info!(
            "{count} probes of `{name}` in `{variant}` have no maps: their scores are no sums over positions"
        );
    }
    let mut form = Form::of_shares(context, layer, &set)?;
    form.emblems = emblems(context, &set, &linear, &form)?;
    form.emblems.iter().try_for_each(|emblems| draft.write_json(EMBLEMS, emblems))?;
    FILES.into_iter().try_for_each(|(part, file)| {
        let bytes = compute(context, &set, &linear, &form, part)?;
        draft.write(file, &bytes)
    })
}

/// The key of one unit's maps: its directions, and how they are mapped.
///
/// # Errors
/// When a value has no JSON form.
pub fn key(context: &Context, layer: usize, variant: Variant) -> Result<Digest> {
    let options = &context.study.localise;
    let key = DigestBuilder::new("map v3")
        .field("probe", fit::key(context, layer, variant)?.as_str())
        .json("baseline", &options.baseline)?
        .json("cell", &options.cell)?;
    Ok(match options.edge {
        Edge::Keep => key.finish(),
        // Of the network's windows, which the activations do not tell.
        Edge::Reweight => key.json("edge", &shares(context, layer)?)?.finish(),
    })
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

/// How the activations of one layer become maps: the same way for plain pictures and for views of them.
pub struct Form {
    cell: Cell,
    /// What maps are measured from: the mean map of the fit split, or `None` for zero.
    baseline: Option<Vec<f32>>,
    /// What every cell is multiplied by, or `None` for one.
    shares: Option<Vec<f32>>,
    /// The range of every direction's maps, by name; `None` where cells are no emblems.
    emblems: Option<BTreeMap<String, Emblem>>,
}

impl Form {
    /// As the study asks for it.
    ///
    /// # Errors
    /// When activations or the unit's maps are missing or damaged.
    pub fn of(context: &Context, layer: usize, variant: Variant, set: &LayerSet) -> Result<Self> {
        let emblems = read_emblems(context, layer, variant)?;
        Ok(Self { emblems, ..Self::of_shares(context, layer, set)? })
    }

    /// Before maps have been cut to the range of emblems.
    fn of_shares(context: &Context, layer: usize, set: &LayerSet) -> Result<Self> {
        let options = &context.study.localise;
        let baseline = match options.baseline {
            Baseline::None => None,
            Baseline::Mean => Some(mean(set, &context.part(Part::Fit))?),
        };
        let shares = match options.edge {
            Edge::Keep => None,
            Edge::Reweight => Some(shares(context, layer)?),
        };
        Ok(Self { cell: options.cell, baseline, shares, emblems: None })
    }

    /// Maps of one sample of `set` under probes.
    ///
    /// # Errors
    /// When its activation is missing or damaged.
    pub fn maps(&self, set: &LayerSet, sample: usize, cavs: &[&Cav]) -> Result<Vec<Vec<f32>>> {
        let mut z = set.map(sample)?;
        if let Some(mean) = &self.baseline {
            z.iter_mut().zip(mean).for_each(|(z, m)| *z -= m);
        }
        let mut maps = linear::maps(cavs, &z, self.cell);
        for (map, cav) in maps.iter_mut().zip(cavs) {
            if let Some(shares) = &self.shares {
                map.iter_mut().zip(shares).for_each(|(m, share)| *m *= share);
            }
            if let Some(emblem) = self.emblems.as_ref().and_then(|emblems| emblems.get(&name(cav))) {
                emblem.apply(map);
            }
        }
        Ok(maps)
    }

    /// What `of` says of the maps of a part's samples: for each direction its samples with a known label, in order.
    fn of_part<T: Send>(
        &self,
        context: &Context,
        set: &LayerSet,
        cavs: &[&Cav],
        part: Part,
        of: impl Fn(usize, Vec<f32>) -> T + Sync,
    ) -> Result<Vec<Vec<T>>> {
        let known: Vec<Vec<usize>> = (0..context.concepts().len()).map(|c| known(context, c, part)).collect();
        let concepts: Vec<usize> = cavs.iter().map(|cav| concept(context, cav)).collect();
        let maps = context.part(part).into_par_iter().map(|sample| {
            let wanted: Vec<usize> =
                (0..cavs.len()).filter(|k| known[concepts[*k]].binary_search(&sample).is_ok()).collect();
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            let chosen: Vec<&Cav> = wanted.iter().map(|k| cavs[*k]).collect();
            let maps = self.maps(set, sample, &chosen)?;
            Ok(wanted.into_iter().zip(maps).map(|(k, map)| (k, of(sample, map))).collect::<Vec<_>>())
        });
        let mut out: Vec<Vec<T>> = cavs.iter().map(|_| Vec::new()).collect();
        for (k, value) in maps.collect::<Result<Vec<_>>>()?.into_iter().flatten() {
            out[k].push(value);
        }
        Ok(out)
    }
}

/// The number of a direction's concept.
fn concept(context: &Context, cav: &Cav) -> usize {
    context.concepts().iter().position(|c| *c == cav.concept).unwrap_or(0)
}

/// How the maps of a layer become as large as masks.
///
/// # Errors
/// When that asks for a network and activations are imported.
pub fn enlarging(context: &Context, layer: usize) -> Result<Enlarging> {
    let mode = context.study.localise.upsample;
    if mode != Upsampling::Receptive {
        return Ok(Enlarging::new(mode, None));
    }
    let Some(graph) = &context.graph else {
        let hint = "choose \"bilinear\": imported activations do not say what a cell sees";
        return Err(Error::key("localise.upsample", "`receptive` needs a network", hint));
    };
    let centres = graph.receptive_centres(context.layers[layer].node);
    Ok(Enlarging::new(mode, centres.map(|axes| axes.map(|(first, step)| Centres { first, step }))))
}

/// The share of every cell's receptive field that lies in the picture.
fn shares(context: &Context, layer: usize) -> Result<Vec<f32>> {
    let Some(graph) = &context.graph else {
        let hint = "leave it out: imported activations do not say what a cell sees";
        return Err(Error::key("localise.edge", "`reweight` needs a network", hint));
    };
    Ok(graph.receptive_shares(context.layers[layer].node))
}

/// The range of every direction's maps, from the fit split; `None` where cells are no emblems.
fn emblems(context: &Context, set: &LayerSet, cavs: &[&Cav], form: &Form) -> Result<Option<BTreeMap<String, Emblem>>> {
    if form.cell != Cell::Emblem {
        return Ok(None);
    }
    let found = form.of_part(context, set, cavs, Part::Fit, |sample, map| (sample, emblem(&map)))?;
    let range = |(cav, found): (&&Cav, Vec<(usize, f64)>)| {
        let concept = concept(context, cav);
        let present = |(s, _): &(usize, f64)| context.dataset.samples()[*s].presence[concept] == Presence::Present;
        let (with, without): (Vec<_>, Vec<_>) = found.into_iter().partition(present);
        let emblems = |list: Vec<(usize, f64)>| list.into_iter().map(|(_, emblem)| emblem).collect();
        (name(cav), Emblem::new(emblems(with), emblems(without)))
    };
    Ok(Some(cavs.iter().zip(found).map(range).collect()))
}

fn read_emblems(context: &Context, layer: usize, variant: Variant) -> Result<Option<BTreeMap<String, Emblem>>> {
    if context.study.localise.cell != Cell::Emblem {
        return Ok(None);
    }
    context.store.get(KIND, &key(context, layer, variant)?, "localise")?.read_json(EMBLEMS).map(Some)
}

/// Directions whose maps are zero everywhere, and why: their emblems do not tell pictures with the concept from others.
///
/// # Errors
/// When the unit's maps are missing or damaged.
pub fn refused(context: &Context, layer: usize, variant: Variant) -> Result<Vec<Refused>> {
    let emblems = read_emblems(context, layer, variant)?.unwrap_or_default();
    let zero = emblems.into_iter().filter(|(_, emblem)| !emblem.separates());
    let refusal = |(name, Emblem { low, high }): (String, Emblem)| {
        let (concept, probe) = name.rsplit_once('/').unwrap_or((&name, ""));
        let reason = format!(
            "its maps are zero: the median emblem of pictures with the concept, {high:.4}, is not above that of pictures \
             without, {low:.4}"
        );
        Refused { concept: concept.to_owned(), probe: probe.to_owned(), reason }
    };
    Ok(zero.map(refusal).collect())
}

/// One tensor `[sample, height, width]` a direction.
fn compute(context: &Context, set: &LayerSet, cavs: &[&Cav], form: &Form, part: Part) -> Result<Vec<u8>> {
    let size = set.positions();
    let bytes = form.of_part(context, set, cavs, part, |_, map| map.iter().flat_map(|v| v.to_le_bytes()).collect())?;
    let bytes: Vec<Vec<u8>> = bytes.into_iter().map(|maps: Vec<Vec<u8>>| maps.concat()).collect();
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
