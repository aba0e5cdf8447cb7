//! A training that stands between two epochs, as a file: parameters, the optimiser's memory, the course so far.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::Curve;
use super::optimiser::Memory;
use super::parameters::Parameters;
use crate::error::{Error, Result};
use crate::store::digest::Digest;
use crate::store::file::write_atomic;

/// The entry of the file's metadata.
const KEY: &str = "cavern.training";
const PARAMETER: &str = "parameter/";
const OPTIMISER: &str = "optimiser/";

/// Where a training leaves its checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// Digest of everything the training depends on: only the same training goes on from it.
    pub training: Digest,
}

/// What goes on.
pub(super) struct State {
    pub(super) parameters: Parameters,
    pub(super) memory: Memory,
    pub(super) curve: Curve,
}

#[derive(Serialize, Deserialize)]
struct Head {
    training: Digest,
    steps: usize,
    curve: Curve,
}

impl Checkpoint {
    /// Writes the state, whole or not at all.
    pub(super) fn write(&self, state: &State) -> Result<()> {
        let mut entries: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, tensor) in &state.parameters.0 {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            entries.push((format!("{PARAMETER}{name}"), tensor.dims().to_vec(), bytes(&values)));
        }
        for (name, averages) in &state.memory.averages {
            for (i, values) in averages.iter().enumerate() {
                entries.push((format!("{OPTIMISER}{i}/{name}"), vec![values.len()], bytes(values)));
            }
        }
        let head = Head { training: self.training.clone(), steps: state.memory.steps, curve: state.curve.clone() };
        let head = serde_json::to_string(&head).map_err(|e| Error::Failure(format!("no JSON: {e}")))?;
        let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("the checkpoint has no form: {e}"));
        let views = entries.iter().map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(failure)?))
        });
        let views: Vec<_> = views.collect::<Result<_>>()?;
        let metadata = HashMap::from([(KEY.to_owned(), head)]);
        write_atomic(&self.path, &safetensors::serialize(views, Some(metadata)).map_err(failure)?)
    }

    /// Reads the state; `start` where there is no file.
    ///
    /// # Errors
    /// When the file is no checkpoint, or of another training or network.
    pub(super) fn read(&self, start: State) -> Result<State> {
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(start),
            Err(e) => return Err(Error::io("read", &self.path)(e)),
        };
        let hint = "remove it to start again, or choose another --out";
        let refused = |problem: String| Error::file(&self.path, problem, hint);
        let broken = |e: safetensors::SafeTensorError| refused(format!("is no checkpoint: {e}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let head = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
        let head = head.ok_or_else(|| refused("is no checkpoint of a training".into()))?;
        let head: Head = serde_json::from_str(head).map_err(|e| refused(format!("is no checkpoint: {e}")))?;
        if head.training != self.training {
            return Err(refused("is a checkpoint of another training: its study said something else".into()));
        }
        let mut state = State {
            parameters: Parameters(BTreeMap::new()),
            memory: Memory { steps: head.steps, averages: BTreeMap::new() },
            curve: head.curve,
        };
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(broken)?.tensors() {
            let values = floats(&view).ok_or_else(|| refused(format!("`{name}` is not of f32")))?;
            if let Some(name) = name.strip_prefix(PARAMETER) {
                let tensor = Tensor::from_vec(values, view.shape(), &Device::Cpu)?;
                state.parameters.0.insert(name.to_owned(), tensor);
            } else if let Some((i, name)) = name.strip_prefix(OPTIMISER).and_then(|rest| rest.split_once('/')) {
                let averages = state.memory.averages.entry(name.to_owned()).or_default();
                // They are few, and come in any order.
                let i = i.parse::<usize>().ok().filter(|i| *i < 2);
                let i = i.ok_or_else(|| refused(format!("`{name}` has a number that is none")))?;
                averages.resize(averages.len().max(i + 1), Vec::new());
                averages[i] = values;
            }
        }
        let shapes = |state: &State| -> Vec<(String, Vec<usize>)> {
            state.parameters.0.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect()
        };
        if shapes(&state) != shapes(&start) {
            return Err(refused("has not the tensors of this network".into()));
        }
        Ok(state)
    }

    /// Removes the file, where there is one.
    pub(crate) fn remove(&self) -> Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let numbers = view.data().as_chunks::<4>().0;
    (view.dtype() == Dtype::F32).then(|| numbers.iter().map(|b| f32::from_le_bytes(*b)).collect())
}
