//! Second opinions on the maps of some probes: do other ways of looking see the same, do they lie on the concept, and does
//! the score go when the pixels go that they point at?

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::ascent;
use super::{Found, TABLE, layer_before, network, table, table_key};
use crate::activation::{Item, Network};
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::localise::Enlarging;
use crate::localise::opinion::removal::{Courses, Removal};
use crate::localise::opinion::{self, Map, Method, OpinionOptions, Score};
use crate::metric::Bootstrap;
use crate::metric::bootstrap::weighted_mean;
use crate::metric::correlation::spearman;
use crate::metric::faithfulness::{area, on_scale};
use crate::metric::segmentation::Target;
use crate::probe::{Cav, Variant, scores};
use crate::report::Overlay;
use crate::seed::gaussian;
use crate::stage::fitted::{Fitted, Refused};
use crate::stage::localise::{self, Maps};
use crate::stage::score::Rows;
use crate::stage::{Context, Progress, fit, items, overlays};
use crate::store::artifact::Draft;
use crate::store::digest::Digest;

const KIND: &str = "opinion";
const DRAWN: &str = "drawn.json";
/// The name of spatial linear attribution among the methods.
const LINEAR: &str = "linear";
/// Where these maps stand among the pictures of the report.
const OUTCOME: &str = "second opinions";

/// A map that was drawn over its picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Drawn {
    concept: String,
    method: String,
    sample: String,
    score: f64,
}

/// The units that are asked about.
pub(super) fn units(context: &Context, options: &OpinionOptions) -> Result<Vec<(usize, Variant)>> {
    let names = || context.layers.iter().map(|l| l.name.as_str());
    if let Some(unknown) = options.layers.iter().find(|name| !names().any(|n| n == name.as_str())) {
        return Err(Error::unknown("layer of the study", unknown, names()));
    }
    let wanted = |layer: usize| options.layers.is_empty() || options.layers.contains(&context.layers[layer].name);
    Ok(super::units(context).into_iter().filter(|(layer, _)| wanted(*layer)).collect())
}

pub(super) fn run(context: &Context, options: &OpinionOptions) -> Result<()> {
    let (units, concepts) = (units(context, options)?, context.concepts().len());
    let mut progress = Progress::start("opinion", "concepts asked about", units.len() * concepts)?;
    progress.weigh(concepts);
    let lacking = progress.lacking(&context.store, KIND, units, |(l, v)| key(context, options, *l, *v))?;
    progress.weigh(1);
    for ((layer, variant), key) in lacking {
        let parameters =
            serde_json::json!({ "layer": context.layers[layer].name, "variant": variant, "opinion": options });
        context.store.get_or_make(KIND, &key, parameters, |draft| {
            let asked = Asked::open(context, options, layer, variant)?;
            asked.all(draft, || progress.step(1))
        })?;
        progress.keep()?;
    }
    progress.finish();
    Ok(())
}

fn key(context: &Context, options: &OpinionOptions, layer: usize, variant: Variant) -> Result<Digest> {
    Ok(table_key(context, "opinion v1", layer)?
        .field("probe", fit::key(context, layer, variant)?.as_str())
        .field("map", localise::key(context, layer, variant)?.as_str())
        .json("options", options)?
        .json("earlier", &earlier(context, options, layer)?)?
        .json("localise", &context.study.localise)?
        .finish())
}

pub(super) fn get(
    context: &Context,
    options: &OpinionOptions,
    layer: usize,
    variant: Variant,
) -> Result<(Found, Vec<Overlay>)> {
    let key = key(context, options, layer, variant)?;
    let artifact = context.store.get(KIND, &key, "sensitivity")?;
    let layer = &context.layers[layer].name;
    let overlay = |(i, drawn): (usize, Drawn)| {
        let Drawn { concept, method, sample, score } = drawn;
        let file = format!("maps/{layer}-{concept}-{method}-{}-opinion-{sample}.png", variant.name());
        Ok(Overlay {
            layer: layer.clone(),
            probe: method,
            variant: variant.name(),
            outcome: OUTCOME.to_owned(),
            file: file.replace(['@', ','], "-"),
            png: artifact.read(&format!("{i}.png"))?,
            concept,
            sample,
            score,
        })
    };
    let drawn: Vec<Drawn> = artifact.read_json(DRAWN)?;
    let overlays = drawn.into_iter().enumerate().map(overlay).collect::<Result<Vec<_>>>()?;
    Ok((table(context, KIND, &key)?, overlays))
}

