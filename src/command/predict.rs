//! `cavern predict`: what a classifier sees in pictures.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use serde::Serialize;

use crate::dataset::decode::decode;
use crate::error::Error;
use crate::model::graph::Op;
use crate::model::recipe::is_onnx;
use crate::model::zoo::{self, Outputs};
use crate::model::{self, Graph};
use crate::ops::activation::{sigmoid, softmax};
use crate::stage::context::device;

use crate::cli::PredictArgs;

/// Names the most probable classes of every picture. Pictures that cannot be read do not stop the others: the first
/// one's error is returned at the end.
///
/// # Errors
/// When the model or a picture cannot be read.
pub fn run(args: &PredictArgs, out: &mut dyn Write) -> Result<()> {
    let outputs = if is_onnx(&args.model) { Outputs::Exclusive } else { zoo::info(&args.model)?.outputs };
    let device = device("auto")?;
    let graph = model::build(&args.model, args.weights.as_deref(), &device)?;
    let mut failed = None;
    for path in &args.images {
        match probabilities(&graph, &device, outputs, path) {
            Ok(mut classes) => {
                classes.truncate(args.top);
                if args.json { json(path, &classes, out)? } else { table(path, &classes, out)? }
            }
            Err(e) if failed.is_none() => failed = Some(e),
            Err(e) => writeln!(std::io::stderr(), "error: {e}")?,
        }
    }
    failed.map_or(Ok(()), |e| Err(e.into()))
}

/// Every class and its probability, the most probable first.
fn probabilities(graph: &Graph, device: &Device, outputs: Outputs, path: &Path) -> crate::Result<Vec<(String, f32)>> {
    // The content decides, not the name: a JPEG called .png is still a picture.
    let image = decode(path).map_err(|reason| Error::file(path, reason, "give a PNG or JPEG picture"))?.to_rgb8();
    let [channels, height, width] = graph.input_shape();
    let mut input = vec![0f32; channels * height * width];
    graph.preprocess().normalise(&graph.preprocess().picture(&image)?, &mut input);
    let x = Tensor::from_vec(input, (1, channels, height, width), device)?;
    // The zoo's networks end in `logits`, an ONNX file's in any name, and sometimes in the probabilities.
    let last = graph.layers().len();
    let logits = graph.forward(&x, &[graph.layer("logits").unwrap_or(last)])?.remove(0);
    let values = match outputs {
        _ if matches!(graph.op(last), Op::Softmax) => logits,
        Outputs::Exclusive => softmax(&logits)?,
        Outputs::Independent => sigmoid(&logits)?,
    };
    let values = values.flatten_all()?.to_vec1::<f32>()?;
    let name = |i: usize| graph.classes().get(i).cloned().unwrap_or_else(|| format!("class {i}"));
    let mut classes: Vec<(String, f32)> = values.into_iter().enumerate().map(|(i, v)| (name(i), v)).collect();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(classes)
}

fn table(path: &Path, classes: &[(String, f32)], out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", path.display())?;
    for (name, probability) in classes {
        writeln!(out, "  {probability:.4}  {name}")?;
    }
    Ok(())
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    image: &'a Path,
    classes: Vec<Class<'a>>,
}

#[derive(Serialize)]
struct Class<'a> {
    class: &'a str,
    probability: f32,
}

fn json(path: &Path, classes: &[(String, f32)], out: &mut dyn Write) -> Result<()> {
    let classes = classes.iter().map(|(class, probability)| Class { class, probability: *probability }).collect();
    writeln!(out, "{}", serde_json::to_string(&Line { image: path, classes })?)?;
    Ok(())
}
