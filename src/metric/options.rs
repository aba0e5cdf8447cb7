//! Settings of the metrics: the `[score]` table of a study.

use serde::{Deserialize, Serialize};

use crate::dataset::{Transform, View};
use crate::error::{Error, Result};

/// The families of metrics, by name.
pub const FAMILIES: [&str; 5] = ["accuracy", "hard", "segmentation", "robustness", "direction"];

/// The `[score]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreOptions {
    /// Families of metrics to compute: accuracy, hard, segmentation, robustness, direction.
    pub metrics: Vec<String>,
    /// Augmented views for robustness, as in `"shift 14"`; each keeps the concept.
    pub views: Vec<View>,
    /// Resamples behind every interval.
    pub bootstrap: usize,
    /// How far beside the mask the peak of a map still counts as on it, in pixels of a picture 224 pixels wide.
    pub pointing_tolerance: f64,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        let view = |(transform, amount)| View { transform, amount };
        let views = [
            (Transform::Hflip, 0.0),
            (Transform::Shift, 14.0),
            (Transform::Shift, -14.0),
            (Transform::Scale, 0.8),
            (Transform::Scale, 1.25),
            (Transform::Rotate, 15.0),
            (Transform::Rotate, -15.0),
            (Transform::Brightness, 0.8),
            (Transform::Brightness, 1.2),
            (Transform::Contrast, 0.8),
            (Transform::Blur, 2.0),
            (Transform::Noise, 12.0),
        ];
        Self {
            metrics: FAMILIES.map(str::to_owned).to_vec(),
            views: views.map(view).to_vec(),
            bootstrap: 1000,
            pointing_tolerance: 15.0,
        }
    }
}

impl ScoreOptions {
    /// Whether a family of metrics is asked for.
    pub fn wants(&self, family: &str) -> bool {
        self.metrics.iter().any(|m| m == family)
    }

    /// The tolerance of the pointing game in pixels of a mask `width` pixels wide.
    pub fn tolerance(&self, width: usize) -> f64 {
        self.pointing_tolerance * width as f64 / 224.0
    }

    /// Checks every value.
    ///
    /// # Errors
    /// When a family does not exist or a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        if let Some(unknown) = self.metrics.iter().find(|m| !FAMILIES.contains(&m.as_str())) {
            return Err(Error::unknown("family of metrics", unknown, FAMILIES));
        }
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("score.metrics", !self.metrics.is_empty(), "name at least one family, such as \"accuracy\"")?;
        let robustness = self.wants("robustness");
        within("score.views", !robustness || !self.views.is_empty(), "name a view, or leave out \"robustness\"")?;
        within("score.views", self.views.iter().all(|v| v.amount.is_finite()), "amounts are finite numbers")?;
        within("score.bootstrap", (100..=100_000).contains(&self.bootstrap), "100 to 100000; 1000 is the default")?;
        let tolerance = self.pointing_tolerance;
        within("score.pointing_tolerance", (0.0..=112.0).contains(&tolerance), "0 to 112 pixels; 15 is the default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_errors_name_the_key() {
        let good = ScoreOptions::default();
        good.check().unwrap();
        let message = |options: ScoreOptions| options.check().unwrap_err().to_string();
        assert!(message(ScoreOptions { bootstrap: 0, ..good.clone() }).contains("score.bootstrap"));
        assert!(message(ScoreOptions { views: vec![], ..good.clone() }).contains("score.views"));
        assert!(message(ScoreOptions { pointing_tolerance: f64::NAN, ..good.clone() }).contains("tolerance"));
        assert!(message(ScoreOptions { metrics: vec!["acuracy".into()], ..good.clone() }).contains("`accuracy`"));
        let accuracy = ScoreOptions { metrics: vec!["accuracy".into()], views: vec![], ..good };
        accuracy.check().unwrap();
        assert!(accuracy.wants("accuracy") && !accuracy.wants("hard"));
    }

    #[test]
    fn the_tolerance_goes_with_the_width() {
        assert_eq!(ScoreOptions::default().tolerance(112), 7.5);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<ScoreOptions>("boostrap = 10").is_err());
        assert_eq!(toml::from_str::<ScoreOptions>("bootstrap = 200").unwrap().bootstrap, 200);
    }
}
