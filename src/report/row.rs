//! The rows of the two tables a run writes.

use serde::{Deserialize, Serialize};

use crate::metric::Estimate;

/// One row of `metrics.parquet`. The first ten fields are the key and unique.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// The study's name.
    pub study: String,
    /// The model's name.
    pub model: String,
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// `full` or `ti`.
    pub variant: String,
    /// The study's seed.
    pub seed: u64,
    /// The split measured on, normally `test`.
    pub split: String,
    /// The metric's name.
    pub metric: String,
    /// Augmentation and strength, threshold, or other parameter; empty without one.
    pub parameter: String,
    /// The value with interval, null and n.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Whether a larger value is a better one.
    pub higher_is_better: bool,
}

/// One row of `samples.parquet`: what one probe said of one sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// The layer's name.
    pub layer: String,
    /// The concept's name.
    pub concept: String,
    /// The probe's kind.
    pub probe: String,
    /// `full` or `ti`.
    pub variant: String,
    /// Digest of the sample's pixels.
    pub sample: String,
    /// The sample's readable name.
    pub name: String,
    /// The split.
    pub split: String,
    /// Whether the concept is present.
    pub present: bool,
    /// The probe's score; positive means the concept.
    pub score: f64,
}
