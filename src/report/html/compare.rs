//! The page of several runs, as HTML and as Markdown.

use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::super::comparison::Comparison;
use super::super::correlation::{Correlation, TRUTH};
use super::super::difference::{Difference, Differences};
use super::super::figure::kinds;
use super::super::finding::{Finding, of_runs, p_value};
use super::super::info::{metric_label, probe_label};
use super::super::inputs::{Input, groups};
use super::super::plot::short_number;
use super::statistics::{self, Compared, Correlated};
use super::{Drawing, STYLE, drawings, failed, rendered};
use crate::error::Result;
use crate::metric::compare::FEWEST;

const TEMPLATE: &str = include_str!("../../../reports/compare.html");
const MARKDOWN: &str = include_str!("../../../reports/compare.md");

/// Everything a comparison of runs shows.
#[derive(Debug, Clone, Default)]
pub struct ComparePage<'a> {
    /// Names of the runs and what was run, in the order given; the first is what others are held against.
    pub runs: Vec<(String, String)>,
    /// What differs between their inputs.
    pub inputs: Vec<Input>,
    /// The runs after the first against it.
    pub differences: Differences<'a>,
    /// Probes against each other over all runs.
    pub comparisons: Vec<Comparison>,
    /// The truth and accuracy against the other metrics over all runs.
    pub correlations: Vec<Correlation>,
}

/// Everything the templates name.
#[derive(Debug, Serialize)]
struct Context<'a> {
    style: &'static str,
    runs: &'a [(String, String)],
    inputs: &'a [Input],
    /// The groups of inputs in which nothing differs.
    same: Vec<&'static str>,
    overlaps: Vec<Overlapping>,
    differences: Vec<Line>,
    fewest: usize,
    findings: Vec<Finding>,
    truth: Vec<Correlated>,
    thesis: Vec<Correlated>,
    comparisons: Compared,
    kinds: Vec<&'a str>,
    truth_figures: Vec<Drawing<'a>>,
    thesis_figures: Vec<Drawing<'a>>,
    drawings: Vec<Drawing<'a>>,
}

/// How many rows two runs share, and what came of them.
#[derive(Debug, Serialize)]
struct Overlapping {
    run: String,
    matched: usize,
    first_only: usize,
    other_only: usize,
    unmatched: Vec<String>,
    /// Differences over concepts, and those of them that hold.
    tested: usize,
    hold: usize,
}

/// One difference between runs.
#[derive(Debug, Serialize)]
struct Line {
    run: String,
    layer: String,
    probe: String,
    variant: String,
    metric: String,
    first: String,
    other: String,
    difference: String,
    interval: String,
    p: String,
    p_holm: String,
    effect: String,
    n: usize,
    holds: bool,
    /// Shown, and to the side that is better.
    better: bool,
}

/// Fills the template. `figures` are [`super::super::compared`] of the same rows.
///
/// # Errors
/// When the template cannot be rendered.
pub fn compare_html(page: &ComparePage<'_>, figures: &[(String, String)]) -> Result<String> {
    rendered(TEMPLATE, &context(page, figures))
}

/// The same without figures, for a pull request or a notebook.
///
/// # Errors
/// When the template cannot be rendered.
pub fn compare_markdown(page: &ComparePage<'_>) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // A bar or a line break would end a cell.
    environment.add_filter("cell", |text: String| text.replace('|', "\\|").replace('\n', " "));
    environment.add_template("compare.md", MARKDOWN).map_err(failed)?;
    let context = context(page, &[]);
    let filled = environment.get_template("compare.md").and_then(|t| t.render(minijinja::value::Serde(&context)));
    filled.map_err(failed)
}

