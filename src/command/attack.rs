//! `cavern attack`: photographs changed until a network sees another class, beside changes without an aim.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::Device;

use super::stage::set_threads;
use crate::cli::AttackArgs;
use crate::error::Error;
use crate::maximise::Planes;
use crate::model::recipe::Recipe;
use crate::model::{self, Graph};
use crate::report::table::{NamedValues, columns_csv, flag, number, text};
use crate::seed::Seed;
use crate::stage::Progress;
use crate::stage::attack::{Attack, Method, Outcome, Row, Summary};
use crate::stage::context::device;
use crate::stage::maximise::Photograph;
use crate::store::file::write_atomic;

/// Attacks every photograph, prints shares over them, and writes tables and pictures.
///
/// # Errors
/// When a model, a photograph, a layer or a class cannot be read or does not exist.
pub fn run(args: &AttackArgs, out: &mut dyn Write) -> Result<()> {
    set_threads(args.threads)?;
    if let Some(wrong) = args.epsilon.iter().find(|e| !(**e > 0.0 && **e <= 255.0)) {
        return Err(
            Error::key("--epsilon", format!("{wrong} is no level"), "above 0 and at most 255, as in 2,4,8").into()
        );
    }
    let device = device(&args.device)?;
    let graph = victim(args, &device)?;
    let others = args.transfer.iter().map(|text| other(text, &device)).collect::<crate::Result<Vec<_>>>()?;
    let shape = graph.input_shape();
    let read = |path: &PathBuf| Ok(Planes { shape, values: Photograph::read(path, &graph)?.levels });
    let photographs = args.images.iter().map(read).collect::<crate::Result<Vec<_>>>()?;
    let methods: Vec<Method> = Method::ALL.into_iter().filter(|m| *m != Method::Unit || args.layer.is_some()).collect();
    let attack = Attack {
        graph: &graph,
        device: &device,
        others: &others,
        epsilons: &args.epsilon,
        steps: usize::from(args.steps),
        layer: args.layer.clone(),
        target: args.target.clone(),
        seed: Seed(args.seed),
    };
    let passes = methods.iter().map(|m| if *m == Method::Blend { 1 } else { args.epsilon.len() }).sum::<usize>();
    let mut progress = Progress::start("attack", "attacked photographs", passes * photographs.len())?;
    let outcome = attack.run(&photographs, &methods, |pictures| {
        progress.step(pictures);
        progress.go_on()
    })?;
    progress.finish();
    print(&outcome.summaries(), &args.transfer, out)?;
    write(args, &graph, &photographs, &outcome)?;
    writeln!(out, "{}", args.out.display())?;
    Ok(())
}

fn victim(args: &AttackArgs, device: &Device) -> crate::Result<Graph> {
    let (name, weights) = (args.model.clone(), args.weights.clone());
    Recipe { name, weights, head: args.head.clone(), labels: args.labels.clone(), ..Recipe::default() }.build(device)
}

fn other(text: &str, device: &Device) -> crate::Result<Graph> {
    let (name, weights) = text.split_once('=').map_or((text, None), |(name, path)| (name, Some(Path::new(path))));
    model::build(name, weights, device)
}

