//! Networks in ONNX's format as a [`Graph`] like any other: layers by the nodes' names, gradients to the input. Opsets 11 to
//! 21 are tested; of others, from 7 to 24, what has not changed.
//!
//! A network is read as a function of one picture; see `value` for what becomes of the batch and of the order of
//! axes. What does not depend on the input is computed when the file is read. A batch norm, and whatever else gives each
//! channel a factor or a summand, goes into the weights of the convolution or linear layer before it, where nobody else
//! takes that layer's result; the layer then has the name of the last of these nodes, and the names of the others are
//! those of its parts.
//!
//! Layers of three axes are `[channel, height, width]` wherever the file lets its channels be traced, whatever order it has
//! them in. Memory is in proportion to the file: constants that follow from it have at most four times its numbers and
//! 2^24 more, a layer 2^28 a picture, all of them 2^30.

mod build;
mod call;
mod data;
mod integer;
mod operators;
mod pattern;
mod summary;
mod translate;
mod value;

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
mod proto;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use prost::Message;

use self::build::Alias;
use self::proto::ModelProto;
use self::translate::{Translation, translate};
use self::value::Source;
use super::graph::{Graph, GraphBuilder, Op, TensorOp};
use crate::dataset::Preprocess;
use crate::dataset::preprocess::Filter;
use crate::error::{Error, Result};

pub use summary::{Layer, Port, Summary};

/// A file that has been read, and not yet translated.
#[derive(Debug)]
pub struct Model {
    path: PathBuf,
    proto: ModelProto,
}

/// Reads a network. Its name is the file's without the ending; pictures become its input by ImageNet's mean and standard
/// deviation, at the input's size.
///
/// # Errors
/// When the file cannot be read, is damaged, or has operators that are not supported: the message lists all of them.
pub fn read(path: &Path, device: &Device) -> Result<Graph> {
    Model::open(path)?.graph(None, device)
}

impl Model {
    /// Reads the file; tensors that lie in other files are read when they are needed.
    ///
    /// # Errors
    /// When it cannot be read, or is no ONNX file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| {
            Error::file(path, format!("cannot be read: {e}"), "give the path of an .onnx file as model.name")
        })?;
        Self::parse(path, bytes)
    }

    /// The same of a file's bytes; `path` names the network, and files beside it.
    ///
    /// # Errors
    /// When they are no ONNX file.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let proto = ModelProto::decode(prost::bytes::Bytes::from(bytes)).map_err(|e| {
            Error::file(path, format!("is damaged, or no ONNX file: {e}"), "export it again, or fetch it again")
        })?;
        Ok(Self { path: path.to_path_buf(), proto })
    }

    /// The network; `preprocess` is how pictures become its input, where that is known.
    ///
    /// # Errors
    /// When the file is damaged, or has operators that are not supported.
    pub fn graph(&self, preprocess: Option<Preprocess>, device: &Device) -> Result<Graph> {
        let Translation { mut build, outputs, problems } = self.translate()?;
        if !problems.is_empty() {
            return Err(self.refuse(&problems));
        }
        if !outputs.iter().any(|(_, value)| matches!(value.array.source, Source::Node(_))) {
            return Err(self.damaged("no output depends on its input"));
        }
        let [channels, height, width] = <[usize; 3]>::try_from(build.drafts[0].shape.clone())
            .map_err(|shape| Error::Failure(format!("an input of {shape:?}")))?;
        let mut graph = GraphBuilder::new([channels, height, width]);
        for draft in build.drafts.drain(..).skip(1) {
            graph.add(draft.name.unwrap_or_default(), moved(draft.op, device)?, &draft.inputs);
        }
        for (name, alias) in build.aliases {
            match alias {
                Alias::Same(node) => graph.alias(name, node),
                Alias::Part(node) => graph.part(name, node),
            }
        }
        graph.finish(&self.name(), preprocess.unwrap_or_else(|| imagenet(height)), Vec::new(), device)
    }

    /// The file's name without its ending.
    fn name(&self) -> String {
        self.path.file_stem().map_or_else(|| "onnx".into(), |stem| stem.to_string_lossy().into_owned())
    }

    fn translate(&self) -> Result<Translation> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        translate(&self.proto, folder).map_err(|e| self.damaged(&e.to_string()))
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::file(&self.path, problem, "see `cavern inspect FILE.onnx` for what the file holds")
    }

    fn refuse(&self, problems: &[String]) -> Error {
        let list = problems.join("\n    ");
        let hint = "export it with constant folding, in evaluation mode, for a batch of one or a free batch, at opset 17 \
                    to 20; or leave these operators out of the exported part";
        Error::file(&self.path, format!("what it computes is not supported:\n    {list}"), hint)
    }
}

/// An operation with its weights on a device.
fn moved(op: Op, device: &Device) -> Result<Op> {
    let to = |t: Tensor| t.to_device(device);
    Ok(match op {
        Op::Conv2d(conv, w, b) => Op::Conv2d(conv, to(w)?, to(b)?),
        Op::Linear(f, w, b) => Op::Linear(f, to(w)?, to(b)?),
        Op::LayerNorm { weight, bias, epsilon } => Op::LayerNorm { weight: to(weight)?, bias: to(bias)?, epsilon },
        Op::Tensor(TensorOp { kind, constants }) => {
            let constants = constants.into_iter().map(|c| c.map(to).transpose()).collect::<candle_core::Result<_>>()?;
            Op::Tensor(TensorOp { kind, constants })
        }
        other => other,
    })
}

/// What torchvision's and timm's networks are mostly trained with.
fn imagenet(size: usize) -> Preprocess {
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    Preprocess { size, filter: Filter::Bilinear, crop: Some(size * 256 / 224), mean, std }
}