/// The node of the layer that methods on activations look at: the one named, or the study's layer before; `None` where it
/// is not before the probe's own.
fn earlier(context: &Context, options: &OpinionOptions, layer: usize) -> Result<Option<usize>> {
    let node = match &options.earlier {
        Some(name) => Some(context.network()?.layer(name)?),
        None => layer_before(context, layer).map(|l| context.layers[l].node),
    };
    Ok(node.filter(|node| *node < context.layers[layer].node))
}

/// One unit, ready to be asked about.
struct Asked<'a> {
    context: &'a Context,
    options: &'a OpinionOptions,
    network: Network<'a>,
    layer: usize,
    earlier: Option<usize>,
    fitted: Fitted,
    linear: Maps,
}

/// Pictures of one concept.
struct Pictures {
    concept: usize,
    samples: Vec<usize>,
    inputs: Vec<f32>,
    /// Inputs filled all over.
    filled: Vec<Vec<f32>>,
    /// Masks as far as the network sees them, with height and width; `None` without one, or where it is empty or full.
    targets: Vec<Option<(Target, (usize, usize))>>,
    bootstrap: Bootstrap,
}

impl<'a> Asked<'a> {
    fn open(context: &'a Context, options: &'a OpinionOptions, layer: usize, variant: Variant) -> Result<Self> {
        let earlier = earlier(context, options, layer)?;
        let (_, fitted) = fit::get(context, layer, variant)?;
        let linear = Maps::open(context, layer, variant)?;
        Ok(Self { context, options, network: network(context)?, layer, earlier, fitted, linear })
    }

    /// Asks about every concept; `done` is told after each.
    fn all(&self, draft: &mut Draft, mut done: impl FnMut()) -> Result<()> {
        let (mut found, mut drawn) = (Found::default(), Vec::new());
        if self.earlier.is_none() && self.options.methods.iter().any(|m| m.is_cam()) {
            let reason = "no layer of the study is before this one: name one by opinion.earlier".to_owned();
            let (concept, probe) = ("all".to_owned(), "class activation maps".to_owned());
            found.refused.push(Refused { concept, probe, reason });
        }
        for concept in 0..self.context.concepts().len() {
            let name = &self.context.concepts()[concept];
            let cavs = self
                .options
                .kinds
                .iter()
                .filter_map(|kind| self.fitted.cavs.iter().find(|cav| cav.probe == *kind && cav.concept == *name));
            let (cavs, others): (Vec<&Cav>, Vec<&Cav>) =
                cavs.filter(|cav| cav.has_map()).partition(|cav| cav.is_linear());
            for cav in others {
                let reason =
                    "its score is no mean over positions, so that its map does not add up to it (probe.image_score)";
                let (concept, probe) = (cav.concept.clone(), format!("second opinions of {}", cav.probe));
                found.refused.push(Refused { concept, probe, reason: reason.to_owned() });
            }
            if !cavs.is_empty() {
                let pictures = self.pictures(concept)?;
                for (i, cav) in cavs.into_iter().enumerate() {
                    let maps = self.about(&pictures, cav, &mut found)?;
                    if i == 0 {
                        self.draw(&pictures, &maps, cav, draft, &mut drawn)?;
                    }
                }
            }
            done();
        }
        draft.write_json(TABLE, &found)?;
        draft.write_json(DRAWN, &drawn)
    }

    /// Test pictures with the concept: the same for every probe.
    fn pictures(&self, concept: usize) -> Result<Pictures> {
        let context = self.context;
        let name = &context.concepts()[concept];
        let mut samples = context.part(Part::Test);
        samples.retain(|s| context.dataset.samples()[*s].presence[concept] == Presence::Present);
        samples.shuffle(&mut context.seed.stream(&format!("opinion/pictures/{name}")));
        samples.truncate(self.options.pictures);
        samples.sort_unstable();
        let items: Vec<Item> = samples.iter().copied().map(Item::plain).collect();
        let inputs = context.extraction().inputs(self.network.graph(), &items)?;
        let side = self.network.graph().input_shape()[2];
        let filled = inputs.chunks_exact(self.network.input_len()).map(|x| self.options.fill.apply(x, side)).collect();
        let target = |sample: &usize| {
            let Some(mask) = context.dataset.mask(*sample, concept)? else { return Ok(None) };
            let (left, top, width, height) = context.window(mask.width, mask.height);
            let mask = mask.window(left, top, width, height);
            Ok(Target::new(&mask, 0.0).map(|target| (target, (mask.height, mask.width))))
        };
        let targets = samples.iter().map(target).collect::<Result<_>>()?;
        let blocks: Vec<usize> = samples.iter().map(|s| context.split.block[*s]).collect();
        let mut rng = context.seed.stream(&format!("opinion/bootstrap/{name}"));
        let bootstrap = Bootstrap::new(&blocks, context.study.score.bootstrap, &mut rng);
        Ok(Pictures { concept, samples, inputs, filled, targets, bootstrap })
    }

