//! The second stage: directions from activations.

use rayon::prelude::*;

use super::coverage::Coverage;
use super::fitted::{self, Fitted, Refused};
use super::{Context, Progress, items};
use crate::activation::LayerSet;
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::{Error, Result};
use crate::probe::cav::Fit;
use crate::probe::kind::Earlier;
use crate::probe::task::{CoverageOf, Offset, Weights, on_activations};
use crate::probe::{Cav, KINDS, Labelled, Solution, Space, Task, Unsolved, Variant, lbfgs, logistic, null};
use crate::store::artifact::Artifact;
use crate::store::digest::{Digest, DigestBuilder};

/// Kinds that are always fitted: the nulls that figures are held against.
const NULLS: [&str; 2] = ["random", "permuted"];

/// Values of directions on activations that are made at once, in f64: 256 MB.
const VALUES: usize = 32 << 20;

/// Fits what the store lacks.
///
/// # Errors
/// When activations are missing or damaged, or a solver refuses its data.
pub fn run(context: &Context) -> Result<()> {
    let units = context.units();
    let mut progress = Progress::start("fit", "sets of probes", units.len())?;
    let lacking = progress.lacking(&context.store, fitted::KIND, units, |(l, v)| key(context, *l, *v))?;
    let mut rows: Option<Rows> = None;
    for ((layer, variant), key) in lacking {
        let rows = match &mut rows {
            Some(rows) => rows,
            None => rows.insert(Rows::of(context)?),
        };
        let parameters = serde_json::json!({
            "layer": context.layers[layer].name, "variant": variant, "probe": context.study.probe,
            "model": context.study.model.name, "seed": context.study.seed,
        });
        context
            .store
            .get_or_make(fitted::KIND, &key, parameters, |draft| fit(context, rows, layer, variant)?.write(draft))?;
        progress.advance(1)?;
    }
    progress.finish();
    Ok(())
}

/// The key of one unit: activations, labels, settings and seed.
///
/// # Errors
/// When a value has no JSON form.
pub fn key(context: &Context, layer: usize, variant: Variant) -> Result<Digest> {
    let activations = context.extraction().keys(&items::plain(context), layer)?;
    let mut digest = DigestBuilder::new("probe v5");
    if let Some(path) = &context.study.probe.imported {
        digest = digest.field("imported", Digest::of_file(path)?.as_str());
    }
    Ok(digest
        .json("activations", &activations)?
        .field("samples", context.samples_digest()?.as_str())
        .json("options", &context.study.probe)?
        .json("variant", &variant)?
        .json("window", &context.preprocess().map(|p| p.crop))?
        .json("seed", &context.study.seed)?
        .finish())
}

/// The directions of one unit.
///
/// # Errors
/// When they have not been fitted, or their artifact is damaged.
pub fn get(context: &Context, layer: usize, variant: Variant) -> Result<(Artifact, Fitted)> {
    let artifact = context.store.get(fitted::KIND, &key(context, layer, variant)?, "fit")?;
    let fitted = Fitted::read(&artifact)?;
    Ok((artifact, fitted))
}

/// The rows that probes see: the fit split, then the validation split.
pub(super) struct Rows {
    pub(super) samples: Vec<usize>,
    pub(super) fitted: usize,
    blocks: Vec<usize>,
    sources: Vec<usize>,
    coverage: Coverage,
}

impl Rows {
    pub(super) fn of(context: &Context) -> Result<Self> {
        let mut samples = context.part(Part::Fit);
        let fitted = samples.len();
        samples.extend(context.part(Part::Val));
        let all = context.dataset.samples();
        let mut names: Vec<&str> = all.iter().map(|s| s.source.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let source = |s: &usize| names.binary_search(&all[*s].source.as_str()).unwrap_or(0);
        let needs_masks =
            KINDS.iter().any(|k| k.needs_masks() && context.study.probe.kinds.iter().any(|n| n == k.name()));
        let coverage = Coverage::of(context, if needs_masks { &samples } else { &[] })?;
        let blocks = samples.iter().map(|s| context.split.block[*s]).collect();
        Ok(Self { sources: samples.iter().map(source).collect(), samples, fitted, blocks, coverage })
    }

    fn labelled(&self, context: &Context, concept: usize, rows: std::ops::Range<usize>) -> Labelled {
        let presence = |row: &usize| context.dataset.samples()[self.samples[*row]].presence[concept];
        Labelled {
            positive: rows.clone().filter(|r| presence(r) == Presence::Present).collect(),
            negative: rows.filter(|r| presence(r) == Presence::Absent).collect(),
        }
    }

    /// The fit and the validation rows with a known label of a concept.
    pub(super) fn labels(&self, context: &Context, concept: usize) -> [Labelled; 2] {
        [0..self.fitted, self.fitted..self.samples.len()].map(|rows| self.labelled(context, concept, rows))
    }

    /// What is fitted for one concept; `coverage` as in [`Task`].
    pub(super) fn task<'a>(
        &'a self,
        context: &'a Context,
        (set, space): (&'a LayerSet, &'a Space),
        concept: usize,
        [fit, val]: &'a [Labelled; 2],
        coverage: &'a CoverageOf<'a>,
    ) -> Task<'a> {
        Task {
            concept: &context.concepts()[concept],
            set,
            space,
            fit,
            val,
            blocks: &self.blocks,
            sources: &self.sources,
            coverage,
            options: &context.study.probe,
            seed: context.seed,
        }
    }
}

