//! Weights by name, from files. Nothing in a file is executed, and a tensor is converted when it is taken.
//!
//! A file says of itself what it is: safetensors, a zip archive or a legacy pickle of `torch.save`, or numpy's `.npz`.
//! An index (`model.safetensors.index.json`) or a folder stands for the files it names.

mod bytes;
mod files;
mod mismatch;
mod npz;
mod pickle;
mod rename;
mod safetensors;
mod storage;
mod table;
mod torch;
mod view;
mod zip;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::hub;
use crate::error::{Error, Result};
use bytes::Bytes;
pub(super) use files::{USUAL_FILES, files, is_index, shards};
use mismatch::Mismatch;
pub use rename::Rules;
use table::{Entry, choose};
use view::View;

/// What a reader returns: the value, or what is wrong with the file.
type Parsed<T> = Result<T, String>;

/// How the tensors of a file become those of a network.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which table of a checkpoint: the keys that lead to it, joined by dots. Empty: everything, by full names.
    pub key: Option<String>,
    /// `theirs = ours`, with `*`.
    pub rename: Rules,
}

/// Named tensors, and which of them a model has taken.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Held>,
    /// Beginnings that a name may lack: the first parts that all names of the file share, from none to all.
    wrappers: Vec<String>,
    device: Device,
    asked: RefCell<BTreeMap<String, Vec<usize>>>,
    used: RefCell<BTreeSet<String>>,
}

/// A tensor: in memory, in a file, or not to be read.
#[derive(Debug)]
enum Held {
    Ready(Tensor),
    File(View),
    Unreadable(String),
}

impl Held {
    fn shape(&self) -> Option<&[usize]> {
        match self {
            Self::Ready(tensor) => Some(tensor.dims()),
            Self::File(view) => Some(view.shape()),
            Self::Unreadable(_) => None,
        }
    }
}

