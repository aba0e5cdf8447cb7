//! The stages of a study. Each reads the artifacts of the stages before it and never calls them.
//!
//! ```text
//! extract ─► fit ─► localise ─► score ───────► report
//!              │        └────► sensitivity ──┤
//!              └──► maximise ────────────────┘   (renders, then judges)
//! ```

pub mod attack;
pub mod context;
pub mod coverage;
pub mod export;
pub mod extract;
pub mod fit;
pub mod fitted;
pub mod items;
pub mod localise;
pub mod maximise;
pub mod overlays;
pub mod progress;
pub mod report;
pub mod score;
pub mod sensitivity;
pub mod statistics;
pub mod survey;
pub mod training;

pub use context::{Context, Layer, Settings};
pub use progress::Progress;
