//! A linear head on a layer of another network: it names classes from features that stay as they are.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::graph::{Graph, GraphBuilder, Op};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::ops::Activation;
use crate::store::file::write_atomic;

/// The entry of the file's metadata.
const KEY: &str = "cavern.head";
/// The node of the logits.
const LOGITS: &str = "logits";

/// The head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The layer whose activation it takes, averaged over positions.
    pub layer: String,
    /// `[class, channel]`.
    pub weight: Tensor,
    /// `[class]`.
    pub bias: Tensor,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// What the file says beside its tensors.
#[derive(Serialize, Deserialize)]
struct About {
    layer: String,
    classes: Vec<String>,
}

impl Head {
    /// Reads a file that [`Head::write`] wrote.
    ///
    /// # Errors
    /// When it cannot be read, or is no such file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let refused = |problem: String| Error::file(path, problem, "wanted a head that `cavern train` has written");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| refused(format!("is no head: {e}")))?;
        let about =
            metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| refused("is no head".into()))?;
        let About { layer, classes } = serde_json::from_str(about).map_err(|e| refused(format!("is no head: {e}")))?;
        let weights = Weights::from_safetensors(&bytes, path, &Device::Cpu)?;
        let channels = match weights.shape_of("weight") {
            Some(&[rows, channels]) if rows == classes.len() => channels,
            other => return Err(refused(format!("has weights {other:?} for {} classes", classes.len()))),
        };
        let (weight, bias) =
            (weights.take("weight", &[classes.len(), channels])?, weights.take("bias", &[classes.len()])?);
        weights.finish("head")?;
        Ok(Self { layer, weight, bias, classes })
    }

    /// Writes it as safetensors, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("the head cannot be written: {e}"));
        let bytes = |t: &Tensor| -> Result<Vec<u8>> {
            Ok(t.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect())
        };
        let (weight, bias) = (bytes(&self.weight)?, bytes(&self.bias)?);
        let view = |t: &Tensor, bytes| TensorView::new(Dtype::F32, t.dims().to_vec(), bytes).map_err(failure);
        let views = [("weight", view(&self.weight, &weight)?), ("bias", view(&self.bias, &bias)?)];
        let about = About { layer: self.layer.clone(), classes: self.classes.clone() };
        let about = serde_json::to_string(&about).map_err(|e| Error::Failure(format!("no JSON: {e}")))?;
        let metadata = HashMap::from([(KEY.to_owned(), about)]);
        write_atomic(path, &safetensors::serialize(views, Some(metadata)).map_err(failure)?)
    }

    /// The network up to the head's layer with the head on it: `head.mean` where the layer has positions, `logits`.
    ///
    /// # Errors
    /// When the network has no such layer, or it has other channels.
    pub fn on(&self, graph: &Graph, device: &Device) -> Result<Graph> {
        let (mut builder, node) = trunk(graph, &self.layer)?;
        let (weight, bias) = (self.weight.to_device(device)?, self.bias.to_device(device)?);
        builder.add(LOGITS, Op::Linear(Activation::None, weight, bias), &[node]);
        builder.finish(graph.name(), graph.preprocess().clone(), self.classes.clone(), device)
    }
}

/// A network up to a layer and its mean over positions, and the node of that.
pub(super) fn trunk(graph: &Graph, layer: &str) -> Result<(GraphBuilder, usize)> {
    let node = graph.layer(layer)?;
    let refused = |problem: &str| {
        let hint = "choose a layer of maps or a vector before the logits: see `cavern ls layers`";
        Err(Error::data(format!("layer `{layer}`"), problem.to_owned(), hint))
    };
    if layer == LOGITS {
        return refused("is the network's own head");
    }
    let mut builder = graph.up_to(node);
    match graph.shape(node) {
        [_] => Ok((builder, node)),
        [_, _, _] => {
            let mean = builder.add("head.mean", Op::GlobalMean, &[node]);
            Ok((builder, mean))
        }
        _ => refused("has tokens: a head takes one vector"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo;
    use crate::ops::check::random;
    use crate::seed::Seed;

    fn head(layer: &str, channels: usize) -> Head {
        let single = |shape: &[usize]| random(shape, 1).to_dtype(candle_core::DType::F32).unwrap();
        let classes = ["a", "b"].map(str::to_owned).to_vec();
        Head { layer: layer.to_owned(), weight: single(&[2, channels]), bias: single(&[2]), classes }
    }

    #[test]
    fn a_head_reads_the_mean_of_its_layer_and_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head.safetensors");
        let graph = zoo::random("elements_cnn", Seed(1)).unwrap();
        head("conv4", 64).write(&path).unwrap();
        let whole = Head::read(&path).unwrap().on(&graph, &Device::Cpu).unwrap();
        assert_eq!(whole.classes(), ["a", "b"]);
        assert!(whole.layer("conv5").is_err());
        let x = random(&[2, 3, 64, 64], 2).to_dtype(candle_core::DType::F32).unwrap();
        let logits = whole.forward(&x, &[whole.layer("logits").unwrap()]).unwrap().remove(0);
        let layer = graph.forward(&x, &[graph.layer("conv4").unwrap()]).unwrap().remove(0);
        let (mean, h) = (layer.mean((2, 3)).unwrap(), head("conv4", 64));
        let wanted = mean.matmul(&h.weight.t().unwrap()).unwrap().broadcast_add(&h.bias).unwrap();
        let off = (logits - wanted).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn heads_that_do_not_fit_are_refused() {
        let graph = zoo::random("elements_cnn", Seed(1)).unwrap();
        assert!(head("conv4", 65).on(&graph, &Device::Cpu).is_err());
        assert!(head("conv9", 64).on(&graph, &Device::Cpu).unwrap_err().to_string().contains("`conv"));
        assert!(head("logits", 14).on(&graph, &Device::Cpu).unwrap_err().to_string().contains("own head"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        zoo::save(&zoo::initial("elements_cnn", Seed(1)).unwrap(), &path).unwrap();
        assert!(Head::read(&path).unwrap_err().to_string().contains("no head"));
        std::fs::write(&path, b"\x08\0\0\0\0\0\0\0{}").unwrap();
        assert!(Head::read(&path).is_err());
    }
}