impl Weights {
    /// Reads a file of weights, an index of such files, a folder that holds one of them, or an address on the hub
    /// (`hf://OWNER/REPO`).
    ///
    /// # Errors
    /// When the file cannot be read, is truncated, is of another format, or holds several tables of tensors.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        Self::open(path, &Options::default(), device)
    }

    /// Reads a file of weights, choosing a table and renaming tensors.
    ///
    /// # Errors
    /// As [`Weights::read`]; and when the options do not fit the file.
    pub fn open(path: &Path, options: &Options, device: &Device) -> Result<Self> {
        let chosen = choose(files::read(&hub::local(path)?)?, options.key.as_deref());
        let tensors = chosen.map_err(|(problem, hint)| Error::file(path, problem, hint))?;
        let wrappers = wrappers(&tensors);
        let tensors = rename::rename(tensors, &options.rename)?;
        Ok(Self { wrappers, ..Self::new(path, held(tensors), device) })
    }

    /// Reads the bytes of a file of weights, by custom a safetensors file; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn from_safetensors(bytes: &[u8], path: &Path, device: &Device) -> Result<Self> {
        let tables = files::tables(&Bytes::new(bytes.to_vec())).and_then(|tables| choose(tables, None));
        let tensors = tables.map_err(|(problem, hint)| Error::file(path, problem, hint))?;
        Ok(Self::new(path, held(tensors), device))
    }

    /// Weights that are in memory already; trainable ones stay so.
    pub fn from_tensors(path: &Path, tensors: BTreeMap<String, Tensor>) -> Self {
        let device = tensors.values().next().map_or(Device::Cpu, |t| t.device().clone());
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Held::Ready(tensor))).collect();
        Self::new(path, tensors, &device)
    }

    fn new(path: &Path, tensors: BTreeMap<String, Held>, device: &Device) -> Self {
        let (asked, used) = (RefCell::default(), RefCell::default());
        Self { path: path.to_path_buf(), tensors, wrappers: vec![String::new()], device: device.clone(), asked, used }
    }

    /// The names in the file, after renaming.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Takes a tensor of the expected shape. What does not fit is told by [`Weights::finish`], all at once: until then
    /// zeros stand in for it.
    ///
    /// # Errors
    /// When candle fails, or the file is damaged.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.asked.borrow_mut().insert(name.to_owned(), shape.to_vec());
        let found = self.find(name);
        if let Some((theirs, _)) = found {
            self.used.borrow_mut().insert(theirs.to_owned());
        }
        match found {
            Some((_, Held::Ready(tensor))) if tensor.dims() == shape => Ok(tensor.clone()),
            Some((theirs, Held::File(view))) if view.shape() == shape => {
                let again = "fetch or save the file again";
                let values = view.values().map_err(|e| Error::file(&self.path, format!("{theirs}: {e}"), again))?;
                Ok(Tensor::from_vec(values, shape, &self.device)?)
            }
            _ => Ok(Tensor::zeros(shape, DType::F32, &self.device)?),
        }
    }

    /// The shape of the tensor with this name; `None` where there is none. For builders whose form depends on the file:
    /// position embeddings of another grid, heads with other classes.
    pub fn shape_of(&self, name: &str) -> Option<&[usize]> {
        self.find(name)?.1.shape()
    }

    /// A tensor by the network's name: its own name, or one with a beginning that all names of the file have.
    fn find(&self, name: &str) -> Option<(&str, &Held)> {
        self.wrappers.iter().find_map(|wrapper| {
            let (theirs, held) = self.tensors.get_key_value(&format!("{wrapper}{name}"))?;
            Some((theirs.as_str(), held))
        })
    }

    /// Marks names the model has no use for, such as counters: `finish` does not complain of them.
    pub fn ignore(&self, matches: impl Fn(&str) -> bool) {
        let bare = |name: &str| self.wrappers.iter().any(|w| name.strip_prefix(w.as_str()).is_some_and(&matches));
        self.used.borrow_mut().extend(self.tensors.keys().filter(|name| bare(name)).cloned());
    }

    /// Whether it is a single number beside the wrapped network, as averaged weights have it.
    fn counts(&self, name: &str, held: &Held) -> bool {
        let wrapper = self.wrappers.last().map_or("", String::as_str);
        held.shape().is_some_and(<[usize]>::is_empty) && !name.starts_with(wrapper)
    }

    /// Checks that the model and the file name the same tensors in the same shapes.
    ///
    /// # Errors
    /// When they do not: the message lists what is missing, unexpected, of another shape or unreadable, and proposes
    /// new names where shapes agree.
    pub fn finish(&self, model: &str) -> Result<()> {
        let (asked, used) = (self.asked.borrow(), self.used.borrow());
        let mut mismatch = Mismatch::default();
        for (name, wanted) in asked.iter() {
            match self.find(name) {
                None => drop(mismatch.missing.insert(name, Some(wanted))),
                Some((theirs, Held::Unreadable(why))) => mismatch.unreadable.push((theirs, why)),
                Some((_, held)) => match held.shape() {
                    Some(found) if found != wanted.as_slice() => mismatch.misshapen.push((name, found, wanted)),
                    _ => {}
                },
            }
        }
        let unexpected = self.tensors.iter().filter(|(name, held)| !used.contains(*name) && !self.counts(name, held));
        mismatch.unexpected = unexpected.map(|(name, held)| (name.as_str(), held.shape())).collect();
        let Some(problem) = mismatch.problem() else { return Ok(()) };
        let other = "are these the weights of another model? `cavern ls models` lists what can be built";
        let hint = mismatch.table().unwrap_or_else(|| other.to_owned());
        Err(Error::file(&self.path, format!("its tensors are not those of `{model}`: {problem}"), hint))
    }
}

fn held(tensors: BTreeMap<String, Entry>) -> BTreeMap<String, Held> {
    let one = |entry: Entry| entry.map_or_else(Held::Unreadable, Held::File);
    tensors.into_iter().map(|(name, entry)| (name, one(entry))).collect()
}

/// The beginnings, part by part, that the names of all arrays share, as `module.` and `module.backbone.`. Single numbers
/// (counters of averaged weights) need not have them.
fn wrappers(tensors: &BTreeMap<String, Entry>) -> Vec<String> {
    let is_array = |entry: &Entry| !entry.as_ref().is_ok_and(|view| view.shape().is_empty());
    let names = tensors.iter().filter(|(_, entry)| is_array(entry)).map(|(name, _)| name.as_str());
    let parts = |name: &str| -> Vec<String> {
        name.split_inclusive('.').filter(|p| p.ends_with('.')).map(str::to_owned).collect()
    };
    let shared =
        names.map(parts).reduce(|a, b| a.into_iter().zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a).collect());
    let mut wrappers = vec![String::new()];
    for part in shared.unwrap_or_default() {
        wrappers.push(format!("{}{part}", wrappers.last().map_or("", String::as_str)));
    }
    wrappers
}

#[cfg(test)]
mod tests;
