//! `cavern ls`: models, layers and kinds of probe.

use std::io::Write;

use anyhow::Result;

use crate::model::zoo;
use crate::probe::KINDS;
use crate::seed::Seed;

use crate::cli::{LsArgs, LsWhat};

/// Lists what was asked for, one a line.
///
/// # Errors
/// When there is no such model or layer.
pub fn run(args: &LsArgs, out: &mut dyn Write) -> Result<()> {
    match &args.what {
        LsWhat::Models => models(out),
        LsWhat::Layers { model, pattern } => layers(model, pattern, out),
        LsWhat::Probes => probes(out),
    }
}

fn models(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:20} {:>5}  {:13}  about", "model", "input", "weights")?;
    for m in &zoo::MODELS {
        let weights = if m.embedded { "built in" } else { "needs a file" };
        writeln!(out, "{:20} {:>5}  {weights:13}  {}", m.name, m.input, m.about)?;
    }
    Ok(())
}

/// Layers do not depend on the weights, so none are asked for.
fn layers(model: &str, pattern: &str, out: &mut dyn Write) -> Result<()> {
    let graph = zoo::random(model, Seed(0))?;
    let nodes = graph.select(pattern)?;
    writeln!(out, "{:24} shape", "layer")?;
    for node in nodes {
        let shape: Vec<String> = graph.shape(node).iter().map(ToString::to_string).collect();
        writeln!(out, "{:24} {}", graph.layer_name(node), shape.join(" x "))?;
    }
    Ok(())
}

fn probes(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:18} about", "probe")?;
    for kind in KINDS {
        writeln!(out, "{:18} {}", kind.name(), kind.about())?;
    }
    Ok(())
}
