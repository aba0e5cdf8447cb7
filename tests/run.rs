//! A whole study, small: the same bytes for any number of threads, after any number of kills, and nothing done twice.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use cavern::metric::Estimate;
use cavern::report::MetricRow;

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

fn metrics(folder: &Path) -> Vec<MetricRow> {
    cavern::report::read_metrics_parquet(&std::fs::read(folder.join("metrics.parquet")).unwrap()).unwrap()
}

/// What was measured in one world of Elements.
fn world(name: &str) -> Vec<MetricRow> {
    let dir = tempfile::tempdir().unwrap();
    let world = format!("dataset.world={name}");
    metrics(&run(dir.path(), &["--set", &world, "--set", "dataset.count=500"]).0)
}

/// In E1 nothing goes along with anything else.
static E1: LazyLock<Vec<MetricRow>> = LazyLock::new(|| world("e1"));

/// What a classifier of the last layer was measured at.
fn classifier(rows: &[MetricRow], variant: &str, concept: &str, metric: &str) -> Estimate {
    let wanted = |r: &&MetricRow| {
        (r.layer.as_str(), r.concept.as_str(), r.probe.as_str(), r.variant.as_str(), r.metric.as_str())
            == ("conv6", concept, "classifier", variant, metric)
            && r.parameter.is_empty()
    };
    rows.iter().find(wanted).unwrap().estimate.clone()
}

/// The same of the translation-invariant one.
fn of_classifier(rows: &[MetricRow], concept: &str, metric: &str) -> Estimate {
    classifier(rows, "ti", concept, metric)
}

#[test]
fn a_planted_shortcut_is_found_and_its_absence_too() {
    let e3 = world("e3");
    let value = |metric: &str| of_classifier(&e3, "triangle", metric);
    let (normal, hard) = (value("accuracy"), value("hard_h3"));
    assert!(
        normal.value >= 0.9 && hard.value <= normal.value - 0.2 && hard.ci_high < normal.ci_low,
        "{normal:?} {hard:?}"
    );
    // Not the editing does it: edits of what has nothing to do with triangles change little.
    let sham = value("hard_h3_sham");
    assert!(sham.value > normal.value - 0.1 && sham.ci_low > hard.ci_high, "{sham:?} {normal:?}");
    let clean = |metric: &str| of_classifier(&E1, "triangle", metric);
    assert!(clean("hard_gap_h3").value.abs() < 0.1);
    assert!(clean("direction_cosine").ci_low > value("direction_cosine").ci_high);
}

/// Where only triangles are red, but not all of them, what is easy to find of red things is that they are triangles.
#[test]
fn half_a_shortcut_is_found_too() {
    let e2 = world("e2");
    let value = |metric: &str| classifier(&e2, "full", "red", metric);
    let (normal, hard, sham) = (value("accuracy"), value("hard_h3"), value("hard_h3_sham"));
    assert!(normal.value > 0.75 && hard.ci_high < normal.ci_low && hard.ci_high < sham.ci_low, "{normal:?} {hard:?}");
}

#[test]
fn shuffled_labels_and_random_directions_are_at_chance() {
    let of = |probe: &str, metric: &str| -> Vec<f64> {
        let wanted = |r: &&MetricRow| r.probe == probe && r.metric == metric && r.parameter.is_empty();
        E1.iter().filter(wanted).map(|r| r.estimate.value).collect()
    };
    // The mean over concepts, layers and variants, within three of its standard errors.
    let assert_chance = |values: Vec<f64>| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
        assert!((mean - 0.5).abs() < 3.0 * error && error < 0.1, "{values:?}");
    };
    assert_chance(of("permuted", "accuracy"));
    assert_chance(of("random", "seg_auroc"));
    assert!(of("classifier", "accuracy").iter().all(|v| *v > 0.6));
}

#[test]
fn every_metric_of_a_run_is_in_the_table() {
    for row in E1.iter() {
        let known = cavern::metric::table::metric(&row.metric).unwrap_or_else(|| panic!("{}", row.metric));
        assert_eq!(known.higher_is_better, row.higher_is_better);
        let value = row.estimate.value;
        let plain = row.parameter.is_empty() && !value.is_nan();
        assert!(!plain || (known.range.0 - 1e-9..=known.range.1 + 1e-9).contains(&value), "{} {value}", row.metric);
    }
}

/// Photographs of a sort: speckled backgrounds, half of them with a red disc and its mask. Returns the study.
fn discs(folder: &Path) -> PathBuf {
    let mut state = 3u32;
    let mut noise = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for kind in ["disc", "masks/disc", "negative"] {
        std::fs::create_dir_all(folder.join("data").join(kind)).unwrap();
    }
    for i in 0..160 {
        let (radius, x0, y0) = (8 + noise(5), 14 + noise(36), 14 + noise(36));
        let disc = move |x: u32, y: u32| i % 2 == 0 && x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2) < radius * radius;
        let grey = 120 + noise(60);
        let image = image::RgbImage::from_fn(64, 64, |x, y| {
            let level = (grey + noise(40)) as u8;
            image::Rgb(if disc(x, y) { [230, 30, 30] } else { [level, level, level.saturating_sub(x as u8 / 2)] })
        });
        let place = if i % 2 == 0 { "disc" } else { "negative" };
        image.save(folder.join(format!("data/{place}/{i}.png"))).unwrap();
        if i % 2 == 0 {
            let mask = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([u8::from(disc(x, y)) * 255]));
            mask.save(folder.join(format!("data/masks/disc/{i}.png"))).unwrap();
        }
    }
    let study = format!(
        "version = 1\nname = \"discs\"\n[dataset]\nformat = \"folder\"\nroot = \"{}\"\nconcepts = [\"disc\"]\n\
         [model]\nname = \"elements_cnn\"\nlayers = [\"conv6\"]\n[probe]\nkinds = [\"classifier\"]\nmin_samples = 8\n\
         [score]\nbootstrap = 100\nmatch = \"embedding\"\n\
         views = [\"hflip\", \"pan 0.125\", \"crop 0.8\", \"saturation 0.6\", \"jpeg 50\"]\n",
        folder.join("data").display()
    );
    std::fs::write(folder.join("study.toml"), study).unwrap();
    folder.join("study.toml")
}

#[test]
fn photographs_are_retouched_and_maps_move() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
    let output = command.arg("run").arg(discs(dir.path())).arg("--out").arg(dir.path().join("runs")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = metrics(Path::new(String::from_utf8(output.stdout).unwrap().trim()));
    let value = |metric: &str| of_classifier(&rows, "disc", metric).value;
    // A disc is red, and where it is filled in nothing red is left.
    assert!(value("accuracy") > 0.95 && value("hard_h3") > 0.9 && value("hard_h3_sham") > 0.9);
    assert!(value("sham_flip_rate") < 0.1 && value("hard_gap_h3").abs() < 0.1);
    let maps = of_classifier(&rows, "disc", "equivariance");
    assert!(maps.value > 0.5 && maps.value > maps.null + 0.1, "{maps:?}");
    for name in ["seg_iou_val", "seg_ap_lift"] {
        let found = of_classifier(&rows, "disc", name);
        assert!(found.ci_low > found.null, "{name} {found:?}");
    }
    assert!(value("worst") <= value("accuracy") && value("backbone_retention") > 0.3);
    assert_eq!(of_classifier(&rows, "disc", "retention").null, value("backbone_retention"));
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
        let rows = metrics(folder);
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
    let rows = metrics(&folder);
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
