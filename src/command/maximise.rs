//! `cavern maximise`: what a study's directions ask for, or units of a network, without a study.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::stage::{self, Stage, set_threads};
use crate::cli::{MaximiseArgs, StudyArgs};
use crate::error::Error;
use crate::maximise::{Data, JudgeOptions, MaximiseOptions};
use crate::seed::Seed;
use crate::stage::context::device;
use crate::stage::maximise::{Rendered, Studio, of_units};
use crate::stage::progress::Progress;
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
    match (is_study, args.units.is_empty()) {
        (true, true) => stage::run(&of_study(args), &[Stage::Maximise], out),
        (false, false) => of_units_alone(args, out),
        (true, false) => {
            let hint = "write them into the study: [maximise] units = [...], or name a model instead of the study";
            Err(Error::key("LAYER:UNIT", "a study's units stand in the study", hint).into())
        }
        (false, true) => {
            let problem = "it is no study (.toml), and no units of a model are named";
            let hint = "name units, as in `cavern maximise elements_cnn conv6:3`";
            Err(Error::key(args.target.display().to_string(), problem, hint).into())
        }
    }
}

fn of_study(args: &MaximiseArgs) -> StudyArgs {
    StudyArgs {
        study: args.target.clone(),
        set: args.set.clone(),
        out: args.out.clone(),
        store: args.store.clone(),
        device: args.device.clone(),
        threads: args.threads,
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
        args.set.iter().try_for_each(|assignment| overrides::apply(&mut table, assignment))?;
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
        look.maximise.units.clone_from(&args.units);
        look.maximise.kinds.clear();
        look.maximise.check()?;
        if look.maximise.untrained || look.maximise.judge != JudgeOptions::default() {
            let hint = "leave maximise.untrained and maximise.judge out, or write the units into a study";
            return Err(Error::key("--set", "without a study there are no real pictures to judge by", hint).into());
        }
        Ok(look)
    }
}

fn of_units_alone(args: &MaximiseArgs, out: &mut dyn Write) -> Result<()> {
    set_threads(args.threads)?;
    let look = Look::read(args)?;
    let (device, options) = (device(&args.device)?, &look.maximise);
    let graph = look.model.recipe().build(&device)?;
    let orders = of_units(&graph, options)?;
    let root = args.store.clone().unwrap_or_else(|| args.out.join("store"));
    let store = Store::open(&root, || tracing::info!("waiting for another run on {}", root.display()))?;
    let seed = Seed(look.seed);
    let studio = Studio { graph: &graph, device: &device, store: &store, seed, options, data: Data::default() };
    let mut progress = Progress::start("maximise", orders.len() * options.steps);
    studio.render(&orders, |steps, new| progress.advance(steps, new))?;
    progress.finish("picture steps");
    let folder = args.out.join(format!("maximised-{}", graph.name()));
    show(&folder, &studio.get(&orders)?, out)
}

/// Writes pictures and their records into a folder, and a line about each.
fn show(folder: &Path, pictures: &[(Rendered, Vec<u8>)], out: &mut dyn Write) -> Result<()> {
    let width = pictures.iter().map(|(r, _)| r.concept.chars().count()).max().unwrap_or(0).max(4);
    writeln!(out, "{:width$}  seed       score        best  at step  remark", "unit")?;
    for (r, png) in pictures {
        write_atomic(&folder.join(file_name(r)), png)?;
        let remark = r.diagnosis.as_deref().unwrap_or("");
        let line = format!(
            "{:width$}  {:4}  {:10.4}  {:10.4}  {:7}  {remark}",
            r.concept, r.seed, r.score, r.best_score, r.best_step
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    let records: Vec<&Rendered> = pictures.iter().map(|(r, _)| r).collect();
    write_atomic(&folder.join(TABLE), &to_json(&records)?)?;
    writeln!(out, "{}", folder.display())?;
    Ok(())
}

fn file_name(r: &Rendered) -> String {
    let plain = |c: char| if c.is_alphanumeric() || ".-_@,".contains(c) { c } else { '-' };
    format!("{}-{}.png", r.concept.chars().map(plain).collect::<String>(), r.seed)
}
