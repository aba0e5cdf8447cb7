//! Many probes of one layer behind a pipe: what `benches/versus_sklearn.py` drives. One command a line on stdin, one answer
//! a line on stdout; words are separated by spaces.
//!
//! ```text
//! import X FOLDER                              ok
//! solve FOLDER LABELS LAMBDAS FOLDS OUT        seconds space S KIND S KIND S ...
//! memory FOLDER N C H W CONCEPTS               peak BYTES seconds S
//! ```
//!
//! X is an `.npy` file `[sample, value]` of f32, which `import` cuts into shards in FOLDER. `solve` fits every kind of
//! [`KINDS`] to every column of LABELS, an `.npy` file `[sample, concept]` of u8; LAMBDAS are separated by commas, and each
//! kind that has a lambda chooses it by FOLDS folds. It writes the directions of the first concept, of unit length,
//! `[kind, value]`, and behind each its lambda, to OUT. `memory` writes N random activations as f16, fits the same kinds to
//! them with the last fifth for validation, makes every direction, and tells the most memory since the activations were
//! written; what it wrote is deleted. What fails is answered by `error MESSAGE`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use cavern::activation::{LayerSet, ShardWriter, Storage, Variant};
use cavern::probe::kind::Earlier;
use cavern::probe::{KINDS as ALL, Labelled, LambdaBy, ProbeKind, ProbeOptions, Solution, Space, Task};
use cavern::seed::Seed;
use ndarray::Array2;
use rand::RngExt;
use rayon::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const KINDS: [&str; 6] = ["classifier", "ridge", "svm", "mean_difference", "fast_cav", "lda"];
/// Samples of a shard.
const SHARD: usize = 50;

fn main() -> Outcome {
    let mut out = std::io::stdout().lock();
    if std::io::stdin().is_terminal() {
        writeln!(out, "gram is driven by a program: run python3 benches/versus_sklearn.py")?;
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&line?).unwrap_or_else(|e| format!("error {}", e.to_string().replace('\n', " ")));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Outcome<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["import", x, folder] => {
            let x: Array2<f32> = ndarray_npy::read_npy(x)?;
            write_shards(Path::new(folder), [x.ncols(), 1, 1], Storage::F32, x.nrows(), |i| x.row(i).to_vec())?;
            Ok("ok".into())
        }
        ["solve", folder, labels, lambdas, folds, out] => {
            let labels: Array2<u8> = ndarray_npy::read_npy(labels)?;
            let lambda = lambdas.split(',').map(str::parse).collect::<Result<_, _>>()?;
            let options =
                ProbeOptions { lambda, folds: folds.parse()?, lambda_by: LambdaBy::Folds, ..ProbeOptions::default() };
            solve(Path::new(folder), &labels, &options, Path::new(out))
        }
        ["memory", folder, n, c, h, w, concepts] => {
            memory(Path::new(folder), n.parse()?, [c.parse()?, h.parse()?, w.parse()?], concepts.parse()?)
        }
        _ => Err(format!("`{line}` is no command: see the head of benches/gram.rs").into()),
    }
}

fn write_shards(
    folder: &Path,
    shape: [usize; 3],
    storage: Storage,
    count: usize,
    sample: impl Fn(usize) -> Vec<f32>,
) -> Outcome<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for first in (0..count).step_by(SHARD) {
        let mut writer = ShardWriter::new(shape, storage);
        for i in first..(first + SHARD).min(count) {
            writer.push("benchmark", &sample(i))?;
        }
        let path = folder.join(format!("{:05}.safetensors", first / SHARD));
        std::fs::write(&path, writer.finish()?)?;
        paths.push(path);
    }
    Ok(paths)
}

fn open(folder: &Path) -> Outcome<LayerSet> {
    let mut paths = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(LayerSet::open("benchmark", &paths)?)
}

/// Rows of a space, of which the first `fitted` are fitted, with labels of every concept.
struct Study<'a> {
    set: &'a LayerSet,
    space: &'a Space,
    labels: &'a Array2<u8>,
    fitted: usize,
    options: &'a ProbeOptions,
}

