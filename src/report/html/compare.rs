//! The page of several runs.

use serde::Serialize;

use super::super::comparison::Comparison;
use super::super::correlation::{Correlation, TRUTH};
use super::super::figure::kinds;
use super::super::finding::{Finding, of_runs};
use super::statistics::{self, Compared, Correlated};
use super::{Drawing, STYLE, drawings, rendered};
use crate::error::Result;

const TEMPLATE: &str = include_str!("../../../reports/compare.html");

/// Everything the template names.
#[derive(Debug, Serialize)]
struct Context<'a> {
    style: &'static str,
    runs: &'a [(String, String)],
    findings: Vec<Finding>,
    truth: Vec<Correlated>,
    thesis: Vec<Correlated>,
    comparisons: Compared,
    kinds: Vec<&'a str>,
    truth_figures: Vec<Drawing<'a>>,
    thesis_figures: Vec<Drawing<'a>>,
    drawings: Vec<Drawing<'a>>,
}

/// Fills the template. `runs` are names and what was run; `figures` are [`super::super::compared`] of the same rows.
///
/// # Errors
/// When the template cannot be rendered.
pub fn compare_html(
    runs: &[(String, String)],
    comparisons: &[Comparison],
    correlations: &[Correlation],
    figures: &[(String, String)],
) -> Result<String> {
    let of = |starts: &[&str]| starts.iter().flat_map(|s| drawings(figures, s)).collect::<Vec<_>>();
    let context = Context {
        style: STYLE,
        runs,
        findings: of_runs(comparisons, correlations),
        truth: statistics::correlated(correlations, TRUTH),
        thesis: statistics::correlated(correlations, "accuracy"),
        comparisons: statistics::compared(comparisons),
        kinds: kinds(correlations),
        truth_figures: of(&["forest-truth", "scatter-truth"]),
        thesis_figures: of(&["forest-accuracy", "scatter-accuracy"]),
        drawings: of(&["fp", "bars", "layers", "planted", "variance"]),
    };
    rendered(TEMPLATE, &context)
}
