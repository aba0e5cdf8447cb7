//! The object every probe yields: a direction with its provenance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::image_score::ImageScore;
use super::kernel::Kernel;
use crate::activation::Variant;

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
    /// The form of the activations it is a direction of.
    pub variant: Variant,
    /// Shape of the layer's activation: `[channel, height, width]`.
    pub shape: [usize; 3],
    /// Unit vector: `channel * height * width` values for full, `channel` values for the other variants; empty where the
    /// score is a kernel's.
    #[serde(skip)]
    pub direction: Vec<f32>,
    /// The score of a kind that has no direction; its margin lies at 1 and -1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// What a picture's score is of its positions': their mean unless `probe.image_score` says otherwise.
    #[serde(default, skip_serializing_if = "ImageScore::is_default")]
    pub image_score: ImageScore,
    /// Norm of the weights before they were made a unit vector; 1 of a kernel.
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

impl Cav {
    /// Whether positions have scores of their own, so that there is a map: the form of the activations is linear, and a
    /// direction says what speaks for the concept.
    pub fn has_map(&self) -> bool {
        self.kernel.is_none() && self.variant.is_linear()
    }

    /// Whether the picture's score is the sum of its map, so that the direction is its gradient.
    pub fn is_linear(&self) -> bool {
        self.has_map() && self.image_score == ImageScore::Mean
    }
}
