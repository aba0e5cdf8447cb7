//! The examples of `--help` are run as they stand there, and what scripts read is JSON.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "common/fixtures.rs"]
mod fixtures;

use std::path::Path;
use std::process::{Command, Output};

use cavern::cli::Cli;
use cavern::metric::Estimate;
use cavern::report::{MetricRow, metrics_parquet};
use clap::CommandFactory;
use fixtures::{SURVEY, onnx};
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

/// The shipped studies that examples run, cut down to seconds: what is replaced in them by what.
const SMALL: [(&str, &[(&str, &str)]); 2] = [
    (
        "quickstart.toml",
        &[
            ("count = 1200", "count = 240"),
            ("[\"triangle\", \"square\", \"red\", \"stripes_diagonal\"]", "[\"triangle\", \"red\"]"),
            ("\"conv4\", \"conv6\"", "\"conv6\""),
            ("kinds = [\"classifier\", \"pattern\", \"fp\", \"cured\", \"segmentation\"]", "kinds = [\"classifier\"]"),
            ("lambda = [1e-4, 1e-3, 1e-2]", "lambda = [1e-3]\nmin_samples = 8"),
            ("[score]", "[score]\nbootstrap = 100"),
            (", \"shift 4\", \"shift -4\", \"scale 1.25\", \"rotate 15\", \"brightness 0.8\"", ""),
            ("steps = 64\nseeds = 2", "steps = 4\nseeds = 1\n[opinion]\nmethods = [\"grad_cam\"]\npictures = 10"),
        ],
    ),
    ("train_elements.toml", &[("count = 16000", "count = 60"), ("epochs = 6", "epochs = 1")]),
];

/// The folder of studies, those that are run made small.
fn studies(at: &Path, root: &Path) {
    std::fs::create_dir(at).unwrap();
    for file in std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()) {
        let mut text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        for (old, new) in SMALL.iter().filter(|(of, _)| *of == name).flat_map(|(_, changes)| *changes) {
            assert!(text.contains(old), "{name} has no {old}");
            text = text.replace(old, new);
        }
        std::fs::write(at.join(name), if name == "representation.toml" { SURVEY } else { &text }).unwrap();
    }
}

/// Pictures, weights (random) and a dataset under the names that the examples give them.
fn furnish(at: &Path) {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/photo.jpg");
    std::fs::create_dir(at.join("photos")).unwrap();
    for name in ["cat.jpg", "photos/cat.jpg"] {
        std::fs::copy(&photo, at.join(name)).unwrap();
    }
    let weights = cavern::model::zoo::initial("efficientnet_lite0", cavern::seed::Seed(1)).unwrap();
    cavern::model::zoo::save(&weights, &at.join("lite0.safetensors")).unwrap();
    for (kind, value) in [("images", 90), ("masks", 8)] {
        let folder = at.join("CamVid").join(kind).join("train");
        std::fs::create_dir_all(&folder).unwrap();
        for frame in 0..12u8 {
            let shade = |x: u32, _| image::Luma([if kind == "masks" && x % 320 < 200 { 3 } else { value + frame % 2 }]);
            image::GrayImage::from_fn(320, 160, shade).save(folder.join(format!("{frame:02}_000030.png"))).unwrap();
        }
    }
}

/// A folder with what the examples name: studies, a finished and an unfinished run, a network.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (at, root) = (dir.path(), Path::new(env!("CARGO_MANIFEST_DIR")));
    studies(&at.join("probes"), &root.join("probes"));
    onnx(&at.join("network.onnx"));
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

/// The examples in the help of a command and of those below it, in order; a command without one fails.
fn examples(command: &clap::Command, lines: &mut Vec<String>) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let example = |line: &str| line.trim().trim_start_matches("Example: ").strip_prefix("cavern ").map(str::to_owned);
    let own: Vec<String> = help.lines().filter_map(example).collect();
    assert!(!own.is_empty(), "the help of `{}` has no example", command.get_name());
    // An example may stand in the help of a command and of one below it.
    for line in own {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    command.get_subcommands().for_each(|c| examples(c, lines));
}

#[test]
fn the_examples_of_help_run() {
    let dir = place();
    furnish(dir.path());
    let mut lines = Vec::new();
    examples(&Cli::command(), &mut lines);
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        let started = std::time::Instant::now();
        let printed = text(dir.path(), &format!("cavern {line}"));
        println!("{:6.2} s  {line}", started.elapsed().as_secs_f64());
        if line.ends_with("--json") {
            assert!(serde_json::from_str::<Value>(&printed).is_ok(), "{line}: {printed}");
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
