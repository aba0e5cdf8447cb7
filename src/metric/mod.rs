//! What is measured: accuracy, hard accuracy, segmentation, robustness and directions, and how probes compare over
//! concepts. Pure functions of arrays.

pub mod accuracy;
pub mod bootstrap;
pub mod claim;
pub mod compare;
pub mod consistency;
pub mod correlation;
pub mod direction;
pub mod estimate;
pub mod faithfulness;
pub mod hard;
pub mod holm;
pub mod maximisation;
pub mod options;
pub mod overlap;
pub mod picture;
pub mod proportion;
pub mod robustness;
pub mod segmentation;
pub mod table;
pub mod tcav;
pub mod variance;
pub mod welch;

#[cfg(test)]
mod golden;

pub use accuracy::{Decisions, Ranking};
pub use bootstrap::Bootstrap;
pub use compare::CompareOptions;
pub use estimate::Estimate;
pub use hard::HardSet;
pub use options::{Match, ScoreOptions};
pub use robustness::Views;
pub use segmentation::Target;
pub use variance::VarianceOptions;
