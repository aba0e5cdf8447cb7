//! `cavern compare`: the tables of finished runs beside each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::stage::set_threads;
use crate::cli::CompareArgs;
use crate::error::{Error, Result};
use crate::metric::CompareOptions;
use crate::report::{self, ByProbe, ComparePage, Correlation, MetricRow, Run, TRUTH};
use crate::seed::Seed;
use crate::store::file::write_atomic;

/// What a folder must hold.
const TABLE: &str = "metrics.parquet";

/// Holds every run against the first, compares probes over the concepts of all runs, and metrics with the truth; prints what
/// was found and writes tables, figures and a page, as HTML and Markdown. The last line on stdout is the page.
///
/// # Errors
/// When a folder is no finished run or is given twice, a metric was measured in none, or the output cannot be written.
pub fn run(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    set_threads(args.threads)?;
    let options = CompareOptions { bootstrap: args.bootstrap };
    options.check().map_err(|_| Error::key("--bootstrap", "out of range", "100 to 100000; 10000 is the default"))?;
    let mut finished = args.runs.iter().map(|folder| Finished::read(folder)).collect::<Result<Vec<_>>>()?;
    distinct(&finished)?;
    keep(&mut finished, &args.metric)?;
    let runs: Vec<Run<'_>> = finished.iter().map(|f| Run { name: &f.name, rows: &f.rows }).collect();
    let seed = Seed(args.seed);
    let comparisons = report::comparisons(&runs, &ByProbe::new(), &options, seed);
    let mut correlations = report::correlations(&runs, TRUTH, &options, seed);
    if correlations.is_empty() {
        tracing::warn!(
            "no run has `{TRUTH}`, the cosine with the true direction: it needs pictures that can be drawn again"
        );
    }
    correlations.extend(report::correlations(&runs, "accuracy", &options, seed));
    let page = ComparePage {
        runs: finished.iter().map(|f| (f.name.clone(), f.about())).collect(),
        inputs: report::inputs(&finished.iter().map(|f| f.manifest.clone()).collect::<Vec<_>>()),
        differences: report::differences(&runs, &options, seed),
        comparisons,
        correlations,
    };
    write_files(&args.out, &page, &finished)?;
    write!(out, "{}", told(&page)?).and_then(|()| writeln!(out, "{}", args.out.join("compare.html").display()))?;
    Ok(())
}

fn write_files(folder: &Path, page: &ComparePage<'_>, finished: &[Finished]) -> Result<()> {
    let rows: Vec<MetricRow> = finished.iter().flat_map(|f| f.rows.iter().cloned()).collect();
    let figures = report::compared(&rows, &page.correlations)?;
    let write = |name: &str, bytes: &[u8]| write_atomic(&folder.join(name), bytes);
    write("comparisons.csv", &report::comparisons_csv(&page.comparisons)?)?;
    write("correlations.csv", &report::correlations_csv(&page.correlations)?)?;
    if finished.len() > 1 {
        write("differences.csv", &report::differences_csv(&page.differences.over_concepts)?)?;
        write("matched.csv", &report::matched_csv(&page.differences.matched)?)?;
    }
    for (name, svg) in &figures {
        write(&format!("figures/{name}"), svg.as_bytes())?;
    }
    write("compare.md", report::compare_markdown(page)?.as_bytes())?;
    write("compare.html", report::compare_html(page, &figures)?.as_bytes())
}

/// What is printed: what differs in the inputs and in the numbers, what follows the truth, what can be said.
fn told(page: &ComparePage<'_>) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for input in &page.inputs {
        writeln!(text, "{}: {} is {}", input.group, input.key, input.values.join(" | "))?;
    }
    let first = page.runs.first().map_or("", |r| r.0.as_str());
    for o in &page.differences.overlaps {
        let own = || page.differences.over_concepts.iter().filter(|d| d.run == o.run);
        let held = own().filter(|d| d.holds()).count();
        writeln!(
            text,
            "{} against {first}: {} rows match, {held} of {} differences over concepts are shown",
            o.run,
            o.matched,
            own().count()
        )?;
        o.unmatched.iter().try_for_each(|u| writeln!(text, "  {u}"))?;
    }
    if !page.differences.overlaps.is_empty() {
        writeln!(text)?;
    }
    truth_table(&page.correlations, &mut text)?;
    for finding in report::of_runs(&page.comparisons, &page.correlations) {
        writeln!(text, "{}\n  {}\n", finding.about, finding.text)?;
    }
    Ok(text)
}

/// A finished run.
struct Finished {
    name: String,
    /// What it was made from; null where there is no manifest.
    manifest: serde_json::Value,
    folder: PathBuf,
    rows: Vec<MetricRow>,
}

