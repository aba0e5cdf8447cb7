//! The survey file: several networks, and what activation maximisation is asked of all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toml_file;
use super::{ModelSpec, file};
use crate::dataset::DatasetSpec;
use crate::error::{Error, Result};
use crate::maximise::options::Colours;
use crate::maximise::parameter::ParameterKind;
use crate::maximise::{JudgeOptions, MaximiseOptions};
use crate::model::recipe::is_onnx;
use crate::store::digest::{Digest, DigestBuilder};

/// A survey file. Relative paths start at the current folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// Version of the file's form, that of study files.
    pub version: u32,
    /// Its name: letters, digits, `-` and `_`. It is part of the run folder's name.
    pub name: String,
    /// One line on what it is about.
    #[serde(default)]
    pub about: String,
    /// The seed everything random draws from.
    #[serde(default)]
    pub seed: u64,
    /// Units of every layer, drawn at random.
    #[serde(default = "units")]
    #[schemars(range(min = 2))]
    pub units: usize,
    /// Real pictures with the highest scores whose classes are counted for a unit's purity.
    #[serde(default = "exemplars")]
    #[schemars(range(min = 10))]
    pub exemplars: usize,
    /// Share of the real pictures that an ascent must leave below itself to have succeeded.
    #[serde(default = "percentile")]
    #[schemars(extend("exclusiveMinimum" = 0.5, "maximum" = 1))]
    pub percentile: f64,
    /// Step sizes that every ascent is tried with; each network is then judged at its own best.
    #[serde(default = "learning_rates")]
    pub learning_rates: Vec<f64>,
    /// Networks whose accuracies differ by no more than this are compared as equals.
    #[serde(default = "equal_accuracy")]
    #[schemars(range(min = 0, max = 1))]
    pub equal_accuracy: f64,
    /// Resamples of units behind every interval.
    #[serde(default = "bootstrap")]
    #[schemars(range(min = 100, max = 100_000))]
    pub bootstrap: usize,
    /// The ascents. Keys that name units, directions, controls or a judge have no place here.
    #[serde(default)]
    pub maximise: MaximiseOptions,
    /// Adversarial use; left out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<SurveyAttack>,
    /// Datasets by name.
    pub data: BTreeMap<String, SurveyData>,
    /// Networks by name.
    pub network: BTreeMap<String, SurveyNetwork>,
}

/// Real pictures that units are scored on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurveyData {
    /// Where they come from; its concepts are the classes.
    pub dataset: DatasetSpec,
    /// Only samples of this source, as `test`: those that the networks were not trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How many of them, evenly spread.
    #[serde(default = "pictures")]
    pub pictures: usize,
    /// Instead of the survey's `units`, for networks of this data; as are the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<usize>,
    /// Instead of `learning_rates`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rates: Option<Vec<f64>>,
    /// Instead of `maximise.steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Instead of `maximise.seeds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<usize>,
    /// Instead of `attack.pictures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<usize>,
}

/// The ascents in networks of one data.
#[derive(Debug, Clone)]
pub struct SurveyAscents {
    /// Units of every layer.
    pub units: usize,
    /// Step sizes.
    pub learning_rates: Vec<f64>,
    /// Everything else.
    pub maximise: MaximiseOptions,
}

/// What a network is built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Convolutions.
    Cnn,
    /// Attention.
    Vit,
}

/// One network of a survey.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurveyNetwork {
    /// `cnn` or `vit`.
    pub family: Family,
    /// The name of its data.
    pub data: String,
    /// Names of the series it belongs to, as `width of ResNet`: networks of one series differ in size alone.
    #[serde(default)]
    pub series: Vec<String>,
    /// The network, and its layers from low to high.
    pub model: ModelSpec,
    /// Random weights: a control without anything learnt. It is in no series and is not attacked.
    #[serde(default)]
    pub untrained: bool,
    /// Layer of the hidden units that are raised for an attack; left out, it is not attacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack_layer: Option<String>,
}

/// Adversarial use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SurveyAttack {
    /// Pictures of the data, evenly spread.
    #[serde(default = "photographs")]
    pub pictures: usize,
    /// The most a value may change, in levels of 255.
    #[serde(default = "epsilons")]
    pub epsilons: Vec<f64>,
    /// Steps of every attack.
    #[serde(default = "attack_steps")]
    pub steps: usize,
}

fn units() -> usize {
    4
}

fn exemplars() -> usize {
    50
}

fn percentile() -> f64 {
    0.999
}

fn learning_rates() -> Vec<f64> {
    vec![0.02, 0.05, 0.2]
}

fn equal_accuracy() -> f64 {
    0.02
}

