//! The report: one self-contained file that needs neither network nor script.

mod compare;
mod concept;
mod counts;
mod late;
mod metrics;
mod pictures;
mod pivot;
mod short;
mod statistics;
mod survey;

pub use compare::{ComparePage, compare_html, compare_markdown};
pub use survey::survey_html;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::figure::caption;
use super::finding::{Findings, findings};
use super::info::{METRICS, MetricInfo, PROBES, metric_info};
use super::page::{Page, Refusal};
use super::select::by_key;
use super::verdict::judged;
use crate::error::{Error, Result};

const TEMPLATE: &str = include_str!("../../reports/report.html");
const MACROS: &str = include_str!("../../reports/macros.html");
const STYLE: &str = include_str!("../../reports/style.css");
const SCRIPT: &str = include_str!("../../reports/page.js");

/// A name with its one-line explanation.
#[derive(Debug, Serialize)]
struct Entry {
    label: &'static str,
    name: &'static str,
    explanation: &'static str,
}

/// A figure with its caption.
#[derive(Debug, Serialize)]
struct Drawing<'a> {
    /// Empty where the figure is too large for the page.
    svg: &'a str,
    file: &'a str,
    caption: &'static str,
}

/// Figures of more bytes than this, with tens of thousands of marks, are linked to.
const LARGEST_FIGURE: usize = 1_000_000;

/// Everything the template names.
#[derive(Debug, Serialize)]
struct Context<'a> {
    style: &'static str,
    title: &'a str,
    about: &'a str,
    facts: &'a [(String, String)],
    study_text: &'a str,
    notes: &'a [String],
    short: Option<short::Short>,
    /// A part for each concept.
    concepts: Vec<concept::Concept<'a>>,
    /// Whether parts of concepts are made when they are opened.
    long: bool,
    findings: Findings,
    counts: counts::Counts,
    refusals: &'a [Refusal],
    fp: Vec<Drawing<'a>>,
    bars: Vec<Drawing<'a>>,
    planted: Vec<Drawing<'a>>,
    scatters: Vec<Drawing<'a>>,
    cosines: Vec<Drawing<'a>>,
    variance: Vec<Drawing<'a>>,
    traces: Vec<Drawing<'a>>,
    training: Vec<Drawing<'a>>,
    comparisons: statistics::Compared,
    correlations: Vec<statistics::Correlated>,
    fp_cosines: Vec<metrics::FpCosine>,
    layers: Vec<metrics::LayerTable>,
    /// How many maps the page holds, and how many there are.
    maps: [usize; 2],
    /// Those of no concept.
    renderings: Vec<pictures::Grid>,
    skipped: &'a [(String, String)],
    metrics: Vec<Entry>,
    probes: Vec<Entry>,
}

/// Fills the template. `figures` are [`super::figures`] of the same page.
///
/// # Errors
/// When the template cannot be rendered.
pub fn html(page: &Page<'_>, figures: &[(String, String)]) -> Result<String> {
    let of = |starts: &[&str]| starts.iter().flat_map(|s| drawings(figures, s)).collect::<Vec<_>>();
    let (metrics, probes) = glossary(page);
    let rows = &by_key(page.rows);
    let maps = pictures::held(&page.overlays);
    let (names, judged) = (page.concepts(), judged(rows));
    let context = Context {
        style: STYLE,
        title: page.title,
        about: page.about,
        facts: &page.facts,
        study_text: &page.study_text,
        notes: &page.notes,
        short: short::short(&judged, &names),
        concepts: concept::concepts(page, rows, &names, &judged, &maps, figures),
        long: late::is_long(rows),
        findings: findings(rows, &page.comparisons, &page.correlations),
        counts: counts::counts(&page.counts),
        refusals: &page.refusals,
        fp: drawings(figures, "fp"),
        bars: of(&["bars", "layers", "kinds"]),
        planted: drawings(figures, "planted"),
        scatters: of(&["forest", "scatter"]),
        cosines: of(&["cosine", "norms"]),
        variance: drawings(figures, "variance"),
        traces: drawings(figures, "trace"),
        training: drawings(figures, "training"),
        comparisons: statistics::compared(&page.comparisons),
        correlations: statistics::correlated(&page.correlations, "accuracy"),
        fp_cosines: metrics::fp_cosines(rows),
        layers: metrics::layer_tables(rows, &page.refusals),
        maps: [maps.len(), page.overlays.len()],
        renderings: pictures::renderings(&concept::others(page, &names)),
        skipped: &page.skipped,
        metrics,
        probes,
    };
    rendered(TEMPLATE, &context)
}

fn rendered(template: &str, context: &impl Serialize) -> Result<String> {
    let whole = format!("{MACROS}{template}");
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_global("script", SCRIPT);
    environment.add_template("page.html", &whole).map_err(failed)?;
    environment.get_template("page.html").and_then(|t| t.render(Serde(context))).map_err(failed)
}

