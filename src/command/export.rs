//! `cavern export`: directions, activations and maps as arrays for other programs.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::stage::set_threads;
use crate::cli::{ExportArgs, ExportPart, ExportWhat};
use crate::dataset::Part;
use crate::error::{Error, Result};
use crate::stage::export::{self, Wanted};
use crate::stage::{Context, Settings};
use crate::store::arrays::Form;
use crate::study::Study;

/// Writes what was asked for; the last line on stdout is the file.
///
/// # Errors
/// When there is no such run or study, what is wanted has not been made, or the file is there already.
pub fn run(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    check(args)?;
    set_threads(args.run.threads)?;
    let part = |part: &ExportPart| match part {
        ExportPart::Fit => Part::Fit,
        ExportPart::Val => Part::Val,
        ExportPart::Test => Part::Test,
        ExportPart::Out => Part::Out,
    };
    let parts: Vec<Part> = args.split.iter().map(part).collect();
    let wanted = Wanted {
        to: &args.to,
        over: args.force,
        layers: &args.layer,
        concepts: &args.concept,
        probes: &args.probe,
        parts: &parts,
    };
    let (study, settings) = source(args)?;
    let (count, what) = match args.what {
        ExportWhat::Cavs => (export::cavs(&folder(args, &study)?, &wanted)?, "directions"),
        ExportWhat::Activations => (export::activations(&open(study, &settings)?, &wanted)?, "layers of activations"),
        ExportWhat::Maps => (export::maps(&open(study, &settings)?, &wanted)?, "sets of maps"),
    };
    tracing::info!("export: {count} {what}");
    writeln!(out, "{}", args.to.display()).context("cannot write to stdout")
}

/// Refuses at once what could only fail at the end, or would do nothing.
fn check(args: &ExportArgs) -> Result<()> {
    Form::of(&args.to)?;
    if args.to.exists() && !args.force {
        let hint = "give another name, or --force to write over it";
        return Err(Error::file(&args.to, "is there already", hint));
    }
    if args.what == ExportWhat::Cavs && !args.split.is_empty() {
        return Err(Error::key("--split", "directions are of no part of the split", "leave it out"));
    }
    if args.what == ExportWhat::Activations && !args.probe.is_empty() {
        return Err(Error::key("--probe", "activations are of no probe", "leave it out"));
    }
    Ok(())
}

/// The study, and where its artifacts are: a run's manifest says so.
fn source(args: &ExportArgs) -> Result<(Study, Settings)> {
    let run = &args.run;
    let mut settings = Settings { out: run.out.clone(), store: run.store.clone(), device: run.device.clone() };
    if !args.source.is_dir() {
        return Ok((Study::read(&args.source, &run.set)?, settings));
    }
    if !run.set.is_empty() {
        return Err(Error::key("--set", "a run has its settings", "give the study file to change one"));
    }
    let path = args.source.join("manifest.json");
    let hint = "give the folder of a finished run, or a study file";
    let text = std::fs::read(&path).map_err(|e| Error::file(&path, format!("cannot be read: {e}"), hint))?;
    let wrong = |e: serde_json::Error| Error::file(&path, format!("is no manifest of a run: {e}"), hint);
    let mut manifest: Value = serde_json::from_slice(&text).map_err(wrong)?;
    let study = serde_json::from_value(manifest["study"].take()).map_err(wrong)?;
    settings.out = args.source.canonicalize().ok().and_then(|p| p.parent().map(Path::to_path_buf)).unwrap_or_default();
    // Activations are named by the kind of device, too.
    if settings.device == "auto" && manifest["device"] == "cpu" {
        "cpu".clone_into(&mut settings.device);
    }
    Ok((study, settings))
}

/// The run's folder.
fn folder(args: &ExportArgs, study: &Study) -> Result<PathBuf> {
    if args.source.is_dir() { Ok(args.source.clone()) } else { study.folder(&args.run.out) }
}

/// The study with its data, network and store, which must be there.
fn open(study: Study, settings: &Settings) -> Result<Context> {
    let store = settings.store();
    if !store.is_dir() {
        return Err(Error::file(&store, "there is no such store", "give the run's --out, or its --store"));
    }
    Context::open(study, settings)
}
