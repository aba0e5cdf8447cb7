//! The networks: named nodes, one executor, weights from files.

pub mod graph;
pub mod onnx;
pub mod pickle;
pub mod train;
pub mod weights;
pub mod zoo;

pub use graph::{Graph, GraphBuilder, LayerInfo, Precision};
pub use weights::Weights;

use std::path::Path;

use candle_core::Device;

use crate::error::{Error, Result};

/// Builds a network: one of the zoo by its name, or an ONNX file's by its path.
///
/// # Errors
/// When there is no such network, or its file does not fit.
pub fn build(name: &str, weights: Option<&Path>, device: &Device) -> Result<Graph> {
    if !Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
        return zoo::build(name, weights, device);
    }
    match weights {
        None => onnx::read(Path::new(name), device),
        Some(_) => Err(Error::key("model.weights", "an ONNX file brings its weights along", "leave model.weights out")),
    }
}