    /// Measures what there is to say of one probe, and returns the maps by method: the linear ones first.
    fn about(&self, pictures: &Pictures, cav: &Cav, found: &mut Found) -> Result<Vec<(&'static str, Vec<Map>)>> {
        let score = Score::new(self.network, self.context.layers[self.layer].node, cav);
        let known = localise::samples(self.context, pictures.concept);
        let linear = self.linear.of(cav)?;
        let grid = (cav.shape[1], cav.shape[2]);
        let at = |sample: &usize| known.binary_search(sample).ok().map(|at| linear[at].clone());
        let linear: Vec<Map> =
            pictures.samples.iter().filter_map(at).map(|values| Map { size: grid, values }).collect();
        let others = opinion::maps(&score, &pictures.inputs, self.earlier, self.options)?;
        let mut maps = vec![(LINEAR, linear)];
        maps.extend(others.into_iter().map(|(method, maps): (Method, _)| (method.name(), maps)));
        if self.options.methods.contains(&Method::Am) {
            let photographs = pictures.samples.iter().map(|sample| self.levels(*sample)).collect::<Result<Vec<_>>>()?;
            maps.push((Method::Am.name(), ascent::maps(&score, &photographs, self.options.ascent)?));
        }
        let mut rows = Rows { context: self.context, cav, out: &mut found.metrics };
        let n = pictures.samples.len();
        for (name, of_method) in &maps {
            if *name != LINEAR {
                let pair = |(map, linear): (&Map, &Map)| spearman(&as_f64(&map.pooled(grid)), &as_f64(&linear.values));
                let agreement: Vec<f64> = of_method.iter().zip(&maps[0].1).map(pair).collect();
                let estimate = pictures.bootstrap.estimate(|w| weighted_mean(&agreement, w), 0.0, "chance", n);
                rows.push("opinion_agreement", name, estimate);
            }
            self.localisation(pictures, name, of_method, &mut rows);
        }
        if self.options.removals > 0 {
            let ends = self.mean_scores(cav, &known, pictures.concept)?;
            self.faithfulness(pictures, &score, &maps, ends, &mut rows)?;
        }
        Ok(maps)
    }

    /// A picture as the network sees it, values in \[0, 1\].
    fn levels(&self, sample: usize) -> Result<Vec<f32>> {
        let graph = self.network.graph();
        let picture = graph.preprocess().picture(&self.context.dataset.image(sample)?)?;
        Ok(graph.preprocess().levels(&picture, graph.input_shape()[0]))
    }

    /// S1 and S3 of the maps of one method.
    fn localisation(&self, pictures: &Pictures, name: &str, maps: &[Map], rows: &mut Rows<'_>) {
        let upsampling = self.context.study.localise.upsample;
        let scores = |(target, map): (&Option<(Target, _)>, &Map)| {
            let (target, size) = target.as_ref()?;
            Some((target.scores(&map.enlarged(*size, upsampling)), target.chance()))
        };
        let scores: Vec<_> = pictures.targets.iter().zip(maps).map(scores).collect();
        let n = scores.iter().flatten().count();
        if n == 0 {
            return;
        }
        let column = |of: &dyn Fn(&(_, _)) -> f64| -> Vec<f64> {
            scores.iter().map(|s| s.as_ref().map_or(f64::NAN, of)).collect()
        };
        let ones = vec![1.0; scores.len()];
        let (auroc, iou) = (column(&|(own, _)| own.auroc), column(&|(own, _)| own.iou));
        let chance = weighted_mean(&column(&|(_, chance)| chance.iou), &ones);
        let boot = &pictures.bootstrap;
        rows.push("opinion_seg_auroc", name, boot.estimate(|w| weighted_mean(&auroc, w), 0.5, "chance", n));
        rows.push("opinion_seg_iou", name, boot.estimate(|w| weighted_mean(&iou, w), chance, "chance", n));
    }

