//! What is shown: tables, figures and one self-contained page.
//!
//! Nothing is measured here. Every number comes from a [`MetricRow`]; means over concepts, comparisons of probes, rank
//! correlations and the findings' sentences are computed from those rows, so that a page can be made again from the tables
//! alone.

pub mod comparison;
pub mod correlation;
pub mod difference;
pub mod figure;
pub mod finding;
pub mod html;
pub mod info;
pub mod inputs;
pub mod overlay;
pub mod page;
pub mod plot;
pub mod row;
mod select;
pub mod survey;
pub mod table;
pub mod units;
mod verdict;

pub use comparison::{ByProbe, Comparison, Pictures, comparisons};
pub use correlation::{Correlation, TRUTH, correlations};
pub use difference::{Difference, Differences, Matched, Overlap, differences};
pub use figure::{compared, figures, survey_figures};
pub use finding::{Finding, of_runs};
pub use html::{ComparePage, compare_html, compare_markdown, html, survey_html};
pub use info::{MetricInfo, ProbeInfo, metric_info, probe_info, probe_label};
pub use inputs::{Input, inputs};
pub use overlay::overlay;
pub use page::{ConceptCount, CosineMatrix, NormMap, Overlay, Page, Refusal, RenderingFigure, Trace};
pub use row::{MetricRow, SampleRow};
pub use survey::{SurveyPage, survey_tables};
pub use table::{
    comparisons_csv, comparisons_parquet, correlations_csv, differences_csv, matched_csv, metrics_csv, metrics_parquet,
    read_metrics_parquet, samples_parquet,
};
pub use units::Run;

#[cfg(test)]
mod demo;
