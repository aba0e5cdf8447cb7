//! Speed of the engine: `cargo bench --bench engine [-- NAME...]`. Names are parts of what is printed and choose.
//!
//! First EfficientNet-Lite0's geometry with random weights as a whole: wall time and processor time an image; the latter
//! is of use where the machine is shared. Then each kind of operation at the shapes of the zoo's networks, forward and
//! input gradient.
//!
//! `--layers` times the layers of that network one by one; `--scaling` prints the tables of `docs/performance.md`.

mod operations;
mod scaling;

use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use cavern::dataset::preprocess::{Filter, Preprocess};
use cavern::maximise::{Data, Job, MaximiseOptions, Objective, maximise};
use cavern::model::graph::{Graph, GraphBuilder, Op};
use cavern::ops::{Activation, Conv2d, Padding};
use cavern::probe::Variant;
use cavern::seed::Seed;
use rand::RngExt;

/// Expansion, kernel, stride, channels and repeats of every stage.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Normal-ish weights of a size that keeps activations in range.
fn weights(shape: [usize; 4]) -> candle_core::Result<Tensor> {
    let mut rng = Seed(shape.iter().product::<usize>() as u64).stream("bench weights");
    let fan = (shape[1] * shape[2] * shape[3]) as f32;
    let values = (0..shape.iter().product()).map(|_| (rng.random::<f32>() - 0.5) * 6.0 / fan.sqrt());
    Tensor::from_vec(values.collect::<Vec<f32>>(), &shape, &Device::Cpu)
}

fn lite0() -> Outcome<Graph> {
    let mut g = GraphBuilder::new([3, 224, 224]);
    let mut add = |name: String, from: usize, channels: [usize; 2], kernel: usize, stride, depthwise, activation| {
        let groups = if depthwise { channels[0] } else { 1 };
        let conv = Conv2d { stride, dilation: 1, groups, padding: Padding::Same, activation };
        let bias = Tensor::full(0.1f32, channels[1], &Device::Cpu)?;
        let op = Op::Conv2d(conv, weights([channels[1], channels[0] / groups, kernel, kernel])?, bias);
        candle_core::Result::Ok((g.add(name, op, &[from]), conv))
    };
    let (mut at, _) = add("stem".into(), 0, [3, 32], 3, 2, false, Activation::Relu6)?;
    let mut inputs = 32;
    let mut sums = Vec::new();
    for (stage, (expand, kernel, stride, out, repeats)) in STAGES.into_iter().enumerate() {
        for repeat in 0..repeats {
            let name = |part: &str| format!("stage{stage}.{repeat}.{part}");
            let (start, inner) = (at, inputs * expand);
            let stride = if repeat == 0 { stride } else { 1 };
            if expand > 1 {
                at = add(name("expand"), at, [inputs, inner], 1, 1, false, Activation::Relu6)?.0;
            }
            at = add(name("depthwise"), at, [inner, inner], kernel, stride, true, Activation::Relu6)?.0;
            at = add(name("project"), at, [inner, out], 1, 1, false, Activation::None)?.0;
            if repeat > 0 {
                sums.push((at, start));
            }
            inputs = out;
        }
    }
    add("head".into(), at, [320, 1280], 1, 1, false, Activation::Relu6)?;
    let preprocess = Preprocess { size: 224, filter: Filter::Bicubic, crop: None, mean: [0.5; 3], std: [0.5; 3] };
    Ok(g.finish("lite0-geometry", preprocess, Vec::new(), &Device::Cpu)?)
}

/// User and system time of this process in seconds.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Whether the command line asks for this, or for nothing in particular.
fn chosen(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|a| !a.starts_with("--")).peekable();
    filters.peek().is_none() || filters.any(|f| name.contains(&f))
}

/// Noise of a shape, with a batch in front.
fn noise(shape: &[usize], batch: usize) -> Outcome<Tensor> {
    Ok(Tensor::randn(0f32, 1.0, [&[batch], shape].concat(), &Device::Cpu)?)
}

/// Least wall time of some runs after one that does not count.
fn fastest<R>(runs: usize, mut f: impl FnMut() -> Outcome<R>) -> Outcome<f64> {
    drop(f()?);
    let mut best = f64::MAX;
    for _ in 0..runs {
        let at = Instant::now();
        drop(f()?);
        best = best.min(at.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Least wall time and mean processor time of one run, by image.
fn measure<R>(name: &str, images: usize, runs: usize, f: impl FnMut() -> Outcome<R>) -> Outcome {
    if !chosen(name) {
        return Ok(());
    }
    let start = processor_time();
    let best = fastest(runs, f)?;
    // Processor time is also that of the run before the timed ones.
    let processor = (processor_time() - start) / (runs + 1) as f64;
    let n = images as f64;
    println!("{name:<28} {:>7.1} images/s {:>8.2} processor-ms/image", n / best, 1e3 * processor / n);
    Ok(())
}

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("--scaling") => scaling::tables(),
        Some("--one") => scaling::one(&words[1..]),
        Some("--layers") => networks(),
        _ => {
            networks()?;
            operations::operations()
        }
    }
}

/// EfficientNet-Lite0's geometry as a whole.
fn networks() -> Outcome {
    let graph = lite0()?;
    let head = graph.layer("head")?;
    let x = Tensor::randn(0f32, 1.0, (16, 3, 224, 224), &Device::Cpu)?;
    if std::env::args().any(|a| a == "--layers") {
        return layers(&graph, &x);
    }
    measure("forward, batch 16", 16, 8, || Ok(graph.forward(&x, &[head])?))?;
    let x8 = x.narrow(0, 0, 8)?.contiguous()?;
    measure("forward and gradient, 8", 8, 6, || Ok(graph.pull_back(head, &x8, |_, z| Ok(z.ones_like()?))?))?;
    measure("the same by candle's graph, 8", 8, 3, || {
        let x = Var::from_tensor(&x8)?;
        let y = graph.forward(&x, &[head])?.remove(0);
        Ok(y.sum_all()?.backward()?.get(&x).cloned())
    })?;
    let direction = vec![(1.0 / 1280f32).sqrt(); 1280];
    let job = |seed| Job {
        label: "bench".into(),
        objective: Objective::direction(head, direction.clone(), Variant::TranslationInvariant, 0.0),
        seed,
        start: None,
    };
    let jobs: Vec<Job> = (0..8).map(job).collect();
    let options = MaximiseOptions { steps: 8, ..MaximiseOptions::default() };
    measure("maximise, 8 pictures' steps", 64, 2, || {
        Ok(maximise(&graph, &jobs, &options, &Data::default(), Seed(1), |_| {})?)
    })
}

/// Time of every layer by itself.
fn layers(graph: &Graph, x: &Tensor) -> Outcome {
    let mut values = x.clone();
    for (i, layer) in graph.layers().iter().enumerate() {
        let next = graph.forward_from(i, &values, &[i + 1])?.remove(0);
        let shape = format!("{} {:?}", layer.name, layer.shape);
        measure(&shape, 16, 4, || Ok(graph.forward_from(i, &values, &[i + 1])?))?;
        values = next.to_dtype(DType::F32)?;
    }
    Ok(())
}
