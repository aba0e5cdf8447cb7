//! `cavern validate`: checks a study or survey file without running it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::ValidateArgs;
use crate::study::{Study, Survey};

/// Reads and checks a study or a survey, and says what it would do.
///
/// # Errors
/// When the file is not right: the message has the key, what is wrong and what is near.
pub fn run(args: &ValidateArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let checked = Checked::read(&args.study, &args.set)?;
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&checked)?)?);
    }
    let Checked { file, kind, name, seed, .. } = &checked;
    // A study that trains is a study in every other respect.
    let kind = if *kind == "survey" { kind } else { "study" };
    writeln!(out, "{}: {kind} `{name}`, seed {seed}", file.display())?;
    if let Some(model) = &checked.model {
        writeln!(out, "  model {model} at {}", checked.layers.join(", "))?;
        writeln!(out, "  probes {}", checked.probes.join(", "))?;
    } else {
        writeln!(out, "  networks {}", checked.networks.join(", "))?;
    }
    for Missing { key, path } in &checked.missing {
        writeln!(out, "  not there yet: {key} = {}", path.display())?;
    }
    Ok(writeln!(out, "ok")?)
}

/// What a study or survey that is right would do.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    /// The file.
    pub file: PathBuf,
    /// `study`, `training` or `survey`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// The seed everything random draws from.
    pub seed: u64,
    /// A study's network.
    model: Option<String>,
    /// Its layers.
    layers: Vec<String>,
    /// A study's kinds of probe.
    probes: Vec<String>,
    /// A survey's networks.
    networks: Vec<String>,
    /// Keys that name files or folders which are not there.
    pub missing: Vec<Missing>,
}

/// A file or folder that is not there.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    /// The key that names it.
    pub key: String,
    /// Its path.
    pub path: PathBuf,
}

impl Checked {
    /// Reads and checks a file.
    pub(super) fn read(file: &Path, set: &[String]) -> crate::Result<Self> {
        if Survey::is_one(file) { Self::survey(file, set) } else { Self::study(file, set) }
    }

    fn survey(file: &Path, set: &[String]) -> crate::Result<Self> {
        let survey = Survey::read(file, set)?;
        Ok(Self {
            file: file.to_path_buf(),
            kind: "survey",
            model: None,
            layers: Vec::new(),
            probes: Vec::new(),
            networks: survey.network.keys().cloned().collect(),
            missing: survey.missing_files().into_iter().map(|(key, path)| Missing { key, path }).collect(),
            name: survey.name,
            about: survey.about,
            seed: survey.seed,
        })
    }

    fn study(file: &Path, set: &[String]) -> crate::Result<Self> {
        let study = Study::read(file, set)?;
        let missing = study.missing_files().into_iter();
        Ok(Self {
            file: file.to_path_buf(),
            kind: if study.train.is_some() { "training" } else { "study" },
            networks: Vec::new(),
            missing: missing.map(|(key, path)| Missing { key: key.to_owned(), path: path.to_path_buf() }).collect(),
            name: study.name,
            about: study.about,
            seed: study.seed,
            model: Some(study.model.name),
            layers: study.model.layers,
            probes: study.probe.kinds,
        })
    }
}
