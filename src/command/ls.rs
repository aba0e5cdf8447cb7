//! `cavern ls`: models, layers and kinds of probe.

use std::io::Write;

use anyhow::Result;
use candle_core::Device;

use crate::cli::{LsArgs, LsLayers, LsWhat};
use crate::model;
use crate::model::recipe::is_onnx;
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

/// A width or a depth stands where it is left to choose: the usual one.
fn models(out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:20} {:>15}  {:>5}  {:>5}  {:13}  about", "model", "input", "width", "depth", "weights")?;
    let usual = |size: Option<usize>| size.map_or_else(String::new, |size| size.to_string());
    for m in zoo::MODELS {
        let weights = if m.embedded { "built in" } else { "needs a file" };
        let (input, width, depth) = (shape(&m.input), usual(m.width), usual(m.depth));
        writeln!(out, "{:20} {input:>15}  {width:>5}  {depth:>5}  {weights:13}  {}", m.name, m.about)?;
    }
    Ok(())
}

/// Layers hardly depend on the weights, so none need be given; a file tells of classes and heads.
fn layers(args: &LsLayers, out: &mut dyn Write) -> Result<()> {
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
    writeln!(out, "{:20} about", "probe")?;
    for kind in KINDS {
        writeln!(out, "{:20} {}", kind.name(), kind.about())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn listed(model: &str, pattern: &str, weights: Option<&std::path::Path>, size: Option<usize>) -> Result<String> {
        let (model, pattern, weights) = (model.to_owned(), pattern.to_owned(), weights.map(Into::into));
        let mut out = Vec::new();
        run(&LsArgs { what: LsWhat::Layers(LsLayers { model, pattern, weights, size }) }, &mut out)?;
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
