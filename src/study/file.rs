//! The study file: everything a run depends on, typed; unknown keys are refused with the nearest key named.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toml_file;
use crate::activation::ActivationOptions;
use crate::dataset::{DatasetSpec, SplitSpec};
use crate::error::{Error, Result};
use crate::localise::{LocaliseOptions, OpinionOptions};
use crate::maximise::MaximiseOptions;
use crate::metric::consistency::ConsistencyOptions;
use crate::metric::tcav::TcavOptions;
use crate::metric::{CompareOptions, ScoreOptions, VarianceOptions};
use crate::model::recipe::is_onnx;
use crate::model::train::TrainOptions;
use crate::model::weights::{Options as WeightsOptions, Rules};
use crate::model::{Recipe, hub};
use crate::probe::ProbeOptions;
use crate::store::digest::{Digest, DigestBuilder};

/// The version of study files this cavern reads.
pub const VERSION: u32 = 1;

/// A study file. Relative paths start at the current folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Version of the file's form.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// The study's name: letters, digits, `-` and `_`. It is part of the run folder's name.
    #[schemars(extend("pattern" = "^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// One line on what it is about.
    #[serde(default)]
    pub about: String,
    /// The seed everything random draws from.
    #[serde(default)]
    pub seed: u64,
    /// The data.
    pub dataset: DatasetSpec,
    /// How samples are shared out to fit, validation and test.
    #[serde(default)]
    pub split: SplitSpec,
    /// The network and its layers.
    pub model: ModelSpec,
    /// How activations are computed and kept.
    #[serde(default)]
    pub activation: ActivationOptions,
    /// The probes.
    #[serde(default)]
    pub probe: ProbeOptions,
    /// What is measured.
    #[serde(default)]
    pub score: ScoreOptions,
    /// Attribution maps in the report.
    #[serde(default)]
    pub localise: LocaliseOptions,
    /// How probes are compared over concepts.
    #[serde(default, skip_serializing_if = "CompareOptions::is_default")]
    pub compare: CompareOptions,
    /// The variance of directions against the number of samples; left out, it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance: Option<VarianceOptions>,
    /// Activation maximisation; left out, none is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximise: Option<MaximiseOptions>,
    /// Sensitivity of classes to concepts (TCAV); left out, none is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcav: Option<TcavOptions>,
    /// Second opinions on attribution maps; left out, none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opinion: Option<OpinionOptions>,
    /// Consistency of directions between layers; left out, none is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<ConsistencyOptions>,
    /// How `cavern train` trains the model; no other command reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainOptions>,
}

/// The `[model]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// A name of `cavern ls models`, the path of an ONNX file, or `imported` where the dataset brings activations.
    pub name: String,
    /// The weights: a file, an index of files, a folder, or `hf://OWNER/REPO` on the hub. Models with embedded weights
    /// need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// `[channel, height, width]` of the input, where the network leaves a choice; left out, its usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<[usize; 3]>,
    /// Channels that all others are multiples of, where the network leaves a choice (`vgg_mini`, `vit_mini`, `resnet8`,
    /// `resnet20`): to train one. Weights say their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// How many blocks, where the network leaves a choice (`vit_mini`): to train one. Weights say their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Which table of a checkpoint that holds several: the keys that lead to it, joined by dots, as in `teacher`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// New names for the tensors of the file: `"theirs" = "ours"`, with `*`; `""` drops one.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub rename: Rules,
    /// A linear head that `cavern train` has trained on one of the network's layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<PathBuf>,
    /// A file with the name of a class on every line, in the order of the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Layers to study: names or globs of `cavern ls layers MODEL`.
    #[serde(default)]
    pub layers: Vec<String>,
    /// How pictures of another shape become the network's input.
    #[serde(default)]
    pub resize: Resize,
}

/// Whether a study of this name can have a folder of that name.
pub(super) fn names_a_folder(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(fine)
}

/// From a picture to the network's square input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// The whole picture, stretched: nothing of it is lost.
    #[default]
    Stretch,
    /// The model's own resize and centre crop.
    Crop,
}

impl ModelSpec {
    /// What the network is built from.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            name: self.name.clone(),
            weights: self.weights.clone(),
            tensors: WeightsOptions { key: self.key.clone(), rename: self.rename.clone() },
            input: self.input,
            width: self.width,
            depth: self.depth,
            head: self.head.clone(),
            labels: self.labels.clone(),
        }
    }
}

impl Study {
    /// Reads a study file and applies `key=value` overrides.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, has an unknown key or version, or a value out of range.
    pub fn read(path: &Path, set: &[String]) -> Result<Self> {
        let study: Self = toml_file::read(path, set, VERSION)?;
        study.check()?;
        Ok(study)
    }

