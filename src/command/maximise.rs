//! `cavern maximise`: what a study's directions ask for, or units or directions of a network, without a study.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::stage::{self, Stage, set_threads};
use crate::cli::{MaximiseArgs, StudyArgs};
use crate::error::Error;
use crate::maximise::parameter::ParameterKind;
use crate::maximise::{JudgeOptions, MaximiseOptions};
use crate::seed::Seed;
use crate::stage::context::device;
use crate::stage::maximise::{
    Order, Photograph, Rendered, Studio, data_of_folder, in_column, is_needed, of_file, of_units, render,
};
use crate::store::Store;
use crate::store::file::{to_json, write_atomic};
use crate::study::{ModelSpec, overrides};

const TABLE: &str = "maximised.json";

/// Renders a study's directions, or, with units, those units of a model.
///
/// # Errors
/// When the study or the model cannot be read, a unit does not exist, or a picture cannot be made or written.
pub fn run(args: &MaximiseArgs, out: &mut dyn Write) -> Result<()> {
    let is_study = args.target.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let of_model = !args.units.is_empty() || args.caricature.is_some();
    let files = [&args.from, &args.data, &args.direction, &args.weights];
    let model_alone = files.iter().any(|file| file.is_some()) || args.size.is_some();
    match (is_study, of_model) {
        (true, false) if model_alone => {
            let problem = "a study names its own network and starts from noise";
            let hint = "leave out --from, --data, --direction, --weights and --size, or name a model and its units instead of the study";
            Err(Error::key(args.target.display().to_string(), problem, hint).into())
        }
        (true, false) => {
            let study = StudyArgs { study: args.target.clone(), run: args.run.clone() };
            stage::run(&study, &[Stage::Maximise], out)
        }
        (false, true) => of_model_alone(args, out),
        (true, true) => {
            let hint = "write them into the study: [maximise] units = [...], or name a model instead of the study";
            Err(Error::key("LAYER:UNIT", "a study's units stand in the study", hint).into())
        }
        (false, false) => {
            let problem = "it is no study (.toml), and no units of a model are named";
            let hint = "name units, as in `cavern maximise elements_cnn conv6:3`";
            Err(Error::key(args.target.display().to_string(), problem, hint).into())
        }
    }
}

/// What of a study a quick look has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    #[serde(default)]
    seed: u64,
    model: ModelSpec,
    #[serde(default)]
    maximise: MaximiseOptions,
}

impl Look {
    fn read(args: &MaximiseArgs) -> Result<Self> {
        let mut table = Table::new();
        overrides::apply(&mut table, "model.layers=[]")?;
        args.run.set.iter().try_for_each(|assignment| overrides::apply(&mut table, assignment))?;
        if let Some(model) = table.get_mut("model").and_then(Value::as_table_mut) {
            model.insert("name".into(), Value::String(args.target.display().to_string()));
            if let Some(weights) = &args.weights {
                model.insert("weights".into(), Value::String(weights.display().to_string()));
            }
        }
        let mut look: Self = table.try_into().context("--set")?;
        if let Some(size) = args.size {
            look.model.input = Some([3, size, size]);
        }
        if args.direction.is_none() {
            look.maximise.units.clone_from(&args.units);
        }
        look.maximise.check()?;
        if look.maximise.untrained || look.maximise.judge != JudgeOptions::default() {
            let hint = "leave maximise.untrained and maximise.judge out, or write the units into a study";
            return Err(Error::key("--set", "without a study there are no real pictures to judge by", hint).into());
        }
        Ok(look)
    }
}