fn print(summaries: &[Summary], others: &[String], out: &mut dyn Write) -> Result<()> {
    write!(out, "method     strength   n  target reached       class changed        confidence   PSNR   SSIM")?;
    for name in others {
        write!(out, "  {}", name.split('=').next().unwrap_or(name))?;
    }
    writeln!(out)?;
    for s in summaries {
        let name = if s.control { "  no aim" } else { s.method.name() };
        let share = |[value, low, high]: [f64; 3]| format!("{value:.2} [{low:.2}, {high:.2}]");
        write!(
            out,
            "{name:9}  {:8.3}  {:2}  {:17}  {:19}  {:10.3}  {:5.1}  {:.3}",
            s.strength,
            s.n,
            share(s.success),
            share(s.flipped),
            s.confidence,
            s.means[2],
            s.means[3]
        )?;
        for share in &s.transfer {
            write!(out, "  {share:.2}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `attacks.csv`, `summary.csv`, and every changed photograph.
fn write(args: &AttackArgs, graph: &Graph, photographs: &[Planes], outcome: &Outcome) -> Result<()> {
    let names: Vec<String> = args.images.iter().map(|p| p.display().to_string()).collect();
    let others: Vec<String> = args.transfer.iter().map(|t| t.split('=').next().unwrap_or(t).to_owned()).collect();
    let folder = &args.out;
    write_atomic(
        &folder.join("attacks.csv"),
        &columns_csv(&attacks(&outcome.rows, &names, graph.classes(), &others))?,
    )?;
    write_atomic(&folder.join("summary.csv"), &columns_csv(&shares(&outcome.summaries(), &others))?)?;
    let stem =
        |i: usize| args.images[i].file_stem().map_or_else(|| i.to_string(), |s| s.to_string_lossy().into_owned());
    for (i, picture) in photographs.iter().enumerate() {
        write_atomic(&picture_path(folder, &format!("{i}-{}", stem(i))), &picture.png()?)?;
    }
    for (row, picture) in outcome.rows.iter().zip(&outcome.pictures) {
        let kind = if row.control { "no-aim-of-" } else { "" };
        let name = format!("{}-{}-{kind}{}-{:.3}", row.picture, stem(row.picture), row.method.name(), row.strength);
        write_atomic(&picture_path(folder, &name), &picture.png()?)?;
    }
    Ok(())
}

fn picture_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("pictures").join(format!("{name}.png"))
}

fn attacks(rows: &[Row], names: &[String], classes: &[String], others: &[String]) -> Vec<NamedValues> {
    let class = |k: usize| classes.get(k).cloned().unwrap_or_else(|| k.to_string());
    let mut columns = vec![
        text("picture", rows, |r| names[r.picture].clone()),
        text("method", rows, |r| r.method.name().to_owned()),
        flag("without_aim", rows, |r| r.control),
        number("strength", rows, |r| r.strength),
        text("before", rows, |r| class(r.classes[0])),
        text("target", rows, |r| class(r.classes[1])),
        text("after", rows, |r| class(r.classes[2])),
        flag("target_reached", rows, |r| r.success),
        flag("class_changed", rows, |r| r.flipped),
        number("steps", rows, |r| r.steps.map_or(f64::NAN, |s| s as f64)),
        number("confidence", rows, |r| r.confidence),
        number("largest_change", rows, |r| r.norms[0]),
        number("norm", rows, |r| r.norms[1]),
        number("psnr", rows, |r| r.likeness[0]),
        number("ssim", rows, |r| r.likeness[1]),
    ];
    columns
        .extend(others.iter().enumerate().map(|(k, name)| flag(&format!("transfer {name}"), rows, |r| r.transfer[k])));
    columns
}

fn shares(rows: &[Summary], others: &[String]) -> Vec<NamedValues> {
    let mut columns = vec![
        text("method", rows, |r| r.method.name().to_owned()),
        flag("without_aim", rows, |r| r.control),
        number("strength", rows, |r| r.strength),
        number("n", rows, |r| r.n as f64),
        number("target_reached", rows, |r| r.success[0]),
        number("target_reached_low", rows, |r| r.success[1]),
        number("target_reached_high", rows, |r| r.success[2]),
        number("class_changed", rows, |r| r.flipped[0]),
        number("class_changed_low", rows, |r| r.flipped[1]),
        number("class_changed_high", rows, |r| r.flipped[2]),
        number("confidence", rows, |r| r.confidence),
        number("largest_change", rows, |r| r.means[0]),
        number("norm", rows, |r| r.means[1]),
        number("psnr", rows, |r| r.means[2]),
        number("ssim", rows, |r| r.means[3]),
    ];
    columns.extend(
        others.iter().enumerate().map(|(k, name)| number(&format!("transfer {name}"), rows, |r| r.transfer[k])),
    );
    columns
}
