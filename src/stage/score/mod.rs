//! The stage that measures: every probe on the test split, beside its nulls.

mod accuracy;
mod backbone;
mod direction;
mod equivariance;
mod hard;
mod robustness;
mod segmentation;
mod unit;
mod variance;

use serde::{Deserialize, Serialize};

use super::{Context, Progress, fit, items, localise};
use crate::error::Result;
use crate::metric::table::higher_is_better;
use crate::metric::{Estimate, Match};
use crate::probe::{Cav, Variant};
use crate::report::{MetricRow, SampleRow};
use crate::store::digest::{Digest, DigestBuilder};
use backbone::Backbone;
use equivariance::Equivariance;
use hard::Hard;
use segmentation::{Masks, Truth};
use unit::{Concept, Unit};
use variance::Curve;

const KIND: &str = "score";
const ROWS: &str = "metrics.json";
const SAMPLES: &str = "samples.json";

/// What was measured of one layer and variant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scored {
    /// Metrics.
    pub metrics: Vec<MetricRow>,
    /// Scores of single samples.
    pub samples: Vec<SampleRow>,
}

/// What measurements of all layers and variants share.
struct Shared {
    masks: Masks,
    backbone: Backbone,
}

/// Measures what the store lacks.
///
/// # Errors
/// When an artifact of an earlier stage is missing or damaged.
pub fn run(context: &Context) -> Result<()> {
    let units = context.units();
    let mut progress = Progress::start("score", "sets of measurements", units.len())?;
    let lacking = progress.lacking(&context.store, KIND, units, |(l, v)| key(context, *l, *v))?;
    let mut shared: Option<Shared> = None;
    for ((layer, variant), key) in lacking {
        let shared = match &mut shared {
            Some(shared) => shared,
            None => shared.insert(Shared { masks: Masks::of(context)?, backbone: Backbone::of(context)? }),
        };
        let parameters = serde_json::json!({
            "layer": context.layers[layer].name, "variant": variant, "score": context.study.score,
        });
        context.store.get_or_make(KIND, &key, parameters, |draft| {
            let scored = score(context, shared, layer, variant)?;
            draft.write_json(ROWS, &scored.metrics)?;
            draft.write_json(SAMPLES, &scored.samples)
        })?;
        progress.advance(1)?;
    }
    progress.finish();
    Ok(())
}

/// What was measured of one unit.
///
/// # Errors
/// When it has not been, or the artifact is damaged.
pub fn get(context: &Context, layer: usize, variant: Variant) -> Result<Scored> {
    let artifact = context.store.get(KIND, &key(context, layer, variant)?, "score")?;
    Ok(Scored { metrics: artifact.read_json(ROWS)?, samples: artifact.read_json(SAMPLES)? })
}

fn key(context: &Context, layer: usize, variant: Variant) -> Result<Digest> {
    let extraction = context.extraction();
    let last = context.layers.len().saturating_sub(1);
    let embedding = match context.study.score.matching {
        Match::Labels => Vec::new(),
        Match::Embedding => extraction.keys(&items::plain(context), last)?,
    };
    let key = DigestBuilder::new("score v2")
        .field("study", &context.study.name)
        .field("model", &context.study.model.name)
        .field("probe", fit::key(context, layer, variant)?.as_str())
        .field("map", localise::key(context, layer, variant)?.as_str())
        .json("views", &extraction.keys(&items::views(context), layer)?)?
        .json("edits", &extraction.keys(&items::edits(context)?.0, layer)?)?
        .json("embedding", &embedding)?
        .json("localise", &context.study.localise)?
        .json("options", &context.study.score)?;
    Ok(match &context.study.variance {
        Some(variance) => key.json("variance", variance)?.finish(),
        None => key.finish(),
    })
}

