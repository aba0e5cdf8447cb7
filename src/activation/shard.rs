//! The file of one shard of activations: safetensors with `map` `[sample, channel, height, width]` (f16 or f32, optional)
//! and `pooled` `[sample, channel]` (f32, mean over positions).

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, TensorView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The file's name inside its artifact.
pub const FILE: &str = "activation.safetensors";

/// How activation maps are kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Half precision: relative error 5e-4, half the space.
    F16,
    /// Single precision, as computed.
    #[default]
    F32,
    /// No maps at all, only their mean over positions: enough for translation-invariant probes' scores.
    Pooled,
}

/// Activations of a few samples at one layer, on their way to disk.
#[derive(Debug)]
pub struct ShardWriter {
    shape: [usize; 3],
    storage: Storage,
    samples: usize,
    map: Vec<u8>,
    pooled: Vec<u8>,
}

impl ShardWriter {
    /// An empty shard of a layer with activations `[channel, height, width]`.
    pub fn new(shape: [usize; 3], storage: Storage) -> Self {
        Self { shape, storage, samples: 0, map: Vec::new(), pooled: Vec::new() }
    }

    /// Adds samples: `values` holds one or more activations `[channel, height, width]` one after the other.
    ///
    /// # Errors
    /// When a value is NaN or infinite, or beyond f16's range where that is the storage.
    pub fn push(&mut self, layer: &str, values: &[f32]) -> Result<()> {
        let [_, height, width] = self.shape;
        let size = self.shape.iter().product::<usize>();
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::data(
                format!("layer `{layer}`"),
                format!("an activation is {bad}"),
                "check that the weights belong to this model and the preprocessing is the one it was trained with",
            ));
        }
        for channel in values.chunks_exact((height * width).max(1)) {
            let mean = channel.iter().map(|v| f64::from(*v)).sum::<f64>() / channel.len() as f64;
            self.pooled.extend_from_slice(&(mean as f32).to_le_bytes());
        }
        match self.storage {
            Storage::F32 => values.iter().for_each(|v| self.map.extend_from_slice(&v.to_le_bytes())),
            Storage::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                if halves.iter().any(|v| !v.is_finite()) {
                    return Err(Error::data(
                        format!("layer `{layer}`"),
                        "an activation is beyond the range of f16 (65,504)",
                        "set activation.storage = \"f32\"",
                    ));
                }
                halves.iter().for_each(|v| self.map.extend_from_slice(&v.to_le_bytes()));
            }
            Storage::Pooled => {}
        }
        self.samples += values.len() / size.max(1);
        Ok(())
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When safetensors refuses the shapes.
    pub fn finish(&self) -> Result<Vec<u8>> {
        let failure = |e: safetensors::SafeTensorError| Error::Failure(format!("cannot write activations: {e}"));
        let [channel, height, width] = self.shape;
        let pooled = TensorView::new(Dtype::F32, vec![self.samples, channel], &self.pooled).map_err(failure)?;
        let mut tensors = vec![("pooled", pooled)];
        if self.storage != Storage::Pooled {
            let dtype = if self.storage == Storage::F16 { Dtype::F16 } else { Dtype::F32 };
            let shape = vec![self.samples, channel, height, width];
            tensors.push(("map", TensorView::new(dtype, shape, &self.map).map_err(failure)?));
        }
        let metadata = HashMap::from([("shape".to_owned(), format!("{channel},{height},{width}"))]);
        safetensors::serialize(tensors, Some(metadata)).map_err(failure)
    }
}

/// The header of a safetensors file, as far as a shard needs it.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: HeaderMetadata,
    map: Option<HeaderTensor>,
    pooled: HeaderTensor,
}

#[derive(Deserialize)]
struct HeaderMetadata {
    shape: String,
}

#[derive(Deserialize)]
struct HeaderTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// A shard, read piece by piece. The file is opened for every piece: a dataset has more shards than a process may have
/// open files.
#[derive(Debug)]
pub struct ShardFile {
    path: PathBuf,
    /// Shape of one sample's activation: `[channel, height, width]`.
    pub shape: [usize; 3],
    /// Number of samples.
    pub samples: usize,
    map: Option<(u64, Dtype)>,
    pooled: u64,
}