/// The role of a solution among the directions of a concept.
enum Role {
    Probe,
    Reference,
    Twin,
}

/// A direction on its way from coordinates to activations.
struct Draft {
    concept: usize,
    name: String,
    role: Role,
    solution: Solution,
}

fn fit(context: &Context, rows: &Rows, layer: usize, variant: Variant) -> Result<Fitted> {
    let set = &context.extraction().open(&context.store, &items::plain(context), layer)?;
    let options = &context.study.probe;
    let space = Space::scaled(set, variant, &rows.samples, rows.fitted, options.scaling)?.prepared_for(&options.lambda);
    let solved = (0..context.concepts().len()).into_par_iter();
    let solved = solved.map(|concept| solve(context, rows, set, &space, concept)).collect::<Result<Vec<_>>>()?;
    let mut fitted = Fitted::default();
    let mut drafts = Vec::new();
    for (of_concept, refused) in solved {
        drafts.extend(of_concept);
        fitted.refused.extend(refused);
    }
    if drafts.is_empty() {
        let reasons: Vec<String> = fitted.refused.iter().map(|r| format!("{}: {}", r.concept, r.reason)).collect();
        let hint = "add samples, lower probe.min_samples, or change the shares in [split]";
        return Err(Error::data("no concept can be studied", reasons.join("; "), hint));
    }
    for (draft, cav) in drafts.iter().zip(materialise(context, rows, set, &space, &drafts)?) {
        if cav.norm <= 0.0 || !cav.norm.is_finite() {
            let concept = context.concepts()[draft.concept].clone();
            let reason = format!("its weights have norm {}: no direction", cav.norm);
            fitted.refused.push(Refused { concept, probe: draft.name.clone(), reason });
            continue;
        }
        match draft.role {
            Role::Probe => fitted.cavs.push(cav),
            Role::Reference => fitted.references.push(cav),
            Role::Twin => fitted.twins.push(cav),
        }
    }
    Ok(fitted)
}

/// Solves every kind for one concept, then its reference ensemble and the twins of its FP-CAV.
fn solve(
    context: &Context,
    rows: &Rows,
    set: &LayerSet,
    space: &Space,
    concept: usize,
) -> Result<(Vec<Draft>, Vec<Refused>)> {
    let name = context.concepts()[concept].as_str();
    let labels = rows.labels(context, concept);
    let options = &context.study.probe;
    let coverage = |row: usize, size| rows.coverage.get(context, size, rows.samples[row], concept);
    let task = rows.task(context, (set, space), concept, &labels, &coverage);
    let (mut drafts, mut refused) = (Vec::new(), Vec::new());
    let mut refuse = |probe: &str, reason: String| {
        refused.push(Refused { concept: name.to_owned(), probe: probe.to_owned(), reason });
    };
    if let Some(reason) = too_few(&labels[0], &labels[1], &labelled_test(context, concept), options.min_samples) {
        refuse("all", reason);
        return Ok((drafts, refused));
    }
    let mut earlier = Earlier::new();
    for kind in KINDS {
        if !options.kinds.iter().any(|k| k == kind.name()) && !NULLS.contains(&kind.name()) {
            continue;
        }
        match kind.fit(&task, &earlier) {
            Ok(solution) => drop(earlier.insert(kind.name().to_owned(), solution)),
            Err(Unsolved::Refused(reason)) => refuse(kind.name(), reason),
            Err(Unsolved::Failed(error)) => return Err(error),
        }
    }
    if let Some(classifier) = earlier.get("classifier") {
        for draw in 0..=options.references {
            let solution = null::reference(&task, classifier.lambda, draw)?;
            drafts.push(Draft { concept, name: format!("reference {draw}"), role: Role::Reference, solution });
        }
        let cosine = earlier.get("fp").and_then(|fp| fp.facts.get("cos_classifier"));
        if let (Some(cosine), Some(weights)) = (cosine, classifier.coordinates()) {
            for draw in 0..options.controls {
                let solution = null::degraded_twin(&task, weights, *cosine, draw);
                drafts.push(Draft { concept, name: format!("twin {draw}"), role: Role::Twin, solution });
            }
        }
    }
    // In the order of the table of kinds, whatever the map's.
    for kind in KINDS {
        if let Some(solution) = earlier.remove(kind.name()) {
            drafts.push(Draft { concept, name: kind.name().to_owned(), role: Role::Probe, solution });
        }
    }
    Ok((drafts, refused))
}

