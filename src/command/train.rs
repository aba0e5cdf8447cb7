//! `cavern train`: trains a network and writes its weights.

use std::io::Write;

use anyhow::{Context, Result};

use crate::cli::StudyArgs;
use crate::dataset::{Format, elements};
use crate::error::Error;
use crate::model::train::{Epoch, train};
use crate::model::zoo;
use crate::seed::Seed;
use crate::store::file::{to_json, write_atomic};
use crate::study::Study;

/// Trains the model of a study with a `[train]` table, and writes `MODEL.safetensors` and `MODEL.curve.json` into the
/// folder for runs. The last line on `out` is the weights file.
///
/// # Errors
/// When the study cannot be read or has no `[train]` table, or training fails.
pub fn run(args: &StudyArgs, out: &mut dyn Write) -> Result<()> {
    let study = Study::read(&args.study, &args.set)?;
    super::stage::set_threads(args.threads)?;
    let Some(options) = &study.train else {
        let hint = "see probes/train_elements.toml";
        return Err(Error::key("train", "the study has no [train] table", hint).into());
    };
    if study.dataset.format != Format::Elements {
        let problem = "only `elements` can be trained on";
        return Err(Error::key("dataset.format", problem, "format = \"elements\"").into());
    }
    let (seed, model) = (Seed(study.seed), study.model.name.as_str());
    let data = elements::open(&study.dataset, seed)?;
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
    write_atomic(&args.out.join(format!("{model}.curve.json")), &to_json(&trained.curve)?)?;
    let weights = args.out.join(format!("{model}.safetensors"));
    zoo::save(&trained.tensors, &weights)?;
    writeln!(out, "{}", weights.display())?;
    Ok(())
}
