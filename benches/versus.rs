//! A network behind a pipe: what `benches/versus_pytorch.py` drives. One command a line on stdin, one answer a line on
//! stdout; words are separated by spaces.
//!
//! ```text
//! load MODEL WEIGHTS PRECISION [DEVICE]   ok
//! forward INPUT OUTPUT LAYER RUNS         seconds S S S ...
//! gradient INPUT OUTPUT LAYER RUNS        seconds S S S ...
//! maximise LAYER:CHANNEL STEPS COUNT BATCH    seconds S
//! peak                                    peak BYTES
//! ```
//!
//! MODEL may be an ONNX file, whose WEIGHTS are `-`. DEVICE is `cpu`, or `cuda` where the benchmark was built with it. INPUT
//! and OUTPUT are `.npy` files of f32. `forward` writes the layer's activation, `gradient` the gradient of its sum to the
//! input. Both run once before they time. `maximise` renders COUNT pictures of a unit from different noise. `peak` is the
//! most memory of the process since the model was loaded. What fails is answered by `error MESSAGE`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor};
use cavern::maximise::{Data, Job, MaximiseOptions};
use cavern::model::graph::Precision;
use cavern::model::{Graph, build};
use cavern::seed::Seed;
use ndarray::ArrayD;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Network {
    graph: Graph,
    device: Device,
}

fn main() -> Outcome {
    let mut network = None;
    let mut out = std::io::stdout().lock();
    if std::io::stdin().is_terminal() {
        writeln!(out, "versus is driven by a program: run python3 benches/versus_pytorch.py")?;
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let answer =
            answer(&mut network, &line?).unwrap_or_else(|e| format!("error {}", e.to_string().replace('\n', " ")));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(network: &mut Option<Network>, line: &str) -> Outcome<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["load", model, weights, precision, ref device @ ..] => {
            *network = Some(load(model, Path::new(weights), precision, device.first().unwrap_or(&"cpu"))?);
            // From here on the system counts the peak anew.
            std::fs::write("/proc/self/clear_refs", "5")?;
            Ok("ok".into())
        }
        [what @ ("forward" | "gradient"), input, output, layer, runs] => {
            let Network { graph, device } = network.as_ref().ok_or("load a model first")?;
            let (node, x) = (graph.layer(layer)?, read(Path::new(input), device)?);
            let run = || match what {
                "forward" => Ok(graph.forward(&x, &[node])?.remove(0)),
                _ => Ok(graph.pull_back(node, &x, |_, z| Ok(z.ones_like()?))?),
            };
            let (seconds, result) = time(runs.parse()?, run)?;
            write(Path::new(output), &result)?;
            Ok(format!("seconds {}", seconds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
        }
        ["maximise", unit, steps, count, batch] => {
            let network = network.as_ref().ok_or("load a model first")?;
            let seconds = maximise(network, unit, steps.parse()?, count.parse()?, batch.parse()?)?;
            Ok(format!("seconds {seconds}"))
        }
        ["peak"] => Ok(format!("peak {}", peak()?)),
        _ => Err(format!("`{line}` is no command: see the head of benches/versus.rs").into()),
    }
}

fn load(model: &str, weights: &Path, precision: &str, device: &str) -> Outcome<Network> {
    let weights = Some(weights).filter(|w| *w != Path::new("-"));
    let device = match device {
        "cpu" => Device::Cpu,
        "cuda" => Device::new_cuda(0)?,
        other => return Err(format!("{other} is no device, cpu and cuda are").into()),
    };
    let graph = build(model, weights, &device)?;
    let graph = match precision {
        "f32" => graph,
        "bf16" => graph.with_precision(Precision::Bf16)?,
        other => return Err(format!("precision {other} is not supported, f32 and bf16 are").into()),
    };
    Ok(Network { graph, device })
}

/// Seconds of every run after the first, and the last result. A run ends when the device is done.
fn time(runs: usize, mut run: impl FnMut() -> Outcome<Tensor>) -> Outcome<(Vec<f64>, Tensor)> {
    let mut result = run()?;
    result.device().synchronize()?;
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs {
        drop(result);
        let start = Instant::now();
        result = run()?;
        result.device().synchronize()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok((seconds, result))
}

/// Seconds of an ascent with the default options, which are Lucid's, on `count` pictures.
fn maximise(Network { graph, device }: &Network, unit: &str, steps: usize, count: u64, batch: usize) -> Outcome<f64> {
    let objective = cavern::maximise::unit::parse(graph, unit)?;
    let job = |seed| Job { label: unit.to_owned(), objective: objective.clone(), seed, start: None };
    let jobs: Vec<Job> = (0..count).map(job).collect();
    let options = MaximiseOptions { steps, batch, ..MaximiseOptions::default() };
    let start = Instant::now();
    cavern::maximise::maximise_on(device, graph, &jobs, &options, &Data::default(), Seed(0), |_| {})?;
    Ok(start.elapsed().as_secs_f64())
}

fn read(path: &Path, device: &Device) -> Outcome<Tensor> {
    let array: ArrayD<f32> = ndarray_npy::read_npy(path)?;
    let shape = array.shape().to_vec();
    Ok(Tensor::from_vec(array.into_iter().collect::<Vec<f32>>(), shape, device)?)
}

fn write(path: &Path, tensor: &Tensor) -> Outcome {
    let values = tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(ndarray_npy::write_npy(path, &ArrayD::from_shape_vec(tensor.dims(), values)?)?)
}

/// The most memory this process ever had, in bytes.
fn peak() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("the system does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}
