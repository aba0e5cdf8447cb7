//! What is looked at: pictures, concept labels, masks, splits and views.

pub mod elements;
pub mod mask;
pub mod preprocess;
pub mod sample;
pub mod spec;
pub mod view;

pub use mask::Mask;
pub use preprocess::{Picture, Preprocess};
pub use sample::{Dataset, Edit, Presence, Sample, Skipped};
pub use spec::{DatasetSpec, Format, SplitSpec, Tile, World};
pub use view::{Transform, View};