impl Finished {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(TABLE);
        let hint = "give the folders that `cavern run` prints on its last line";
        let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Error::file(folder, format!("is no finished run: it has no {TABLE}"), hint)
            }
            _ => Error::file(&path, format!("cannot be read: {e}"), hint),
        })?;
        let mut rows = report::read_metrics_parquet(&bytes)
            .map_err(|e| Error::file(&path, e.to_string(), "run its study again with this version of cavern"))?;
        let folder = folder.canonicalize().map_err(Error::io("read", folder))?;
        let name = folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        // One name a run, whatever the study is called: figures and pages key rows by it.
        rows.iter_mut().for_each(|r| r.study.clone_from(&name));
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap_or_default();
        Ok(Self { manifest: serde_json::from_slice(&manifest).unwrap_or_default(), name, folder, rows })
    }

    /// Model, data and seed, from the manifest; what the table says where there is none.
    fn about(&self) -> String {
        let study = &self.manifest["study"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let model = self.rows.first().map_or_else(String::new, |r| r.model.clone());
        let seed = self.rows.first().map_or(0, |r| r.seed);
        let parts =
            [text(&study["dataset"]["format"]), text(&study["dataset"]["world"]), model, format!("seed {seed}")];
        parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// Refuses a run that is given twice, and two runs of one name.
fn distinct(finished: &[Finished]) -> Result<()> {
    let mut seen: BTreeMap<&str, &Path> = BTreeMap::new();
    for run in finished {
        if let Some(other) = seen.insert(&run.name, &run.folder) {
            let problem = if other == run.folder { "is given twice" } else { "has the name of another run" };
            return Err(Error::file(&run.folder, problem, "give every run once, in a folder of its own name"));
        }
    }
    Ok(())
}

/// Keeps the rows of the wanted metrics (all where none is named), of accuracy and of the truth.
fn keep(finished: &mut [Finished], wanted: &[String]) -> Result<()> {
    let known = || finished.iter().flat_map(|f| f.rows.iter().map(|r| r.metric.as_str()));
    if let Some(unknown) = wanted.iter().find(|w| !known().any(|k| k == w.as_str())) {
        let names: std::collections::BTreeSet<&str> = known().collect();
        return Err(Error::unknown("metric of these runs", unknown, names));
    }
    if !wanted.is_empty() {
        let kept = |r: &MetricRow| r.metric == "accuracy" || r.metric == TRUTH || wanted.contains(&r.metric);
        finished.iter_mut().for_each(|f| f.rows.retain(kept));
    }
    Ok(())
}

/// For every layer and variant: the rank correlation of each metric with the truth, over all kinds of probe and within each.
fn truth_table(correlations: &[Correlation], out: &mut String) -> std::fmt::Result {
    let truth = || correlations.iter().filter(|c| c.against == TRUTH && !c.variant.is_empty());
    let mut places: Vec<(&str, &str)> = Vec::new();
    for c in truth() {
        if !places.contains(&(&c.layer, &c.variant)) {
            places.push((&c.layer, &c.variant));
        }
    }
    for (layer, variant) in places {
        let here: Vec<&Correlation> = truth().filter(|c| c.layer == layer && c.variant == variant).collect();
        pooled(&here, out)?;
        by_kind(&here, out)?;
    }
    Ok(())
}

/// Over all kinds of probe, beside accuracy's.
fn pooled(here: &[&Correlation], out: &mut String) -> std::fmt::Result {
    let Some(c) = here.iter().max_by_key(|c| c.points) else { return Ok(()) };
    writeln!(
        out,
        "Rank correlation with {TRUTH}, {} {}: {} concepts, {} runs, {} points; intervals draw concepts with all their runs",
        c.layer, c.variant, c.concepts, c.runs, c.points
    )?;
    writeln!(out, "{:20} {:>22} {:>16} {:>22}", "metric", "all kinds", "within runs", "less accuracy's")?;
    for c in here.iter().filter(|c| c.probe.is_empty()) {
        let (within, gain) = (bounds(c.within_low, c.within_high), interval(c.gain, c.gain_low, c.gain_high));
        let rho = interval(c.rho, c.ci_low, c.ci_high);
        writeln!(out, "{:20} {rho:>22} {within:>16} {gain:>22}", c.metric)?;
    }
    writeln!(out)
}

/// Within each kind of probe: what remains where kinds cannot differ.
fn by_kind(here: &[&Correlation], out: &mut String) -> std::fmt::Result {
    let mut kinds: Vec<&str> = Vec::new();
    for c in here.iter().filter(|c| !c.probe.is_empty()) {
        if !kinds.contains(&c.probe.as_str()) {
            kinds.push(&c.probe);
        }
    }
    write!(out, "{:20}", "within one kind")?;
    kinds.iter().try_for_each(|k| write!(out, " {k:>20}"))?;
    writeln!(out)?;
    for metric in here.iter().filter(|c| c.probe.is_empty()).map(|c| &c.metric) {
        write!(out, "{metric:20}")?;
        for kind in &kinds {
            let own = here.iter().find(|c| c.probe == *kind && c.metric == *metric);
            write!(out, " {:>20}", own.map_or("-".to_owned(), |c| interval(c.rho, c.ci_low, c.ci_high)))?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn interval(value: f64, low: f64, high: f64) -> String {
    if value.is_finite() { format!("{value:.2} {}", bounds(low, high)).trim_end().to_owned() } else { "-".to_owned() }
}

fn bounds(low: f64, high: f64) -> String {
    if low.is_finite() && high.is_finite() { format!("[{low:.2}, {high:.2}]") } else { String::new() }
}
