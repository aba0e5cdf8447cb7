//! TCAV (Kim et al. 2018): does a class's logit rise with a concept? Of sensitivities, `S = <d logit / d z, v>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::weighted_mean;
use crate::error::{Error, Result};

/// A class by its number among the logits, or by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassName {
    /// Its number, from 0.
    Index(usize),
    /// Its name.
    Name(String),
}

/// Which test pictures stand for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExamplesBy {
    /// Those whose highest logit is the class's.
    Predicted,
    /// Those whose labels have the class's name.
    Labelled,
}

/// The `[tcav]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TcavOptions {
    /// Classes by name or number; left out, the three that are predicted for most test pictures.
    pub classes: Vec<ClassName>,
    /// Which test pictures are a class's examples: "predicted" or "labelled".
    pub by: ExamplesBy,
    /// Most examples of a class, drawn from the test split.
    #[schemars(range(min = 5))]
    pub examples: usize,
    /// Random-set CAVs of the null, and as many CAVs of the concept from other draws, for Welch's test.
    #[schemars(range(min = 2, max = 1000))]
    pub random_sets: usize,
    /// Whether each concept is also held against the study's other concepts: `tcav_relative`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub relative: bool,
}

impl Default for TcavOptions {
    fn default() -> Self {
        Self { classes: Vec::new(), by: ExamplesBy::Predicted, examples: 50, random_sets: 30, relative: false }
    }
}

impl TcavOptions {
    /// Fewest examples that TCAV is given for.
    pub const FEWEST: usize = 5;

    /// Checks every value.
    ///
    /// # Errors
    /// When a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("tcav.examples", self.examples >= Self::FEWEST, "at least 5; 50 is the default")?;
        within("tcav.random_sets", (2..=1000).contains(&self.random_sets), "2 to 1000; 30 is the default")
    }
}

/// Share of the sensitivities above zero, in [0, 1], each with its weight; NaN without any.
pub fn tcav(sensitivities: &[f64], weights: &[f64]) -> f64 {
    let above: Vec<f64> =
        sensitivities.iter().map(|s| if s.is_nan() { *s } else { f64::from(u8::from(*s > 0.0)) }).collect();
    weighted_mean(&above, weights)
}

/// TCAV without its step at zero: mean of the logistic function of S / scale, in [0, 1]; 0.5 where sensitivities balance,
/// [`tcav`] as the scale goes to 0. NaN without any, or where the scale is not above 0. The idea is that of alpha-TCAV (2026),
/// the function and its scale are our definition.
pub fn smooth(sensitivities: &[f64], scale: f64, weights: &[f64]) -> f64 {
    if scale <= 0.0 || scale.is_nan() {
        return f64::NAN;
    }
    let soft: Vec<f64> = sensitivities.iter().map(|s| 1.0 / (1.0 + (-s / scale).exp())).collect();
    weighted_mean(&soft, weights)
}

/// Do layers agree on the side of the null? `|2 (mean over layers of 1[TCAV > null] - 1/2)|` of pairs (TCAV, null), in
/// [0, 1]: 1 where all layers are on one side. Nicolson et al. 2024. NaN of fewer than two layers.
pub fn layer_agreement(layers: &[(f64, f64)]) -> f64 {
    if layers.len() < 2 {
        return f64::NAN;
    }
    let (above, all) = (layers.iter().filter(|(tcav, null)| tcav > null).count() as f64, layers.len() as f64);
    (2.0 * above - all).abs() / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(tcav(&[1.0, -1.0, 0.0, 2.0], &[1.0; 4]), 0.5);
        assert_eq!(tcav(&[1.0, -1.0], &[3.0, 1.0]), 0.75);
        assert!(tcav(&[], &[]).is_nan());
        let s = [3f64.ln(), -(3f64.ln()), 0.0, 9f64.ln()];
        assert!((smooth(&s, 1.0, &[1.0; 4]) - (0.75 + 0.25 + 0.5 + 0.9) / 4.0).abs() < 1e-12);
        assert!((smooth(&s, 1e-9, &[1.0; 4]) - 0.625).abs() < 1e-12);
        assert!(smooth(&s, 0.0, &[1.0; 4]).is_nan() && smooth(&[], 1.0, &[]).is_nan());
        assert_eq!(layer_agreement(&[(0.9, 0.5), (0.8, 0.5)]), 1.0);
        assert_eq!(layer_agreement(&[(0.1, 0.5), (0.2, 0.5), (0.9, 0.5)]), 1.0 / 3.0);
        assert!(layer_agreement(&[(0.9, 0.5)]).is_nan());
    }

    #[test]
    fn options_are_checked_and_classes_have_names_or_numbers() {
        let options: TcavOptions = toml::from_str("classes = [\"zebra\", 3]\nby = \"labelled\"").unwrap();
        assert_eq!(options.classes, [ClassName::Name("zebra".into()), ClassName::Index(3)]);
        options.check().unwrap();
        let message = |o: TcavOptions| o.check().unwrap_err().to_string();
        assert!(message(TcavOptions { examples: 1, ..options.clone() }).contains("tcav.examples"));
        assert!(message(TcavOptions { random_sets: 1, ..options }).contains("tcav.random_sets"));
        assert!(toml::from_str::<TcavOptions>("clases = []").is_err());
    }
}