    /// Keys that name files or folders which are not there; addresses on the hub are not looked up.
    pub fn missing_files(&self) -> Vec<(&'static str, &Path)> {
        let (model, judge) = (&self.model, self.maximise.as_ref().map(|m| &m.judge));
        let named = [
            ("model.name", is_onnx(&model.name).then_some(Path::new(&model.name))),
            ("model.weights", model.weights.as_deref()),
            ("model.head", model.head.as_deref()),
            ("model.labels", model.labels.as_deref()),
            ("dataset.root", self.dataset.root.as_deref()),
            ("probe.imported", self.probe.imported.as_deref()),
            ("maximise.judge.model", judge.and_then(|j| j.model.as_deref()).filter(|m| is_onnx(m)).map(Path::new)),
            ("maximise.judge.weights", judge.and_then(|j| j.weights.as_deref())),
            ("maximise.judge.head", judge.and_then(|j| j.head.as_deref())),
            ("maximise.judge.labels", judge.and_then(|j| j.labels.as_deref())),
        ];
        let paths = named.into_iter().filter_map(|(key, path)| Some((key, path?)));
        paths.filter(|(_, path)| !hub::is_address(path) && !path.exists()).collect()
    }

    fn check(&self) -> Result<()> {
        if !names_a_folder(&self.name) {
            return Err(Error::key(
                "name",
                format!("`{}` cannot name a folder", self.name),
                "use letters, digits, - and _",
            ));
        }
        self.split.check()?;
        self.probe.check()?;
        self.localise.check()?;
        if let Some(maximise) = &self.maximise {
            maximise.check()?;
        }
        if let Some(train) = &self.train {
            train.check()?;
        }
        if let Some(variance) = &self.variance {
            variance.check()?;
        }
        self.compare.check()?;
        if let Some(tcav) = &self.tcav {
            tcav.check()?;
        }
        if let Some(opinion) = &self.opinion {
            opinion.check()?;
        }
        if let Some(consistency) = &self.consistency {
            consistency.check()?;
        }
        self.activation.check()?;
        self.score.check()
    }

    /// The run's folder, in the folder for runs.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn folder(&self, out: &Path) -> Result<PathBuf> {
        Ok(out.join(format!("{}-{}", self.name, self.digest()?.short())))
    }

    /// Digest of everything the study says. The same study has the same run folder.
    ///
    /// # Errors
    /// When a value has no JSON form.
    pub fn digest(&self) -> Result<Digest> {
        Ok(DigestBuilder::new("study v1").json("study", self)?.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Precision, Weights};

    fn with(set: &str) -> Result<Study> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/quickstart.toml");
        Study::read(&path, &[set.to_owned()])
    }

    #[test]
    fn weights_are_named_chosen_and_renamed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints/two.pth");
        let text =
            format!("name = \"net\"\nweights = {path:?}\nkey = \"teacher\"\n[rename]\n\"backbone.a.*\" = \"b.*\"");
        let model: ModelSpec = toml::from_str(&text).unwrap();
        let recipe = model.recipe();
        let weights = Weights::open(&path, &recipe.tensors, &candle_core::Device::Cpu).unwrap();
        assert_eq!(weights.shape_of("b.weight"), Some([2, 3].as_slice()));
        // What changes names is part of the study; a study without it has the digest it always had.
        let digest = |set: &str| with(set).unwrap().digest().unwrap();
        assert_ne!(digest("seed=1"), digest("model.key=teacher"));
        assert_ne!(digest("seed=1"), digest("model.rename.a=b"));
    }

    #[test]
    fn tables_left_out_change_no_digest() {
        let digest = |set: &str| with(set).unwrap().digest().unwrap();
        assert_eq!(digest("seed=1"), digest("compare.bootstrap=10000"));
        assert_ne!(digest("seed=1"), digest("compare.bootstrap=500"));
        assert_ne!(digest("seed=1"), digest("variance.draws=30"));
        assert!(with("variance.draws=1").unwrap_err().to_string().contains("variance.draws"));
        assert!(with("compare.bootstrap=1").unwrap_err().to_string().contains("compare.bootstrap"));
        assert!(with("compare.draws=9").is_err());
    }

    #[test]
    fn precision_is_one_of_two_words_and_a_part_of_the_study() {
        let [f32, bf16] = ["f32", "bf16"].map(|word| with(&format!("activation.precision={word}")).unwrap());
        assert_eq!((f32.activation.precision, bf16.activation.precision), (Precision::F32, Precision::Bf16));
        assert_eq!(with("seed=1").unwrap().activation.precision, Precision::F32);
        assert_ne!(f32.digest().unwrap(), bf16.digest().unwrap());
        for word in ["f16", "double", "BF16"] {
            let message = with(&format!("activation.precision={word}")).unwrap_err().to_string();
            assert!(message.contains(word) && message.contains("f32, bf16"), "{message}");
        }
    }
}
