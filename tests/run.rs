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
    let names = [
        "metrics.parquet",
        "samples.parquet",
        "metrics.csv",
        "comparisons.parquet",
        "correlations.csv",
        "cavs.safetensors",
        "report.html",
    ];
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

/// Acceptance test 7: neither the order of the concepts nor that of the studies changes a number (captum 909, 1285).
#[test]
fn the_order_of_concepts_and_of_studies_changes_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let order = |names: &str| format!("dataset.concepts=[{names}]");
    let (forth, back) = (order("\"triangle\", \"red\""), order("\"red\", \"triangle\""));
    let args =
        |set: &str| vec!["--set".to_owned(), set.to_owned(), "--set".to_owned(), "maximise.controls=false".to_owned()];
    let run = |out: &str, set: &str| {
        let extra = args(set);
        run(&dir.path().join(out), &extra.iter().map(String::as_str).collect::<Vec<_>>()).0
    };
    let rows = |folder: &Path| {
        let bytes = std::fs::read(folder.join("metrics.parquet")).unwrap();
        // The table is sorted by key; NaN is unlike itself, so texts are compared.
        cavern::report::read_metrics_parquet(&bytes).unwrap().iter().map(|r| format!("{r:?}")).collect::<Vec<_>>()
    };
    let (first, second) = (run("a", &forth), run("a", &back));
    assert_ne!(first, second);
    let (forth_rows, back_rows) = (rows(&first), rows(&second));
    assert_eq!(forth_rows.len(), back_rows.len());
    for (a, b) in forth_rows.iter().zip(&back_rows) {
        assert_eq!(a, b);
    }
    // The other study first, in a store of its own.
    let (second_first, first_second) = (run("b", &back), run("b", &forth));
    assert_same(&first, &first_second);
    assert_same(&second, &second_first);
}

/// Directions, controls, a class and the network with random weights: each against real pictures, and in another network.
#[test]
fn every_picture_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let judged = [
        "maximise.seeds=3",
        "maximise.untrained=true",
        "maximise.parameters=[\"fourier\", \"maco\"]",
        "maximise.units=[\"logits:red\"]",
        "maximise.judge={ model = \"elements_cnn\", copies = 4 }",
    ];
    let extra: Vec<&str> = judged.iter().flat_map(|set| ["--set", set]).collect();
    let (folder, said) = run(dir.path(), &extra);
    assert!(said.contains("judge: 2 sets of pictures, 2 new"), "{said}");
    let bytes = std::fs::read(folder.join("metrics.parquet")).unwrap();
    let rows = cavern::report::read_metrics_parquet(&bytes).unwrap();
    let find = |metric: &str, concept: &str, layer: &str, parameter: &str| -> Option<&MetricRow> {
        let own = |r: &&MetricRow| r.metric == metric && r.concept == concept && r.layer == layer;
        rows.iter().find(|r| own(r) && r.parameter == parameter && r.probe != "random")
    };
    for (role, n) in
        [("fourier", 3), ("maco", 3), ("negative, fourier", 1), ("untrained, fourier", 3), ("untrained, maco", 3)]
    {
        for metric in ["am_z", "am_percentile", "am_slope_error", "am_centroid", "am_path"] {
            let estimate = &find(metric, "red", "conv6", role).unwrap_or_else(|| panic!("{metric} {role}")).estimate;
            assert_eq!((estimate.n, estimate.ci_low.is_finite()), (n, n >= 3), "{metric} {role}");
            assert!(estimate.value.is_finite() && estimate.null.is_finite(), "{metric} {role} {estimate:?}");
        }
        let judge = format!("{role}, elements_cnn");
        assert!(find("am_transfer_r", "red", "conv6", &judge).is_some_and(|r| r.estimate.value.abs() <= 1.0));
        assert!(find("am_nearest", "red", "conv6", &judge).is_some_and(|r| r.estimate.value > 0.0));
    }
    let kid = find("am_kid", "all", "conv6", "fourier, elements_cnn").unwrap();
    assert_eq!((kid.estimate.n, kid.probe.as_str()), (6, "classifier"));
    assert!(find("am_frechet", "all", "conv6", "maco, elements_cnn").unwrap().estimate.value > 0.0);
    // The judge is the very network here, so that the class of the same name is known to rise.
    let class = &find("am_transfer", "logits:red", "logits", "fourier, elements_cnn").unwrap().estimate;
    assert!(class.value > class.null, "{class:?}");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("Real pictures") && page.contains("Untrained network"));
    assert!(page.contains("Classifier, fourier") && page.contains("Classifier, maco"));
    assert!(folder.join("maximised/logits-red-real-0.png").is_file());
    // What is asked of another judge is asked again; the pictures stay.
    let (_, said) = run(dir.path(), &[&extra[..8], &["--set", "maximise.judge.copies=2"]].concat());
    assert!(said.contains("judge: 2 sets of pictures, 2 new") && said.contains("picture steps, nothing new"), "{said}");
}

