//! What is measured: accuracy, hard accuracy, segmentation, robustness and directions. Pure functions of arrays.

pub mod accuracy;
pub mod bootstrap;
pub mod consistency;
pub mod correlation;
pub mod direction;
pub mod estimate;
pub mod faithfulness;
pub mod hard;
pub mod options;
pub mod robustness;
pub mod segmentation;
pub mod tcav;
pub mod welch;

pub use accuracy::{Decisions, Ranking};
pub use bootstrap::Bootstrap;
pub use estimate::Estimate;
pub use hard::HardSet;
pub use options::ScoreOptions;
pub use robustness::Views;
pub use segmentation::Target;