    /// Mean scores of the test samples without the concept, and of those with it.
    fn mean_scores(&self, cav: &Cav, known: &[usize], concept: usize) -> Result<(f64, f64)> {
        let context = self.context;
        let set = context.extraction().open(&context.store, &items::plain(context), self.layer)?;
        let scores = scores(&set, known, &set, &[cav])?.column(0).to_vec();
        let present = |sample: &usize| context.dataset.samples()[*sample].presence[concept] == Presence::Present;
        let weights =
            |wanted: bool| known.iter().map(|s| f64::from(u8::from(present(s) == wanted))).collect::<Vec<_>>();
        Ok((weighted_mean(&scores, &weights(false)), weighted_mean(&scores, &weights(true))))
    }

    /// Deletion, insertion and ROAD in the order of every method's maps, beside a random order.
    fn faithfulness(
        &self,
        pictures: &Pictures,
        score: &Score<'_>,
        maps: &[(&'static str, Vec<Map>)],
        (without, with): (f64, f64),
        rows: &mut Rows<'_>,
    ) -> Result<()> {
        let size = score.size();
        let upsampling = self.context.study.localise.upsample;
        let inputs: Vec<&[f32]> = pictures.inputs.chunks_exact(self.network.input_len()).collect();
        let of = |inputs: &[&[f32]]| score.of(inputs.len(), |i, slot| slot.copy_from_slice(inputs[i]));
        let whole = of(&inputs)?;
        let empty = of(&pictures.filled.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        // Areas by method, the random order last, and by picture.
        let mut areas: Vec<[Vec<f64>; 3]> = vec![<[Vec<f64>; 3]>::default(); maps.len() + 1];
        for (i, picture) in inputs.iter().enumerate() {
            let id = self.context.dataset.samples()[pictures.samples[i]].id.as_str();
            let mut rng = self.context.seed.stream(&format!("opinion/noise/{id}"));
            let noise: Vec<f32> = picture.iter().map(|_| gaussian(&mut rng) as f32).collect();
            let mut random: Vec<usize> = (0..size.0 * size.1).collect();
            random.shuffle(&mut self.context.seed.stream(&format!("opinion/random order/{id}")));
            let random: Vec<f32> = random.into_iter().map(|place| place as f32).collect();
            let filled = &pictures.filled[i];
            let removal = Removal { score, picture, filled, noise: &noise, ends: (whole[i], empty[i]) };
            let orders = maps.iter().map(|(_, maps)| maps[i].enlarged(size, upsampling)).chain([random]);
            for (areas, order) in areas.iter_mut().zip(orders) {
                let Courses { deletion, insertion, road } = removal.courses(&order, self.options.removals)?;
                areas.iter_mut().zip([deletion, insertion, road]).for_each(|(areas, course)| areas.push(area(&course)));
            }
        }
        let ones = vec![1.0; inputs.len()];
        let Some((random, areas)) = areas.split_last() else { return Ok(()) };
        for ((name, _), areas) in maps.iter().zip(areas) {
            for ((metric, areas), random) in ["deletion", "insertion", "road"].iter().zip(areas).zip(random) {
                let null = weighted_mean(&on_scale(random, without, with), &ones);
                let areas = on_scale(areas, without, with);
                let estimate =
                    pictures.bootstrap.estimate(|w| weighted_mean(&areas, w), null, "random order", inputs.len());
                rows.push(metric, name, estimate);
            }
        }
        Ok(())
    }

    /// Draws the maps of the first pictures, each in its own range: methods have units of their own.
    fn draw(
        &self,
        pictures: &Pictures,
        maps: &[(&'static str, Vec<Map>)],
        cav: &Cav,
        draft: &mut Draft,
        drawn: &mut Vec<Drawn>,
    ) -> Result<()> {
        let score = Score::new(self.network, self.context.layers[self.layer].node, cav);
        let shown = self.context.study.localise.examples.min(pictures.samples.len());
        let size = self.network.input_len();
        // Methods' maps have grids of their own.
        let evenly = Enlarging::new(self.context.study.localise.upsample, None);
        let scores = score.of(shown, |i, slot| slot.copy_from_slice(&pictures.inputs[i * size..(i + 1) * size]))?;
        for (method, maps) in maps {
            for (i, map) in maps.iter().take(shown).enumerate() {
                let (sample, range) = (pictures.samples[i], overlays::range(std::slice::from_ref(&map.values)));
                let png =
                    overlays::picture(self.context, pictures.concept, sample, &map.values, map.size, (range, &evenly))?;
                draft.write(&format!("{}.png", drawn.len()), &png)?;
                drawn.push(Drawn {
                    concept: cav.concept.clone(),
                    method: (*method).to_owned(),
                    sample: self.context.dataset.samples()[sample].name.clone(),
                    score: scores[i],
                });
            }
        }
        Ok(())
    }
}

fn as_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}
