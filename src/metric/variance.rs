//! Settings of the variance curve: the `[variance]` table of a study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The `[variance]` table: directions are fitted to fresh draws of more and more samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VarianceOptions {
    /// Samples of each class in a draw, from few to many.
    pub sizes: Vec<usize>,
    /// Draws of each size.
    #[schemars(range(min = 2, max = 1000))]
    pub draws: usize,
}

impl Default for VarianceOptions {
    fn default() -> Self {
        Self { sizes: vec![10, 25, 50, 100, 200, 400], draws: 30 }
    }
}

impl VarianceOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When one is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        let sizes =
            self.sizes.len() >= 2 && self.sizes.iter().all(|n| *n >= 2) && self.sizes.is_sorted_by(|a, b| a < b);
        if !sizes {
            let hint = "at least two rising numbers from 2 on, such as [10, 25, 50, 100, 200, 400]";
            return Err(Error::key("variance.sizes", "out of range", hint));
        }
        if !(2..=1000).contains(&self.draws) {
            return Err(Error::key("variance.draws", "out of range", "2 to 1000; 30 is the default"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_key() {
        VarianceOptions::default().check().unwrap();
        let of = |text: &str| toml::from_str::<VarianceOptions>(text).unwrap().check().unwrap_err().to_string();
        for text in ["sizes = [10]", "sizes = [20, 10]", "sizes = [1, 10]", "sizes = [10, 10]"] {
            assert!(of(text).contains("variance.sizes"), "{text}");
        }
        assert!(of("draws = 1").contains("variance.draws"));
        assert!(toml::from_str::<VarianceOptions>("draw = 1").is_err());
    }
}
