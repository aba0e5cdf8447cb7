//! What a survey of networks has found: its rows, its tables, and what its page shows.

use serde::{Deserialize, Serialize};

use super::table::{NamedValues, columns_csv, flag, number, text};
use crate::error::Result;
use crate::metric::claim::{Effect, Verdict};

/// A claim about activation maximisation, after the abstract of Zhu and Cangelosi 2025 ("Representation Understanding via
/// Activation Maximization"); how it is tested is our definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// From low-level to abstract with depth.
    Depth,
    /// Harder in larger networks.
    Size,
    /// Harder in transformers than in convolutional networks.
    Family,
    /// Of use for attacks.
    Attack,
}

impl ClaimKind {
    /// All of them, in the page's order.
    pub const ALL: [Self; 4] = [Self::Depth, Self::Size, Self::Family, Self::Attack];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Size => "size",
            Self::Family => "family",
            Self::Attack => "attack",
        }
    }

    /// What is claimed.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Depth => "From layer to layer, what units ask for goes from low-level to abstract.",
            Self::Size => "The ascent becomes harder as a network grows.",
            Self::Family => "The ascent is harder in a vision transformer than in a convolutional network.",
            Self::Attack => "What units ask for can be turned against the network.",
        }
    }
}

/// One test of a claim.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// The claim.
    pub kind: ClaimKind,
    /// The data that its networks look at.
    pub data: String,
    /// Networks, or the series, that are compared.
    pub about: String,
    /// What is measured.
    pub measure: String,
    /// The effect with its interval; 0 is none.
    pub effect: Effect,
    /// Whether the claim says that it is negative.
    pub falls: bool,
    /// Whether it is of a network without anything learnt, where the claim should not hold.
    pub control: bool,
}

impl Claim {
    /// How it came out.
    pub fn verdict(&self) -> Verdict {
        self.effect.verdict(self.falls)
    }
}

/// How the ascents of one network went with one step size.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SurveySweep {
    /// The step size.
    pub learning_rate: f64,
    /// Share of ascents that never came above the threshold.
    pub failed: f64,
    /// Mean steps to it; a failure counts with all its steps.
    pub mean_steps: f64,
}

/// One network.
#[derive(Debug, Clone, Serialize)]
pub struct SurveyNetworkRow {
    /// Its name in the survey.
    pub network: String,
    /// Its data.
    pub data: String,
    /// `cnn` or `vit`.
    pub family: String,
    /// Whether its weights are random.
    pub untrained: bool,
    /// Numbers in its weights.
    pub parameters: usize,
    /// Share of pictures named right; NaN where it does not name these classes.
    pub accuracy: f64,
    /// Units drawn, and how many of them no real picture moves.
    pub units: [usize; 2],
    /// Every step size.
    pub sweeps: Vec<SurveySweep>,
    /// The place of its best one.
    pub best: usize,
}

/// One unit, at its network's best step size.
#[derive(Debug, Clone, Serialize)]
pub struct SurveyUnitRow {
    /// The network.
    pub network: String,
    /// Its data.
    pub data: String,
    /// `cnn` or `vit`.
    pub family: String,
    /// Whether the network's weights are random.
    pub untrained: bool,
    /// Its layer.
    pub layer: String,
    /// Place of the layer among those looked at, from 0 to 1.
    pub depth: f64,
    /// The unit.
    pub unit: String,
    /// Whether no real picture moves it.
    pub dead: bool,
    /// Mean over real pictures.
    pub mean: f64,
    /// Standard deviation over them.
    pub deviation: f64,
    /// What an ascent has to exceed.
    pub threshold: f64,
    /// Purity of its highest-scoring pictures.
    pub purity: f64,
    /// The same of pictures drawn at random.
    pub chance: f64,
    /// Mean steps to the threshold; a failure counts with all its steps.
    pub steps: f64,
    /// Share of its ascents that failed.
    pub failed: f64,
    /// Mean score of the last pictures, in deviations above the mean of real ones.
    pub z: f64,
    /// Mean spectral centroid of the last pictures, in cycles a pixel.
    pub centroid: f64,
    /// What was wrong with an ascent, where something was.
    pub remark: String,
}

