//! `cavern train`: trains a network and writes its weights.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use cavern::dataset::{DatasetSpec, Format, elements};
use cavern::error::Error;
use cavern::model::train::{Epoch, TrainOptions, train};
use cavern::model::zoo;
use cavern::seed::Seed;
use cavern::store::file::{to_json, write_atomic};

/// Trains `model` and writes `MODEL.safetensors` and `MODEL.curve.json` into `folder`. The last line on `out` is the
/// weights file.
pub fn run(
    dataset: &DatasetSpec,
    model: &str,
    options: &TrainOptions,
    seed: Seed,
    folder: &Path,
    out: &mut dyn Write,
) -> Result<()> {
    if dataset.format != Format::Elements {
        let problem = "only `elements` can be trained on";
        return Err(Error::key("dataset.format", problem, "format = \"elements\"").into());
    }
    let data = elements::open(dataset, seed)?;
    let mut said = Ok(());
    writeln!(out, "epoch   loss  held-out loss  held-out accuracy")?;
    let mut say = |e: &Epoch| {
        let line = format!("{:5}  {:.4}  {:13.4}  {:17.4}", e.epoch, e.loss, e.held_out_loss, e.accuracy);
        if said.is_ok() {
            said = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    };
    let trained = train(model, &data, options, seed, &mut say)?;
    said.context("cannot write the learning curve")?;
    writeln!(out, "\n{:18} share  balanced accuracy", "label")?;
    for l in &trained.curve.labels {
        writeln!(out, "{:18} {:5.3}  {:17.4}", l.label, l.share, l.accuracy)?;
    }
    write_atomic(&folder.join(format!("{model}.curve.json")), &to_json(&trained.curve)?)?;
    let weights = folder.join(format!("{model}.safetensors"));
    zoo::save(&trained.tensors, &weights)?;
    writeln!(out, "{}", weights.display())?;
    Ok(())
}
