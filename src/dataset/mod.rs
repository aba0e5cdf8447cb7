//! What is looked at: pictures, concept labels, masks, splits and views.

pub mod mask;
pub mod sample;

pub use mask::Mask;
pub use sample::{Dataset, Edit, Presence, Sample, Skipped};
