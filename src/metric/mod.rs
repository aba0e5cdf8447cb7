//! What is measured: accuracy, hard accuracy, segmentation, robustness and directions. Pure functions of arrays.

pub mod estimate;

pub use estimate::Estimate;
