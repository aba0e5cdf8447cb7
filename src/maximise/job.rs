//! What is to be rendered.

use crate::probe::Variant;

/// One picture to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name in messages and tables.
    pub label: String,
    /// Unit vector: `channel` values, or `channel * height * width` for full.
    pub direction: Vec<f32>,
    /// Full or translation-invariant.
    pub variant: Variant,
    /// Number of the noise that it starts from and of the shaking; jobs with the same number share both.
    pub seed: u64,
}
