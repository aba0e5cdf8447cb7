//! The world outside: places that cannot be written, odd paths, no home, nobody who reads, full disks, files that change,
//! and two runs at once. Each works, or says which file it is about and what to do, and loses nothing.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{assert_nothing_half, assert_same, cavern, files, folder, run, stderr, study};
use snapbox::cmd::cargo_bin;

/// That a command failed with a code, naming a path and a cure.
fn assert_refused(output: &Output, code: i32, path: &Path, cure: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "a result was printed: {said}");
    assert!(said.contains(&path.display().to_string()), "{} is not named: {said}", path.display());
    assert!(said.contains("\n  help: ") && said.contains(cure), "{cure}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A line of a shell, where `cavern` is the program.
fn shell(line: &str) -> Output {
    let bin = cargo_bin!("cavern").parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", format!("{bin}:{path}")).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap()
}

/// Whether a folder without the right to write can be written all the same, as root can.
fn rights_are_ignored(dir: &Path) -> bool {
    std::fs::write(dir.join("try"), "").is_ok()
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "");
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let refused = |out: &Path, cure: &str| assert_refused(&run(&study, out).output().unwrap(), 2, out, cure);
    refused(&file, "a file lies where a folder is wanted");
    refused(&file.join("below"), "a file lies where a folder is wanted");
    let with_store = run(&study, &dir.path().join("runs")).arg("--store").arg(&file).output().unwrap();
    assert_refused(&with_store, 2, &file, "a file lies where a folder is wanted");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    // Where nobody can make a folder, root neither.
    refused(Path::new("/proc/cavern"), "");
    refused(Path::new("/sys/cavern"), "--out and --store say where results go");
    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    if !rights_are_ignored(&locked) {
        refused(&locked.join("runs"), "--out and --store say where results go");
    }
}

#[test]
fn a_folder_in_the_way_of_a_result_is_named_and_the_work_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (study, out) = (study(dir.path(), ""), dir.path().join("runs"));
    let done = folder(&run(&study, &out).output().unwrap());
    let page = done.join("report.html");
    std::fs::remove_file(&page).unwrap();
    std::fs::create_dir_all(page.join("sub")).unwrap();
    assert_refused(&run(&study, &out).output().unwrap(), 1, &page, "a folder lies where a file is wanted");
    assert_nothing_half(&out);
    std::fs::remove_dir_all(&page).unwrap();
    let again = run(&study, &out).output().unwrap();
    assert!(stderr(&again).contains("score: 4 sets of measurements, nothing new"), "{}", stderr(&again));
    assert!(folder(&again).join("report.html").is_file());
}

/// Pictures with and without a square, each other than all others.
fn pictures(root: &Path, each: u32) {
    for (place, bright) in [("ein Quadrat ä", 1), ("negative", 0)] {
        std::fs::create_dir_all(root.join(place)).unwrap();
        for i in 0..each {
            let square = |x: u32, y: u32| bright == 1 && (20..44).contains(&x) && (20..44).contains(&y);
            let value = |x, y| if square(x, y) { 250 } else { ((x * 7 + y * 13 + i * 29) % 97) as u8 };
            let image = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([value(x, y), (i % 251) as u8, 40]));
            image.save(root.join(place).join(format!("nr {i:03} 100% #ü.png"))).unwrap();
        }
    }
}

fn of_pictures(dir: &Path, root: &Path) -> PathBuf {
    let path = dir.join("stüdy of one.toml");
    let text = format!(
        "version = 1\nname = \"pictures\"\n[dataset]\nformat = \"folder\"\nroot = {:?}\n[model]\nname = \"elements_cnn\"\n\
         layers = [\"conv5\"]\n[activation]\nshard = 2\nbatch = 2\n[probe]\nkinds = [\"classifier\"]\nlambda = [1e-2]\n\
         min_samples = 4\nreferences = 3\n[score]\nmetrics = [\"accuracy\"]\nbootstrap = 100\n",
        root.display().to_string()
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn paths_may_have_spaces_and_any_letters() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("so ein \"Täg\" 日本 & $HOME 'x'");
    std::fs::create_dir(&place).unwrap();
    let root = place.join("Bilder #1");
    pictures(&root, 24);
    let study = of_pictures(&place, &root);
    let done = folder(&run(&study, &place.join("Läufe 1")).output().unwrap());
    assert!(done.join("report.html").is_file(), "{}", done.display());
    let compared = cavern("compare").arg(&done).arg("--out").arg(place.join("verglichen")).output().unwrap();
    assert!(compared.status.success(), "{}", stderr(&compared));
    // Bytes that are no text: names of folders may be of those, too.
    let out = dir.path().join(OsStr::from_bytes(b"no\xfftext"));
    assert!(run(&study, &out).output().unwrap().status.success());
    let inner = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).find(|p| !p.ends_with("store")).unwrap();
    assert_same(&done, &inner);
}

