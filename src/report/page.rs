//! What the rest of the program fills in for a report.

use serde::Serialize;

use super::comparison::Comparison;
use super::correlation::Correlation;
use super::row::MetricRow;
use super::select::sorted;

/// Everything a report shows.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The page's title, normally the study's name.
    pub title: &'a str,
    /// One or two sentences: what was asked.
    pub about: &'a str,
    /// What was run, as name and value: model, weights, dataset, seed, tool version, device, …
    pub facts: Vec<(String, String)>,
    /// The study file, word for word.
    pub study_text: String,
    /// Samples by concept and part.
    pub counts: Vec<ConceptCount>,
    /// What was asked for and could not be given.
    pub refusals: Vec<Refusal>,
    /// All measured numbers.
    pub rows: &'a [MetricRow],
    /// Probes against each other: [`super::comparisons`] of the rows.
    pub comparisons: Vec<Comparison>,
    /// Accuracy against the other metrics, and the truth against all of them: [`super::correlations`] of the rows.
    pub correlations: Vec<Correlation>,
    /// Concepts and what kind of concept they are; a concept without a kind is not listed.
    pub kinds: Vec<(String, String)>,
    /// Where the weights of full directions lie on the grid.
    pub norms: Vec<NormMap>,
    /// Localisation maps over pictures.
    pub overlays: Vec<Overlay>,
    /// Pictures made by activation maximisation.
    pub renderings: Vec<RenderingFigure>,
    /// Cosines between the probe kinds.
    pub cosines: Vec<CosineMatrix>,
    /// The objective of activation maximisation, step by step.
    pub traces: Vec<Trace>,
    /// The course of the network's training by epoch, where it is known.
    pub training: Vec<Trace>,
    /// Files that were left out, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Remarks that a reader must see before the numbers.
    pub notes: Vec<String>,
}

impl Page<'_> {
    /// The concepts with a part of their own, in natural order: those that have an accuracy, a map or a rendering.
    pub(super) fn concepts(&self) -> Vec<&str> {
        let measured = self.rows.iter().filter(|r| r.metric == "accuracy").map(|r| r.concept.as_str());
        let mapped = self.overlays.iter().map(|o| o.concept.as_str());
        let rendered = self.renderings.iter().filter(|r| r.role == "cav").map(|r| r.concept.as_str());
        sorted(measured.chain(mapped).chain(rendered))
    }
}

/// How many samples of one part show a concept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConceptCount {
    /// The concept's name.
    pub concept: String,
    /// `fit`, `val`, `test` or `out`.
    pub part: String,
    /// Samples known to show it.
    pub present: usize,
    /// Samples known not to show it.
    pub absent: usize,
    /// Samples of which neither is known; they are never used as negatives.
    pub unknown: usize,
}

/// A probe that was not fitted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The layer's name.
    pub layer: String,
    /// `full` or `ti`.
    pub variant: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// What stood in the way.
    pub reason: String,
}

/// One localisation map over its picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// `full` or `ti`.
    pub variant: String,
    /// `true positive`, `false positive`, `false negative` or `true negative`.
    pub outcome: String,
    /// The sample's readable name.
    pub sample: String,
    /// The probe's score; positive means the concept.
    pub score: f64,
    /// The PNG's path relative to the run's folder.
    pub file: String,
    /// The PNG's bytes.
    pub png: Vec<u8>,
}

/// One picture made by activation maximisation.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderingFigure {
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// `full` or `ti`.
    pub variant: String,
    /// `cav`, `unit`, `negative` (the direction turned round), `random`, `untrained` (in the network with random weights),
    /// `transparent` (a rendering with an alpha channel: where it matters) or `real` (a picture of the dataset that scores highly).
    pub role: String,
    /// What it is made of, where the study's pictures are made of several things.
    pub parameter: Option<String>,
    /// The rendering's seed; of a real picture its place among them, from 0.
    pub seed: u64,
    /// The objective's last value.
    pub score: f64,
    /// Share of real positive samples with a lower objective, in percent.
    pub percentile: Option<f64>,
    /// A remark: did not converge, …
    pub note: Option<String>,
    /// The PNG's path relative to the run's folder.
    pub file: String,
    /// The PNG's bytes.
    pub png: Vec<u8>,
}

/// Cosines between the probe kinds of one concept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CosineMatrix {
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// `full` or `ti`.
    pub variant: String,
    /// The probe kinds, in the order of rows and columns.
    pub names: Vec<String>,
    /// `names.len()` rows of as many cosines; NaN where a direction is missing.
    pub values: Vec<Vec<f64>>,
}

/// Norms of the weights of a full direction, by position.
#[derive(Debug, Clone, PartialEq)]
pub struct NormMap {
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind, or what else the map is of.
    pub label: String,
    /// Height and width of the grid.
    pub grid: (usize, usize),
    /// `height * width` norms, row by row.
    pub norms: Vec<f64>,
}

/// Numbers by step: the objective of one activation maximisation, or one number of the course of a training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// What they are of.
    pub label: String,
    /// One value a step.
    pub values: Vec<f32>,
}
