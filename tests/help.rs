//! The examples of `--help` are run as they stand there, and what scripts read is JSON.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::Path;
use std::process::{Command, Output};

use cavern::metric::Estimate;
use cavern::report::{MetricRow, metrics_parquet};
use serde_json::Value;
use snapbox::cmd::cargo_bin;

/// Runs a line in a shell that finds cavern.
fn shell(dir: &Path, line: &str) -> Output {
    let bin = cargo_bin!("cavern").parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("sh").args(["-c", line]).env("PATH", format!("{bin}:{path}")).current_dir(dir).output().unwrap()
}

/// What a line prints; it must succeed.
fn text(dir: &Path, line: &str) -> String {
    let output = shell(dir, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one JSON document a line prints.
fn json(dir: &Path, line: &str) -> Value {
    serde_json::from_str(&text(dir, line)).unwrap()
}

/// A folder with what the examples name: studies, a finished and an unfinished run, a network.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (at, root) = (dir.path(), Path::new(env!("CARGO_MANIFEST_DIR")));
    std::os::unix::fs::symlink(root.join("probes"), at.join("probes")).unwrap();
    let npz = std::fs::File::open(root.join("tests/golden/onnx_operators.npz")).unwrap();
    let mut npz = ndarray_npy::NpzReader::new(npz).unwrap();
    let models: ndarray::Array1<u8> = npz.by_name("models").unwrap();
    let lengths: ndarray::Array1<i64> = npz.by_name("lengths").unwrap();
    std::fs::write(at.join("network.onnx"), &models.to_vec()[..lengths[0] as usize]).unwrap();
    let manifest =
        r#"{"study": {"name": "shapes"}, "device": "cpu", "layers": [{"name": "conv4"}, {"name": "conv6"}]}"#;
    for run in ["shapes-0123456789ab", "shapes-ba9876543210"] {
        std::fs::create_dir_all(at.join("runs").join(run)).unwrap();
        std::fs::write(at.join("runs").join(run).join("manifest.json"), manifest).unwrap();
    }
    let done = at.join("runs/shapes-0123456789ab");
    std::fs::write(done.join("metrics.parquet"), metrics_parquet(&[row()]).unwrap()).unwrap();
    std::fs::write(done.join("report.html"), "").unwrap();
    std::fs::create_dir_all(at.join("runs/store")).unwrap();
    dir
}

fn row() -> MetricRow {
    let estimate = Estimate { value: 0.9, ci_low: 0.8, ci_high: 1.0, null: 0.5, null_kind: "chance".into(), n: 9 };
    MetricRow {
        study: "shapes".into(),
        model: "elements_cnn".into(),
        layer: "conv4".into(),
        concept: "red".into(),
        probe: "classifier".into(),
        variant: "full".into(),
        seed: 1,
        split: "test".into(),
        metric: "accuracy".into(),
        parameter: String::new(),
        estimate,
        higher_is_better: true,
    }
}

#[test]
fn the_examples_of_help_run() {
    let commands = [
        "ls",
        "ls models",
        "ls layers",
        "ls datasets",
        "ls probes",
        "ls metrics",
        "ls studies",
        "ls runs",
        "inspect",
        "validate",
        "profile",
        "completions",
        "man",
        "new",
        "new study",
        "new schema",
    ];
    for command in commands {
        let dir = place();
        let help = text(dir.path(), &format!("cavern {command} --help"));
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{command}: {help}"));
        let lines: Vec<&str> = examples.lines().filter_map(|l| l.trim().strip_prefix("cavern ")).collect();
        assert!(lines.len() >= 2, "{command}: {help}");
        for line in lines {
            let printed = text(dir.path(), &format!("cavern {line}"));
            if line.ends_with("--json") {
                assert!(serde_json::from_str::<Value>(&printed).is_ok(), "{line}: {printed}");
            }
        }
    }
}

#[test]
fn what_is_listed_is_a_json_array() {
    let dir = place();
    let list = |what: &str| json(dir.path(), &format!("cavern ls {what} --json"));
    let named = |rows: &Value, key: &str, name: &str| {
        rows.as_array().unwrap().iter().find(|r| r[key] == name).unwrap_or_else(|| panic!("{name}: {rows}")).clone()
    };
    assert_eq!(named(&list("models"), "name", "resnet50")["input"], serde_json::json!([3, 224, 224]));
    assert_eq!(named(&list("layers elements_cnn"), "name", "conv4")["shape"], serde_json::json!([64, 16, 16]));
    assert_eq!(named(&list("datasets"), "format", "broden")["needs"], serde_json::json!(["root", "concepts"]));
    assert_eq!(named(&list("probes"), "name", "segmentation")["needs_masks"], true);
    let metric = named(&list("metrics"), "name", "flip_rate");
    assert_eq!((&metric["higher_is_better"], &metric["range"]), (&false.into(), &serde_json::json!([0.0, 1.0])));
    let study = named(&list("studies"), "name", "quickstart");
    assert_eq!(
        (&study["valid"], &study["kind"], &study["file"]),
        (&true.into(), &"study".into(), &"probes/quickstart.toml".into())
    );
    assert_eq!(named(&list("studies probes"), "name", "train_elements")["kind"], "training");
    let runs = list("runs");
    assert_eq!(runs.as_array().unwrap().len(), 2, "{runs}");
    let (done, cut_off) = (&runs[0], &runs[1]);
    assert_eq!((&done["study"], &done["device"], &done["metric_rows"]), (&"shapes".into(), &"cpu".into(), &1.into()));
    assert_eq!((&done["finished"], &done["layers"]), (&true.into(), &serde_json::json!(["conv4", "conv6"])));
    assert_eq!((&cut_off["finished"], &cut_off["metric_rows"]), (&false.into(), &Value::Null));
    let checked = json(dir.path(), "cavern validate probes/camvid.toml --json");
    assert_eq!((&checked["name"], &checked["kind"]), (&"camvid".into(), &"study".into()));
    assert!(checked["missing"][0]["key"].is_string(), "{checked}");
}

#[test]
fn a_wrong_study_is_listed_with_what_is_wrong() {
    let dir = place();
    std::fs::write(dir.path().join("broken.toml"), "version = 1\nname = \"a\"\n[dataset]\nfrmat = \"folder\"\n")
        .unwrap();
    std::fs::write(dir.path().join("other.toml"), "[package]\nname = \"b\"\n").unwrap();
    let rows = json(dir.path(), "cavern ls studies . --json");
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!((&rows[0]["file"], &rows[0]["valid"]), (&"broken.toml".into(), &false.into()));
    assert!(rows[0]["problem"].as_str().unwrap().contains("`frmat`"), "{rows}");
    for line in ["cavern ls studies nowhere", "cavern ls runs --out nowhere", "cavern validate broken.toml --json"] {
        let output = shell(dir.path(), line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {message}");
        assert!(output.stdout.is_empty() && message.contains("help:"), "{line}: {message}");
    }
}

#[test]
fn shells_are_completed_and_commands_have_pages() {
    let dir = place();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(text(dir.path(), &format!("cavern completions {shell}")).contains("completions"), "{shell}");
    }
    assert!(text(dir.path(), "cavern man").contains(".TH cavern 1"));
    assert_eq!(text(dir.path(), "cavern man 'the pages'"), "the pages\n");
    for page in ["cavern", "cavern-run", "cavern-ls", "cavern-ls-models", "cavern-new-study"] {
        let page = std::fs::read_to_string(dir.path().join(format!("the pages/{page}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}
