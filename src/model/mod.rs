//! The networks: named nodes, one executor, weights from files.

pub mod card;
pub mod graph;
pub mod head;
pub mod hub;
pub mod onnx;
pub mod recipe;
pub mod train;
pub mod weights;
pub mod zoo;

pub use graph::{Graph, GraphBuilder, LayerInfo, Precision};
pub use recipe::Recipe;
pub use weights::Weights;

use std::path::Path;

use candle_core::Device;

use crate::error::Result;

/// Builds a network: one of the zoo by its name, or an ONNX file's by its path.
///
/// # Errors
/// When there is no such network, or its file does not fit.
pub fn build(name: &str, weights: Option<&Path>, device: &Device) -> Result<Graph> {
    Recipe { name: name.to_owned(), weights: weights.map(Path::to_path_buf), ..Recipe::default() }.build(device)
}