/// Attacks on one network by one method at one strength, or changes of the same size without an aim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SurveyAttackRow {
    /// The network.
    pub network: String,
    /// Its data.
    pub data: String,
    /// `targeted`, `unit` or `blend`.
    pub method: String,
    /// Whether without an aim.
    pub control: bool,
    /// Levels of 255; of blends the mean share of the other picture.
    #[serde(with = "crate::store::nan")]
    pub strength: f64,
    /// Pictures.
    pub n: usize,
    /// Pictures whose target came first.
    pub reached: usize,
    /// Pictures whose class changed.
    pub changed: usize,
    /// Mean probability of the target.
    #[serde(with = "crate::store::nan")]
    pub confidence: f64,
    /// Mean of the largest change of a value, in levels of 255.
    #[serde(with = "crate::store::nan")]
    pub change: f64,
    /// Mean norm of the change, in levels of \[0, 1\].
    #[serde(with = "crate::store::nan")]
    pub norm: f64,
    /// Mean peak signal-to-noise ratio in decibels; NaN where a picture did not change.
    #[serde(with = "crate::store::nan")]
    pub psnr: f64,
    /// Mean structural similarity.
    #[serde(with = "crate::store::nan")]
    pub ssim: f64,
    /// Mean share of pictures whose target came first in the other attacked networks of the data; NaN without others.
    #[serde(with = "crate::store::nan")]
    pub transfer: f64,
}

/// Pictures of one network: a line a layer.
#[derive(Debug, Clone)]
pub struct SurveyGrid {
    /// The network.
    pub network: String,
    /// Layers from low to high: each unit's name, what it asks for, and the real picture that it scores highest, as PNGs.
    pub layers: Vec<(String, Vec<SurveyPicture>)>,
}

/// A unit's pictures.
#[derive(Debug, Clone)]
pub struct SurveyPicture {
    /// The unit.
    pub unit: String,
    /// A word about it.
    pub remark: String,
    /// The rendering.
    pub rendered: Vec<u8>,
    /// The real picture with the highest score.
    pub real: Vec<u8>,
}

/// Everything a survey's page shows.
#[derive(Debug, Clone, Default)]
pub struct SurveyPage {
    /// Its name.
    pub title: String,
    /// What was asked.
    pub about: String,
    /// What was run, as name and value.
    pub facts: Vec<(String, String)>,
    /// The file, with what the command line changed.
    pub text: String,
    /// Tests of the claims.
    pub claims: Vec<Claim>,
    /// Networks.
    pub networks: Vec<SurveyNetworkRow>,
    /// Units.
    pub units: Vec<SurveyUnitRow>,
    /// Attacks.
    pub attacks: Vec<SurveyAttackRow>,
    /// Mean spectral centroid of real pictures, by data.
    pub centroids: Vec<(String, f64)>,
    /// Pictures.
    pub grids: Vec<SurveyGrid>,
}

/// What the tests of a claim measure, each once, in order.
pub(super) fn measures<'c>(claims: impl Iterator<Item = &'c Claim>) -> Vec<&'c str> {
    let mut measures: Vec<&str> = Vec::new();
    for claim in claims {
        if !measures.contains(&claim.measure.as_str()) {
            measures.push(&claim.measure);
        }
    }
    measures
}

/// The tables of a page, as file name and CSV.
///
/// # Errors
/// When a table cannot be built.
pub fn survey_tables(page: &SurveyPage) -> Result<Vec<(&'static str, Vec<u8>)>> {
    Ok(vec![
        ("claims.csv", columns_csv(&claims(&page.claims))?),
        ("networks.csv", columns_csv(&networks(&page.networks))?),
        ("units.csv", columns_csv(&units(&page.units))?),
        ("attacks.csv", columns_csv(&attacks(&page.attacks))?),
    ])
}

