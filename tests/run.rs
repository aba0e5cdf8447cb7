//! A whole study, small: the same bytes for any number of threads, after any number of kills, and nothing done twice.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The quickstart study, cut down to seconds.
const SMALL: [&str; 9] = [
    "dataset.count=240",
    "dataset.concepts=[\"triangle\", \"red\"]",
    "model.layers=[\"conv5\", \"conv6\"]",
    "score.views=[\"hflip\", \"noise 13\"]",
    "score.bootstrap=100",
    "probe.min_samples=8",
    "probe.min_false_positives=4",
    "activation.shard=16",
    "maximise.steps=4",
];

fn command(out: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
    command.args(["run", "probes/quickstart.toml", "--out"]).arg(out).current_dir(env!("CARGO_MANIFEST_DIR"));
    for set in SMALL {
        command.args(["--set", set]);
    }
    command.args(extra);
    command
}

/// Runs to the end; the run's folder, and what stderr says.
fn run(out: &Path, extra: &[&str]) -> (PathBuf, String) {
    let output = command(out, extra).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    (PathBuf::from(stdout.lines().last().unwrap()), said)
}

fn tables(folder: &Path) -> Vec<Vec<u8>> {
    let names = ["metrics.parquet", "samples.parquet", "metrics.csv", "cavs.safetensors", "report.html"];
    names.map(|name| std::fs::read(folder.join(name)).unwrap()).to_vec()
}

fn assert_same(a: &Path, b: &Path) {
    for (i, (a, b)) in tables(a).into_iter().zip(tables(b)).enumerate() {
        assert!(a == b, "file {i} differs");
    }
}

#[test]
fn threads_and_kills_change_no_byte_and_nothing_is_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (first, said) = run(&dir.path().join("a"), &["--threads", "1"]);
    assert!(said.contains("extract: 240 pictures, 240 new"), "{said}");
    for file in ["manifest.json", "figures/bars.svg", "report.html"] {
        assert!(first.join(file).is_file(), "{file}");
    }
    let (second, _) = run(&dir.path().join("b"), &["--threads", "2"]);
    assert_same(&first, &second);

    let killed = dir.path().join("c");
    for milliseconds in [300, 700, 1500] {
        let mut child: Child =
            command(&killed, &["--threads", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (third, _) = run(&killed, &[]);
    assert_same(&first, &third);

    let (again, said) = run(&dir.path().join("a"), &[]);
    assert_same(&first, &again);
    for stage in ["extract", "views", "edits", "fit", "localise", "maximise", "score"] {
        let line = said.lines().find(|l| l.starts_with(&format!("{stage}:"))).unwrap_or_default();
        assert!(line.contains("nothing new"), "{stage}: {said}");
    }

    // Other bootstrap draws measure again, and leave everything else alone.
    let (_, said) = run(&dir.path().join("a"), &["--set", "score.bootstrap=120"]);
    assert!(
        said.contains("fit: 4 sets of probes, nothing new") && said.contains("score: 4 sets of measurements, 4 new")
    );
}

#[test]
fn stages_one_by_one_are_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, _) = run(&dir.path().join("a"), &[]);
    let mut folder = PathBuf::new();
    for stage in ["extract", "fit", "localise", "maximise", "score", "report"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
        command.args([stage, "probes/quickstart.toml", "--out"]).arg(dir.path().join("b"));
        for set in SMALL {
            command.args(["--set", set]);
        }
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{stage}: {}", String::from_utf8_lossy(&output.stderr));
        folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    }
    assert_same(&whole, &folder);
}

#[test]
fn a_planted_shortcut_is_found_and_its_absence_too() {
    let dir = tempfile::tempdir().unwrap();
    let value = |world: &str, metric: &str| {
        let world = format!("dataset.world={world}");
        let (folder, _) = run(dir.path(), &["--set", &world, "--set", "dataset.count=500"]);
        let bytes = std::fs::read(folder.join("metrics.parquet")).unwrap();
        let rows = cavern::report::read_metrics_parquet(&bytes).unwrap();
        let wanted = |r: &&cavern::report::MetricRow| {
            (r.layer.as_str(), r.concept.as_str(), r.probe.as_str(), r.variant.as_str(), r.metric.as_str())
                == ("conv6", "triangle", "classifier", "ti", metric)
                && r.parameter.is_empty()
        };
        rows.iter().find(wanted).unwrap().estimate.clone()
    };
    let (normal, hard) = (value("e3", "accuracy"), value("e3", "hard_h3"));
    assert!(
        normal.value >= 0.9 && hard.value <= normal.value - 0.2 && hard.ci_high < normal.ci_low,
        "{normal:?} {hard:?}"
    );
    assert!(value("e1", "hard_gap_h3").value.abs() < 0.1);
    assert!(value("e1", "direction_cosine").ci_low > value("e3", "direction_cosine").ci_high);
}
