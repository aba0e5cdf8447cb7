//! `cavern dataset`: what a study's data can answer, before anything is computed.

use std::io::Write;

use anyhow::Result;

use crate::cli::{CheckArgs, DatasetArgs, DatasetWhat};
use crate::dataset::advice::{Advice, Concept, Wanted, advise};
use crate::dataset::{self, split};
use crate::seed::Seed;
use crate::study::Study;

/// Does what was asked for.
///
/// # Errors
/// When the study is not right, or its dataset cannot be read. Warnings are no errors.
pub fn run(args: &DatasetArgs, out: &mut dyn Write) -> Result<()> {
    match &args.what {
        DatasetWhat::Check(args) => check(args, out),
    }
}

fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<()> {
    let study = Study::read(&args.study, &args.set)?;
    super::stage::set_threads(args.threads)?;
    let seed = Seed(study.seed);
    let dataset = dataset::open(&study.dataset, seed)?;
    let split = split::of(dataset.as_ref(), &study.split, seed);
    let wanted =
        Wanted { least: study.probe.min_samples, present_from: study.dataset.present_from, gap: study.split.gap };
    let advice = advise(dataset.as_ref(), split.as_ref(), &wanted);
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&advice)?)?;
        return Ok(());
    }
    print(&study.name, &advice, out)
}

fn print(name: &str, advice: &Advice, out: &mut dyn Write) -> Result<()> {
    let [fit, val, test, left_out] = advice.parts;
    let Advice { samples, groups, blocks, sources, skipped, .. } = advice;
    writeln!(
        out,
        "{name}: {samples} samples; groups {groups}, blocks {blocks}, sources {sources}, skipped files {skipped}"
    )?;
    writeln!(out, "fit {fit}, validation {val}, test {test}, left out between them {left_out}\n")?;
    table(advice, out)?;
    if advice.warnings.is_empty() {
        writeln!(out, "\nno warnings")?;
    }
    for (i, warning) in advice.warnings.iter().enumerate() {
        writeln!(out, "\n{}. {}.\n   Do: {}.", i + 1, warning.found, warning.advice)?;
    }
    Ok(())
}

/// Samples with and without each concept, in all and by part; the test blocks that show it; what the source alone tells
/// (balanced accuracy); the median of its masks.
fn table(advice: &Advice, out: &mut dyn Write) -> Result<()> {
    let longest = advice.concepts.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let width = longest.max("concept".len());
    let head = ["present", "absent", "unknown", "fit +/-", "val +/-", "test +/-", "blocks", "source", "mask"];
    line(out, "concept", width, &head.map(str::to_owned))?;
    advice.concepts.iter().try_for_each(|c| line(out, &c.name, width, &cells(c)))
}

fn cells(c: &Concept) -> [String; 9] {
    let both = |[with, without]: [usize; 2]| format!("{with}/{without}");
    let source = c.source.accuracy.map_or_else(|| "-".to_owned(), |a| format!("{a:.2}"));
    let mask = c.mask.map_or_else(|| "-".to_owned(), |share| format!("{share:.3}"));
    let [present, absent, unknown, blocks] = [c.present, c.absent, c.unknown, c.test_blocks].map(|n| n.to_string());
    [present, absent, unknown, both(c.fit), both(c.val), both(c.test), blocks, source, mask]
}

fn line(out: &mut dyn Write, name: &str, width: usize, cells: &[String; 9]) -> Result<()> {
    let widths = [8, 8, 8, 13, 13, 13, 7, 7, 6];
    write!(out, "{name:width$}")?;
    for (cell, width) in cells.iter().zip(widths) {
        write!(out, " {cell:>width$}")?;
    }
    Ok(writeln!(out)?)
}
