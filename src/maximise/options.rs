//! The `[maximise]` table of a study.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::probe::{KINDS, Variant};

/// How a picture is shaken before every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transforms {
    /// Lucid's: a grey border, jitter, scale, rotation, jitter. A full direction, which is bound to positions, gets
    /// `small` instead: jitter and rotation would average it over its shifts.
    Lucid,
    /// Jitter by at most one cell of the layer's grid in all.
    Small,
    /// None.
    None,
}

impl Transforms {
    /// What a direction of this variant gets.
    #[must_use]
    pub fn of(self, variant: Variant) -> Self {
        if self == Self::Lucid && variant == Variant::Full { Self::Small } else { self }
    }
}

/// Settings of activation maximisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaximiseOptions {
    /// Steps of Adam.
    pub steps: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Pictures of each direction, from different noise.
    pub seeds: usize,
    /// Pictures that are optimised at once; it changes no result.
    pub batch: usize,
    /// How pictures are shaken: "lucid", "small" or "none".
    pub transforms: Transforms,
    /// k in `(z v) max(0.1, cos(z, v))^k`; 0 maximises the plain product. Of use for the variant `ti` alone: the others
    /// always use the product.
    pub cosine_power: f64,
    /// Probe kinds to render.
    pub kinds: Vec<String>,
    /// Forms of the activations whose directions are rendered, as in `probe.variants`.
    pub variants: Vec<Variant>,
    /// Layers to render, by name; none for all of the study.
    pub layers: Vec<String>,
    /// Whether to render the opposite of each direction and a random direction beside it.
    pub controls: bool,
}

impl Default for MaximiseOptions {
    fn default() -> Self {
        Self {
            steps: 64,
            learning_rate: 0.05,
            seeds: 2,
            batch: 8,
            transforms: Transforms::Lucid,
            cosine_power: 0.0,
            kinds: vec!["classifier".to_owned()],
            variants: vec![Variant::TranslationInvariant],
            layers: Vec::new(),
            controls: true,
        }
    }
}

impl MaximiseOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a kind does not exist or a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        for kind in &self.kinds {
            if !KINDS.iter().any(|k| k.name() == kind) {
                return Err(Error::unknown("probe kind", kind, KINDS.iter().map(|k| k.name())));
            }
            if kind == "car" {
                let problem = "`car` is a region and has no direction that a picture could be asked for";
                return Err(Error::key("maximise.kinds", problem, "name kinds that have one"));
            }
        }
        let wanted = |key: &str, ok: bool, hint: &str| {
            if ok { Ok(()) } else { Err(Error::key(format!("maximise.{key}"), "out of range", hint)) }
        };
        wanted("steps", self.steps >= 1, "at least 1; 64 is the default, 512 is Lucid's")?;
        let rate_ok = self.learning_rate.is_finite() && self.learning_rate > 0.0;
        wanted("learning_rate", rate_ok, "a positive number; 0.05 is the default")?;
        wanted("seeds", self.seeds >= 1, "at least 1")?;
        wanted("batch", self.batch >= 1, "at least 1")?;
        wanted("cosine_power", (0.0..=16.0).contains(&self.cosine_power), "between 0 and 16")?;
        wanted("kinds", !self.kinds.is_empty(), "name at least one kind")?;
        wanted("variants", !self.variants.is_empty(), "some of \"full\", \"ti\", \"ti_max\" and \"ti_lse\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_checked() {
        let read = |text: &str| toml::from_str::<MaximiseOptions>(text);
        let options = read("transforms = \"small\"\nvariants = [\"full\"]\ncosine_power = 2").unwrap();
        assert_eq!((options.transforms, options.steps, options.cosine_power), (Transforms::Small, 64, 2.0));
        options.check().unwrap();
        assert!(read("step = 3").is_err());
        for text in ["steps = 0", "learning_rate = nan", "seeds = 0", "kinds = []", "cosine_power = -1"] {
            assert!(read(text).unwrap().check().unwrap_err().to_string().contains("maximise."), "{text}");
        }
        let message = read("kinds = [\"car\"]").unwrap().check().unwrap_err().to_string();
        assert!(message.contains("no direction"), "{message}");
        let message = read("kinds = [\"clasifier\"]").unwrap().check().unwrap_err().to_string();
        assert!(message.contains("`classifier`"), "{message}");
    }

    #[test]
    fn full_directions_are_not_turned() {
        assert_eq!(Transforms::Lucid.of(Variant::Full), Transforms::Small);
        assert_eq!(Transforms::Lucid.of(Variant::TranslationInvariant), Transforms::Lucid);
        assert_eq!(Transforms::None.of(Variant::Full), Transforms::None);
    }
}
