//! How speed follows batch size and threads, and memory the size of the picture. Every measurement is a process of its
//! own, so that its peak is its own and the number of threads is that of the whole engine.

use std::process::Command;
use std::time::{Duration, Instant};

use cavern::dataset::preprocess::Preprocess;
use cavern::model::zoo;
use cavern::model::{Graph, GraphBuilder};
use cavern::seed::Seed;

use super::{Outcome, noise};

const MODELS: [&str; 3] = ["resnet50", "efficientnet_lite0", "vit_small_patch14"];
const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// Those whose layers do not depend on the size of the picture.
const ANY_SIZE: [&str; 2] = ["resnet50", "efficientnet_lite0"];
const SIZES: [usize; 4] = [112, 224, 448, 896];
/// Time a measurement takes at least, and runs.
const LEAST: (Duration, usize) = (Duration::from_secs(2), 3);

/// Prints the tables of `docs/performance.md`, in Markdown.
pub(super) fn tables() -> Outcome {
    let cores = std::thread::available_parallelism()?.get();
    let threads: Vec<usize> = (0..=cores.ilog2()).map(|i| 1 << i).collect();
    println!("Images a second, forward, by batch size:\n");
    let heads: Vec<String> = BATCHES.iter().map(ToString::to_string).collect();
    println!("| model | threads | {} |\n|---|---|{}", heads.join(" | "), "---|".repeat(BATCHES.len()));
    for model in MODELS {
        for threads in &threads {
            let cell = |batch: &usize| -> Outcome<String> {
                let one = in_a_process(model, "forward", 224, *batch, *threads)?;
                Ok(format!("{:.1}", *batch as f64 / one.seconds))
            };
            let cells = BATCHES.iter().map(cell).collect::<Outcome<Vec<String>>>()?;
            println!("| {model} | {threads} | {} |", cells.join(" | "));
        }
    }
    println!("\nOne picture by its size: time, and peak memory beyond the loaded network's:\n");
    println!("| model | pixels | network | forward | | with gradient | |\n|---|---|---|---|---|---|---|");
    for model in ANY_SIZE {
        for size in SIZES {
            let [forward, step] = ["forward", "step"].map(|what| in_a_process(model, what, size, 1, cores));
            let (forward, step) = (forward?, step?);
            let cells =
                |m: &Measured| format!("{:.1} ms | {} MiB", 1e3 * m.seconds, mib(m.peak.saturating_sub(m.loaded)));
            println!("| {model} | {size} | {} MiB | {} | {} |", mib(forward.loaded), cells(&forward), cells(&step));
        }
    }
    Ok(())
}

fn mib(bytes: usize) -> usize {
    bytes >> 20
}

/// What a process found out: time of its best run, memory with the network loaded and at the peak.
struct Measured {
    seconds: f64,
    loaded: usize,
    peak: usize,
}

fn in_a_process(model: &str, what: &str, size: usize, batch: usize, threads: usize) -> Outcome<Measured> {
    let words = ["--one", model, what, &size.to_string(), &batch.to_string()];
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(words).env("RAYON_NUM_THREADS", threads.to_string()).output()?;
    let text = String::from_utf8(output.stdout)?;
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [seconds, loaded, peak] if output.status.success() => {
            Ok(Measured { seconds: seconds.parse()?, loaded: loaded.parse()?, peak: peak.parse()? })
        }
        _ => Err(format!("{model} {what}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The process: `--one MODEL forward|step PIXELS BATCH`.
pub(super) fn one(words: &[String]) -> Outcome {
    let [model, what, size, batch] = words else { return Err("--one MODEL forward|step PIXELS BATCH".into()) };
    let graph = resized(&zoo::random(model, Seed(0))?, size.parse()?)?;
    let last = graph.layers().len();
    let x = noise(graph.shape(0), batch.parse()?)?;
    let loaded = memory("VmRSS:")?;
    std::fs::write("/proc/self/clear_refs", "5")?;
    let run = || match what.as_str() {
        "forward" => Ok(graph.forward(&x, &[last])?.remove(0)),
        _ => Ok(graph.pull_back(last, &x, |_, z| Ok(z.ones_like()?))?),
    };
    println!("{} {loaded} {}", best(run)?, memory("VmHWM:")?);
    Ok(())
}

/// Seconds of the fastest run.
fn best<R>(mut run: impl FnMut() -> Outcome<R>) -> Outcome<f64> {
    drop(run()?);
    let (begin, mut runs, mut best) = (Instant::now(), 0, f64::INFINITY);
    while runs < LEAST.1 || begin.elapsed() < LEAST.0 {
        let start = Instant::now();
        drop(run()?);
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}

/// The same network for pictures of another size.
fn resized(graph: &Graph, size: usize) -> Outcome<Graph> {
    if graph.shape(0)[1] == size {
        return Ok(graph.clone());
    }
    let mut builder = GraphBuilder::new([3, size, size]);
    for node in 1..=graph.layers().len() {
        builder.add(graph.layer_name(node), graph.op(node).clone(), graph.inputs(node));
    }
    let preprocess = Preprocess { size, ..graph.preprocess().clone() };
    Ok(builder.finish(graph.name(), preprocess, graph.classes().to_vec(), &candle_core::Device::Cpu)?)
}

/// A line of the system's account of this process, in bytes.
fn memory(line: &str) -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|l| l.strip_prefix(line)).ok_or("the system does not tell")?;
    Ok(value.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
