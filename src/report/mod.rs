//! What is shown: tables, figures and one self-contained page.

pub mod row;

pub use row::{MetricRow, SampleRow};