impl ShardFile {
    /// Opens a shard and reads its header.
    ///
    /// # Errors
    /// When the file cannot be read or is no shard.
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |problem: String| Error::file(path, problem, "delete its folder and run `cavern extract` again");
        let file = File::open(path).map_err(Error::io("open", path))?;
        let mut length = [0; 8];
        file.read_exact_at(&mut length, 0).map_err(Error::io("read", path))?;
        let header = u64::from_le_bytes(length) as usize;
        let total = file.metadata().map_err(Error::io("read", path))?.len() as usize;
        if header > total {
            return Err(bad("the header is longer than the file".into()));
        }
        let mut bytes = vec![0; 8 + header];
        file.read_exact_at(&mut bytes, 0).map_err(Error::io("read", path))?;
        let header_end = (8 + header) as u64;
        let header: Header =
            serde_json::from_slice(&bytes[8..]).map_err(|e| bad(format!("not a shard of activations: {e}")))?;
        let shape: Vec<usize> = header.metadata.shape.split(',').filter_map(|v| v.parse().ok()).collect();
        let shape: [usize; 3] = shape.try_into().map_err(|_| bad("`shape` is not three numbers".into()))?;
        let map = header.map.map(|t| (header_end + t.data_offsets.0, t.dtype));
        let samples = header.pooled.shape.first().copied().unwrap_or(0);
        Ok(Self { path: path.to_path_buf(), shape, samples, map, pooled: header_end + header.pooled.data_offsets.0 })
    }

    /// Reads a part of one sample's map, flattened as `[channel, height, width]`: `out.len()` values from `first` on.
    ///
    /// # Errors
    /// When the shard has no maps, or the file cannot be read.
    pub fn read_map(&self, sample: usize, first: usize, out: &mut [f32]) -> Result<()> {
        let Some((start, dtype)) = self.map else {
            return Err(Error::data(
                self.path.display().to_string(),
                "holds pooled activations only",
                "set activation.storage to \"f16\" or \"f32\" for full probes and localisation",
            ));
        };
        let size = self.shape.iter().product::<usize>();
        let width = if dtype == Dtype::F16 { 2 } else { 4 };
        let mut bytes = vec![0; out.len() * width];
        let at = start + ((sample * size + first) * width) as u64;
        self.read(&mut bytes, at)?;
        if dtype == Dtype::F16 {
            let halves: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            halves.convert_to_f32_slice(out);
        } else {
            copy_f32(&bytes, out);
        }
        Ok(())
    }

    /// Reads one sample's mean over positions, `[channel]`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_pooled(&self, sample: usize, out: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0; out.len() * 4];
        let at = self.pooled + (sample * self.shape[0] * 4) as u64;
        self.read(&mut bytes, at)?;
        copy_f32(&bytes, out);
        Ok(())
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        file.read_exact_at(bytes, at).map_err(Error::io("read", &self.path))
    }
}

fn copy_f32(bytes: &[u8], out: &mut [f32]) {
    for (value, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
        *value = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(storage: Storage) -> (tempfile::TempDir, ShardFile) {
        let mut writer = ShardWriter::new([2, 1, 3], storage);
        writer.push("l", &[1., 2., 3., -1., 0., 0.5]).unwrap();
        writer.push("l", &[4., 4., 4., 0., 0., 0.25]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let file = ShardFile::open(&path).unwrap();
        (dir, file)
    }

    #[test]
    fn reads_back_what_was_written() {
        for storage in [Storage::F16, Storage::F32] {
            let (_dir, file) = shard(storage);
            assert_eq!((file.shape, file.samples), ([2, 1, 3], 2));
            let mut part = [0.0; 3];
            file.read_map(1, 2, &mut part).unwrap();
            assert_eq!(part, [4., 0., 0.]);
            let mut pooled = [0.0; 2];
            file.read_pooled(0, &mut pooled).unwrap();
            assert_eq!(pooled, [2., -0.5 / 3.]);
        }
    }

    #[test]
    fn refuses_what_cannot_be_kept() {
        let mut writer = ShardWriter::new([1, 1, 1], Storage::F16);
        assert!(writer.push("conv", &[f32::NAN]).unwrap_err().to_string().contains("layer `conv`"));
        assert!(writer.push("conv", &[1e6]).unwrap_err().to_string().contains("f32"));
        let (_dir, file) = shard(Storage::Pooled);
        assert!(file.read_map(0, 0, &mut [0.0]).unwrap_err().to_string().contains("activation.storage"));
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, [255, 255, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        assert!(ShardFile::open(&path).unwrap_err().to_string().contains("longer than the file"));
    }
}
