//! The `[maximise]` table of a study.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optimiser::OptimiserKind;
use super::parameter::ParameterKind;
use super::penalty::{Penalties, is_zero};
use super::transform::Transforms;
use crate::error::{Error, Result};
use crate::model::Recipe;
use crate::probe::kind::kind_names;
use crate::probe::{KINDS, Variant};

/// What decorrelates channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Colours {
    /// The colours of natural pictures (Lucid's matrix); other than three channels stay as they are.
    #[default]
    Natural,
    /// Nothing: channels as they are.
    None,
    /// The square root of the channels' covariance in the study's fit split.
    Data,
}

/// The network that pictures are judged by, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeOptions {
    /// A name of `cavern ls models` or the path of an ONNX file; left out, the study's own network judges. It should not
    /// have been trained with the study's: what was climbed there must not be what is measured here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its weights, as in `model.weights`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Its linear head, as in `model.head`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<PathBuf>,
    /// The names of its classes, as in `model.labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Shaken and noised copies of a picture for its robustness.
    #[schemars(range(min = 1, max = 4096))]
    pub copies: usize,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self { model: None, weights: None, head: None, labels: None, copies: 32 }
    }
}

impl JudgeOptions {
    /// What the network is built from; none where the study's own network judges.
    pub fn recipe(&self) -> Option<Recipe> {
        let (weights, head, labels) = (self.weights.clone(), self.head.clone(), self.labels.clone());
        self.model.clone().map(|name| Recipe { name, weights, head, labels, ..Recipe::default() })
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn check(&self) -> Result<()> {
        if self.model.is_none() && (self.weights.is_some() || self.head.is_some() || self.labels.is_some()) {
            let problem = "it is left out, and yet files of it are named";
            return Err(Error::key("maximise.judge.model", problem, "name the network, or leave its files out"));
        }
        if !(1..=4096).contains(&self.copies) {
            return Err(Error::key("maximise.judge.copies", "out of range", "between 1 and 4096; 32 is the default"));
        }
        Ok(())
    }
}

/// Settings of activation maximisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaximiseOptions {
    /// Steps of the optimiser.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// The optimiser's step size.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// The rule of a step: "adam", "nadam" or "sgd".
    pub optimiser: OptimiserKind,
    /// Pictures of each objective, from different noise.
    #[schemars(range(min = 1))]
    pub seeds: usize,
    /// Pictures that are optimised at once; it changes no result. With `diversity`, all seeds of an objective go together, and
    /// a batch that is smaller grows to hold them.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// What a picture is made of: "fourier", "pixel", "laplacian", "maco" or "cppn".
    pub parameter: ParameterKind,
    /// Several of them, each a column of the report: everything is rendered in each. None for `parameter` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub parameters: Vec<ParameterKind>,
    /// How fast the spectrum of "fourier" falls: `1 / frequency^decay`.
    #[schemars(range(min = 0, max = 4))]
    pub decay: f64,
    /// What decorrelates channels: "natural", "none" or "data".
    pub colours: Colours,
    /// How pictures are shaken: "lucid", "xplique", "maco", "small", "none", or a list of steps.
    pub transforms: Transforms,
    /// Differently shaken copies of a picture in every step, whose mean is climbed.
    #[schemars(range(min = 1, max = 256))]
    pub crops: usize,
    /// Weights of the penalties: `{ tv = 0.1, l1 = 0, l2 = 0, frequency = 0 }`.
    pub penalties: Penalties,
    /// What the pictures of an objective lose by their likeness: this times the mean cosine of a picture's Gram matrix with those
    /// of the objective's other seeds, at the objective's layer. 0 for seeds that know nothing of each other.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(extend("default" = 0.0, "minimum" = 0))]
    pub diversity: f64,
    /// Steps, from the first on, in which gradients pass shut ReLUs; 16 is Lucid's.
    pub redirect: usize,
    /// k in `(z v) max(0.1, cos(z, v))^k`; 0 maximises the plain product. Of use for the variant `ti` alone: the others
    /// always use the product.
    #[schemars(range(min = 0, max = 16))]
    pub cosine_power: f64,
    /// Units to render beside directions, as in "layer3:12" or "logits:tabby"; see `cavern maximise --help`.
    pub units: Vec<String>,
    /// Probe kinds to render.
    #[schemars(extend("items" = kind_names()))]
    pub kinds: Vec<String>,
    /// Forms of the activations whose directions are rendered, as in `probe.variants`.
    pub variants: Vec<Variant>,
    /// Layers to render, by name; none for all of the study.
    pub layers: Vec<String>,
    /// Whether to render the opposite of each direction and a random direction beside it.
    pub controls: bool,
    /// Whether to render the same in the network with random weights: what scores as well there says nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub untrained: bool,
    /// What pictures are judged by.
    #[serde(skip_serializing_if = "JudgeOptions::is_default")]
    pub judge: JudgeOptions,
}

impl Default for MaximiseOptions {
    fn default() -> Self {
        Self {
            steps: 64,
            learning_rate: 0.05,
            optimiser: OptimiserKind::Adam,
            seeds: 2,
            batch: 8,
            parameter: ParameterKind::Fourier,
            parameters: Vec::new(),
            decay: 1.0,
            colours: Colours::Natural,
            transforms: Transforms::LUCID,
            crops: 1,
            penalties: Penalties::default(),
            diversity: 0.0,
            redirect: 0,
            cosine_power: 0.0,
            units: Vec::new(),
            kinds: vec!["classifier".to_owned()],
            variants: vec![Variant::TranslationInvariant],
            layers: Vec::new(),
            controls: true,
            untrained: false,
            judge: JudgeOptions::default(),
        }
    }
}

