//! A study of seconds on embedded data, and processes that run it.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapbox::cmd::cargo_bin;

const STUDY: &str = r#"
version = 1
name = "small"
seed = 1
[dataset]
format = "elements"
world = "e1"
count = 160
concepts = ["triangle", "red"]
[model]
name = "elements_cnn"
layers = ["conv5", "conv6"]
[activation]
shard = 8
[probe]
kinds = ["classifier", "pattern"]
lambda = [1e-2]
min_samples = 8
references = 3
[score]
metrics = ["accuracy", "segmentation"]
bootstrap = 100
"#;

/// Writes the study, with more lines at its end.
pub(crate) fn study(folder: &Path, more: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join("small.toml");
    std::fs::write(&path, format!("{STUDY}{more}")).unwrap();
    path
}

/// `cavern run STUDY --out OUT`.
pub(crate) fn run(study: &Path, out: &Path) -> Command {
    let mut command = cavern("run");
    command.arg(study).arg("--out").arg(out);
    command
}

pub(crate) fn cavern(sub_command: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(cargo_bin!("cavern"));
    command.arg(sub_command);
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The run's folder; the run must have succeeded.
pub(crate) fn folder(output: &Output) -> PathBuf {
    assert!(output.status.success(), "{}", stderr(output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().unwrap())
}

/// Every file of a finished run by its name, with its bytes.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    walk(folder, &mut |path| {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        all.push((name, std::fs::read(path).unwrap()));
    });
    all.sort();
    all
}

/// That two runs have the same files with the same bytes.
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (files(a), files(b));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

/// That nothing is left over below a folder for runs: no draft, and no file on its way.
pub(crate) fn assert_nothing_half(out: &Path) {
    walk(out, &mut |path| {
        let half = path
            .strip_prefix(out)
            .unwrap()
            .iter()
            .any(|part| part == "tmp" || part.to_string_lossy().starts_with(".tmp"));
        assert!(!half, "{} is left over", path.display());
    });
}

fn walk(folder: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, see) } else { see(&path) }
    }
}