impl Study<'_> {
    /// Fits a kind to every concept.
    fn fit(&self, kind: &dyn ProbeKind) -> Outcome<Vec<Solution>> {
        let concepts = (0..self.labels.ncols()).into_par_iter();
        let solved: Result<Vec<Solution>, String> = concepts.map(|concept| self.fit_one(kind, concept)).collect();
        Ok(solved?)
    }

    fn fit_one(&self, kind: &dyn ProbeKind, concept: usize) -> Result<Solution, String> {
        let part = |range: std::ops::Range<usize>| {
            let (positive, negative) = range.partition(|row| self.labels[[*row, concept]] == 1);
            Labelled { positive, negative }
        };
        let blocks: Vec<usize> = (0..self.labels.nrows()).collect();
        let task = Task {
            concept: &format!("concept {concept}"),
            set: self.set,
            space: self.space,
            fit: &part(0..self.fitted),
            val: &part(self.fitted..self.labels.nrows()),
            blocks: &blocks,
            sources: &vec![0; blocks.len()],
            coverage: &|_, _| Ok(None),
            options: self.options,
            seed: Seed(1),
        };
        kind.fit(&task, &Earlier::new()).map_err(|e| format!("{}: {e:?}", kind.name()))
    }
}

fn kinds() -> impl Iterator<Item = &'static dyn ProbeKind> {
    KINDS.iter().filter_map(|name| ALL.iter().find(|kind| kind.name() == *name).copied())
}

fn solve(folder: &Path, labels: &Array2<u8>, options: &ProbeOptions, out: &Path) -> Outcome<String> {
    let set = open(folder)?;
    let samples: Vec<usize> = (0..set.len()).collect();
    let start = Instant::now();
    let space = Space::new(&set, Variant::Full, &samples, set.len())?.prepared_for(&options.lambda);
    let mut told = vec![format!("seconds space {}", start.elapsed().as_secs_f64())];
    let study = Study { set: &set, space: &space, labels, fitted: set.len(), options };
    let mut rows = Vec::new();
    for kind in kinds() {
        let start = Instant::now();
        let solved = study.fit(kind)?;
        told.push(format!("{} {}", kind.name(), start.elapsed().as_secs_f64()));
        let weights: Vec<Vec<f64>> = solved[..1].iter().filter_map(|s| Some(s.coordinates()?.to_vec())).collect();
        let (direction, _) = space.directions(&set, &weights)?.swap_remove(0);
        let norm = direction.iter().map(|w| w * w).sum::<f64>().sqrt();
        rows.push(direction.iter().map(|w| w / norm).chain([solved[0].lambda]).collect::<Vec<_>>());
    }
    let width = rows[0].len();
    ndarray_npy::write_npy(out, &Array2::from_shape_vec((rows.len(), width), rows.concat())?)?;
    Ok(told.join(" "))
}

fn memory(folder: &Path, n: usize, shape: [usize; 3], concepts: usize) -> Outcome<String> {
    let size = shape.iter().product::<usize>();
    let paths = write_shards(folder, shape, Storage::F16, n, |i| {
        let mut rng = Seed(i as u64).stream("activation");
        (0..size).map(|_| (rng.random::<f32>() - 0.5).max(0.0)).collect()
    })?;
    // From here on the system counts the peak anew.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (start, set) = (Instant::now(), LayerSet::open("benchmark", &paths)?);
    let options = ProbeOptions::default();
    let (samples, fitted): (Vec<usize>, usize) = ((0..n).collect(), n - n / 5);
    let space = Space::new(&set, Variant::Full, &samples, fitted)?.prepared_for(&options.lambda);
    let labels = Array2::from_shape_fn((n, concepts), |(i, c)| u8::from(i.wrapping_mul(2 * c + 3) % 97 < 48));
    let study = Study { set: &set, space: &space, labels: &labels, fitted, options: &options };
    let mut sum = 0.0;
    for kind in kinds() {
        let weights: Vec<Vec<f64>> = study.fit(kind)?.iter().filter_map(|s| Some(s.coordinates()?.to_vec())).collect();
        let directions = space.directions(&set, &weights)?;
        sum += directions.iter().map(|(_, offset)| offset).sum::<f64>();
    }
    let seconds = start.elapsed().as_secs_f64();
    paths.iter().try_for_each(std::fs::remove_file)?;
    if !sum.is_finite() {
        return Err("a direction is not finite".into());
    }
    Ok(format!("peak {} seconds {seconds}", peak()?))
}

/// The most memory this process had since it was last reset, in bytes.
fn peak() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("the system does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