/// Acceptance test 10: the same seed is the same bytes (see above), another seed is reported as such.
#[test]
fn another_seed_gives_other_numbers_that_compare_puts_beside_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let small = ["--set", "maximise.controls=false", "--set", "dataset.concepts=[\"triangle\", \"red\", \"circle\"]"];
    let run = |seed: &str| run(&dir.path().join("runs"), &[&small[..], &["--set", seed]].concat()).0;
    let (one, two) = (run("seed=1"), run("seed=2"));
    let rows = |folder: &Path| {
        cavern::report::read_metrics_parquet(&std::fs::read(folder.join("metrics.parquet")).unwrap()).unwrap()
    };
    let stability = |folder: &Path| -> Vec<f64> {
        let rows = rows(folder);
        rows.iter().filter(|r| r.metric == "seed_stability").map(|r| r.estimate.value).collect()
    };
    assert_eq!(stability(&one).len(), 12, "two layers, three concepts, two variants");
    assert!(stability(&one).iter().all(|v| *v > 0.1 && *v <= 1.0) && stability(&one) != stability(&two));
    for metric in ["entanglement", "spatial_norm_cv", "direction_cosine"] {
        assert!(rows(&one).iter().any(|r| r.metric == metric && r.estimate.value.is_finite()), "{metric}");
    }
    let out = dir.path().join("compared");
    let compare = |runs: &[&Path], extra: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
        command.arg("compare").args(runs).arg("--out").arg(&out).args(["--bootstrap", "200"]).args(extra);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    };
    let (code, text, said) = compare(&[&one, &two], &[]);
    assert_eq!(code, Some(0), "{said}");
    for part in ["Rank correlation with direction_cosine, conv6 ti: 3 concepts, 2 runs", "With 3 concepts at most, no"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().last().unwrap().ends_with("compare.html"));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let page = read("compare.html");
    assert!(page.contains("seed 2") && page.contains("Which metric follows the truth?") && !page.contains("NaN"));
    assert!(
        read("comparisons.csv").lines().count() > 10 && read("correlations.csv").contains("direction_cosine,conv6,ti")
    );
    assert!(page.contains("study.seed") && read("compare.md").contains("| parameters | `study.seed` | 1 | 2 |"));
    assert!(text.contains("parameters: study.seed is 1 | 2"), "{text}");
    let accuracy = |csv: String| -> f64 {
        let line = csv.lines().find(|l| l.contains(",conv6,classifier,ti,accuracy,")).unwrap().to_owned();
        line.split(',').nth(7).unwrap().parse().unwrap()
    };
    let there = accuracy(read("differences.csv"));
    assert!(read("matched.csv").lines().count() > 1000);
    // Runs the other way round: differences turn, what is said of all runs stays. One run is enough; what is wrong is said.
    let (_, again, _) = compare(&[&two, &one], &[]);
    let after = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(after(&text), after(&again));
    assert_eq!(accuracy(read("differences.csv")), -there);
    assert_eq!(compare(&[&one], &["--metric", "icc"]).0, Some(0));
    assert!(!read("correlations.csv").contains("hard_h3"));
    for (runs, extra, part) in [
        (vec![one.as_path(), one.as_path()], vec![], "is given twice"),
        (vec![dir.path()], vec![], "no finished run"),
        (vec![one.as_path()], vec!["--metric", "icd"], "`icc`"),
        (vec![one.as_path()], vec!["--bootstrap", "3"], "--bootstrap"),
    ] {
        let (code, _, said) = compare(&runs, &extra);
        assert!(code == Some(2) && said.contains(part), "{part}: {said}");
    }
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

