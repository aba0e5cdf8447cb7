//! What is measured: accuracy, hard accuracy, segmentation, robustness and directions. Pure functions of arrays.

pub mod accuracy;
pub mod bootstrap;
pub mod correlation;
pub mod direction;
pub mod estimate;
pub mod hard;
pub mod options;
pub mod overlap;
pub mod robustness;
pub mod segmentation;
pub mod table;

pub use accuracy::{Decisions, Ranking};
pub use bootstrap::Bootstrap;
pub use estimate::Estimate;
pub use hard::HardSet;
pub use options::{Match, ScoreOptions};
pub use robustness::Views;
pub use segmentation::Target;