/// Test samples with and without a concept, by their numbers in the dataset.
fn labelled_test(context: &Context, concept: usize) -> Labelled {
    let presence = |s: &usize| context.dataset.samples()[*s].presence[concept];
    let of = |wanted| context.part(Part::Test).into_iter().filter(|s| presence(s) == wanted).collect();
    Labelled { positive: of(Presence::Present), negative: of(Presence::Absent) }
}

/// Why a concept cannot be studied, if it cannot.
fn too_few(fit: &Labelled, val: &Labelled, test: &Labelled, least: usize) -> Option<String> {
    let sides = [
        (&fit.positive, "with", "fit", least),
        (&fit.negative, "without", "fit", least),
        (&val.positive, "with", "validation", 2),
        (&val.negative, "without", "validation", 2),
        (&test.positive, "with", "test", least),
        (&test.negative, "without", "test", least),
    ];
    let (rows, side, split, wanted) = sides.into_iter().find(|(rows, _, _, wanted)| rows.len() < *wanted)?;
    Some(format!("{} samples {side} the concept in the {split} split, at least {wanted} wanted", rows.len()))
}

/// Unit directions on the activations, with offsets and thresholds from the validation split.
fn materialise(context: &Context, rows: &Rows, set: &LayerSet, space: &Space, drafts: &[Draft]) -> Result<Vec<Cav>> {
    let at_once = (VALUES / space.variant.width(set.shape).max(1)).max(1);
    let mut cavs = Vec::with_capacity(drafts.len());
    for drafts in drafts.chunks(at_once) {
        let solutions: Vec<&Solution> = drafts.iter().map(|draft| &draft.solution).collect();
        let made = on_activations(space, set, &solutions)?;
        cavs.extend(drafts.iter().zip(made).map(|(draft, made)| unit(context, set, space, draft, &made)));
    }
    let val: Vec<usize> = rows.samples[rows.fitted..].to_vec();
    let scores = crate::probe::scores(set, &val, set, &cavs.iter().collect::<Vec<_>>())?;
    for (k, (cav, draft)) in cavs.iter_mut().zip(drafts).enumerate() {
        let labelled = rows.labelled(context, draft.concept, rows.fitted..rows.samples.len());
        let pick = |rows_of: &[usize]| rows_of.iter().map(|r| scores[[r - rows.fitted, k]]).collect::<Vec<f64>>();
        let (mut positive, mut negative) = (pick(&labelled.positive), pick(&labelled.negative));
        if calibrates(space, &draft.solution) {
            cav.bias = logistic::calibrate(&positive, &negative);
            positive.iter_mut().chain(&mut negative).for_each(|s| *s += cav.bias);
        }
        cav.threshold = logistic::youden(&positive, &negative);
    }
    Ok(cavs)
}

/// Whether the offset comes from the validation split: the kind has none, or it is one of samples scaled one by one.
fn calibrates(space: &Space, solution: &Solution) -> bool {
    solution.offset == Offset::Calibrated || space.moves_offsets() && solution.coordinates().is_some()
}

fn unit(context: &Context, set: &LayerSet, space: &Space, draft: &Draft, (weights, offset): &(Vec<f64>, f64)) -> Cav {
    let solution = &draft.solution;
    let kernel = match &solution.weights {
        Weights::Kernel(kernel) => Some(kernel.clone()),
        _ => None,
    };
    let norm = if kernel.is_some() { 1.0 } else { lbfgs::norm(weights) };
    let native = match solution.offset {
        Offset::Native(bias) if !calibrates(space, solution) => (bias + offset) / norm,
        Offset::Native(_) | Offset::Calibrated => 0.0,
    };
    Cav {
        concept: context.concepts()[draft.concept].clone(),
        layer: set.layer.clone(),
        probe: draft.name.clone(),
        variant: space.variant,
        shape: set.shape,
        direction: weights.iter().map(|w| (w / norm) as f32).collect(),
        kernel,
        image_score: solution.image_score,
        norm,
        bias: native,
        threshold: 0.0,
        fit: Fit {
            lambda: solution.lambda,
            gradient_norm: solution.gradient_norm,
            positives: solution.counts.0,
            negatives: solution.counts.1,
        },
        facts: solution.facts.clone(),
    }
}