fn context<'a>(page: &'a ComparePage<'_>, figures: &'a [(String, String)]) -> Context<'a> {
    let of = |starts: &[&str]| starts.iter().flat_map(|s| drawings(figures, s)).collect::<Vec<_>>();
    let over_concepts = &page.differences.over_concepts;
    let overlap = |o: &super::super::difference::Overlap| {
        let own = || over_concepts.iter().filter(|d| d.run == o.run);
        Overlapping {
            run: o.run.clone(),
            matched: o.matched,
            first_only: o.first_only,
            other_only: o.other_only,
            unmatched: o.unmatched.clone(),
            tested: own().count(),
            hold: own().filter(|d| d.holds()).count(),
        }
    };
    Context {
        style: STYLE,
        runs: &page.runs,
        inputs: &page.inputs,
        same: groups().filter(|g| page.inputs.iter().all(|i| i.group != *g)).collect(),
        overlaps: page.differences.overlaps.iter().map(overlap).collect(),
        differences: over_concepts.iter().map(line).collect(),
        fewest: FEWEST,
        findings: of_runs(&page.comparisons, &page.correlations),
        truth: statistics::correlated(&page.correlations, TRUTH),
        thesis: statistics::correlated(&page.correlations, "accuracy"),
        comparisons: statistics::compared(&page.comparisons),
        kinds: kinds(&page.correlations),
        truth_figures: of(&["forest-truth", "scatter-truth"]),
        thesis_figures: of(&["forest-accuracy", "scatter-accuracy"]),
        drawings: of(&["fp", "bars", "layers", "planted", "variance"]),
    }
}

fn line(d: &Difference) -> Line {
    let number = |v: f64| if v.is_finite() { short_number(v) } else { String::new() };
    let p = |p: f64| if p.is_finite() { p_value(p) } else { String::new() };
    let interval = || format!("[{}, {}]", short_number(d.ci_low), short_number(d.ci_high));
    Line {
        run: d.run.clone(),
        layer: d.layer.clone(),
        probe: probe_label(&d.probe).to_owned(),
        variant: d.variant.clone(),
        metric: metric_label(&d.metric).to_owned(),
        first: number(d.first),
        other: number(d.other),
        difference: number(d.difference),
        interval: if d.ci_low.is_finite() { interval() } else { String::new() },
        p: p(d.p),
        p_holm: p(d.p_holm),
        effect: number(d.effect),
        n: d.n,
        holds: d.holds(),
        better: d.holds() && (d.difference > 0.0) == d.higher_is_better,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{ByProbe, MetricRow, Run, comparisons, correlations, demo, difference};
    use super::*;
    use crate::metric::CompareOptions;
    use crate::seed::Seed;

    #[test]
    fn the_page_and_its_markdown_say_what_differs_and_by_how_much() {
        let first = demo::rows(&demo::Size::small());
        let mut other: Vec<MetricRow> = first.iter().filter(|r| r.layer == "layer3").cloned().collect();
        other.iter_mut().for_each(|r| r.estimate.value += 0.1);
        let runs = [Run { name: "one", rows: &first }, Run { name: "two|<b>", rows: &other }];
        let (options, seed) = (CompareOptions { bootstrap: 100 }, Seed(1));
        let page = ComparePage {
            runs: vec![("one".into(), "elements".into()), ("two|<b>".into(), "elements".into())],
            inputs: vec![Input { group: "weights", key: "model_digest".into(), values: vec!["a".into(), "b".into()] }],
            differences: difference::differences(&runs, &options, seed),
            comparisons: comparisons(&runs, &ByProbe::new(), &options, seed),
            correlations: correlations(&runs, "accuracy", &options, seed),
        };
        let markdown = compare_markdown(&page).unwrap();
        assert!(markdown.contains("| weights | `model_digest` | a | b |"), "{markdown}");
        assert!(markdown.contains("Nothing differs in code, data, device, parameters."), "{markdown}");
        assert!(markdown.contains("only one has layer layer2") && markdown.contains("two\\|<b>"), "{markdown}");
        assert!(markdown.contains("| layer3 | Classifier |"), "{markdown}");
        let html = compare_html(&page, &[]).unwrap();
        assert!(html.contains("two|&lt;b&gt;") && !html.contains("NaN") && !markdown.contains("NaN"));
    }
}
