//! `cavern profile`: where a network's time goes, layer by layer, against what the processor can do.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use rand::RngExt;
use serde::Serialize;

use crate::cli::ProfileArgs;
use crate::model::Graph;
use crate::model::recipe::is_onnx;
use crate::model::{self, zoo};
use crate::seed::Seed;

/// Side of the square matrices whose product is the processor's measure.
const SIDE: usize = 1024;

/// Times every layer by itself, its inputs at hand: the best of several runs. The last line on `out` is the rate of a
/// large matrix product on the same processor, which no layer can exceed by much.
///
/// # Errors
/// When there is no such model, or its weights cannot be read.
pub fn run(args: &ProfileArgs, out: &mut dyn Write) -> Result<()> {
    super::stage::set_threads(args.threads)?;
    let brought = is_onnx(&args.model) || zoo::info(&args.model)?.embedded;
    let graph = match &args.weights {
        None if !brought => zoo::random(&args.model, Seed(0))?,
        weights => model::build(&args.model, weights.as_deref(), &Device::Cpu)?,
    };
    let (batch, runs) = (usize::from(args.batch), usize::from(args.runs));
    tracing::info!("{}: {} layers, batch {batch}, best of {runs} runs", graph.name(), graph.layers().len());
    let profile = profile(&graph, batch, runs, args.gradient)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&profile)?)?;
        return Ok(());
    }
    profile.print(out)
}

/// What a profile says; times in seconds, of the whole batch.
#[derive(Debug, Serialize)]
struct Profile {
    model: String,
    batch: usize,
    threads: usize,
    layers: Vec<Layer>,
    /// The network in one go.
    forward_seconds: f64,
    /// Forward, and the gradient of the last layer's sum to the input.
    step_seconds: Option<f64>,
    /// Multiply-adds a second of a square matrix product.
    product_rate: f64,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    /// For one picture; zero where a layer is not made of products.
    multiply_adds: usize,
    seconds: f64,
    /// From the gradient of its result to those of its inputs.
    gradient_seconds: Option<f64>,
}

fn profile(graph: &Graph, batch: usize, runs: usize, gradient: bool) -> Result<Profile> {
    let x = input(graph, batch)?;
    let last = graph.layers().len();
    let forward_seconds = best(runs, || Ok(graph.forward(&x, &[last])?))?.0;
    let step = || Ok(graph.pull_back(last, &x, |_, z| Ok(z.ones_like()?))?);
    let step_seconds = if gradient { Some(best(runs, step)?.0) } else { None };
    let threads = rayon::current_num_threads();
    let layers = layers(graph, x, runs, gradient)?;
    let product_rate = product_rate(runs)?;
    Ok(Profile { model: graph.name().into(), batch, threads, layers, forward_seconds, step_seconds, product_rate })
}

/// Every layer by itself. A layer of several inputs gets them all; values are dropped after their last use.
fn layers(graph: &Graph, x: Tensor, runs: usize, gradient: bool) -> Result<Vec<Layer>> {
    let last_use: BTreeMap<usize, usize> =
        (1..=graph.layers().len()).flat_map(|i| graph.inputs(i).iter().map(move |j| (*j, i))).collect();
    let mut values = BTreeMap::from([(0, x)]);
    let mut layers = Vec::new();
    for (i, info) in (1..).zip(graph.layers()) {
        let inputs: Vec<&Tensor> = graph.inputs(i).iter().filter_map(|j| values.get(j)).collect();
        let (seconds, y) = best(runs, || Ok(graph.run_node(i, &inputs)?))?;
        let one = y.ones_like()?;
        let back = || Ok(graph.pull_back_node(i, &inputs, &y, &one)?);
        let gradient_seconds = if gradient { Some(best(runs, back)?.0) } else { None };
        let multiply_adds = graph.multiply_adds(i);
        layers.push(Layer { name: info.name, shape: info.shape, multiply_adds, seconds, gradient_seconds });
        values.insert(i, y);
        values.retain(|j, _| last_use.get(j).is_some_and(|user| *user > i));
    }
    Ok(layers)
}

/// A batch of noise.
fn input(graph: &Graph, batch: usize) -> Result<Tensor> {
    let [channels, height, width] = graph.input_shape();
    let mut rng = Seed(0).stream("profile");
    let values = (0..batch * channels * height * width).map(|_| rng.random::<f32>() * 2.0 - 1.0);
    Ok(Tensor::from_vec(values.collect::<Vec<_>>(), (batch, channels, height, width), &Device::Cpu)?)
}