fn claims(rows: &[Claim]) -> Vec<NamedValues> {
    vec![
        text("claim", rows, |r| r.kind.name()),
        text("data", rows, |r| r.data.as_str()),
        text("about", rows, |r| r.about.as_str()),
        text("measure", rows, |r| r.measure.as_str()),
        flag("control", rows, |r| r.control),
        number("effect", rows, |r| r.effect.value),
        number("low", rows, |r| r.effect.low),
        number("high", rows, |r| r.effect.high),
        number("n", rows, |r| r.effect.n as f64),
        text("claimed", rows, |r| if r.falls { "negative" } else { "positive" }),
        text("verdict", rows, |r| r.verdict().name()),
    ]
}

/// One line a network and step size.
fn networks(rows: &[SurveyNetworkRow]) -> Vec<NamedValues> {
    let all: Vec<(&SurveyNetworkRow, usize)> =
        rows.iter().flat_map(|r| (0..r.sweeps.len()).map(move |i| (r, i))).collect();
    vec![
        text("network", &all, |(r, _)| r.network.as_str()),
        text("data", &all, |(r, _)| r.data.as_str()),
        text("family", &all, |(r, _)| r.family.as_str()),
        flag("untrained", &all, |(r, _)| r.untrained),
        number("parameters", &all, |(r, _)| r.parameters as f64),
        number("accuracy", &all, |(r, _)| r.accuracy),
        number("units", &all, |(r, _)| r.units[0] as f64),
        number("dead_units", &all, |(r, _)| r.units[1] as f64),
        number("learning_rate", &all, |(r, i)| r.sweeps[*i].learning_rate),
        number("failed", &all, |(r, i)| r.sweeps[*i].failed),
        number("mean_steps", &all, |(r, i)| r.sweeps[*i].mean_steps),
        flag("best", &all, |(r, i)| r.best == *i),
    ]
}

fn units(rows: &[SurveyUnitRow]) -> Vec<NamedValues> {
    vec![
        text("network", rows, |r| r.network.as_str()),
        text("data", rows, |r| r.data.as_str()),
        text("family", rows, |r| r.family.as_str()),
        flag("untrained", rows, |r| r.untrained),
        text("layer", rows, |r| r.layer.as_str()),
        number("depth", rows, |r| r.depth),
        text("unit", rows, |r| r.unit.as_str()),
        flag("dead", rows, |r| r.dead),
        number("mean", rows, |r| r.mean),
        number("deviation", rows, |r| r.deviation),
        number("threshold", rows, |r| r.threshold),
        number("purity", rows, |r| r.purity),
        number("purity_by_chance", rows, |r| r.chance),
        number("steps", rows, |r| r.steps),
        number("failed", rows, |r| r.failed),
        number("z", rows, |r| r.z),
        number("centroid", rows, |r| r.centroid),
        text("remark", rows, |r| r.remark.as_str()),
    ]
}

fn attacks(rows: &[SurveyAttackRow]) -> Vec<NamedValues> {
    vec![
        text("network", rows, |r| r.network.as_str()),
        text("data", rows, |r| r.data.as_str()),
        text("method", rows, |r| r.method.as_str()),
        flag("without_aim", rows, |r| r.control),
        number("strength", rows, |r| r.strength),
        number("n", rows, |r| r.n as f64),
        number("target_reached", rows, |r| r.reached as f64),
        number("class_changed", rows, |r| r.changed as f64),
        number("confidence", rows, |r| r.confidence),
        number("largest_change", rows, |r| r.change),
        number("norm", rows, |r| r.norm),
        number("psnr", rows, |r| r.psnr),
        number("ssim", rows, |r| r.ssim),
        number("transfer", rows, |r| r.transfer),
    ]
}