/// Runs a study beside its file; its folder and metrics.
fn run_study(study: &Path, set: &[&str]) -> (PathBuf, Vec<MetricRow>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
    command.arg("run").arg(study).arg("--out").arg(study.with_file_name("runs"));
    for set in set {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let rows = metrics(&folder);
    (folder, rows)
}

fn value(rows: &[MetricRow], probe: &str, variant: &str, metric: &str) -> Option<f64> {
    let wanted = |r: &&MetricRow| {
        (r.probe.as_str(), r.variant.as_str(), r.metric.as_str()) == (probe, variant, metric) && r.parameter.is_empty()
    };
    rows.iter().find(wanted).map(|r| r.estimate.value)
}

#[test]
fn every_pooling_and_what_has_no_direction_run_through_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let study = imported(dir.path());
    let set = |kinds: &str| format!("probe.kinds={kinds}");
    let pooled = "probe.variants=[\"full\", \"ti\", \"ti_max\", \"ti_lse 4\"]";
    let (kinds, folds) = (set("[\"classifier\", \"car\", \"segmentation\"]"), "probe.lambda_by=folds");
    let (folder, rows) = run_study(&study, &[pooled, &kinds, folds]);
    for variant in ["full", "ti", "ti_max", "ti_lse 4"] {
        for probe in ["classifier", "car"] {
            let accuracy = value(&rows, probe, variant, "accuracy").unwrap();
            assert!(accuracy > 0.9 || variant == "full", "{probe} {variant}: {accuracy}");
        }
        let mapped = ["full", "ti"].contains(&variant);
        assert_eq!(value(&rows, "classifier", variant, "seg_auroc").is_some(), mapped, "{variant}");
        assert_eq!(value(&rows, "segmentation", variant, "accuracy").is_some(), mapped, "{variant}");
        assert!(value(&rows, "car", variant, "seg_auroc").is_none());
    }
    // A concept in one cell of sixteen: its largest value says more than its mean.
    assert!(value(&rows, "classifier", "ti_max", "auroc") >= value(&rows, "classifier", "ti", "auroc"));

    let file = format!("probe.imported={:?}", folder.join("cavs.safetensors"));
    let (_, again) = run_study(&study, &[pooled, &set("[\"imported\"]"), &file]);
    for variant in ["full", "ti", "ti_max", "ti_lse 4"] {
        let (first, second) =
            (value(&rows, "classifier", variant, "auroc"), value(&again, "imported", variant, "auroc"));
        assert!((first.unwrap() - second.unwrap()).abs() < 1e-3, "{variant}: {first:?} {second:?}");
    }
}

#[test]
fn kinds_from_masks_and_scaled_fits_run_through_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [
        "classifier",
        "fp",
        "segmentation",
        "segmentation_box",
        "segmentation_upsampled",
        "segmentation_gate",
        "net2vec",
        "netdissect",
        "loce",
        "positions",
    ];
    let list = format!("probe.kinds={kinds:?}");
    let options = [
        list.as_str(),
        "probe.scaling=zscore",
        "probe.balance=weights",
        "probe.image_score=top 0.1",
        "localise.upsample=receptive",
        "localise.drop_ring=1",
    ];
    let extra: Vec<&str> = options.iter().flat_map(|set| ["--set", *set]).collect();
    let (folder, _) = run(dir.path(), &extra);
    let rows = metrics(&folder);
    let best = |kind: &str, metric: &str| {
        let own = rows.iter().filter(|r| r.probe == kind && r.metric == metric && r.parameter.is_empty());
        own.map(|r| r.estimate.value).filter(|v| !v.is_nan()).fold(f64::MIN, f64::max)
    };
    for kind in kinds.into_iter().filter(|kind| *kind != "fp") {
        assert!(best(kind, "auroc") > 0.6, "{kind}: {}", best(kind, "auroc"));
    }
    assert!(best("segmentation", "seg_auroc") > 0.8 && best("netdissect", "unit_iou") > 0.05);
    assert!(best("loce", "loce_spread") > 0.0);
}

#[test]
fn activations_from_elsewhere_run_through_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (_, rows) = run_study(&imported(dir.path()), &[]);
    let value = |probe: &str, variant: &str, metric: &str| value(&rows, probe, variant, metric).unwrap();
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