/// Least time of several runs after one that does not count, and its result.
fn best<R>(runs: usize, mut f: impl FnMut() -> Result<R>) -> Result<(f64, R)> {
    let (mut least, mut result) = (f64::INFINITY, f()?);
    for _ in 0..runs {
        drop(result);
        let start = Instant::now();
        result = f()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok((least, result))
}

/// Multiply-adds a second of a square matrix product.
fn product_rate(runs: usize) -> Result<f64> {
    let [a, b] = [1.0, 0.5].map(|v| Tensor::full(v, (SIDE, SIDE), &Device::Cpu).and_then(|t| t.to_dtype(DType::F32)));
    let (a, b) = (a?, b?);
    let (seconds, _) = best(runs.max(3), || Ok(a.matmul(&b)?))?;
    Ok(SIDE.pow(3) as f64 / seconds)
}

impl Profile {
    fn print(&self, out: &mut dyn Write) -> Result<()> {
        let total: f64 = self.layers.iter().map(|l| l.seconds).sum();
        let back: f64 = self.layers.iter().filter_map(|l| l.gradient_seconds).sum();
        let heads = "      ms  share  GFLOP/s";
        let more = if self.step_seconds.is_some() { format!("  gradient:{heads}") } else { String::new() };
        writeln!(out, "{:24} {:>14} {:>12} {heads}{more}", "layer", "shape", "mult-adds")?;
        for l in &self.layers {
            let shape: Vec<String> = l.shape.iter().map(ToString::to_string).collect();
            let work = if l.multiply_adds > 0 { l.multiply_adds.to_string() } else { "-".into() };
            write!(out, "{:24} {:>14} {work:>12} {}", l.name, shape.join(" x "), self.cells(l, l.seconds, total))?;
            let gradient = l.gradient_seconds.map(|s| format!("            {}", self.cells(l, s, back)));
            writeln!(out, "{}", gradient.unwrap_or_default())?;
        }
        self.sums(total, back, out)
    }

    /// Milliseconds, share and rate.
    fn cells(&self, layer: &Layer, seconds: f64, total: f64) -> String {
        let rate = match layer.multiply_adds {
            0 => "-".to_owned(),
            n => format!("{:.1}", giga(n as f64 * self.batch as f64 / seconds)),
        };
        format!("{:8.3} {:5.1}% {rate:>8}", 1e3 * seconds, 100.0 * seconds / total)
    }

    fn sums(&self, total: f64, back: f64, out: &mut dyn Write) -> Result<()> {
        let images = self.batch as f64;
        let work = images * self.layers.iter().map(|l| l.multiply_adds as f64).sum::<f64>();
        let rate = giga(work / self.forward_seconds);
        writeln!(out)?;
        writeln!(out, "batch {}, {} threads", self.batch, self.threads)?;
        writeln!(out, "sum of layers       {:9.3} ms", 1e3 * total)?;
        let (ms, speed) = (1e3 * self.forward_seconds, images / self.forward_seconds);
        writeln!(out, "forward in one go   {ms:9.3} ms   {speed:8.2} images/s   {rate:8.1} GFLOP/s")?;
        if let Some(step) = self.step_seconds {
            writeln!(out, "sum of gradients    {:9.3} ms", 1e3 * back)?;
            writeln!(out, "forward, gradient   {:9.3} ms   {:8.2} images/s", 1e3 * step, images / step)?;
        }
        let (product, share) = (giga(self.product_rate), 100.0 * rate / giga(self.product_rate));
        writeln!(out, "matrix product of {SIDE}: {product:.1} GFLOP/s; forward reaches {share:.0} % of it")?;
        Ok(())
    }
}

/// Multiply-adds a second as GFLOP/s: a multiply-add is two operations.
fn giga(multiply_adds: f64) -> f64 {
    2e-9 * multiply_adds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_timed() {
        let graph = zoo::random("elements_cnn", Seed(0)).unwrap();
        let profile = profile(&graph, 2, 1, true).unwrap();
        assert_eq!(profile.layers.len(), graph.layers().len());
        assert!(profile.layers.iter().all(|l| l.seconds > 0.0 && l.gradient_seconds.is_some()));
        assert_eq!(profile.layers[0].multiply_adds, 3 * 9 * 16 * graph.shape(1)[1] * graph.shape(1)[2]);
    }
}