fn bootstrap() -> usize {
    2000
}

fn pictures() -> usize {
    2000
}

fn photographs() -> usize {
    32
}

fn epsilons() -> Vec<f64> {
    vec![2.0, 4.0, 8.0]
}

fn attack_steps() -> usize {
    20
}

/// Whether there are numbers, all above zero.
fn positive(values: &[f64]) -> bool {
    !values.is_empty() && values.iter().all(|v| *v > 0.0 && v.is_finite())
}

impl Survey {
    /// Reads a survey file and applies `key=value` overrides.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, has an unknown key or version, or a value out of range.
    pub fn read(path: &Path, set: &[String]) -> Result<Self> {
        let survey: Self = toml_file::read(path, set, file::VERSION)?;
        survey.check()?;
        Ok(survey)
    }

    /// Whether a file is a survey, and not a study: it has a table of networks.
    pub fn is_one(path: &Path) -> bool {
        let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
        table.is_some_and(|table| table.contains_key("network"))
    }

    /// The ascents in networks of some data: the survey's, but for what the data has of its own.
    pub fn ascents(&self, data: &str) -> SurveyAscents {
        let own = self.data.get(data);
        let maximise = MaximiseOptions {
            steps: own.and_then(|d| d.steps).unwrap_or(self.maximise.steps),
            seeds: own.and_then(|d| d.seeds).unwrap_or(self.maximise.seeds),
            ..self.maximise.clone()
        };
        let learning_rates = own.and_then(|d| d.learning_rates.as_ref()).unwrap_or(&self.learning_rates).clone();
        SurveyAscents { units: own.and_then(|d| d.units).unwrap_or(self.units), learning_rates, maximise }
    }

    /// Keys that name files or folders which are not there.
    pub fn missing_files(&self) -> Vec<(String, PathBuf)> {
        let of_network = |(name, network): (&String, &SurveyNetwork)| {
            let model = &network.model;
            let onnx = is_onnx(&model.name).then(|| PathBuf::from(&model.name));
            let named = [("name", onnx), ("weights", model.weights.clone()), ("head", model.head.clone())].into_iter();
            named.filter_map(|(key, path)| Some((format!("network.{name}.model.{key}"), path?))).collect::<Vec<_>>()
        };
        let roots = self
            .data
            .iter()
            .filter_map(|(name, data)| Some((format!("data.{name}.dataset.root"), data.dataset.root.clone()?)));
        let all = roots.chain(self.network.iter().flat_map(of_network));
        all.filter(|(_, path)| !crate::model::hub::is_address(path) && !path.exists()).collect()
    }

