//! The networks: named nodes, one executor, weights from files.

pub mod graph;
pub mod pickle;
pub mod weights;

pub use graph::{Graph, GraphBuilder, LayerInfo};
pub use weights::Weights;
