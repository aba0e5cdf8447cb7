//! What is shown: tables, figures and one self-contained page.
//!
//! Nothing is measured here. Every number comes from a [`MetricRow`]; means over concepts, rank correlations and the
//! findings' sentences are computed from those rows, so that a page can be made again from the tables alone.

pub mod figure;
pub mod finding;
pub mod html;
pub mod info;
pub mod overlay;
pub mod page;
pub mod plot;
pub mod row;
mod select;
pub mod table;

pub use figure::figures;
pub use html::html;
pub use info::{MetricInfo, ProbeInfo, metric_info, probe_info};
pub use overlay::overlay;
pub use page::{ConceptCount, CosineMatrix, Overlay, Page, Refusal, RenderingFigure, Trace};
pub use row::{MetricRow, SampleRow};
pub use table::{metrics_csv, metrics_parquet, read_metrics_parquet, samples_parquet};

#[cfg(test)]
mod demo;
