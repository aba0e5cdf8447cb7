//! A run that is asked to stop: it keeps what it has, says how to go on, and goes on to the same bytes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{assert_nothing_half, assert_same, cavern, files, folder, run, stderr, study};

const PICTURES: &str = "[maximise]\nsteps = 24\nbatch = 1\ncontrols = false\njudge = { copies = 1 }\n";

fn kill(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Sends a signal as soon as a folder has so many artifacts, and waits for the end.
fn stopped(mut command: Command, kind: &Path, artifacts: usize, signal: &str) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while files(kind).len() < 2 * artifacts {
        assert!(begun.elapsed() < Duration::from_mins(2), "nothing in {}", kind.display());
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(&child, signal);
    child.wait_with_output().unwrap()
}

#[test]
fn a_study_goes_on_where_it_was_stopped_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), PICTURES);
    let whole = folder(&run(&study, &dir.path().join("whole")).output().unwrap());

    let out = dir.path().join("stopped");
    let kind = |name: &str| out.join("store").join(name);
    let first = stopped(run(&study, &out), &kind("activation"), 3, "-INT");
    let said = stderr(&first);
    assert_eq!(first.status.code(), Some(130), "{said}");
    assert!(first.stdout.is_empty() && said.contains("stopping after the piece of work at hand"), "{said}");
    assert!(said.contains("interrupted: extract: ") && said.contains("of 160 pictures are kept"), "{said}");
    assert!(said.ends_with("help: the same command goes on\n"), "{said}");
    assert_nothing_half(&out);
    let kept = files(&kind("activation"));

    let second = stopped(run(&study, &out), &kind("rendering"), 1, "-TERM");
    let said = stderr(&second);
    assert_eq!(second.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: maximise: ") && said.contains("picture steps are kept"), "{said}");
    assert_nothing_half(&out);
    let now = files(&kind("activation"));
    assert!(kept.iter().all(|file| now.contains(file)), "what was kept is not made again");

    let third = run(&study, &out).output().unwrap();
    assert!(stderr(&third).contains("extract: 160 pictures, nothing new"), "{}", stderr(&third));
    assert_same(&whole, &folder(&third));
}

const SURVEY: &str = r#"
version = 1
name = "small"
units = 2
exemplars = 10
bootstrap = 100
learning_rates = [0.05, 0.2]
[maximise]
steps = 12
transforms = "small"
[data.shapes]
dataset = { format = "elements", world = "e1", count = 30, concepts = ["red", "square"] }
pictures = 24
[network.trained]
family = "cnn"
data = "shapes"
model = { name = "elements_cnn", layers = ["conv4", "conv2", "logits"] }
[network.random]
family = "cnn"
data = "shapes"
untrained = true
model = { name = "elements_cnn", layers = ["conv2", "conv4"] }
"#;

#[test]
fn a_survey_goes_on_where_it_was_stopped_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("survey.toml");
    std::fs::write(&path, SURVEY).unwrap();
    let survey = |out: &str| {
        let mut command = cavern("survey");
        command.arg(&path).arg("--out").arg(dir.path().join(out));
        command
    };
    let whole = folder(&survey("whole").output().unwrap());
    let output = stopped(survey("stopped"), &dir.path().join("stopped/store/rendering"), 1, "-INT");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: survey: ") && said.contains(" million multiply-adds are kept"), "{said}");
    assert_nothing_half(&dir.path().join("stopped"));
    assert_same(&whole, &folder(&survey("stopped").output().unwrap()));
}

/// As quiet as it was asked to be, a run says that it stops, and why it is not done.
#[test]
fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "[maximise]\nsteps = 2000\n");
    let out = dir.path().join("runs");
    let mut command = run(&study, &out);
    command.arg("--quiet").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // Drafts of pictures are there while they are made.
    let begun = Instant::now();
    while files(&out.join("store/map")).is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(2));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    kill(&child, "-INT");
    std::thread::sleep(Duration::from_millis(300));
    kill(&child, "-INT");
    let asked = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(stderr(&output), "stopping after the piece of work at hand; once more to stop at once\n");
}

#[test]
fn a_training_keeps_the_epoch_it_was_stopped_in() {
    let dir = tempfile::tempdir().unwrap();
    let train = |out: &str| {
        let mut command = cavern("train");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("probes/train_elements.toml").arg("--out");
        command.arg(dir.path().join(out));
        let sets = ["dataset.count=60", "train.epochs=3", "train.checkpoint_every=0", "train.batch=8"];
        sets.iter().for_each(|set| _ = command.args(["--set", set]));
        command
    };
    let whole = train("whole").output().unwrap();
    assert!(whole.status.success(), "{}", stderr(&whole));

    let mut child = train("stopped").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The head of the table is printed before the first step.
    let mut head = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut head).unwrap();
    kill(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("train: 1 of 3 epochs are kept in"), "{said}");
    assert!(said.contains("elements_cnn.checkpoint.safetensors"), "{said}");

    let again = train("stopped").output().unwrap();
    assert!(again.status.success(), "{}", stderr(&again));
    for name in ["elements_cnn.safetensors", "elements_cnn.curve.json"] {
        let read = |out: &str| std::fs::read(dir.path().join(out).join(name)).unwrap();
        assert!(read("whole") == read("stopped"), "{name}");
    }
    assert_eq!(files(&dir.path().join("stopped")).len(), files(&dir.path().join("whole")).len());
}

#[test]
fn a_run_that_waits_for_another_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "");
    let store = dir.path().join("runs/store");
    let _held = cavern::store::Store::open(&store, || ()).unwrap();
    let mut child = run(&study, &dir.path().join("runs")).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
    assert!(said.starts_with("waiting for another run on "), "{said}");
    kill(&child, "-INT");
    std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(said.contains("interrupted: waiting for another run"), "{said}");
}

/// Commands that have nothing to keep end as any program does.
#[test]
fn other_commands_end_by_the_signal() {
    use std::os::unix::process::ExitStatusExt;
    let mut command = cavern("profile");
    let mut child = command.args(["elements_cnn", "--runs", "60000"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // Shells start what runs in the background with Ctrl-C ignored; this one is never.
    kill(&child, "-TERM");
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
