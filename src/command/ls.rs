//! `cavern ls`: models, layers and kinds of probe.

use std::io::Write;

use anyhow::Result;
use candle_core::Device;

use crate::cli::{LsArgs, LsLayers, LsWhat};
use crate::model::zoo::{self, Options};
use crate::probe::KINDS;

/// Lists what was asked for, one a line.
///
/// # Errors
/// When there is no such model or layer.
pub fn run(args: &LsArgs, out: &mut dyn Write) -> Result<()> {
    match &args.what {
        LsWhat::Models => models(out),
        LsWhat::Layers(args) => layers(args, out),
        LsWhat::Probes => probes(out),
    }
}

fn models(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:20} {:>15}  {:13}  about", "model", "input", "weights")?;
    for m in zoo::MODELS {
        let weights = if m.embedded { "built in" } else { "needs a file" };
        writeln!(out, "{:20} {:>15}  {weights:13}  {}", m.name, shape(&m.input), m.about)?;
    }
    Ok(())
}

/// Layers hardly depend on the weights, so none need be given; a file tells of classes and heads.
fn layers(args: &LsLayers, out: &mut dyn Write) -> Result<()> {
    let input = match args.size {
        Some(size) => Some([zoo::info(&args.model)?.input[0], size, size]),
        None => None,
    };
    let options = Options { input, ..Options::default() };
    let graph = match &args.weights {
        Some(path) => zoo::build_with(&args.model, Some(path), &options, &Device::Cpu)?,
        None => zoo::outline(&args.model, &options)?,
    };
    let nodes = graph.select(&args.pattern)?;
    writeln!(out, "{:24} shape", "layer")?;
    for node in nodes {
        writeln!(out, "{:24} {}", graph.layer_name(node), shape(graph.shape(node)))?;
    }
    Ok(())
}

fn shape(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

fn probes(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:18} about", "probe")?;
    for kind in KINDS {
        writeln!(out, "{:18} {}", kind.name(), kind.about())?;
    }
    Ok(())
}
