//! What a file holds, for `cavern inspect`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Model;
use super::proto::ValueInfoProto;
use super::translate::{Translation, declared, free_inputs, opset};
use crate::error::Result;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The program that wrote it, and its version.
    pub producer: String,
    /// Version of the operators.
    pub opset: i64,
    /// Operators, and how many nodes each has.
    pub operators: BTreeMap<String, usize>,
    /// Inputs as the file declares them; free sizes are `null`.
    pub inputs: Vec<Port>,
    /// Outputs as the file declares them.
    pub outputs: Vec<Port>,
    /// Numbers of its tensors.
    pub weights: usize,
    /// Layers as cavern would run them, by the nodes' names.
    pub layers: Vec<Layer>,
    /// What keeps cavern from running it.
    pub missing: Vec<String>,
}

/// A declared input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The name.
    pub name: String,
    /// Its shape with the batch.
    pub shape: Vec<Option<usize>>,
}

/// A layer and its shape without the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The name.
    pub name: String,
    /// `[channel, height, width]`, `[token, channel]`, `[channel]` or what the file says.
    pub shape: Vec<usize>,
}

impl Model {
    /// What the file holds, whether or not cavern can run it.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn summary(&self) -> Result<Summary> {
        let Translation { build, problems, .. } = self.translate()?;
        let graph = self.proto.graph.as_ref().ok_or_else(|| self.damaged("it has no graph"))?;
        let mut operators = BTreeMap::new();
        for node in &graph.node {
            let domain = if node.domain.is_empty() { String::new() } else { format!("{}.", node.domain) };
            *operators.entry(format!("{domain}{}", node.op_type)).or_default() += 1;
        }
        let count = |dims: &[i64]| dims.iter().fold(1usize, |n, d| n.saturating_mul(usize::try_from(*d).unwrap_or(0)));
        let port = |info: &ValueInfoProto| Port { name: info.name.clone(), shape: declared(info) };
        let layers = build.drafts.into_iter().skip(1);
        Ok(Summary {
            producer: format!("{} {}", self.proto.producer_name, self.proto.producer_version).trim().to_owned(),
            opset: opset(&self.proto).map_err(|e| self.damaged(&e.to_string()))?,
            operators,
            inputs: free_inputs(graph).into_iter().map(port).collect(),
            outputs: graph.output.iter().map(port).collect(),
            weights: graph.initializer.iter().fold(0, |n, t| n.saturating_add(count(&t.dims))),
            layers: layers.map(|d| Layer { name: d.name.unwrap_or_default(), shape: d.shape }).collect(),
            missing: problems,
        })
    }
}
