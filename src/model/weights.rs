//! Weights by name, from files. Nothing in a file is executed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::pickle;
use crate::error::{Error, Result, nearest};

/// Named tensors, and which of them a model has taken.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    taken: std::cell::RefCell<BTreeMap<String, Vec<usize>>>,
}

impl Weights {
    /// Reads a safetensors file or a checkpoint in torch's legacy pickle format.
    ///
    /// # Errors
    /// When the file cannot be read, is truncated, or is of another format.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| {
            let hint = "give the weights file by --set model.weights=PATH (or --weights PATH)";
            Error::file(path, format!("cannot be read: {e}"), hint)
        })?;
        if bytes.starts_with(b"PK") {
            let hint = "save it again as safetensors, or with _use_new_zipfile_serialization=False";
            return Err(Error::file(path, "is a zipped torch checkpoint, which this version does not read", hint));
        }
        let tensors = if bytes.first() == Some(&0x80) {
            pickle::read_legacy(&bytes, path, device)?
        } else {
            Self::safetensors(&bytes, path, device)?
        };
        Ok(Self::from_tensors(path, tensors))
    }

    /// Reads a safetensors file's bytes; `path` is only for messages.
    ///
    /// # Errors
    /// When they are no safetensors file.
    pub fn from_safetensors(bytes: &[u8], path: &Path, device: &Device) -> Result<Self> {
        Ok(Self::from_tensors(path, Self::safetensors(bytes, path, device)?))
    }

    /// Weights that are in memory already; trainable ones stay so.
    pub fn from_tensors(path: &Path, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { path: path.to_path_buf(), tensors, taken: std::cell::RefCell::default() }
    }

    fn safetensors(bytes: &[u8], path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
        let read = candle_core::safetensors::load_buffer(bytes, device).map_err(|e| {
            let hint = "wanted a .safetensors file, or a checkpoint saved by torch in its legacy format";
            Error::file(path, format!("not a weights file: {e}"), hint)
        })?;
        read.into_iter().map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?))).collect()
    }

    /// Takes a tensor of the expected shape. What does not fit is told by [`Weights::finish`], all at once: until then
    /// zeros stand in for it.
    ///
    /// # Errors
    /// When candle fails.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.taken.borrow_mut().insert(name.to_owned(), shape.to_vec());
        match self.tensors.get(name) {
            Some(tensor) if tensor.dims() == shape => Ok(tensor.clone()),
            _ => Ok(Tensor::zeros(shape, DType::F32, self.device())?),
        }
    }

    /// The shape of the tensor with this name; `None` where there is none. For builders whose form depends on the file:
    /// position embeddings of another grid, heads with other classes.
    pub fn shape_of(&self, name: &str) -> Option<&[usize]> {
        Some(self.tensors.get(name)?.dims())
    }

    /// Marks names the model has no use for, such as counters: `finish` does not complain of them.
    pub fn ignore(&self, matches: impl Fn(&str) -> bool) {
        let mut taken = self.taken.borrow_mut();
        for (name, tensor) in self.tensors.iter().filter(|(n, _)| matches(n)) {
            taken.insert(name.clone(), tensor.dims().to_vec());
        }
    }

    /// Checks that the model and the file name the same tensors in the same shapes.
    ///
    /// # Errors
    /// When they do not: the message lists what is missing, unexpected and of another shape.
    pub fn finish(&self, model: &str) -> Result<()> {
        let taken = self.taken.borrow();
        let mut problems = Vec::new();
        let missing: Vec<&str> = taken.keys().map(String::as_str).filter(|n| !self.tensors.contains_key(*n)).collect();
        let extra: Vec<&str> = self.tensors.keys().map(String::as_str).filter(|n| !taken.contains_key(*n)).collect();
        if let Some(first) = missing.first() {
            let near = nearest(first, extra.iter().copied());
            let near = if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) };
            problems.push(format!("{} missing: {}{near}", missing.len(), list(&missing)));
        }
        if !extra.is_empty() {
            problems.push(format!("{} unexpected: {}", extra.len(), list(&extra)));
        }
        let shapes: Vec<String> = taken
            .iter()
            .filter_map(|(name, wanted)| {
                let found = self.tensors.get(name)?.dims();
                (found != wanted.as_slice()).then(|| format!("{name} is {found:?}, wanted {wanted:?}"))
            })
            .collect();
        if !shapes.is_empty() {
            problems.push(format!("{} of another shape: {}", shapes.len(), list(&shapes)));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let hint = "are these the weights of another model? `cavern ls models` lists what can be built";
        Err(Error::file(&self.path, format!("its tensors are not those of `{model}`: {}", problems.join("; ")), hint))
    }

    fn device(&self) -> &Device {
        self.tensors.values().next().map_or(&Device::Cpu, Tensor::device)
    }
}

/// The first few of many.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(4).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_lists_everything_at_once() {
        let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let tensors = BTreeMap::from([
            ("conv.weight".to_owned(), tensor(&[2, 2])),
            ("conv.bias".to_owned(), tensor(&[2])),
            ("steps".to_owned(), tensor(&[1])),
        ]);
        let weights = Weights::from_tensors(Path::new("w.pth"), tensors);
        weights.take("conv.weight", &[3, 2]).unwrap();
        weights.take("conv.biass", &[2]).unwrap();
        weights.ignore(|n| n == "steps");
        let message = weights.finish("net").unwrap_err().to_string();
        for part in
            ["w.pth", "1 missing: conv.biass (near: conv.bias)", "1 unexpected: conv.bias", "is [2, 2], wanted [3, 2]"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("a.txt", b"hello world, this is text".as_slice()), ("b.pth", b"PK\x03\x04"), ("c.pth", b"\x80\x02.")]
        {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = Weights::read(&path, &Device::Cpu).unwrap_err();
            assert!(error.is_users_mistake() && error.to_string().contains(name), "{error}");
        }
    }
}
