//! `cavern train`: trains a network and writes its weights.

use std::io::Write;

use anyhow::{Context, Result};

use crate::cli::StudyArgs;
use crate::dataset;
use crate::error::Error;
use crate::model::train::{Checkpoint, Curve, Epoch, Event, TrainOptions, Training, train};
use crate::model::zoo;
use crate::report::Trace;
use crate::report::figure::by_epoch;
use crate::seed::Seed;
use crate::stage::progress::Progress;
use crate::store::digest::DigestBuilder;
use crate::store::file::{to_json, write_atomic};
use crate::study::Study;

/// Trains the model of a study with a `[train]` table, and writes `MODEL.safetensors`, `MODEL.curve.json`,
/// `MODEL.curve.svg` and `MODEL.classes.txt` into the folder for runs. The last line on `out` is the weights file.
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
    let (seed, model) = (Seed(study.seed), study.model.name.as_str());
    let data = dataset::open(&study.dataset, seed)?;
    let path = |end: &str| args.out.join(format!("{model}.{end}"));
    let checkpoint = Some(Checkpoint { path: path("checkpoint.safetensors"), training: digest(&study, options)? });
    let training = Training { model, input: study.model.input, dataset: &*data, options, seed, checkpoint };
    let mut watch = Watch { progress: None, epochs: options.epochs, said: Ok(()), out };
    writeln!(watch.out, "epoch  learning rate    loss  held-out loss  held-out accuracy")?;
    let trained = train(&training, &mut |event| watch.see(event))?;
    watch.end().context("cannot write the learning curve")?;
    summarise(&trained.curve, out)?;
    write_atomic(&path("curve.json"), &to_json(&trained.curve)?)?;
    if let Some(figure) = by_epoch(&panels(&trained.curve))? {
        write_atomic(&path("curve.svg"), figure.as_bytes())?;
    }
    write_atomic(&path("classes.txt"), (trained.classes.join("\n") + "\n").as_bytes())?;
    zoo::save(&trained.tensors, &path("safetensors"))?;
    training.checkpoint.iter().try_for_each(Checkpoint::remove)?;
    writeln!(out, "{}", path("safetensors").display())?;
    Ok(())
}

/// The curve's numbers by epoch.
fn panels(curve: &Curve) -> Vec<Trace> {
    let panel = |label: &str, of: fn(&Epoch) -> f64| Trace {
        label: label.to_owned(),
        values: curve.epochs.iter().map(|epoch| of(epoch) as f32).collect(),
    };
    vec![
        panel("loss", |e| e.loss),
        panel("held-out loss", |e| e.held_out_loss),
        panel("held-out accuracy", |e| e.accuracy),
        panel("learning rate", |e| e.learning_rate),
    ]
}

/// Of everything a training depends on.
fn digest(study: &Study, options: &TrainOptions) -> crate::Result<crate::store::digest::Digest> {
    let digest = DigestBuilder::new("training v1").json("seed", &study.seed)?.json("dataset", &study.dataset)?;
    digest.json("model", &study.model)?.json("train", options)?.finish_ok()
}

/// Prints every epoch, and how fast it goes.
struct Watch<'a> {
    progress: Option<Progress>,
    epochs: usize,
    said: std::io::Result<()>,
    out: &'a mut dyn Write,
}

impl Watch<'_> {
    fn see(&mut self, event: Event<'_>) {
        match event {
            Event::Start { samples, done } => {
                done.iter().for_each(|epoch| self.say(epoch));
                self.progress = Some(Progress::start("train", samples * (self.epochs - done.len().min(self.epochs))));
            }
            Event::Step(samples) => self.progress.iter_mut().for_each(|p| p.advance(samples, true)),
            Event::Epoch(epoch) => self.say(epoch),
        }
    }

    fn say(&mut self, e: &Epoch) {
        let line = format!(
            "{:5}  {:13.6}  {:.4}  {:13.4}  {:17.4}",
            e.epoch, e.learning_rate, e.loss, e.held_out_loss, e.accuracy
        );
        if self.said.is_ok() {
            self.said = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        }
    }

    fn end(self) -> std::io::Result<()> {
        self.progress.into_iter().for_each(|p| p.finish("samples"));
        self.said
    }
}

fn summarise(curve: &Curve, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "\n{:18} share  held-out accuracy", "label")?;
    for l in &curve.labels {
        writeln!(out, "{:18} {:5.3}  {:17.4}", l.label, l.share, l.accuracy)?;
    }
    Ok(())
}