fn of_model_alone(args: &MaximiseArgs, out: &mut dyn Write) -> Result<()> {
    set_threads(args.run.threads)?;
    let look = Look::read(args)?;
    let (device, options) = (device(&args.run.device)?, &look.maximise);
    let graph = look.model.recipe().build(&device)?;
    let photograph = args.from.as_ref().map(|path| Photograph::read(path, &graph)).transpose()?;
    let mut orders = of_units(&graph, options)?;
    if let (Some(photograph), Some(layer)) = (&photograph, &args.caricature) {
        orders.extend(photograph.caricature(&graph, &device, layer, options)?);
    }
    if let Some(file) = &args.direction {
        for layer in &args.units {
            orders.extend(of_file(&graph, layer, file, options)?);
        }
    }
    let root = args.run.store.clone().unwrap_or_else(|| args.run.out.join("store"));
    let store = Store::open(&root, || tracing::info!("waiting for another run on {}", root.display()))?;
    let seed = Seed(look.seed);
    let start = photograph.as_ref().map(|p| p.levels.clone());
    let columns = options.columns();
    if args.data.is_some() && !columns.iter().any(is_needed) {
        let hint = "--set maximise.parameter=maco or --set maximise.colours=data, or leave --data out";
        return Err(Error::key("--data", "nothing is taken from pictures", hint).into());
    }
    let column = |options| {
        let data = args.data.as_ref().map(|folder| data_of_folder(folder, &graph, options)).transpose()?;
        let (data, start) = (data.unwrap_or_default(), start.clone());
        let studio = Studio { graph: &graph, device: &device, store: &store, seed, options, data, start };
        Ok((studio, in_column(&orders, options, &look.maximise)))
    };
    let columns: Vec<(Studio<'_>, Vec<Order>)> = columns.iter().map(column).collect::<Result<_>>()?;
    render(&columns.iter().collect::<Vec<_>>())?;
    let folder = args.run.out.join(format!("maximised-{}", graph.name()));
    let origin = photograph.map(|p| format!("-from-{}", p.name)).unwrap_or_default();
    let mut pictures = Vec::new();
    for (studio, orders) in &columns {
        pictures.extend(studio.get(orders)?);
        for (r, png) in studio.transparent(orders)? {
            write_atomic(&folder.join(file_name(&r, &format!("{origin}-alpha"))), &png)?;
        }
        if studio.start.is_some() {
            for (r, png) in studio.changes(orders)? {
                write_atomic(&folder.join(file_name(&r, &format!("{origin}-map"))), &png)?;
            }
        }
    }
    show(&folder, &origin, &pictures, out)
}

/// Writes pictures and their records into a folder, and a line about each; `origin` is in the pictures' names.
fn show(folder: &Path, origin: &str, pictures: &[(Rendered, Vec<u8>)], out: &mut dyn Write) -> Result<()> {
    let width = pictures.iter().map(|(r, _)| r.concept.chars().count()).max().unwrap_or(0).max(4);
    let made_of_width = if pictures.iter().any(|(r, _)| r.parameter.is_some()) { "parameter  ".len() } else { 0 };
    let made_of = &"parameter  "[..made_of_width];
    writeln!(out, "{:width$}  seed       score        best  at step  {made_of}remark", "unit")?;
    for (r, png) in pictures {
        write_atomic(&folder.join(file_name(r, origin)), png)?;
        let remark = r.diagnosis.as_deref().unwrap_or("");
        let made_of = r.parameter.map_or("", ParameterKind::name);
        let line = format!(
            "{:width$}  {:4}  {:10.4}  {:10.4}  {:7}  {made_of:made_of_width$}{remark}",
            r.concept, r.seed, r.score, r.best_score, r.best_step
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    let records: Vec<&Rendered> = pictures.iter().map(|(r, _)| r).collect();
    write_atomic(&folder.join(TABLE), &to_json(&records)?)?;
    writeln!(out, "{}", folder.display())?;
    Ok(())
}

fn file_name(r: &Rendered, ending: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || ".-_@,".contains(c) { c } else { '-' };
    let made_of = r.parameter.map(|p| format!("-{}", p.name())).unwrap_or_default();
    let name = format!("{}{made_of}-{}{ending}", r.concept, r.seed);
    format!("{}.png", name.chars().map(plain).collect::<String>())
}
