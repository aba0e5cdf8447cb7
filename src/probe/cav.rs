//! The object every probe yields: a direction with its provenance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether a direction has its own weights at every position, or one weight a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// Weights `[channel, height, width]`: `s = <w, z> + b`.
    #[serde(rename = "full")]
    Full,
    /// Weights `[channel]`, the same everywhere: `s = <v, mean over positions of z> + b`.
    #[serde(rename = "ti")]
    TranslationInvariant,
}

impl Variant {
    /// The name in tables: `full` or `ti`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TranslationInvariant => "ti",
        }
    }
}

/// How well the solver did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Regularisation strength chosen; NaN where the kind has none.
    #[serde(with = "crate::store::nan")]
    pub lambda: f64,
    /// Norm of the gradient of the objective at the solution; NaN for closed forms.
    #[serde(with = "crate::store::nan")]
    pub gradient_norm: f64,
    /// Positives the direction was fitted on.
    pub positives: usize,
    /// Negatives the direction was fitted on.
    pub negatives: usize,
}

/// A concept activation vector. Positive scores always mean the concept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cav {
    /// The concept's name.
    pub concept: String,
    /// The layer's name.
    pub layer: String,
    /// The probe's kind, as in tables: `classifier`, `pattern`, `fp`, `cured`, `segmentation`, `random`, …
    pub probe: String,
    /// Full or translation-invariant.
    pub variant: Variant,
    /// Shape of the layer's activation: `[channel, height, width]`.
    pub shape: [usize; 3],
    /// Unit vector: `channel * height * width` values for full, `channel` values for translation-invariant.
    #[serde(skip)]
    pub direction: Vec<f32>,
    /// Norm of the weights before they were made a unit vector.
    pub norm: f64,
    /// Offset that belongs to the unit direction: score `s = <direction, z> + bias`.
    pub bias: f64,
    /// The threshold with the best balanced accuracy on the validation split (Youden); the native one is zero.
    pub threshold: f64,
    /// Solver status and class balance.
    pub fit: Fit,
    /// Other numbers known of this direction, by metric name: `false_positives`, `cos_classifier`, `selection_null_cos`.
    pub facts: BTreeMap<String, f64>,
}
