//! The only form in which a number leaves this module.

use serde::{Deserialize, Serialize};

/// A measured value with its uncertainty and what chance would give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value; NaN where it is not defined.
    #[serde(with = "crate::store::nan")]
    pub value: f64,
    /// Lower end of the 95 % interval.
    #[serde(with = "crate::store::nan")]
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    #[serde(with = "crate::store::nan")]
    pub ci_high: f64,
    /// What the metric gives where there is nothing to find; NaN where no such level is known. Where [`Estimate::BACKBONE`]
    /// is its kind it is what the network itself gives: a ceiling.
    #[serde(with = "crate::store::nan")]
    pub null: f64,
    /// Where `null` comes from: "chance", "random direction", "permuted labels", "backbone", …; empty without one.
    pub null_kind: String,
    /// Number of samples behind the value.
    pub n: usize,
}

impl Estimate {
    /// The kind of a `null` that is no chance level but what the network itself gives.
    pub const BACKBONE: &str = "backbone";

    /// Whether `null` is a ceiling: a value near it has shown much, not nothing.
    pub fn has_ceiling(&self) -> bool {
        self.null_kind == Self::BACKBONE
    }
}
