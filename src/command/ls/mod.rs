//! `cavern ls`: models, layers, formats of datasets, kinds of probe, metrics, studies and runs.

mod runs;
mod studies;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::Device;
use serde::Serialize;

use crate::cli::{LsArgs, LsLayers, LsWhat};
use crate::dataset::{FORMATS, FormatInfo};
use crate::error::Error;
use crate::metric::table::METRICS;
use crate::model;
use crate::model::recipe::is_onnx;
use crate::model::zoo::{self, Options};
use crate::probe::KINDS;
use crate::report::metric_info;

/// Lists what was asked for, one a line, or as a JSON array.
///
/// # Errors
/// When there is no such model, layer or folder.
pub fn run(args: &LsArgs, out: &mut dyn Write) -> Result<()> {
    match &args.what {
        LsWhat::Models => print(&models(), args.json, out),
        LsWhat::Layers(layer) => print(&layers(layer)?, args.json, out),
        LsWhat::Datasets => print(FORMATS, args.json, out),
        LsWhat::Probes => print(&probes(), args.json, out),
        LsWhat::Metrics => print(&metrics(), args.json, out),
        LsWhat::Studies(wanted) => print(&studies::studies(wanted)?, args.json, out),
        LsWhat::Runs(wanted) => print(&runs::runs(wanted)?, args.json, out),
    }
}

/// What is listed: an object in JSON, a line of a table.
trait Row: Serialize {
    /// The columns' names.
    const HEADS: &'static [&'static str];

    /// The columns' values.
    fn cells(&self) -> Vec<String>;
}

/// Columns are as wide as their widest cell, the last one is as long as it is.
fn print<R: Row>(rows: &[R], json: bool, out: &mut dyn Write) -> Result<()> {
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(rows)?)?);
    }
    let heads = R::HEADS.iter().map(|h| (*h).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..R::HEADS.len()).map(width).collect();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// What lies in a folder, sorted.
fn entries(folder: &Path, hint: &str) -> crate::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(Error::file(folder, "there is no such folder", hint));
    }
    let read = std::fs::read_dir(folder).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
    let mut paths: Vec<PathBuf> = read.map_err(Error::io("read the folder", folder))?;
    paths.sort();
    Ok(paths)
}

#[derive(Serialize)]
struct ModelRow {
    name: &'static str,
    /// `[channel, height, width]`.
    input: [usize; 3],
    /// The usual width and depth, where they are left to choose.
    width: Option<usize>,
    depth: Option<usize>,
    /// Whether cavern brings the weights along.
    embedded: bool,
    about: &'static str,
}

impl Row for ModelRow {
    const HEADS: &'static [&'static str] = &["model", "input", "width", "depth", "weights", "about"];

    fn cells(&self) -> Vec<String> {
        let usual = |size: Option<usize>| size.map_or_else(String::new, |size| size.to_string());
        let weights = if self.embedded { "built in" } else { "needs a file" };
        let (name, about) = (self.name.to_owned(), self.about.to_owned());
        vec![name, shape(&self.input), usual(self.width), usual(self.depth), weights.to_owned(), about]
    }
}

fn models() -> Vec<ModelRow> {
    let row = |m: &zoo::ModelInfo| ModelRow {
        name: m.name,
        input: m.input,
        width: m.width,
        depth: m.depth,
        embedded: m.embedded,
        about: m.about,
    };
    zoo::MODELS.iter().map(row).collect()
}

#[derive(Serialize)]
struct LayerRow {
    name: String,
    shape: Vec<usize>,
}

impl Row for LayerRow {
    const HEADS: &'static [&'static str] = &["layer", "shape"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), shape(&self.shape)]
    }
}