    /// Digest of everything the survey says.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn digest(&self) -> Result<Digest> {
        Ok(DigestBuilder::new("survey v1").json("survey", self)?.finish())
    }

    fn check(&self) -> Result<()> {
        if !file::names_a_folder(&self.name) {
            let problem = format!("`{}` cannot name a folder", self.name);
            return Err(Error::key("name", problem, "use letters, digits, - and _"));
        }
        let checks = [
            ("exemplars", self.exemplars >= 10, "at least 10; 50 is the default"),
            ("percentile", self.percentile > 0.5 && self.percentile <= 1.0, "between 0.5 and 1; 0.999 is the default"),
            ("equal_accuracy", (0.0..=1.0).contains(&self.equal_accuracy), "between 0 and 1; 0.02 is the default"),
            ("bootstrap", (100..=100_000).contains(&self.bootstrap), "between 100 and 100000"),
            ("network", !self.network.is_empty(), "name at least one network: [network.NAME]"),
        ];
        if let Some((key, _, hint)) = checks.into_iter().find(|(_, fine, _)| !fine) {
            return Err(Error::key(key, "out of range", hint));
        }
        self.check_maximise()?;
        self.data.keys().try_for_each(|data| self.check_ascents(data))?;
        if let Some(attack) = &self.attack {
            let fine = positive(&attack.epsilons) && attack.epsilons.iter().all(|e| *e <= 255.0);
            let none = attack.pictures == 0 || self.data.values().any(|d| d.attacked == Some(0));
            if !fine || attack.steps == 0 || none {
                let hint = "pictures and steps are at least 1, epsilons above 0 and at most 255";
                return Err(Error::key("attack", "a value is out of range", hint));
            }
        }
        self.network.iter().try_for_each(|(name, network)| self.check_network(name, network))
    }

    /// Checks the survey's own values of ascents, or a data's.
    fn check_ascents(&self, data: &str) -> Result<()> {
        let SurveyAscents { units, learning_rates, maximise } = self.ascents(data);
        let place = |key: &str, own: bool| if own { format!("data.{data}.{key}") } else { key.to_owned() };
        let own = &self.data[data];
        if units < 2 {
            return Err(Error::key(place("units", own.units.is_some()), "out of range", "at least 2"));
        }
        if !positive(&learning_rates) {
            let key = place("learning_rates", own.learning_rates.is_some());
            return Err(Error::key(key, "out of range", "positive numbers, as in [0.02, 0.05, 0.2]"));
        }
        maximise.check()
    }

    /// Refuses keys of `[maximise]` that would be passed over.
    fn check_maximise(&self) -> Result<()> {
        let (given, usual) = (&self.maximise, MaximiseOptions::default());
        let foreign = [
            ("parameters", !given.parameters.is_empty()),
            ("learning_rate", given.learning_rate != usual.learning_rate),
            ("units", !given.units.is_empty()),
            ("kinds", given.kinds != usual.kinds),
            ("variants", given.variants != usual.variants),
            ("layers", !given.layers.is_empty()),
            ("controls", given.controls != usual.controls),
            ("untrained", given.untrained),
            ("judge", given.judge != JudgeOptions::default()),
        ];
        if let Some((key, _)) = foreign.iter().find(|(_, given)| *given) {
            let hint = "a survey draws its units, has learning_rates at the top, and networks of its own as controls";
            return Err(Error::key(format!("maximise.{key}"), "it has no place in a survey", hint));
        }
        if given.parameter == ParameterKind::Maco || given.colours == Colours::Data {
            let hint = "choose another parameter, and colours \"natural\" or \"none\"";
            return Err(Error::key("maximise", "a survey takes no statistics of its data", hint));
        }
        Ok(())
    }

    fn check_network(&self, name: &str, network: &SurveyNetwork) -> Result<()> {
        let key = |part: &str| format!("network.{name}.{part}");
        if !self.data.contains_key(&network.data) {
            let known: Vec<&str> = self.data.keys().map(String::as_str).collect();
            let problem = format!("there is no data `{}`", network.data);
            return Err(Error::key(key("data"), problem, format!("known are {}", known.join(", "))));
        }
        if network.model.layers.is_empty() {
            return Err(Error::key(key("model.layers"), "the list is empty", "choose some of `cavern ls layers`"));
        }
        if network.untrained && (network.model.weights.is_some() || network.attack_layer.is_some()) {
            let hint = "leave weights and attack_layer out";
            return Err(Error::key(key("untrained"), "random weights come from no file and are not attacked", hint));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1\nname = \"a\"\n\
        [data.d]\ndataset = { format = \"elements\", count = 40 }\n\
        [network.n]\nfamily = \"cnn\"\ndata = \"d\"\nmodel = { name = \"elements_cnn\", layers = [\"conv*\"] }\n";

    fn read(set: &[&str]) -> Result<Survey> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, TEXT).unwrap();
        Survey::read(&path, &set.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_survey_is_read_and_changed() {
        let survey = read(&["network.n.model.weights=no/such/file", "units=3"]).unwrap();
        assert_eq!((survey.units, survey.exemplars, survey.data["d"].pictures), (3, 50, 2000));
        assert_eq!(survey.missing_files()[0].0, "network.n.model.weights");
        let ascents = read(&["data.d.steps=7", "maximise.seeds=5"]).unwrap().ascents("d");
        assert_eq!((ascents.units, ascents.maximise.steps, ascents.maximise.seeds), (4, 7, 5));
        assert_ne!(survey.digest().unwrap(), read(&[]).unwrap().digest().unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let wrong = [
            ("name=a b", "name"),
            ("units=1", "units"),
            ("learning_rates=[]", "learning_rates"),
            ("data.d.learning_rates=[0]", "data.d.learning_rates"),
            ("data.d.units=1", "data.d.units"),
            ("data.d.steps=0", "maximise.steps"),
            ("maximise.parameters=[\"pixel\"]", "maximise.parameters"),
            ("percentile=0.1", "percentile"),
            ("maximise.learning_rate=1", "maximise.learning_rate"),
            ("maximise.units=[\"a:1\"]", "maximise.units"),
            ("maximise.parameter=maco", "maximise"),
            ("attack.epsilons=[300]", "attack"),
            ("network.n.data=e", "network.n.data"),
            ("network.n.model.layers=[]", "network.n.model.layers"),
            ("network.n.familly=x", "familly"),
        ];
        for (set, named) in wrong {
            let message = read(&[set]).unwrap_err().to_string();
            assert!(message.contains(named), "{set}: {message}");
        }
        let message = read(&["network.n.untrained=true", "network.n.attack_layer=conv4"]).unwrap_err().to_string();
        assert!(message.contains("network.n.untrained"), "{message}");
    }
}
