//! Settings of the metrics: the `[score]` table of a study.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::dataset::View;
use crate::error::{Error, Result};

/// The families of metrics, by name.
pub const FAMILIES: [&str; 5] = ["accuracy", "hard", "segmentation", "robustness", "direction"];

/// The quantile that NetDissect cuts channels at.
const QUANTILE: f64 = 0.995;

/// The `[score]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreOptions {
    /// Families of metrics to compute: accuracy, hard, segmentation, robustness, direction.
    #[schemars(extend("items" = { "type": "string", "enum": FAMILIES }))]
    pub metrics: Vec<String>,
    /// Augmented views for robustness, as in `"shift 14"`; each keeps the concept. Or the name of a list: `"few"`, the
    /// default, or `"all"`, every kind at three strengths.
    #[serde(deserialize_with = "views")]
    #[schemars(extend("type" = ["array", "string"], "pattern" = "^(few|all)$"))]
    pub views: Vec<View>,
    /// How often views with something random are drawn of every picture: `crop`, `noise`, and drawn strengths as in
    /// `rotate ~15`.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1, "minimum" = 1, "maximum" = 100))]
    pub draws: u32,
    /// Resamples behind every interval.
    #[schemars(range(min = 100, max = 100_000))]
    pub bootstrap: usize,
    /// How far beside the mask the peak of a map still counts as on it, in pixels of a picture 224 pixels wide.
    #[schemars(range(min = 0, max = 112))]
    pub pointing_tolerance: f64,
    /// Share of all pixels of a concept's enlarged maps below the threshold of `seg_iou_q`.
    #[serde(skip_serializing_if = "is_usual_quantile")]
    #[schemars(extend("default" = QUANTILE, "minimum" = 0, "exclusiveMaximum" = 1))]
    pub quantile: f64,
    /// What the context of a picture is, for hard negatives by context (H2).
    #[serde(rename = "match", skip_serializing_if = "Match::is_labels")]
    #[schemars(extend("default" = Match::Labels))]
    pub matching: Match,
}

/// What pictures are matched by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// By the names of what else is in them: Jaccard index.
    #[default]
    Labels,
    /// By the mean activation of the study's last layer: cosine.
    Embedding,
}

impl Match {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    fn is_labels(&self) -> bool {
        *self == Self::Labels
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_usual_quantile(quantile: &f64) -> bool {
    *quantile == QUANTILE
}

/// Views one by one, or by the name of a list.
fn views<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<View>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of views, or the name of one")]
    enum Asked {
        Name(String),
        List(Vec<String>),
    }
    let asked = match Asked::deserialize(from)? {
        Asked::Name(name) => View::preset(&name),
        Asked::List(list) => list.iter().map(|text| text.parse()).collect(),
    };
    asked.map_err(serde::de::Error::custom)
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self {
            metrics: FAMILIES.map(str::to_owned).to_vec(),
            views: View::preset("few").unwrap_or_default(),
            draws: 1,
            bootstrap: 1000,
            pointing_tolerance: 15.0,
            quantile: QUANTILE,
            matching: Match::Labels,
        }
    }
}

impl ScoreOptions {
    /// Whether a family of metrics is asked for.
    pub fn wants(&self, family: &str) -> bool {
        self.metrics.iter().any(|m| m == family)
    }

    /// Every draw of every view, draws of one view next to each other.
    pub fn all_views(&self) -> Vec<View> {
        self.views.iter().flat_map(|view| view.draws(self.draws)).collect()
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
        let first = self.views.iter().all(|v| v.draw == 1);
        within("score.views", first, "leave out the number behind `#`: `score.draws` says how often views are drawn")?;
        within("score.draws", (1..=100).contains(&self.draws), "1 to 100; 1 is the default")?;
        within("score.bootstrap", (100..=100_000).contains(&self.bootstrap), "100 to 100000; 1000 is the default")?;
        within("score.quantile", (0.0..1.0).contains(&self.quantile), "0 to below 1; 0.995 is the default")?;
        let tolerance = self.pointing_tolerance;
        within("score.pointing_tolerance", (0.0..=112.0).contains(&tolerance), "0 to 112 pixels; 15 is the default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_views_are_drawn_several_times() {
        let options: ScoreOptions = toml::from_str("views = [\"noise 12\", \"blur 2\"]\ndraws = 3").unwrap();
        options.check().unwrap();
        let names: Vec<String> = options.all_views().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["noise 12", "noise 12 #2", "noise 12 #3", "blur 2"]);
        // A study that does not ask has the digest it always had.
        assert!(!serde_json::to_string(&ScoreOptions::default()).unwrap().contains("draws"));
        let second: ScoreOptions = toml::from_str("views = [\"noise 12 #2\"]").unwrap();
        assert!(second.check().unwrap_err().to_string().contains("score.views"));
        assert!(ScoreOptions { draws: 0, ..options }.check().unwrap_err().to_string().contains("score.draws"));
    }

    #[test]
    fn the_default_is_valid_and_errors_name_the_key() {
        let good = ScoreOptions::default();
        good.check().unwrap();
        let message = |options: ScoreOptions| options.check().unwrap_err().to_string();
        assert!(message(ScoreOptions { bootstrap: 0, ..good.clone() }).contains("score.bootstrap"));
        assert!(message(ScoreOptions { views: vec![], ..good.clone() }).contains("score.views"));
        assert!(message(ScoreOptions { pointing_tolerance: f64::NAN, ..good.clone() }).contains("tolerance"));
        assert!(message(ScoreOptions { quantile: 1.0, ..good.clone() }).contains("score.quantile"));
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

    #[test]
    fn views_are_listed_or_named() {
        let views = |text: &str| toml::from_str::<ScoreOptions>(text).map(|o| o.views.len());
        assert_eq!(views("views = [\"hflip\", \"blur 2\"]").unwrap(), 2);
        assert_eq!(views("views = \"few\"").unwrap(), ScoreOptions::default().views.len());
        assert!(views("views = \"all\"").unwrap() > 40);
        assert!(views("views = \"every\"").unwrap_err().to_string().contains("list of views"));
        assert!(views("views = [\"blurr 2\"]").unwrap_err().to_string().contains("`blur`"));
    }

    #[test]
    fn what_is_usual_is_not_written() {
        let text = toml::to_string(&ScoreOptions::default()).unwrap();
        assert!(!text.contains("quantile") && !text.contains("match"));
        let other: ScoreOptions = toml::from_str("match = \"embedding\"\nquantile = 0.9").unwrap();
        let text = toml::to_string(&other).unwrap();
        assert_eq!(toml::from_str::<ScoreOptions>(&text).unwrap(), other);
    }
}
