//! The scores of one layer and variant, and the labels of one concept.

use std::ops::Range;

use ndarray::Array2;

use crate::activation::LayerSet;
use crate::dataset::Presence;
use crate::dataset::split::Part;
use crate::error::Result;
use crate::localise::Enlarging;
use crate::metric::{Bootstrap, Match};
use crate::probe::{Cav, Variant, scores};
use crate::stage::fitted::Fitted;
use crate::stage::items::{self, EditRows};
use crate::stage::localise::{self, Maps};
use crate::stage::{Context, fit};

/// Everything that probes of one layer and variant say of the test split.
pub(super) struct Unit {
    /// The directions.
    pub fitted: Fitted,
    /// Their maps.
    pub maps: Maps,
    /// Test samples.
    pub test: Vec<usize>,
    /// Scores `[test sample, direction]`: probes, then references, then twins.
    pub scores: Array2<f64>,
    /// Number of the layer in the study.
    pub layer: usize,
    /// What its probes see of it.
    pub variant: Variant,
    /// How its maps become as large as masks.
    pub enlarging: Enlarging,
    /// Scores of views `[test sample * views + view, probe]`.
    pub views: Array2<f64>,
    /// Activations of the views, in the same order.
    pub view_set: Option<LayerSet>,
    /// Scores of edits `[edit, probe]`.
    pub edits: Array2<f64>,
    /// Which edits belong to which concept.
    pub edit_rows: Vec<EditRows>,
    /// Activations of the edits.
    pub edit_set: Option<LayerSet>,
}

impl Unit {
    pub(super) fn open(context: &Context, layer: usize, variant: Variant) -> Result<Self> {
        let (_, fitted) = fit::get(context, layer, variant)?;
        let extraction = context.extraction();
        let open = |items: &[crate::activation::Item]| -> Result<Option<LayerSet>> {
            if items.is_empty() { Ok(None) } else { extraction.open(&context.store, items, layer).map(Some) }
        };
        let test = context.part(Part::Test);
        let all: Vec<&Cav> = fitted.all().collect();
        let probes: Vec<&Cav> = fitted.cavs.iter().collect();
        let plain = extraction.open(&context.store, &items::plain(context), layer)?;
        let of = |set: &Option<LayerSet>, rows: &[usize], cavs: &[&Cav]| match set {
            Some(set) => scores(set, rows, &plain, cavs),
            None => Ok(Array2::zeros((0, cavs.len()))),
        };
        let everything = |set: &Option<LayerSet>| (0..set.as_ref().map_or(0, LayerSet::len)).collect::<Vec<_>>();
        let of_test = scores(&plain, &test, &plain, &all)?;
        let view_set = open(&items::views(context))?;
        let views = of(&view_set, &everything(&view_set), &probes)?;
        let (edits, edit_rows) = items::edits(context)?;
        let edit_set = open(&edits)?;
        let edits = of(&edit_set, &everything(&edit_set), &probes)?;
        let maps = Maps::open(context, layer, variant)?;
        let (scores, enlarging) = (of_test, localise::enlarging(context, layer)?);
        Ok(Self { fitted, maps, test, scores, layer, variant, enlarging, views, view_set, edits, edit_rows, edit_set })
    }

    /// Columns of the concept's references in the scores, in the order of their draws.
    pub(super) fn references(&self, concept: &str) -> Vec<usize> {
        let first = self.fitted.cavs.len();
        let named = self.fitted.references.iter().enumerate().filter(|(_, c)| c.concept == concept);
        named.map(|(i, _)| first + i).collect()
    }

    /// Columns of the twins of the concept's FP-CAV in the scores.
    pub(super) fn twins(&self, concept: &str) -> Vec<usize> {
        let first = self.fitted.cavs.len() + self.fitted.references.len();
        let named = self.fitted.twins.iter().enumerate().filter(|(_, c)| c.concept == concept);
        named.map(|(i, _)| first + i).collect()
    }

    /// Column of a probe of the concept.
    pub(super) fn probe(&self, concept: &str, kind: &str) -> Option<usize> {
        self.fitted.cavs.iter().position(|c| c.concept == concept && c.probe == kind)
    }
}

/// The test samples with a known label of one concept.
pub(super) struct Concept {
    /// Its number.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Positions in [`Unit::test`].
    pub known: Vec<usize>,
    /// Whether the concept is present in each.
    pub present: Vec<bool>,
    /// Share of each that it covers; NaN without a mask.
    pub coverage: Vec<f32>,
    /// Names of what else is in each.
    pub labels: Vec<std::collections::BTreeSet<String>>,
    /// The mean activation of each at the study's last layer, where pictures are matched by it.
    pub embedding: Option<Vec<Vec<f32>>>,
    /// Resamples of their blocks.
    pub bootstrap: Bootstrap,
}

impl Concept {
    pub(super) fn of(context: &Context, unit: &Unit, number: usize) -> Result<Self> {
        let samples = context.dataset.samples();
        let sample = |at: &usize| &samples[unit.test[*at]];
        let known: Vec<usize> =
            (0..unit.test.len()).filter(|at| sample(at).presence[number] != Presence::Unknown).collect();
        let blocks: Vec<usize> = known.iter().map(|at| context.split.block[unit.test[*at]]).collect();
        let name = context.concepts()[number].clone();
        let mut rng = context.seed.stream(&format!("bootstrap/{name}"));
        let embedding = match context.study.score.matching {
            Match::Labels => None,
            Match::Embedding => Some(embedding(context, known.iter().map(|at| unit.test[*at]))?),
        };
        Ok(Self {
            number,
            embedding,
            present: known.iter().map(|at| sample(at).presence[number] == Presence::Present).collect(),
            coverage: known.iter().map(|at| sample(at).coverage[number]).collect(),
            labels: known
                .iter()
                .map(|at| sample(at).labels.iter().filter(|l| **l != name).cloned().collect())
                .collect(),
            bootstrap: Bootstrap::new(&blocks, context.study.score.bootstrap, &mut rng),
            known,
            name,
        })
    }

    /// A column of scores of the known samples.
    pub(super) fn scores(&self, unit: &Unit, column: usize) -> Vec<f64> {
        self.known.iter().map(|at| unit.scores[[*at, column]]).collect()
    }

    /// Number of samples with the concept.
    pub(super) fn positives(&self) -> usize {
        self.present.iter().filter(|p| **p).count()
    }

    /// Rows of a known sample's views in [`Unit::views`].
    pub(super) fn views(&self, at: usize, views: usize) -> Range<usize> {
        self.known[at] * views..(self.known[at] + 1) * views
    }
}

/// Mean activations of samples at the study's last layer.
fn embedding(context: &Context, samples: impl Iterator<Item = usize>) -> Result<Vec<Vec<f32>>> {
    let last = context.layers.len().saturating_sub(1);
    let set = context.extraction().open(&context.store, &items::plain(context), last)?;
    samples.map(|sample| Ok(set.pooled(&[sample])?.into_raw_vec_and_offset().0)).collect()
}
