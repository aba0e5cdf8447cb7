//! The networks: named nodes, one executor, weights from files.

pub mod card;
pub mod graph;
pub mod head;
pub mod hub;
pub mod train;
pub mod weights;
pub mod zoo;

pub use graph::{Graph, GraphBuilder, LayerInfo, Precision};
pub use weights::Weights;
pub use zoo::build;