#[test]
fn neither_a_home_nor_a_reader_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (study, out) = (study(dir.path(), ""), dir.path().join("runs"));
    let done = folder(&run(&study, &out).output().unwrap());
    let bare = run(&study, &dir.path().join("bare")).env_clear().output().unwrap();
    assert_same(&done, &folder(&bare));
    let cached = cavern("predict")
        .args(["resnet18", "--weights", "hf://a/b", "x.png"])
        .env_clear()
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert_refused(&cached, 2, Path::new("hf://a/b"), "give the path of a file");

    let line = format!("cavern run '{}' --out '{}'", study.display(), out.display());
    for (ending, code) in [(">&-", 0), ("2>&-", 0), ("<&-", 0), ("2>/dev/full", 0), (">/dev/full", 1)] {
        let output = shell(&format!("{line} {ending}"));
        assert_eq!(output.status.code(), Some(code), "{ending}: {}", stderr(&output));
        assert!(code == 0 || stderr(&output).contains("cannot write to stdout"), "{}", stderr(&output));
    }
    assert_same(&done, &folder(&bare));
}

/// Who reads a list may leave when they have seen enough: `cavern ls models | head`.
#[test]
fn a_reader_who_leaves_is_no_error() {
    for arguments in ["ls metrics", "ls models --json", "completions bash", "man", "ls layers resnet50"] {
        let mut command = Command::new(cargo_bin!("cavern"));
        command.args(arguments.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{arguments}");
    }
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "");
    let mut child = run(&study, dir.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success(), "nobody reads what a run says");
}

#[test]
fn quiet_says_nothing_and_verbose_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (study, out) = (study(dir.path(), ""), dir.path().join("runs"));
    let quiet = run(&study, &out).arg("-q").output().unwrap();
    assert_eq!(stderr(&quiet), "");
    let done = folder(&quiet);
    let verbose = run(&study, &out).args(["--verbose", "--set", "score.bootstrap=120"]).output().unwrap();
    let said = stderr(&verbose);
    for part in ["networks run on the CPU", "samples, of which", "network elements_cnn", "read probe ", "made score "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("of 20 shards the store lacks 0") && !said.contains("made probe "), "{said}");
    assert_ne!(folder(&verbose), done);
    let both = cavern("ls").args(["models", "-q", "-v"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}

/// On a terminal there are bars; codes that move a cursor are for terminals that have one.
#[cfg(target_os = "linux")]
#[test]
fn codes_are_for_terminals() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "");
    let on_a_terminal = |out: &str, term: &str, options: &str| {
        let bin = cargo_bin!("cavern").display();
        let line = format!("{bin} run {} --out {} {options}", study.display(), dir.path().join(out).display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", term).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let bars = on_a_terminal("a", "xterm", "");
    assert!(bars.contains('\u{1b}') && bars.contains("extract") && bars.contains("/160"), "{bars:?}");
    for (out, term, options) in [("b", "dumb", ""), ("c", "xterm", "--quiet")] {
        let plain = on_a_terminal(out, term, options);
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }
    for arguments in [["run", "--help"], ["run", "nothing.toml"], ["run", "--nothing"]] {
        let output = cavern(arguments[0]).arg(arguments[1]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.contains(&0x1b), "{}", String::from_utf8_lossy(&said));
    }
}

/// A limit on the length of files fails a write as a full disk does, wherever the tests run.
#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (study, out) = (study(dir.path(), ""), dir.path().join("runs"));
    let whole = folder(&run(&study, &dir.path().join("whole")).output().unwrap());
    let line = format!("cavern run '{}' --out '{}'", study.display(), out.display());
    let limited = |blocks: u32| shell(&format!("trap '' XFSZ; ulimit -f {blocks}; exec {line}"));

    let activations = limited(64);
    assert_refused(&activations, 1, &out.join("store/tmp"), "free some space");
    assert!(stderr(&activations).contains("activation.safetensors"), "{}", stderr(&activations));
    assert_nothing_half(&out);
    assert!(files(&out).iter().all(|(name, _)| name == "store/lock"));

    // All the work is done, and the page does not fit.
    let done = folder(&run(&study, &out).output().unwrap());
    assert_same(&whole, &done);
    std::fs::remove_dir_all(&done).unwrap();
    let page = limited(100);
    assert_refused(&page, 1, &done, "what is done is kept");
    assert_nothing_half(&out);
    for (name, bytes) in files(&done) {
        assert!(std::fs::read(whole.join(&name)).unwrap() == bytes, "{name} is half");
    }
    let again = run(&study, &out).output().unwrap();
    assert!(stderr(&again).contains("score: 4 sets of measurements, nothing new"), "{}", stderr(&again));
    assert_same(&whole, &folder(&again));
}

