//! What a network's units do on real pictures: the bar that an ascent has to clear, and the classes behind it.

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::data::Pictures;
use super::subject::Subject;
use crate::error::Result;
use crate::maximise::Reader;
use crate::maximise::attack::largest;
use crate::maximise::spectrum::Spectral;
use crate::metric::bootstrap::quantile;
use crate::seed::Seed;
use crate::stage::Progress;
use crate::store::Store;
use crate::store::digest::{Digest, DigestBuilder};
use crate::study::Survey;

const KIND: &str = "survey-real";
const TABLE: &str = "real.json";
/// Pictures in memory at once.
const BATCH: usize = 64;

/// What was found of one network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Real {
    /// Share of the pictures of one class that the network names right; NaN where it does not name these classes.
    #[serde(with = "crate::store::nan")]
    pub(super) accuracy: f64,
    /// Mean spectral centroid of the pictures, in cycles a pixel.
    #[serde(with = "crate::store::nan")]
    pub(super) centroid: f64,
    /// Mean purity of as many pictures as exemplars, drawn at random.
    #[serde(with = "crate::store::nan")]
    pub(super) chance: f64,
    /// By unit.
    pub(super) units: Vec<RealUnit>,
}

/// What one unit does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RealUnit {
    #[serde(with = "crate::store::nan")]
    pub(super) mean: f64,
    /// Standard deviation; a unit without is dead.
    #[serde(with = "crate::store::nan")]
    pub(super) deviation: f64,
    /// The score that the survey's share of pictures stays below.
    #[serde(with = "crate::store::nan")]
    pub(super) threshold: f64,
    /// See [`crate::metric::claim::purity`], of the highest-scoring pictures.
    #[serde(with = "crate::store::nan")]
    pub(super) purity: f64,
    /// Places of the highest-scoring pictures, the highest first.
    pub(super) exemplars: Vec<usize>,
}

impl RealUnit {
    /// Whether no picture moves it.
    pub(super) fn is_dead(&self) -> bool {
        self.deviation == 0.0 || self.deviation.is_nan()
    }
}

/// Scores every picture, or reads what was found before.
///
/// # Errors
/// When a picture cannot be read, the network fails, or the user wants to stop.
pub(super) fn real(
    survey: &Survey,
    subject: &Subject<'_>,
    pictures: &Pictures,
    device: &Device,
    store: &Store,
    progress: &mut Progress,
) -> Result<Real> {
    let key = key(survey, subject, pictures, device)?;
    let made = store.get_or_make(KIND, &key, serde_json::json!({ "network": subject.name }), |draft| {
        progress.weigh(subject.look());
        draft.write_json(TABLE, &measure(survey, subject, pictures, device, progress)?)
    })?;
    progress.keep()?;
    made.read_json(TABLE)
}

/// Whether the store has what was found of a network.
///
/// # Errors
/// When a value has no JSON form.
pub(super) fn is_found(
    survey: &Survey,
    subject: &Subject<'_>,
    pictures: &Pictures,
    device: &Device,
    store: &Store,
) -> Result<bool> {
    Ok(store.has(KIND, &key(survey, subject, pictures, device)?))
}

fn key(survey: &Survey, subject: &Subject<'_>, pictures: &Pictures, device: &Device) -> Result<Digest> {
    let texts: Vec<&str> = subject.units.iter().map(|unit| unit.text.as_str()).collect();
    DigestBuilder::new("survey real v1")
        .field("network", subject.graph.digest().as_str())
        .json("preprocess", subject.graph.preprocess())?
        .json("classes", &subject.graph.classes())?
        .json("units", &texts)?
        .field("pictures", pictures.digest()?.as_str())
        .json("exemplars", &survey.exemplars)?
        .json("percentile", &survey.percentile)?
        .json("seed", &survey.seed)?
        .field("device", if device.is_cpu() { "cpu" } else { "cuda" })
        .finish_ok()
}

fn measure(
    survey: &Survey,
    subject: &Subject<'_>,
    pictures: &Pictures,
    device: &Device,
    progress: &mut Progress,
) -> Result<Real> {
    let graph = &subject.graph;
    let objectives = subject.units.iter().map(|unit| unit.objective.clone()).collect();
    let reader = Reader::new(graph, device, BATCH, objectives, vec![graph.logits()]);
    let (size, shape) = (graph.input_shape().iter().product::<usize>(), graph.input_shape());
    let mut scores: Vec<Vec<f64>> = vec![Vec::new(); subject.units.len()];
    let (mut named, mut centroid) = (Vec::new(), 0.0);
    for first in (0..pictures.len()).step_by(BATCH) {
        let seen = pictures.seen(graph, first..(first + BATCH).min(pictures.len()))?;
        let mut inputs = vec![0f32; seen.len() * size];
        for (picture, input) in seen.iter().zip(inputs.chunks_exact_mut(size.max(1))) {
            graph.preprocess().normalise(picture, input);
            centroid += Spectral::of(&graph.preprocess().levels(picture, shape[0]), shape[1], shape[2]).centroid;
        }
        for looked in reader.see(&inputs)? {
            scores.iter_mut().zip(&looked.scores).for_each(|(all, score)| all.push(*score));
            named.push(largest(&looked.means[0]));
        }
        progress.step(seen.len());
    }
    Ok(Real {
        accuracy: accuracy(graph.classes(), &named, pictures),
        centroid: centroid / pictures.len() as f64,
        chance: pictures.chance(survey.exemplars, Seed(survey.seed)),
        units: scores.iter().map(|scores| of_unit(survey, scores, pictures)).collect(),
    })
}

/// The share named right; NaN unless the network has a class for each of the data's.
fn accuracy(classes: &[String], named: &[usize], pictures: &Pictures) -> f64 {
    let places: Option<Vec<usize>> =
        pictures.names().iter().map(|name| classes.iter().position(|class| class == name)).collect();
    let Some(places) = places else { return f64::NAN };
    let known = named.iter().zip(&pictures.classes).filter_map(|(named, class)| Some((*named, places[(*class)?])));
    let (right, all) = known.fold((0, 0), |(right, all), (a, b)| (right + usize::from(a == b), all + 1));
    right as f64 / f64::from(all)
}

fn of_unit(survey: &Survey, scores: &[f64], pictures: &Pictures) -> RealUnit {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let sorted: Vec<f64> = order.iter().rev().map(|i| scores[*i]).collect();
    let exemplars = order[..survey.exemplars.min(order.len())].to_vec();
    RealUnit {
        mean,
        deviation: (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt(),
        threshold: quantile(&sorted, survey.percentile),
        purity: pictures.purity(&exemplars),
        exemplars,
    }
}
