//! What is exported is what the run has, and activations give the same probes again.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::SafeTensors;

/// The quickstart study, cut down to seconds.
const SMALL: [&str; 9] = [
    "dataset.count=240",
    "dataset.concepts=[\"triangle\", \"red\"]",
    "model.layers=[\"conv6\"]",
    "probe.kinds=[\"classifier\", \"fp\"]",
    "probe.min_samples=8",
    "probe.min_false_positives=4",
    "score.views=[\"hflip\"]",
    "score.bootstrap=100",
    "maximise.steps=1",
];

/// Exit code, stdout, stderr.
fn cavern(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavern"));
    let output = command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    (output.status.code(), out.trim_end().to_owned(), err)
}

/// The last line of a command that must succeed.
fn done(args: &[&str]) -> String {
    let (code, out, err) = cavern(args);
    assert_eq!(code, Some(0), "{args:?}: {err}");
    out.lines().last().unwrap().to_owned()
}

/// A small run; its folder.
fn small(out: &Path) -> PathBuf {
    let sets = SMALL.iter().flat_map(|set| ["--set", set]);
    let args: Vec<&str> =
        ["run", "probes/quickstart.toml", "--out", out.to_str().unwrap()].into_iter().chain(sets).collect();
    PathBuf::from(done(&args))
}

/// Names, shapes and bytes of a file's tensors.
fn tensors(path: &Path) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> =
        file.tensors().into_iter().map(|(name, t)| (name, t.shape().to_vec(), t.data().to_vec())).collect();
    all.sort();
    all
}

#[test]
fn exported_activations_give_the_same_probes_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = small(&dir.path().join("runs"));
    let source = run.to_str().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (name, form) in [("a.npz", "npz"), ("b.safetensors", "safetensors")] {
        assert_eq!(done(&["export", source, "activations", "--to", &path(name)]), path(name));
        let study = format!(
            "version = 1\nname = \"{form}\"\nseed = 1\n[dataset]\nformat = \"imported\"\nroot = {:?}\n\
             concepts = [\"triangle\", \"red\"]\n[model]\nname = \"imported\"\n[probe]\nkinds = [\"classifier\", \"fp\"]\n\
             lambda = [1e-4, 1e-3, 1e-2]\nmin_samples = 8\nmin_false_positives = 4\n[score]\nbootstrap = 100\n",
            path(name)
        );
        std::fs::write(path("study.toml"), study).unwrap();
        let (code, out, said) = cavern(&["run", &path("study.toml"), "--out", &path("again")]);
        assert!(code == Some(0) && !said.contains("not used"), "{said}");
        assert_eq!(tensors(&run.join("cavs.safetensors")), tensors(&Path::new(&out).join("cavs.safetensors")));
    }
}

#[test]
fn directions_and_maps_are_chosen_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let run = small(&dir.path().join("runs"));
    let source = run.to_str().unwrap();
    let path = |name: &str| dir.path().join(name);
    let export = |name: &str, args: &[&str]| {
        let to = path(name);
        cavern(&[&["export", source][..], args, &["--to", to.to_str().unwrap()]].concat())
    };
    assert_eq!(export("all.safetensors", &["cavs"]).0, Some(0));
    assert_eq!(tensors(&path("all.safetensors")), tensors(&run.join("cavs.safetensors")));
    assert_eq!(export("red.safetensors", &["cavs", "--concept", "red", "--probe", "classifier"]).0, Some(0));
    let names: Vec<String> = tensors(&path("red.safetensors")).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["conv6/red/classifier/full", "conv6/red/classifier/ti"]);
    let maps = ["maps", "--concept", "red", "--probe", "classifier", "--split", "test"];
    assert_eq!(export("maps.safetensors", &maps).0, Some(0));
    let found = tensors(&path("maps.safetensors"));
    let shape = |name: &str| found.iter().find(|(n, ..)| n == name).map(|(_, shape, _)| shape.clone()).unwrap();
    let known = shape("rows/red")[0];
    assert_eq!(shape("maps/conv6/red/classifier/full"), [known, 8, 8]);
    assert!(known > 30 && known <= shape("split")[0] && shape("labels")[1] == 1, "{known}");
    // The same bytes from the study as from its run.
    let to = path("study.safetensors");
    let (sets, out) = (SMALL.iter().flat_map(|set| ["--set", set]), run.parent().unwrap().to_str().unwrap());
    let study = ["export", "probes/quickstart.toml", "--out", out, "--to", to.to_str().unwrap()];
    done(&study.into_iter().chain(maps).chain(sets).collect::<Vec<_>>());
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(path("maps.safetensors")).unwrap());
    assert_eq!(export("maps.safetensors", &["cavs", "--force"]).0, Some(0));
    for (name, args, part) in [
        ("maps.safetensors", &["cavs"][..], "--force"),
        ("x.npy", &["cavs"], ".npz or .safetensors"),
        ("x.npz", &["cavs", "--split", "test"], "--split"),
        ("x.npz", &["cavs", "--concept", "rad"], "`red`"),
        ("x.npz", &["activations", "--probe", "fp"], "--probe"),
        ("x.npz", &["activations", "--layer", "conv7"], "`conv6`"),
        ("x.npz", &["maps", "--split", "fit"], "val or test"),
        ("x.npz", &["maps", "--probe", "fpp"], "`fp`"),
        ("x.npz", &["maps", "--set", "seed=2"], "--set"),
        ("x.npz", &["maps", "--store", "nowhere"], "nowhere"),
    ] {
        let (code, _, said) = export(name, args);
        assert!(code == Some(2) && said.contains(part), "{args:?}: {said}");
    }
    assert!(!path("x.npz").exists());
    let (code, _, said) = cavern(&["export", "src", "cavs", "--to", path("x.npz").to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("folder of a finished run"), "{said}");
}