/// Layers hardly depend on the weights, so none need be given; a file tells of classes and heads.
fn layers(args: &LsLayers) -> Result<Vec<LayerRow>> {
    let input = match args.size {
        Some(size) if !is_onnx(&args.model) => Some([zoo::info(&args.model)?.input[0], size, size]),
        _ => None,
    };
    let options = Options { input, ..Options::default() };
    let graph = match &args.weights {
        _ if is_onnx(&args.model) => model::build(&args.model, args.weights.as_deref(), &Device::Cpu)?,
        Some(path) => zoo::build_with(&args.model, Some(path), &options, &Device::Cpu)?,
        None => zoo::outline(&args.model, &options)?,
    };
    let row = |node| LayerRow { name: graph.layer_name(node).to_string(), shape: graph.shape(node).to_vec() };
    Ok(graph.select(&args.pattern)?.into_iter().map(row).collect())
}

fn shape(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

impl Row for FormatInfo {
    const HEADS: &'static [&'static str] = &["format", "needs", "takes", "about"];

    fn cells(&self) -> Vec<String> {
        vec![self.format.name(), self.needs.join(", "), self.takes.join(", "), self.about.to_owned()]
    }
}

#[derive(Serialize)]
struct ProbeRow {
    name: &'static str,
    /// Kinds that it is made from.
    needs: &'static [&'static str],
    needs_masks: bool,
    about: &'static str,
}

impl Row for ProbeRow {
    const HEADS: &'static [&'static str] = &["probe", "about"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_owned(), self.about.to_owned()]
    }
}

fn probes() -> Vec<ProbeRow> {
    let kinds = KINDS.iter();
    kinds
        .map(|k| ProbeRow { name: k.name(), needs: k.needs(), needs_masks: k.needs_masks(), about: k.about() })
        .collect()
}

#[derive(Serialize)]
struct MetricRow {
    name: &'static str,
    family: &'static str,
    higher_is_better: bool,
    /// Least and largest value; `null` where there is no bound.
    range: [Option<f64>; 2],
    about: &'static str,
}

impl Row for MetricRow {
    const HEADS: &'static [&'static str] = &["metric", "family", "better", "range", "about"];

    fn cells(&self) -> Vec<String> {
        let better = if self.higher_is_better { "higher" } else { "lower" }.to_owned();
        let [least, largest] = self.range.map(|b| b.map(|b| b.to_string()));
        let range = match (least, largest) {
            (Some(a), Some(b)) => format!("[{a}, {b}]"),
            (Some(a), None) => format!(">= {a}"),
            (None, Some(b)) => format!("<= {b}"),
            (None, None) => "any".to_owned(),
        };
        vec![self.name.to_owned(), self.family.to_owned(), better, range, self.about.to_owned()]
    }
}

fn metrics() -> Vec<MetricRow> {
    let bound = |b: f64| b.is_finite().then_some(b);
    // A lift has no line of its own: it is shown beside what it is the lift of.
    let about = |name: &str| metric_info(name).map_or("see docs/metrics.md", |info| info.explanation);
    let row = |m: &crate::metric::table::Metric| MetricRow {
        name: m.name,
        family: m.family,
        higher_is_better: m.higher_is_better,
        range: [bound(m.range.0), bound(m.range.1)],
        about: about(m.name),
    };
    METRICS.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn listed(model: &str, pattern: &str, weights: Option<&Path>, size: Option<usize>) -> Result<String> {
        let (model, pattern, weights) = (model.to_owned(), pattern.to_owned(), weights.map(Into::into));
        let mut out = Vec::new();
        run(&LsArgs { what: LsWhat::Layers(LsLayers { model, pattern, weights, size }), json: false }, &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn layers_are_those_of_the_size_and_the_file() {
        assert!(listed("resnet8", "layer3.0", None, None).unwrap().contains("64 x 8 x 8"));
        assert!(listed("resnet8", "layer3.0", None, Some(64)).unwrap().contains("64 x 16 x 16"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let options = Options { classes: Some(3), ..Options::default() };
        zoo::save(&zoo::initial_with("resnet8", &options, Seed(1)).unwrap(), &path).unwrap();
        let text = listed("resnet8", "logits", Some(&path), None).unwrap();
        assert!(text.lines().last().unwrap().ends_with(" 3"), "{text}");
        assert!(listed("resnet18", "*", Some(&path), None).unwrap_err().to_string().contains("w.safetensors"));
        assert!(listed("resnet18", "*", None, Some(10)).unwrap_err().to_string().contains("32 pixels"));
    }
}
