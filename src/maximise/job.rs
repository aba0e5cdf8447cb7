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
    /// What to start from instead of noise.
    pub start: Option<Start>,
}

/// What an ascent starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Numbers of the parameterisation, as many as it has.
    Numbers(Vec<f32>),
    /// A picture of the network's size, `[channel, height, width]`, values in \[0, 1\].
    Picture(Vec<f32>),
}
