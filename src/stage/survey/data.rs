//! The real pictures of a survey.

use rand::seq::index;
use rayon::prelude::*;

use crate::dataset::preprocess::Picture;
use crate::dataset::{self, Dataset, Presence};
use crate::error::{Error, Result};
use crate::maximise::Planes;
use crate::metric::claim::purity;
use crate::model::Graph;
use crate::seed::Seed;
use crate::store::digest::{Digest, DigestBuilder};
use crate::study::SurveyData;

/// Draws behind the purity of pictures that no unit has chosen.
const DRAWS: usize = 200;

/// Chosen samples of a dataset, with their classes.
pub(super) struct Pictures {
    dataset: Box<dyn Dataset>,
    samples: Vec<usize>,
    /// Of every sample, the one concept that it shows; none where it shows several, or none.
    pub(super) classes: Vec<Option<usize>>,
}

impl Pictures {
    /// Opens a dataset and chooses its samples.
    ///
    /// # Errors
    /// When it cannot be read, or has no such source.
    pub(super) fn open(name: &str, spec: &SurveyData, seed: Seed) -> Result<Self> {
        let dataset = dataset::open(&spec.dataset, seed)?;
        let all = dataset.samples();
        let wanted = |i: &usize| spec.source.as_ref().is_none_or(|source| all[*i].source == *source);
        let own: Vec<usize> = (0..all.len()).filter(wanted).collect();
        if own.is_empty() {
            let problem = format!("`{name}` has no pictures of the source `{}`", spec.source.as_deref().unwrap_or(""));
            let hint = "leave data.NAME.source out for all";
            return Err(Error::key(format!("data.{name}.source"), problem, hint));
        }
        let count = spec.pictures.clamp(1, own.len());
        let samples: Vec<usize> = (0..count).map(|i| own[i * own.len() / count]).collect();
        let class = |sample: &usize| {
            let mut shown = (0..dataset.concepts().len()).filter(|c| all[*sample].presence[*c] == Presence::Present);
            shown.next().filter(|_| shown.next().is_none())
        };
        let classes = samples.iter().map(class).collect();
        Ok(Self { dataset, samples, classes })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// The classes' names.
    pub(super) fn names(&self) -> &[String] {
        self.dataset.concepts()
    }

    /// Of the pixels and the classes.
    pub(super) fn digest(&self) -> Result<Digest> {
        let ids: Vec<&Digest> = self.samples.iter().map(|s| &self.dataset.samples()[*s].id).collect();
        let digest = DigestBuilder::new("survey pictures v1").json("ids", &ids)?.json("classes", &self.classes)?;
        digest.json("names", &self.names())?.finish_ok()
    }

    /// Some of them as a network sees them, before normalisation.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn seen(&self, graph: &Graph, places: std::ops::Range<usize>) -> Result<Vec<Picture>> {
        let load = |place: usize| graph.preprocess().picture(&self.dataset.image(self.samples[place])?);
        places.into_par_iter().map(load).collect()
    }

    /// Some, evenly spread, as planes of levels in \[0, 1\].
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn spread(&self, graph: &Graph, count: usize) -> Result<Vec<Planes>> {
        let (count, shape) = (count.min(self.len()), graph.input_shape());
        let load = |i: usize| {
            let place = i * self.len() / count;
            let picture = self.seen(graph, place..place + 1)?.remove(0);
            Ok(Planes { shape, values: graph.preprocess().levels(&picture, shape[0]) })
        };
        (0..count).map(load).collect()
    }

    /// Purity of pictures by their places; those of no one class are left out.
    pub(super) fn purity(&self, places: &[usize]) -> f64 {
        let classes: Vec<usize> = places.iter().filter_map(|place| self.classes[*place]).collect();
        purity(&classes, self.classes_shown())
    }

    /// The mean purity of as many pictures drawn at random: what a unit without a class has.
    pub(super) fn chance(&self, count: usize, seed: Seed) -> f64 {
        let count = count.min(self.len());
        let draw = |i: usize| {
            let mut rng = seed.stream(&format!("survey purity {i}"));
            self.purity(&index::sample(&mut rng, self.len(), count).into_vec())
        };
        (0..DRAWS).map(draw).sum::<f64>() / DRAWS as f64
    }

    /// Classes that any picture shows.
    fn classes_shown(&self) -> usize {
        (0..self.names().len()).filter(|c| self.classes.contains(&Some(*c))).count()
    }
}
