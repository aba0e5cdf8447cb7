//! Settings of the probes: the `[probe]` table of a study.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Variant;
use super::image_score::ImageScore;
use super::kind::{KINDS, kind_names};
use super::scaling::Scaling;
use crate::error::{Error, Result};

/// The `[probe]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeOptions {
    /// Kinds to fit, by name.
    #[schemars(extend("items" = kind_names()))]
    pub kinds: Vec<String>,
    /// Forms of the activations: `full`, `ti`, `ti_max`, `ti_lse`, `ti_lse R`.
    pub variants: Vec<Variant>,
    /// Regularisation strengths to choose from. The objective is the mean loss plus
    /// `lambda / 2` times the squared norm of the weights on activations of unit mean square norm.
    pub lambda: Vec<f64>,
    /// How activations are scaled before a fit: "center", "zscore", "max" or "unit_norm".
    #[serde(skip_serializing_if = "Scaling::is_default")]
    #[schemars(extend("default" = Scaling::default()))]
    pub scaling: Scaling,
    /// How classes are made to count alike: "subsample" or "weights".
    #[serde(skip_serializing_if = "Balance::is_default")]
    #[schemars(extend("default" = Balance::default()))]
    pub balance: Balance,
    /// What the score of a picture is of its positions' scores, for kinds fitted to positions: "mean", "max", "lse R" or
    /// "top Q".
    #[serde(skip_serializing_if = "ImageScore::is_default")]
    #[schemars(extend("default" = ImageScore::default()))]
    pub image_score: ImageScore,
    /// What a lambda is chosen by.
    #[serde(skip_serializing_if = "LambdaBy::is_default")]
    #[schemars(extend("default" = LambdaBy::default()))]
    pub lambda_by: LambdaBy,
    /// Folds for the out-of-fold scores that false positives are mined with, and for `lambda_by = "folds"`.
    #[schemars(range(min = 2))]
    pub folds: usize,
    /// Fewest false positives an FP-CAV is fitted on.
    #[schemars(range(min = 2))]
    pub min_false_positives: usize,
    /// Share of the negatives that `fp_top` takes for false positives, above 0 and at most 0.5.
    #[serde(skip_serializing_if = "is_usual_share")]
    #[schemars(extend("default" = TOP_SHARE, "exclusiveMinimum" = 0, "maximum" = 0.5))]
    pub top_share: f64,
    /// Fewest positives, and fewest negatives, in the fit split and in the test split.
    #[schemars(range(min = 2))]
    pub min_samples: usize,
    /// Positions a shared Segmentation-CAV is fitted on, drawn from masks and their surroundings alike.
    #[schemars(range(min = 100))]
    pub positions: usize,
    /// Classifier-CAVs in the reference ensemble that mines hard samples (H1).
    #[schemars(range(min = 1))]
    pub references: usize,
    /// Random directions, and degraded twins of each FP-CAV.
    #[schemars(range(min = 1))]
    pub controls: usize,
    /// A file of directions for the kind `imported`: `.safetensors` or `.npz`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<PathBuf>,
}

/// What a lambda is chosen by: the least loss, of each kind's own, on samples a fit has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LambdaBy {
    /// The validation split's samples.
    #[default]
    Validation,
    /// The fit split's, each in its turn: `probe.folds` folds of whole blocks.
    Folds,
}

impl LambdaBy {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How classes of unequal numbers are made to count alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// The larger class is subsampled; negatives keep the positives' shares of every source.
    #[default]
    Subsample,
    /// All samples are kept, and each class has half of the weight. Sources are not matched.
    Weights,
}

impl Balance {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What `probe.top_share` is where a study does not say.
const TOP_SHARE: f64 = 0.1;

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_usual_share(share: &f64) -> bool {
    *share == TOP_SHARE
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            kinds: ["classifier", "pattern", "fp", "cured", "segmentation"].map(str::to_owned).to_vec(),
            variants: vec![Variant::Full, Variant::TranslationInvariant],
            lambda: vec![1e-4, 1e-3, 1e-2],
            folds: 5,
            min_false_positives: 50,
            top_share: TOP_SHARE,
            min_samples: 20,
            positions: 20_000,
            references: 5,
            controls: 3,
            lambda_by: LambdaBy::default(),
            scaling: Scaling::Center,
            balance: Balance::Subsample,
            image_score: ImageScore::Mean,
            imported: None,
        }
    }
}

impl ProbeOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a kind does not exist or a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        for kind in &self.kinds {
            if !KINDS.iter().any(|k| k.name() == kind) {
                return Err(Error::unknown("probe kind", kind, KINDS.iter().map(|k| k.name())));
            }
        }
        for kind in &self.kinds {
            for needed in KINDS.iter().filter(|k| k.name() == kind).flat_map(|k| k.needs()) {
                if !self.kinds.iter().any(|k| k == needed) {
                    let problem = format!("`{kind}` is made from `{needed}`, which is not in the list");
                    return Err(Error::key("probe.kinds", problem, format!("add \"{needed}\"")));
                }
            }
        }
        let positive = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        positive("probe.kinds", !self.kinds.is_empty(), "name at least one kind")?;
        positive("probe.variants", !self.variants.is_empty(), "some of \"full\", \"ti\", \"ti_max\" and \"ti_lse\"")?;
        let lambda_ok = !self.lambda.is_empty() && self.lambda.iter().all(|l| l.is_finite() && *l > 0.0);
        positive("probe.lambda", lambda_ok, "a list of positive numbers, such as [1e-4, 1e-3, 1e-2]")?;
        positive("probe.folds", self.folds >= 2, "at least 2")?;
        positive("probe.min_false_positives", self.min_false_positives >= 2, "at least 2; 50 is the default")?;
        let share_ok = self.top_share > 0.0 && self.top_share <= 0.5;
        positive("probe.top_share", share_ok, "above 0 and at most 0.5; 0.1 is the default")?;
        positive("probe.min_samples", self.min_samples >= 2, "at least 2")?;
        positive("probe.positions", self.positions >= 100, "at least 100")?;
        positive("probe.references", self.references % 2 == 1, "an odd number, so that a majority exists")?;
        positive("probe.controls", self.controls >= 1, "at least 1")?;
        let imports = self.kinds.iter().any(|kind| kind == "imported");
        if imports && self.imported.is_none() {
            let hint = "name a .safetensors or .npz file of directions";
            return Err(Error::key("probe.imported", "the kind `imported` has no file to read", hint));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProbeOptions, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn what_a_study_does_not_say_is_no_part_of_it() {
        let text = toml::to_string(&ProbeOptions::default()).unwrap();
        assert!(
            ["lambda_by", "imported", "scaling", "balance", "image_score"].iter().all(|key| !text.contains(key)),
            "{text}"
        );
        assert!(toml::to_string(&read("lambda_by = \"folds\"").unwrap()).unwrap().contains("lambda_by = \"folds\""));
    }

    #[test]
    fn values_are_checked() {
        let options = read("variants = [\"ti_max\", \"ti_lse 4\"]").unwrap();
        assert_eq!(options.variants, [Variant::Max, Variant::LogSumExp(4.0)]);
        options.check().unwrap();
        let message = read("variants = [\"ti_mx\"]").unwrap_err().to_string();
        assert!(message.contains("`ti_mx`") && message.contains("`ti_max`"), "{message}");
        let message = read("kinds = [\"imported\"]").unwrap().check().unwrap_err().to_string();
        assert!(message.contains("probe.imported") && message.contains(".npz"), "{message}");
        read("kinds = [\"imported\"]\nimported = \"directions.npz\"").unwrap().check().unwrap();
    }
}