#[test]
fn emblems_edges_and_draws_run_through_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let options = [
        "localise.cell=emblem",
        "localise.edge=reweight",
        "localise.upsample=bicubic",
        "score.draws=3",
        "score.views=[\"hflip\", \"noise 13\", \"rotate ~15\"]",
    ];
    let extra: Vec<&str> = options.iter().flat_map(|set| ["--set", set]).collect();
    let (folder, said) = run(dir.path(), &extra);
    let rows = metrics(&folder);
    let found = |metric: &str, parameter: &str| {
        let wanted = |r: &&MetricRow| r.metric == metric && r.parameter == parameter && r.probe == "classifier";
        rows.iter().filter(wanted).map(|r| r.estimate.value).collect::<Vec<_>>()
    };
    // One view that is drawn thrice has a worst draw; one that is looked at once has none.
    assert!(!found("worst", "noise 13").is_empty() && found("worst", "hflip").is_empty());
    let pictures = said.lines().find(|l| l.starts_with("views:")).unwrap_or_default();
    let count: usize = pictures.split_whitespace().nth(1).unwrap().parse().unwrap();
    let known = rows.iter().find(|r| r.metric == "accuracy").unwrap().estimate.n;
    assert!(count.is_multiple_of(7) && count >= 7 * known, "{said}");
    // Maps turn with the picture by the angle that was drawn for it.
    assert!(found("equivariance", "rotate ~15").iter().any(|v| *v > 0.5), "{:?}", found("equivariance", "rotate ~15"));
    assert!(found("seg_auroc", "").iter().any(|v| *v > 0.6), "{:?}", found("seg_auroc", ""));
    // A direction whose maps were brought to nothing is told.
    if said.contains("emblems do not separate") {
        let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
        assert!(page.contains("its maps are zero"));
    }
}

/// What the network is asked, small.
const ASKED: [&str; 16] = [
    "dataset.concepts=[\"triangle\", \"square\"]",
    "score.metrics=[\"accuracy\"]",
    "tcav.classes=[\"triangle\", 1]",
    "tcav.by=labelled",
    "tcav.examples=12",
    "tcav.random_sets=3",
    "tcav.relative=true",
    "opinion.pictures=2",
    "opinion.patch=56",
    "opinion.stride=56",
    "opinion.steps=4",
    "opinion.removals=3",
    "opinion.layers=[\"conv6\"]",
    "opinion.methods=[\"grad_cam\", \"hires_cam\", \"occlusion\", \"integrated_gradients\", \"gradient_input\", \"am\"]",
    "opinion.ascent=4",
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
        let wanted = |r: &&MetricRow| {
            (r.metric.as_str(), r.layer.as_str(), r.parameter.as_str()) == (metric, layer, parameter)
                && (r.concept.as_str(), r.probe.as_str(), r.variant.as_str()) == ("triangle", "classifier", "full")
        };
        rows.iter().find(wanted).map(|r| r.estimate.clone())
    };
    let tcav = of("tcav", "conv5", "triangle").unwrap();
    assert!(tcav.value > 0.9 && tcav.n == 12 && tcav.null_kind == "random sets", "{tcav:?}");
    assert!(of("tcav_p", "conv5", "triangle").unwrap().value < 0.5);
    assert!(of("tcav_smooth", "conv5", "triangle").unwrap().value > 0.5);
    assert!(of("tcav_relative", "conv5", "triangle").unwrap().value > 0.5);
    assert!(of("tcav", "conv6", "triangle").is_none(), "its gradient is constant there");
    for metric in ["opinion_agreement", "deletion", "insertion", "road", "opinion_seg_iou"] {
        for method in ["hires_cam", "occlusion", "integrated_gradients", "am"] {
            assert!(of(metric, "conv6", method).unwrap().value.is_finite(), "{metric} {method}");
        }
    }
    let [far, near, least] = ["conv6", "conv6 projected", "conv6 optimised"]
        .map(|parameter| of("layer_inconsistency", "conv5", parameter).unwrap());
    assert!(least.value <= near.value && near.value < far.value && far.value < far.null, "{least:?} {near:?} {far:?}");
    let page = std::fs::read_to_string(first.join("report.html")).unwrap();
    assert!(page.contains("the same for every picture") && page.contains("Second opinions"));

    let (_, said) = run(&dir.path().join("a"), &asked("2", &["opinion.pictures=1"]));
    assert!(said.contains("opinion: 4 concepts asked about, 4 new"), "{said}");
    for stage in ["tcav", "consistency", "score"] {
        let line = said.lines().find(|l| l.starts_with(&format!("{stage}:"))).unwrap_or_default();
        assert!(line.contains("nothing new"), "{stage}: {said}");
    }
}