fn score(context: &Context, shared: &Shared, layer: usize, variant: Variant) -> Result<Scored> {
    let unit = Unit::open(context, layer, variant)?;
    let curve = Curve::open(context, layer, variant, &unit.fitted.cavs)?;
    let options = &context.study.score;
    let mut scored = Scored::default();
    let equivariance =
        if options.wants("robustness") { Equivariance::of(context, &unit)? } else { Equivariance::default() };
    for number in 0..context.concepts().len() {
        let concept = Concept::of(context, &unit, number)?;
        let truth = Truth::of(context, &shared.masks, &unit, &concept, context.layers[layer].shape);
        let hard = Hard::of(&unit, &concept);
        for (k, cav) in unit.fitted.cavs.iter().enumerate().filter(|(_, c)| c.concept == concept.name) {
            let mut rows = Rows { context, cav, out: &mut scored.metrics };
            if options.wants("accuracy") {
                accuracy::measure(&unit, &concept, k, &mut rows);
            }
            if options.wants("hard") {
                hard::measure(&hard, &unit, &concept, k, &mut rows);
            }
            if options.wants("segmentation") && cav.has_map() {
                segmentation::measure(context, &truth, &unit, &concept, k, &mut rows)?;
            }
            if options.wants("robustness") {
                robustness::measure(context, &shared.backbone, &equivariance, &unit, &concept, k, &mut rows);
            }
            if options.wants("direction") && cav.kernel.is_none() {
                direction::measure(&unit, &concept, k, &mut rows)?;
            }
            if let Some(curve) = &curve {
                curve.measure(context, &concept, cav, &mut rows)?;
            }
            scored.samples.extend(samples(context, &unit, &concept, k));
        }
    }
    Ok(scored)
}

/// The score of every labelled test sample.
fn samples(context: &Context, unit: &Unit, concept: &Concept, k: usize) -> Vec<SampleRow> {
    let cav = &unit.fitted.cavs[k];
    let row = |(at, present): (&usize, &bool)| {
        let sample = &context.dataset.samples()[unit.test[*at]];
        SampleRow {
            layer: cav.layer.clone(),
            concept: cav.concept.clone(),
            probe: cav.probe.clone(),
            variant: cav.variant.name(),
            sample: sample.id.as_str().to_owned(),
            name: sample.name.clone(),
            split: "test".to_owned(),
            present: *present,
            score: unit.scores[[*at, k]],
        }
    };
    concept.known.iter().zip(&concept.present).map(row).collect()
}

/// Where measurements of one probe go.
pub(super) struct Rows<'a> {
    pub(super) context: &'a Context,
    pub(super) cav: &'a Cav,
    pub(super) out: &'a mut Vec<MetricRow>,
}

impl Rows<'_> {
    /// Adds a row on the test split.
    pub(super) fn push(&mut self, metric: &str, parameter: &str, estimate: Estimate) {
        self.push_of("test", metric, parameter, estimate);
    }

    /// Adds a row on another split.
    fn push_of(&mut self, split: &str, metric: &str, parameter: &str, estimate: Estimate) {
        self.out.push(MetricRow {
            study: self.context.study.name.clone(),
            model: self.context.study.model.name.clone(),
            layer: self.cav.layer.clone(),
            concept: self.cav.concept.clone(),
            probe: self.cav.probe.clone(),
            variant: self.cav.variant.name(),
            seed: self.context.study.seed,
            split: split.to_owned(),
            metric: metric.to_owned(),
            parameter: parameter.to_owned(),
            estimate,
            higher_is_better: higher_is_better(metric),
        });
    }

    /// Adds a number known of the fit, without interval.
    fn push_fact(&mut self, metric: &str, value: f64, null: f64, null_kind: &str, n: usize) {
        self.push_known(metric, "", value, (null, null_kind), n);
    }

    /// Adds a number known of the fit, for a parameter, with its null and where that comes from.
    fn push_known(&mut self, metric: &str, parameter: &str, value: f64, (null, null_kind): (f64, &str), n: usize) {
        let (ci_low, ci_high) = (f64::NAN, f64::NAN);
        let estimate = Estimate { value, ci_low, ci_high, null, null_kind: null_kind.to_owned(), n };
        self.push_of("fit", metric, parameter, estimate);
    }
}
