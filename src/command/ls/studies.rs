//! `cavern ls studies`: the study and survey files of folders.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Row;
use crate::cli::LsStudies;
use crate::command::validate::{Checked, Missing};
use crate::error::{Error, Result};

/// A file that is, or means to be, a study or survey.
#[derive(Debug, Serialize)]
pub(super) struct StudyFile {
    file: PathBuf,
    /// `None` where the file is not valid; as are the next two.
    name: Option<String>,
    kind: Option<&'static str>,
    about: Option<String>,
    valid: bool,
    /// What is wrong with a file that is not valid.
    problem: Option<String>,
    /// Files and folders that it names and that are not there.
    missing: Vec<Missing>,
}

impl Row for StudyFile {
    const HEADS: &'static [&'static str] = &["file", "name", "kind", "valid", "about"];

    fn cells(&self) -> Vec<String> {
        let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let valid = match (self.valid, self.missing.len()) {
            (false, _) => "no".to_owned(),
            (true, 0) => "yes".to_owned(),
            (true, missing) => format!("yes, {missing} not there"),
        };
        let about = self.problem.as_deref().or(self.about.as_deref());
        let about = about.and_then(|a| a.lines().next());
        vec![self.file.display().to_string(), text(self.name.as_deref()), text(self.kind), valid, text(about)]
    }
}

/// The files of the wanted folders, or of the usual ones, in order.
pub(super) fn studies(args: &LsStudies) -> Result<Vec<StudyFile>> {
    let mut folders = args.folders.clone();
    if folders.is_empty() {
        folders = vec![PathBuf::from("."), PathBuf::from("probes")];
        folders.retain(|f| f.is_dir());
    }
    let mut found = Vec::new();
    for folder in &folders {
        let hint = "give a folder that holds study files, or write one: cavern new study";
        for path in super::entries(folder, hint)? {
            let path = path.strip_prefix(".").unwrap_or(&path).to_path_buf();
            if path.extension().is_some_and(|e| e == "toml") && path.is_file() && means_to_be_one(&path) {
                found.push(read(path));
            }
        }
    }
    Ok(found)
}

/// Whether a TOML file has a key of studies and surveys; one that cannot be read may, and is listed with what is wrong.
fn means_to_be_one(path: &Path) -> bool {
    let table = std::fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.is_none_or(|t| ["version", "dataset", "model", "network"].iter().any(|key| t.contains_key(*key)))
}

fn read(file: PathBuf) -> StudyFile {
    match Checked::read(&file, &[]) {
        Ok(c) => StudyFile {
            file,
            name: Some(c.name),
            kind: Some(c.kind),
            about: Some(c.about),
            valid: true,
            problem: None,
            missing: c.missing,
        },
        Err(error) => StudyFile {
            name: None,
            kind: None,
            about: None,
            valid: false,
            problem: Some(problem(&error)),
            missing: Vec::new(),
            file,
        },
    }
}

/// What is wrong; of a file's own error without the path, which stands beside it.
fn problem(error: &Error) -> String {
    match error {
        Error::File { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}
