//! What a user sees of the command line: results on stdout, everything else on stderr, exit codes 0, 1 and 2.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};

fn cavern(args: &[&str]) -> Command {
    Command::new(cargo_bin!("cavern")).args(args).current_dir(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command that must fail with exit code 2, and returns what it says.
fn mistake(args: &[&str]) -> String {
    let output = cavern(args).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?} prints results although it fails");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn study(dir: &Path, text: &str) -> String {
    let path = dir.join("study.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help_names_every_command() {
    let output = cavern(&["--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for command in [
        "run",
        "extract",
        "fit",
        "localise",
        "maximise",
        "score",
        "report",
        "train",
        "validate",
        "dataset",
        "ls",
        "compare",
        "predict",
        "profile",
        "inspect",
        "survey",
        "attack",
        "new",
        "completions",
        "man",
    ] {
        assert!(text.contains(&format!("  {command}")), "{command}: {text}");
        assert_eq!(cavern(&[command, "--help"]).output().unwrap().status.code(), Some(0));
    }
}

#[test]
fn the_shipped_studies_are_valid() {
    let files = std::fs::read_dir("probes").unwrap().flatten().map(|e| e.path());
    let files = files.filter(|f| f.extension().is_some_and(|e| e == "toml"));
    let files: Vec<String> = files.map(|f| f.display().to_string()).collect();
    assert!(files.len() >= 9, "{files:?}");
    for path in files {
        let output = cavern(&["validate", &path]).output().unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("ok\n"));
    }
}

#[test]
fn training_leaves_weights_that_load_and_its_curve() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let sets = ["--set", "dataset.count=60", "--set", "train.epochs=2", "--out", out];
    let output = cavern(&[&["train", "probes/train_elements.toml"][..], &sets].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let weights = text.lines().last().unwrap();
    assert!(weights.ends_with("elements_cnn.safetensors"), "{text}");
    for end in ["curve.json", "curve.svg", "classes.txt", "card.toml"] {
        assert!(dir.path().join(format!("elements_cnn.{end}")).is_file(), "{end}");
    }
    assert!(!dir.path().join("elements_cnn.checkpoint.safetensors").exists());
    let sets = ["--weights", weights, "tests/golden/photo.jpg", "--top", "1"];
    let output = cavern(&[&["predict", "elements_cnn"][..], &sets].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_studies_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = std::fs::read_to_string("probes/quickstart.toml").unwrap();
    let cases = [
        (quickstart.replace("lambda =", "lamda ="), vec!["unknown key `lamda`", "`lambda`", "line "]),
        (quickstart.replace("version = 1", "version = 7"), vec!["version 7", "version = 1"]),
        (quickstart.replace("\"e3\"", "\"e4\""), vec!["unknown value `e4`", "`e1`"]),
        (quickstart.replace("\"hflip\"", "\"hflop\""), vec!["hflop", "`hflip`"]),
        (quickstart.replace("seed = 1", "seed = "), vec!["study.toml", "line "]),
        (quickstart.replace("\"cured\"", "\"curd\""), vec!["`curd`", "`cured`"]),
    ];
    for (text, parts) in cases {
        let path = study(dir.path(), &text);
        let message = mistake(&["validate", &path]);
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    assert!(mistake(&["run", "nowhere.toml"]).contains("no such file"));
    assert!(mistake(&["validate", "probes/quickstart.toml", "--set", "seed"]).contains("key=value"));
}

#[test]
fn wrong_runs_are_explained_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let quickstart = "probes/quickstart.toml";
    let run = |set: &str| mistake(&["run", quickstart, "--out", out, "--set", set]);
    assert!(run("model.layers=[\"conf4\"]").contains("`conv4`"));
    assert!(run("model.name=elements_cn").contains("`elements_cnn`"));
    assert!(run("dataset.concepts=[\"triangel\"]").contains("`triangle`"));
    assert!(run("dataset.root=x").contains("dataset.root"));
    let weights = dir.path().join("w.pth");
    std::fs::write(&weights, b"\x80\x02}.").unwrap();
    let message = run(&format!("model.weights={}", weights.display()));
    assert!(message.contains("w.pth"), "{message}");
    let message = mistake(&["run", quickstart, "--out", out, "--device", "tpu"]);
    assert!(message.contains("cuda:0"), "{message}");
    let message = mistake(&["report", quickstart, "--out", out]);
    assert!(message.contains("cavern fit"), "{message}");
    let runs = std::fs::read_dir(out).unwrap().flatten().filter(|e| e.file_name() != "store" && e.path().is_dir());
    assert_eq!(runs.count(), 0, "no run folder after failures");
}

#[test]
fn models_layers_and_probes_are_listed() {
    let text = |args: &[&str]| String::from_utf8(cavern(args).output().unwrap().stdout).unwrap();
    assert!(text(&["ls", "models"]).contains("efficientnet_lite0"));
    let layers = text(&["ls", "layers", "efficientnet_lite0", "--match", "blocks.1?"]);
    assert!(layers.contains("blocks.10") && !layers.contains("blocks.2 "), "{layers}");
    assert!(text(&["ls", "layers", "efficientnet_lite0"]).contains("1280 x 7 x 7"));
    for kind in ["classifier", "ridge", "svm", "lda", "fast_cav", "cured_span", "combination_sum", "random_set"] {
        assert!(text(&["ls", "probes"]).contains(&format!("\n{kind} ")), "{kind}");
    }
    assert!(mistake(&["ls", "layers", "elements_cnn", "--match", "kanv4"]).contains("`conv4`"));
}

#[test]
fn predict_answers_for_a_picture_and_explains_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("red.png");
    image::RgbImage::from_pixel(64, 64, image::Rgb([255, 255, 255])).save(&picture).unwrap();
    let picture = picture.to_str().unwrap();
    let output = cavern(&["predict", "elements_cnn", picture, "--json"]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert!(value.to_string().contains("red.png"), "{line}");
    let text = dir.path().join("text.png");
    std::fs::write(&text, b"not a picture").unwrap();
    let message = mistake(&["predict", "elements_cnn", text.to_str().unwrap()]);
    assert!(message.contains("text.png"), "{message}");
    assert!(mistake(&["predict", "efficientnet_lite0", picture]).contains("weights"));
}

#[test]
fn a_photograph_is_accentuated_and_caricatured_with_maps_of_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let photo = ["--from", "tests/golden/photo.jpg", "--out", out];
    let sets = ["--set", "maximise.steps=3", "--set", "maximise.seeds=1", "--set", "maximise.penalties.near=1"];
    let asked = ["maximise", "elements_cnn", "conv6:3", "--caricature", "conv5"];
    let output = cavern(&[&asked[..], &photo, &sets].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["conv6-3-0-from-photo", "conv5-like-photo-0-from-photo"] {
        for end in ["", "-map", "-alpha"] {
            let path = dir.path().join(format!("maximised-elements_cnn/{name}{end}.png"));
            assert!(image::open(&path).is_ok(), "{}", path.display());
        }
    }
    assert!(
        mistake(&[&["maximise", "elements_cnn", "--caricature", "conv7"][..], &photo].concat()).contains("`conv7`")
    );
    let alone = ["maximise", "elements_cnn", "--caricature", "conv4"];
    let alone = cavern(&[&alone[..], &photo, &sets].concat()).output().unwrap();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    let message = mistake(&[&["maximise", "probes/quickstart.toml"][..], &photo].concat());
    assert!(message.contains("--from"), "{message}");
    let message = mistake(&["maximise", "elements_cnn", "conv6:3", "--from", "Cargo.toml"]);
    assert!(message.contains("Cargo.toml"), "{message}");
}

#[test]
fn a_direction_from_a_file_is_rendered_in_several_parameterisations() {
    let dir = tempfile::tempdir().unwrap();
    let (out, file) = (dir.path().to_str().unwrap(), dir.path().join("cav.npy"));
    let ones = |count: usize| ndarray_npy::write_npy(&file, &ndarray::Array1::<f32>::ones(count)).unwrap();
    let direction = ["--direction", file.to_str().unwrap(), "--out", out];
    let sets = ["--set", "maximise.steps=2", "--set", "maximise.parameters=[\"fourier\", \"pixel\"]"];
    let asked = ["maximise", "elements_cnn", "logits"];
    ones(3);
    let message = mistake(&[&asked[..], &direction].concat());
    assert!(message.contains("cav.npy") && message.contains("`logits`"), "{message}");
    ones(14);
    let output = cavern(&[&asked[..], &direction, &sets].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["fourier-0", "fourier-1", "pixel-0-alpha", "pixel-1"] {
        let path = dir.path().join(format!("maximised-elements_cnn/logits-along-cav-{name}.png"));
        assert!(image::open(&path).is_ok(), "{}", path.display());
    }
    assert!(mistake(&["maximise", "elements_cnn", "--direction", "cav.npy"]).contains("LAYER"));
    let maco = ["--data", "tests/golden", "--set", "maximise.parameter=maco", "--set", "maximise.steps=2"];
    let output =
        cavern(&[&["maximise", "elements_cnn", "conv6:3", "--out", out][..], &maco].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(mistake(&["maximise", "elements_cnn", "conv6:3", "--data", "tests/golden"]).contains("maco"));
    let empty = [&["maximise", "elements_cnn", "conv6:3", "--data", "src/store"][..], &maco[2..]].concat();
    assert!(mistake(&empty).contains("src/store"));
    let message = mistake(&[&["maximise", "probes/quickstart.toml"][..], &direction].concat());
    assert!(message.contains("--direction"), "{message}");
}

#[test]
fn a_profile_lists_every_layer_and_the_processors_measure() {
    let output = cavern(&["profile", "elements_cnn", "--batch", "2", "--runs", "1", "--gradient"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Times differ from run to run; what stands before them does not.
    let left: String = text
        .lines()
        .take(10)
        .fold(String::new(), |all, line| all + line.chars().take(52).collect::<String>().trim_end() + "\n");
    let wanted = snapbox::str![[r"
layer                             shape    mult-adds
conv1                      16 x 64 x 64      1769472
conv2                      32 x 32 x 32      4718592
conv3                      48 x 32 x 32     14155776
conv4                      64 x 16 x 16      7077888
conv5                      96 x 16 x 16     14155776
conv6                       128 x 8 x 8      7077888
mean                                128            -
logits                               14         1792


"]];
    snapbox::assert_data_eq!(left, wanted);
    for part in ["batch 2, ", "forward in one go", "forward, gradient", "matrix product of 1024"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(String::from_utf8(output.stderr).unwrap().contains("best of 1 runs"));
    let output = cavern(&["profile", "elements_cnn", "--batch", "1", "--runs", "1", "--json"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["layers"][0]["name"], "conv1");
    assert!(value["product_rate"].as_f64().unwrap() > 0.0 && value["step_seconds"].is_null());
    assert!(mistake(&["profile", "resnet51"]).contains("`resnet50`"));
}

/// A study on folders of tiny pictures: dots and stripes in two places, negatives from elsewhere.
fn folders(dir: &Path) -> String {
    let mut seed = 0u32;
    for (folder, count) in [("dots", 90), ("stripes", 12), ("negative/road", 80)] {
        std::fs::create_dir_all(dir.join("data").join(folder)).unwrap();
        for i in 0..count {
            seed += 1;
            let colour = |x, y| image::Rgb([seed as u8, x as u8, y as u8]);
            let path = dir.join("data").join(folder).join(format!("{i}.png"));
            image::RgbImage::from_fn(3, 3, colour).save(path).unwrap();
        }
    }
    let head = format!(
        "version = 1\nname = \"folders\"\n[dataset]\nformat = \"folder\"\nroot = '{}'\n",
        dir.join("data").display()
    );
    study(dir, &(head + "[model]\nname = \"elements_cnn\"\nlayers = [\"conv4\"]\n"))
}

#[test]
fn a_check_of_the_data_says_what_they_cannot_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = folders(dir.path());
    let output = cavern(&["dataset", "check", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let wanted = snapbox::str![[r"
folders: 182 samples; groups 90, blocks 90, sources 3, skipped files 0
fit 91, validation 31, test 60, left out between them 0

concept  present   absent  unknown       fit +/-       val +/-      test +/-  blocks  source   mask
dots          90       80       12         45/40         15/14         30/26      30    1.00      -
stripes       12       80       90          6/40          2/14          4/26       4    1.00      -

1. `stripes`: its 4 test positives are from 4 group(s) or block(s): intervals are drawn over those and mean little below 5.
   Do: use more groups, or a smaller split.block for clips.

2. `stripes`: fit has 6 with and 40 without it, at least 20 of each are wanted; test has 4 with and 26 without it, at least 20 of each are wanted.
   Do: the concept will be left out: add pictures that are known to have it and known to lack it.

3. `dots`: a sample's source alone tells it with balanced accuracy 1.00 (1.00 of 1.00 bits): 90 of 90 positives are from `dots`, 80 of 80 negatives from `negative/road`.
   Do: a probe can learn the source's look instead: take negatives from the sources of the positives, or study one source at a time.

4. `stripes`: a sample's source alone tells it with balanced accuracy 1.00 (0.56 of 0.56 bits): 12 of 12 positives are from `stripes`, 80 of 80 negatives from `negative/road`.
   Do: a probe can learn the source's look instead: take negatives from the sources of the positives, or study one source at a time.

5. `dots`: 30 test samples with and 26 without it: the accuracy on the fewer is known to about ±19 points.
   Do: read differences smaller than that as none, or add pictures.

"]];
    snapbox::assert_data_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    let output = cavern(&["dataset", "check", &path, "--json", "--threads", "1"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["concepts"][1]["name"], "stripes");
    let kinds: Vec<&str> = value["warnings"].as_array().unwrap().iter().map(|w| w["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"source-shortcut") && kinds.contains(&"too-few"), "{kinds:?}");
    let missing = mistake(&["dataset", "check", &path, "--set", "dataset.root=nowhere"]);
    assert!(missing.contains("nowhere"), "{missing}");
}

#[test]
fn a_wrong_layer_of_a_survey_is_named_with_its_network() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version = 1\nname = \"s\"\n[data.shapes]\npictures = 8\n\
        dataset = { format = \"elements\", world = \"e1\", count = 40 }\n[network.small]\nfamily = \"cnn\"\n\
        data = \"shapes\"\nattack_layer = \"conv4\"\nmodel = { name = \"elements_cnn\", layers = [\"conf4\"] }\n";
    let path = study(dir.path(), text);
    let message = mistake(&["survey", &path, "--out", dir.path().to_str().unwrap()]);
    assert!(message.contains("network.small.model.layers") && message.contains("`conv4`"), "{message}");
}

#[test]
fn pictures_for_statistics_must_be_there() {
    let data = ["elements_cnn", "conv6:3", "--set", "maximise.parameter=maco", "--data"];
    for path in ["Cargo.toml", "nowhere"] {
        let message = mistake(&[&["maximise"][..], &data, &[path]].concat());
        assert!(message.contains(path) && message.contains("folder"), "{message}");
    }
}

#[test]
fn a_new_study_is_valid_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let _ = folders(dir.path());
    let [own, example] = ["own.toml", "example.toml"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    for args in [&["new", "study", &own][..], &["new", "study", &example, "--example"]] {
        let output = cavern(args).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), args[2]);
        let message = mistake(args);
        assert!(message.contains(args[2]) && message.contains("another name"), "{message}");
    }
    let root = format!("dataset.root={}", dir.path().join("data").display());
    for command in [&["validate"][..], &["dataset", "check"]] {
        let output = cavern(&[command, &[&own, "--set", &root]].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("not there yet"), "{text}");
    }
    for layer in ["layer3.5", "layer4.2"] {
        assert!(cavern(&["ls", "layers", "resnet50", "--match", layer]).output().unwrap().status.success());
    }
    let output = cavern(&["validate", &example]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("ok\n"));
}