/// The figures whose file names begin so.
fn drawings<'a>(figures: &'a [(String, String)], start: &str) -> Vec<Drawing<'a>> {
    let own = figures.iter().filter(|(name, _)| name.starts_with(start));
    let shown = |svg: &'a str| if svg.len() > LARGEST_FIGURE { "" } else { svg };
    own.map(|(name, svg)| Drawing { svg: shown(svg), file: name, caption: caption(name) }).collect()
}

/// Explanations of the metrics and probes that occur.
fn glossary(page: &Page<'_>) -> (Vec<Entry>, Vec<Entry>) {
    let of_metric = |m: &MetricInfo| Entry { label: m.label, name: m.name, explanation: m.explanation };
    let metrics =
        METRICS.iter().filter(|m| page.rows.iter().any(|r| metric_info(&r.metric) == Some(m))).map(of_metric).collect();
    let probes = PROBES
        .iter()
        .filter(|p| page.rows.iter().any(|r| r.probe == p.name))
        .map(|p| Entry { label: p.label, name: p.name, explanation: p.explanation })
        .collect();
    (metrics, probes)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn failed(error: minijinja::Error) -> Error {
    Error::Failure(format!("cannot make the report: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::super::{demo, figures};
    use super::*;

    fn render(page: &Page<'_>) -> String {
        html(page, &figures(page).unwrap()).unwrap()
    }

    #[test]
    fn the_demo_page_loads_nothing_and_has_only_numbers() {
        let rows = demo::rows(&demo::Size::small());
        let page = demo::page(&rows, &demo::Size::small());
        let text = render(&page);
        if let Some(path) = std::env::var_os("CAVERN_REPORT_DEMO") {
            std::fs::write(path, &text).unwrap();
        }
        for loading in ["src=\"http", "href=\"http", "src=\"//", "url(", "@import", "<link"] {
            assert!(!text.contains(loading), "{loading}");
        }
        for broken in ["NaN", ">inf", "undefined", "none<"] {
            assert!(!text.contains(broken), "{broken}");
        }
        assert!(text.contains("n/a"));
    }

    #[test]
    #[ignore = "writes the page of a large study to $CAVERN_LARGE_PAGE, for tests/browser"]
    fn a_large_page() {
        let size = demo::Size::large();
        let rows = demo::rows(&size);
        std::fs::write(std::env::var_os("CAVERN_LARGE_PAGE").unwrap(), render(&demo::page(&rows, &size))).unwrap();
    }

    #[test]
    fn the_same_page_gives_the_same_bytes() {
        let rows = demo::rows(&demo::Size::small());
        let mut other = rows.clone();
        other.reverse();
        // Not assert_eq, which would print both pages.
        assert!(render(&demo::page(&rows, &demo::Size::small())) == render(&demo::page(&other, &demo::Size::small())));
    }

    #[test]
    fn names_are_escaped_everywhere() {
        let evil = "<script>alert(1)</script>";
        let mut rows = demo::rows(&demo::Size::small());
        for row in &mut rows {
            for field in
                [&mut row.study, &mut row.layer, &mut row.model, &mut row.parameter, &mut row.estimate.null_kind]
            {
                field.push_str(evil);
            }
            row.concept = format!("{}{evil}", row.concept);
        }
        let mut page = demo::page(&rows, &demo::Size::small());
        page.title = evil;
        page.about = evil;
        page.study_text = evil.to_owned();
        page.notes.push(evil.to_owned());
        page.facts.push((evil.to_owned(), evil.to_owned()));
        page.skipped.push((evil.to_owned(), evil.to_owned()));
        page.counts.iter_mut().for_each(|c| c.concept = evil.to_owned());
        page.refusals.iter_mut().for_each(|r| r.reason = evil.to_owned());
        page.overlays.iter_mut().for_each(|o| (o.sample, o.layer) = (evil.to_owned(), evil.to_owned()));
        page.renderings.iter_mut().for_each(|r| r.note = Some(evil.to_owned()));
        page.cosines.iter_mut().for_each(|m| m.concept = evil.to_owned());
        page.traces.iter_mut().chain(&mut page.training).for_each(|t| t.label = evil.to_owned());
        let text = render(&page);
        assert!(!text.contains("<script>alert"));
        assert!(text.contains("&lt;script&gt;alert"));
    }

    #[test]
    fn an_empty_page_is_a_page() {
        let page = Page {
            title: "empty",
            about: "",
            facts: vec![],
            study_text: String::new(),
            counts: vec![],
            refusals: vec![],
            rows: &[],
            comparisons: vec![],
            correlations: vec![],
            kinds: vec![],
            norms: vec![],
            overlays: vec![],
            renderings: vec![],
            cosines: vec![],
            traces: vec![],
            training: vec![],
            skipped: vec![],
            notes: vec![],
        };
        assert!(figures(&page).unwrap().is_empty());
        assert!(render(&page).contains("<h1>empty</h1>"));
    }
}
