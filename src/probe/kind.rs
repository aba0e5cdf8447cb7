//! The table of probe kinds. A kind is one file with one implementation of [`ProbeKind`], and one line here.

use std::collections::BTreeMap;

use super::task::{Outcome, Solution, Task};
use super::{
    classifier, combination, combination_span, combination_sum, cured, cured_partial, cured_span, false_positive, lda,
    mean_difference, null, pattern, random_set, ridge, segmentation, svm,
};
use crate::error::Result;

/// A way of turning labelled activations into a direction.
pub trait ProbeKind: Sync {
    /// The name in study files and tables.
    fn name(&self) -> &'static str;

    /// One line for `cavern ls probes`.
    fn about(&self) -> &'static str;

    /// Kinds whose solutions this one is made from; they stand before it in [`KINDS`].
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Fits the direction. `earlier` holds the kinds already solved for this task.
    ///
    /// # Errors
    /// When activations or masks cannot be read.
    fn fit(&self, task: &Task<'_>, earlier: &Earlier) -> Result<Outcome>;
}

/// Solutions of the same task, by kind.
pub type Earlier = BTreeMap<String, Solution>;

/// Every kind, in the order they are fitted.
pub const KINDS: &[&dyn ProbeKind] = &[
    &classifier::Classifier,
    &ridge::Ridge,
    &svm::Svm,
    &pattern::Pattern,
    &mean_difference::MeanDifference,
    &mean_difference::FastCav,
    &lda::Lda,
    &false_positive::FalsePositive,
    &cured::Cured,
    &cured_partial::CuredPartial,
    &cured_span::CuredSpan,
    &segmentation::Segmentation,
    &combination::Combination,
    &combination_sum::CombinationSum,
    &combination_span::CombinationSpan,
    &null::RandomDirection,
    &null::PermutedLabels,
    &random_set::RandomSet,
];

/// The solution of an earlier kind, or the refusal that follows from its absence.
///
/// # Errors
/// The refusal.
pub fn needed<'a>(earlier: &'a Earlier, kind: &str) -> std::result::Result<&'a Solution, Outcome> {
    earlier.get(kind).ok_or_else(|| Outcome::Refused(format!("there is no `{kind}` direction to start from")))
}
