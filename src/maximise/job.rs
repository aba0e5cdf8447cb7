//! What is to be rendered.

use super::objective::Objective;

/// One picture to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name in messages and tables.
    pub label: String,
    /// What it is to maximise.
    pub objective: Objective,
    /// Number of the noise that it starts from and of the shaking; jobs with the same number share both.
    pub seed: u64,
    /// The numbers to start from instead of noise, as many as the parameterisation has.
    pub start: Option<Vec<f32>>,
}
