//! `cavern train`: trains a network and writes its weights.

use std::io::Write;

use anyhow::{Context, Result};

use crate::cli::StudyArgs;
use crate::dataset;
use crate::error::Error;
use crate::model::train::{Checkpoint, Curve, Epoch, Event, TrainOptions, Trained, Training, train, train_head};
use crate::model::zoo;
use crate::report::figure::by_epoch;
use crate::seed::Seed;
use crate::stage::progress::Progress;
use crate::stage::training::panels;
use crate::store::digest::DigestBuilder;
use crate::store::file::{to_json, write_atomic};
use crate::study::Study;

/// Trains the model of a study with a `[train]` table, and writes `MODEL.safetensors`, `MODEL.curve.json`,
/// `MODEL.curve.svg`, `MODEL.classes.txt` and the model card `MODEL.card.toml` into the folder for runs; of a head
/// `MODEL.head.safetensors` and the curve. The last line on `out` is the weights file.
///
/// # Errors
/// When the study cannot be read or has no `[train]` table, or training fails.
pub fn run(args: &StudyArgs, out: &mut dyn Write) -> Result<()> {
    let study = Study::read(&args.study, &args.run.set)?;
    super::stage::set_threads(args.run.threads)?;
    let Some(options) = &study.train else {
        let hint = "see probes/train_elements.toml";
        return Err(Error::key("train", "the study has no [train] table", hint).into());
    };
    let (seed, model) = (Seed(study.seed), study.model.name.as_str());
    let data = dataset::open(&study.dataset, seed)?;
    let what = if options.head_on.is_some() { ".head" } else { "" };
    let path = |end: &str| args.run.out.join(format!("{model}{what}.{end}"));
    let checkpoint = Some(Checkpoint { path: path("checkpoint.safetensors"), training: digest(&study, options)? });
    let training =
        Training { model, choices: study.model.recipe().choices(), dataset: &*data, options, seed, checkpoint };
    let mut watch = Watch { progress: None, epochs: options.epochs, said: Ok(()), out };
    writeln!(watch.out, "epoch  learning rate    loss  held-out loss  held-out accuracy")?;
    let mut on = |event: Event<'_>| watch.see(event);
    let curve = if let Some(layer) = &options.head_on {
        let (head, curve) = train_head(&training, (study.model.weights.as_deref(), layer), &mut on)?;
        head.write(&path("safetensors"))?;
        curve
    } else {
        let trained = train(&training, &mut on)?;
        write_atomic(&path("classes.txt"), (trained.classes.join("\n") + "\n").as_bytes())?;
        write_atomic(&path("card.toml"), card(model, &trained).as_bytes())?;
        zoo::save(&trained.tensors, &path("safetensors"))?;
        trained.curve
    };
    let said = watch.end();
    write_atomic(&path("curve.json"), &to_json(&curve)?)?;
    if let Some(figure) = by_epoch(&panels(&curve))? {
        write_atomic(&path("curve.svg"), figure.as_bytes())?;
    }
    training.checkpoint.iter().try_for_each(Checkpoint::remove)?;
    said.context("cannot write the learning curve to stdout")?;
    summarise(&curve, out)?;
    writeln!(out, "{}", path("safetensors").display())?;
    Ok(())
}

/// What the weights file does not say of the network: the side of its input, and the names of its classes.
fn card(model: &str, trained: &Trained) -> String {
    format!("size = {}\nlabels = \"{model}.classes.txt\"\n", trained.size)
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
                let left = self.epochs - done.len().min(self.epochs);
                self.progress = Progress::start("train", "samples", samples * left).ok();
            }
            Event::Step(samples) => self.progress.iter_mut().for_each(|p| p.step(samples)),
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
        self.progress.into_iter().for_each(Progress::finish);
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