impl MaximiseOptions {
    /// The same with one parameterisation each: of `parameters`, or else `parameter` alone.
    #[must_use]
    pub fn columns(&self) -> Vec<Self> {
        let one = |parameter: &ParameterKind| Self { parameter: *parameter, parameters: Vec::new(), ..self.clone() };
        let kinds = if self.parameters.is_empty() { std::slice::from_ref(&self.parameter) } else { &self.parameters };
        kinds.iter().map(one).collect()
    }

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
        let twice = |(i, kind): (usize, &ParameterKind)| self.parameters[..i].contains(kind);
        if self.parameters.iter().enumerate().any(twice) {
            let hint = "some of \"fourier\", \"pixel\", \"laplacian\", \"maco\" and \"cppn\", each once";
            return Err(Error::key("maximise.parameters", "one is named twice", hint));
        }
        let wanted = |key: &str, ok: bool, hint: &str| {
            if ok { Ok(()) } else { Err(Error::key(format!("maximise.{key}"), "out of range", hint)) }
        };
        wanted("steps", self.steps >= 1, "at least 1; 64 is the default, 512 is Lucid's")?;
        let rate_ok = self.learning_rate.is_finite() && self.learning_rate > 0.0;
        wanted("learning_rate", rate_ok, "a positive number; 0.05 is the default")?;
        wanted("seeds", self.seeds >= 1, "at least 1")?;
        wanted("batch", self.batch >= 1, "at least 1")?;
        wanted("decay", (0.0..=4.0).contains(&self.decay), "between 0 and 4; 1 is the default")?;
        wanted("crops", (1..=256).contains(&self.crops), "between 1 and 256; 1 is the default")?;
        for (name, weight) in self.penalties.named() {
            let ok = weight.is_finite() && weight >= 0.0;
            wanted(&format!("penalties.{name}"), ok, "zero or a positive number")?;
        }
        let diverse = self.diversity.is_finite() && self.diversity >= 0.0;
        wanted("diversity", diverse, "zero or a positive number; 0 is the default")?;
        if self.diversity > 0.0 && self.seeds < 2 {
            let problem = "with `diversity` an objective needs seeds that can differ";
            return Err(Error::key("maximise.seeds", problem, "at least 2, or leave maximise.diversity out"));
        }
        wanted("cosine_power", (0.0..=16.0).contains(&self.cosine_power), "between 0 and 16")?;
        let asked = !self.kinds.is_empty() || !self.units.is_empty();
        wanted("kinds", asked, "name at least one kind, or units")?;
        self.judge.check()?;
        wanted("variants", !self.variants.is_empty(), "some of \"full\", \"ti\", \"ti_max\" and \"ti_lse\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maximise::transform::Preset;

    #[test]
    fn a_table_is_read_and_checked() {
        let read = |text: &str| toml::from_str::<MaximiseOptions>(text);
        let options = read("transforms = \"small\"\nvariants = [\"full\"]\ncosine_power = 2").unwrap();
        assert_eq!(options.transforms, Transforms::Named(Preset::Small));
        assert_eq!((options.steps, options.cosine_power), (64, 2.0));
        options.check().unwrap();
        let options = read("parameter = \"maco\"\noptimiser = \"nadam\"\npenalties = { tv = 0.5 }").unwrap();
        assert_eq!((options.parameter, options.penalties.tv), (ParameterKind::Maco, 0.5));
        assert!(read("step = 3").is_err() && read("penalties = { tw = 1 }").is_err());
        for text in [
            "steps = 0",
            "learning_rate = nan",
            "seeds = 0",
            "kinds = []",
            "cosine_power = -1",
            "crops = 0",
            "decay = -1",
            "parameters = [\"pixel\", \"pixel\"]",
            "diversity = -1",
            "diversity = 1\nseeds = 1",
            "penalties = { tv = -1 }",
        ] {
            assert!(read(text).unwrap().check().unwrap_err().to_string().contains("maximise."), "{text}");
        }
        for (text, key) in [("copies = 0", "judge.copies"), ("weights = 'a.pt'", "judge.model")] {
            let message = read(&format!("[judge]\n{text}")).unwrap().check().unwrap_err().to_string();
            assert!(message.contains(key), "{message}");
        }
        let columns = read("parameters = [\"pixel\", \"cppn\"]").unwrap().columns();
        assert_eq!(columns[1], MaximiseOptions { parameter: ParameterKind::Cppn, ..MaximiseOptions::default() });
        assert_eq!((columns.len(), MaximiseOptions::default().columns()), (2, vec![MaximiseOptions::default()]));
        assert!(read("judge = { modell = 'a' }").is_err());
        read("kinds = []\nunits = [\"logits:1\"]").unwrap().check().unwrap();
        let message = read("kinds = [\"car\"]").unwrap().check().unwrap_err().to_string();
        assert!(message.contains("no direction"), "{message}");
        let message = read("kinds = [\"clasifier\"]").unwrap().check().unwrap_err().to_string();
        assert!(message.contains("`classifier`"), "{message}");
    }

    #[test]
    fn what_is_bound_to_positions_is_not_turned() {
        assert_eq!(Transforms::LUCID.bound(true), Transforms::Named(Preset::Small));
        assert_eq!(Transforms::LUCID.bound(false), Transforms::LUCID);
        assert_eq!(Transforms::NONE.bound(true), Transforms::NONE);
    }
}