#[test]
fn two_runs_at_once_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let study = study(dir.path(), "");
    let store = dir.path().join("store");
    let start = |out: &str| {
        let mut command = run(&study, &dir.path().join(out));
        command.arg("--store").arg(&store).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = ["a", "a", "b"].map(start);
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let folders = outputs.each_ref().map(folder);
    assert_same(&folders[0], &folders[2]);
    let said = outputs.each_ref().map(stderr);
    let made = said.iter().filter(|text| text.contains("extract: 160 pictures, 160 new")).count();
    let waited = said.iter().filter(|text| text.contains("waiting for another run on")).count();
    assert_eq!((made, waited), (1, 2), "{said:?}");
    assert_nothing_half(dir.path());
}

/// Waits until there is a file below a folder.
fn until(child: &mut std::process::Child, kind: &Path) {
    let begun = Instant::now();
    while files(kind).is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(2) && child.try_wait().unwrap().is_none(), "{}", kind.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Puts a file in another's place, as editors and downloads do.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[test]
fn pictures_that_change_under_way_are_refused_and_never_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pictures");
    pictures(&root, 150);
    let (study, out) = (of_pictures(dir.path(), &root), dir.path().join("runs"));
    let last = root.join("negative/nr 149 100% #ü.png");
    let mut child = run(&study, &out).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(&mut child, &out.join("store/activation"));
    replace(&last, &std::fs::read(root.join("negative/nr 003 100% #ü.png")).unwrap());
    assert_refused(&child.wait_with_output().unwrap(), 2, &last, "run again");
    assert_nothing_half(&out);
    // What is made of the pictures as they are now is what a fresh store gives.
    let again = folder(&run(&study, &out).output().unwrap());
    let fresh = folder(&run(&study, &dir.path().join("fresh")).output().unwrap());
    assert_same(&fresh, &again);
}

#[test]
fn weights_that_change_under_way_are_not_named_as_those_of_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let weights = dir.path().join("elements.safetensors");
    let mut bytes = std::fs::read("datasets/elements_cnn.safetensors").unwrap();
    std::fs::write(&weights, &bytes).unwrap();
    let study = study(dir.path(), "");
    let start = |out: &str| {
        let mut command = run(&study, &dir.path().join(out));
        command.args(["--set", &format!("model.weights={}", weights.display())]);
        command
    };
    let mut child = start("runs").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until(&mut child, &dir.path().join("runs/store/activation"));
    // Another value of the last tensor.
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&0.25f32.to_le_bytes());
    replace(&weights, &bytes);
    assert_refused(&child.wait_with_output().unwrap(), 2, &weights, "run again");
    let again = start("runs").output().unwrap();
    assert!(stderr(&again).contains("extract: 160 pictures, 160 new"), "{}", stderr(&again));
    assert_same(&folder(&start("fresh").output().unwrap()), &folder(&again));
}
