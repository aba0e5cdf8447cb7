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
    for stage in ["extract", "fit", "localise", "maximise", "score", "sensitivity", "report"] {
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

#[test]
fn bf16_has_activations_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let bf16 = ["--set", "activation.precision=bf16"];
    let (plain, _) = run(&dir.path().join("a"), &[]);
    let (short, said) = run(&dir.path().join("a"), &bf16);
    assert!(said.contains("extract: 240 pictures, 240 new"), "{said}");
    assert_ne!(plain, short);
    let text = |file: &str| std::fs::read_to_string(short.join(file)).unwrap();
    assert!(text("report.html").contains("bf16") && text("manifest.json").contains("\"precision\": \"bf16\""));
    let accuracy = |folder: &Path| {
        let rows =
            cavern::report::read_metrics_parquet(&std::fs::read(folder.join("metrics.parquet")).unwrap()).unwrap();
        let of = rows.iter().filter(|r| r.metric == "accuracy" && r.probe == "classifier").map(|r| r.estimate.value);
        of.collect::<Vec<f64>>()
    };
    let (plain, close) = (accuracy(&plain), accuracy(&short));
    assert!(
        plain.len() == close.len() && plain.iter().zip(&close).all(|(a, b)| (a - b).abs() < 0.1),
        "{plain:?} {close:?}"
    );
    let (other, _) = run(&dir.path().join("b"), &[bf16[0], bf16[1], "--threads", "1"]);
    assert_same(&short, &other);
}

/// A study of activations from elsewhere: channel 0 is the concept where the mask is, the rest is noise.
fn imported(folder: &Path) -> PathBuf {
    use safetensors::tensor::{Dtype, TensorView};
    let (n, channels, side) = (240usize, 6, 4);
    let mut state = 7u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 65536.0
    };
    let (mut activations, mut masks, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n {
        let present = i % 2 == 0;
        labels.push(i64::from(present));
        let place = (i / 2) % (side * side);
        masks.extend((0..side * side).map(|p| u8::from(present && p == place)));
        for c in 0..channels {
            activations
                .extend((0..side * side).map(|p| noise() + if present && c == 0 && p == place { 8.0 } else { 0.0 }));
        }
    }
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let labels: Vec<u8> = labels.iter().flat_map(|v| v.to_le_bytes()).collect();
    let activations = bytes(&activations);
    let tensors = [
        ("activations/mixed", TensorView::new(Dtype::F32, vec![n, channels, side, side], &activations).unwrap()),
        ("labels", TensorView::new(Dtype::I64, vec![n, 1], &labels).unwrap()),
        ("masks", TensorView::new(Dtype::U8, vec![n, 1, side, side], &masks).unwrap()),
    ];
    std::fs::write(folder.join("a.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    let study = format!(
        "version = 1\nname = \"imported\"\n[dataset]\nformat = \"imported\"\nroot = \"{}\"\nconcepts = [\"spot\"]\n\
         [model]\nname = \"imported\"\n[probe]\nkinds = [\"classifier\", \"segmentation\"]\n[score]\nbootstrap = 100\n",
        folder.join("a.safetensors").display()
    );
    let path = folder.join("study.toml");
    std::fs::write(&path, study).unwrap();
    path
}

#[test]
fn activations_from_elsewhere_run_through_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let study = imported(dir.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
    let output = command.arg("run").arg(&study).arg("--out").arg(dir.path().join("runs")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let rows = cavern::report::read_metrics_parquet(&std::fs::read(folder.join("metrics.parquet")).unwrap()).unwrap();
    let value = |probe: &str, variant: &str, metric: &str| {
        let found = rows.iter().find(|r| {
            r.probe == probe
                && r.variant == variant
                && r.metric == metric
                && r.parameter.is_empty()
                && r.layer == "mixed"
        });
        found.unwrap().estimate.value
    };
    assert!(value("classifier", "ti", "accuracy") > 0.95);
    assert!(value("segmentation", "ti", "seg_auroc") > 0.99);
    assert!(value("random", "ti", "accuracy") < 0.9);
}

#[test]
fn too_little_data_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), &["--set", "probe.min_samples=5000"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("triangle") && said.contains("5000 wanted") && said.contains("probe.min_samples"), "{said}");
}

/// What the network is asked, small.
const ASKED: [&str; 12] = [
    "score.metrics=[\"accuracy\"]",
    "tcav.classes=[\"triangle\", 1]",
    "tcav.by=labelled",
    "tcav.examples=12",
    "tcav.random_sets=3",
    "opinion.pictures=2",
    "opinion.patch=56",
    "opinion.stride=56",
    "opinion.steps=4",
    "opinion.removals=3",
    "opinion.layers=[\"conv6\"]",
    "consistency.pictures=4",
];

#[test]
fn what_the_network_is_asked_is_the_same_for_any_threads_and_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |threads: &'static str, more: &[&'static str]| {
        let sets = ASKED.iter().chain(more).flat_map(|set| ["--set", set]);
        sets.chain(["--threads", threads]).collect::<Vec<&str>>()
    };
    let (first, _) = run(&dir.path().join("a"), &asked("1", &[]));
    let (second, _) = run(&dir.path().join("b"), &asked("3", &[]));
    assert_same(&first, &second);
    let rows = std::fs::read(first.join("metrics.parquet")).unwrap();
    let rows = cavern::report::read_metrics_parquet(&rows).unwrap();
    let of = |metric: &str, layer: &str, parameter: &str| {
        let wanted = |r: &&cavern::report::MetricRow| {
            (r.metric.as_str(), r.layer.as_str(), r.parameter.as_str()) == (metric, layer, parameter)
                && (r.concept.as_str(), r.probe.as_str(), r.variant.as_str()) == ("triangle", "classifier", "full")
        };
        rows.iter().find(wanted).map(|r| r.estimate.clone())
    };
    let tcav = of("tcav", "conv5", "triangle").unwrap();
    assert!(tcav.value > 0.9 && tcav.n == 12 && tcav.null_kind == "random sets", "{tcav:?}");
    assert!(of("tcav_p", "conv5", "triangle").unwrap().value < 0.5);
    assert!(of("tcav", "conv6", "triangle").is_none(), "its gradient is constant there");
    for metric in ["opinion_agreement", "deletion", "insertion", "road", "opinion_seg_iou"] {
        for method in ["hires_cam", "occlusion", "integrated_gradients"] {
            assert!(of(metric, "conv6", method).unwrap().value.is_finite(), "{metric} {method}");
        }
    }
    let (far, near) = ("conv6", "conv6 projected");
    let [far, near] = [far, near].map(|parameter| of("layer_inconsistency", "conv5", parameter).unwrap());
    assert!(near.value < far.value && far.value < far.null, "{near:?} {far:?}");
    let page = std::fs::read_to_string(first.join("report.html")).unwrap();
    assert!(page.contains("the same for every picture") && page.contains("Second opinions"));

    let (_, said) = run(&dir.path().join("a"), &asked("2", &["opinion.pictures=1"]));
    assert!(said.contains("opinion: 4 concepts asked about, 4 new"), "{said}");
    for stage in ["tcav", "consistency", "score"] {
        let line = said.lines().find(|l| l.starts_with(&format!("{stage}:"))).unwrap_or_default();
        assert!(line.contains("nothing new"), "{stage}: {said}");
    }
}
