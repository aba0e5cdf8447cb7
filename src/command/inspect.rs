//! `cavern inspect`: what a file of a network holds.

use std::io::Write;

use anyhow::Result;

use crate::model::onnx::{Model, Port, Summary};

use crate::cli::InspectArgs;

/// Prints operators, layers with their shapes, and what keeps cavern from running the network.
///
/// # Errors
/// When the file cannot be read.
pub fn run(args: &InspectArgs, out: &mut dyn Write) -> Result<()> {
    let summary = Model::open(&args.file)?.summary()?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
        return Ok(());
    }
    print(&summary, out)
}

fn print(summary: &Summary, out: &mut dyn Write) -> Result<()> {
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>().join(", ");
    writeln!(out, "producer   {}", if summary.producer.is_empty() { "unknown" } else { &summary.producer })?;
    writeln!(out, "opset      {}", summary.opset)?;
    writeln!(out, "inputs     {}", ports(&summary.inputs))?;
    writeln!(out, "outputs    {}", ports(&summary.outputs))?;
    writeln!(out, "weights    {}", summary.weights)?;
    writeln!(out, "\n{:32} nodes", "operator")?;
    for (name, count) in &summary.operators {
        writeln!(out, "{name:32} {count}")?;
    }
    if summary.missing.is_empty() {
        writeln!(out, "\n{:56} shape", "layer")?;
        for layer in &summary.layers {
            let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
            writeln!(out, "{:56} {}", layer.name, shape.join(" x "))?;
        }
        return Ok(());
    }
    writeln!(out, "\nnot supported")?;
    summary.missing.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
    Ok(())
}

fn port(port: &Port) -> String {
    let size = |size: &Option<usize>| size.map_or("free".to_owned(), |s| s.to_string());
    format!("{} {}", port.name, port.shape.iter().map(size).collect::<Vec<_>>().join(" x "))
}
