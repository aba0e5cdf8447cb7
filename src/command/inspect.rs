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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::tests::file;

    fn printed(bytes: &[u8], json: bool) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("net.onnx");
        std::fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        run(&InspectArgs { file: path, json }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn operators_and_layers_are_listed() {
        let text = printed(&file("conv_norm_relu"), false);
        for line in ["producer   golden", "opset      17", "inputs     x free x 3 x 6 x 5"] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        assert!(text.contains("BatchNormalization_n") && text.contains("4 x 6 x 5"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&printed(&file("conv_norm_relu"), true)).unwrap();
        assert_eq!(json["operators"]["Conv"], 2);
        assert_eq!(json["inputs"][0]["shape"][0], serde_json::Value::Null);
    }

    #[test]
    fn what_is_missing_is_named() {
        // An operator of as many letters that there is not.
        let name = b"Relu";
        let mut bytes = file("conv_norm_relu");
        let place = bytes.windows(6).position(|w| &w[..2] == b"\x22\x04" && &w[2..] == name).unwrap();
        bytes[place + 2..place + 6].copy_from_slice(b"Loop");
        let text = printed(&bytes, false);
        assert!(text.contains("operator Loop (node `Relu_r`, opset 17) is not supported"), "{text}");
    }
}
