//! Which files hold a network's weights: one, or several that an index names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::bytes::Bytes;
use super::table::{MAX_NAME, Refusal, Table, choose};
use super::{npz, safetensors, torch, zip};
use crate::error::{Error, Result};

/// What a folder may hold, the better first.
pub(in crate::model) const USUAL_FILES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// What to do about an index that is not right.
const AGAIN: &str = "fetch all files of the model again";

/// Reads the tables of a file, of the files an index names, or of what a folder holds.
pub(super) fn read(path: &Path) -> Result<Vec<Table>> {
    let path = meant(path)?;
    if is_index(&path) {
        return Ok(vec![sharded(&path)?]);
    }
    let file = Bytes::map(&path)?;
    tables(&file).map_err(|(problem, hint)| Error::file(&path, problem, hint))
}

/// The files that [`read`] would read.
///
/// # Errors
/// When a folder or an index does not say.
pub(in crate::model) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let path = meant(path)?;
    let shards = if is_index(&path) { shards(&path)? } else { Vec::new() };
    Ok([vec![path], shards].concat())
}

/// The file itself, or that of a folder.
fn meant(path: &Path) -> Result<PathBuf> {
    if path.is_dir() { inside(path) } else { Ok(path.to_path_buf()) }
}

/// Whether a file is an index of others, by its name.
pub(in crate::model) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// The weights of a folder: by the usual names, or the only file of its kind.
fn inside(folder: &Path) -> Result<PathBuf> {
    if let Some(found) = USUAL_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let listed = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let is_weights = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| ["safetensors", "pth", "pt", "bin", "ckpt", "npz"].contains(&e))
    };
    let mut found: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).filter(is_weights).collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::file(folder, "holds no weights", format!("wanted one of {}", USUAL_FILES.join(", ")))),
        [first, ..] => {
            let hint = format!("name one: --set model.weights={}", first.display());
            Err(Error::file(folder, format!("holds {} files of weights", found.len()), hint))
        }
    }
}

/// `model.safetensors.index.json`: which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Self> {
        let index: Self = serde_json::from_slice(&Bytes::map(path)?)
            .map_err(|e| Error::file(path, format!("is no index of weights: {e}"), AGAIN))?;
        // A shard lies beside its index: a name with a path in it could reach any file.
        let leads_away = |shard: &String| shard.is_empty() || shard.contains(['/', '\\']) || shard == "..";
        match index.weight_map.values().find(|shard| leads_away(shard)) {
            Some(shard) => Err(Error::file(path, format!("names `{shard}`, which is no file beside it"), AGAIN)),
            None => Ok(index),
        }
    }

    fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// The files an index names. They lie beside it.
///
/// # Errors
/// When it cannot be read, or names a file elsewhere.
pub(in crate::model) fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(Index::read(path)?.shards().into_iter().map(|shard| path.with_file_name(shard)).collect())
}

fn sharded(path: &Path) -> Result<Table> {
    let index = Index::read(path)?;
    let mut whole = Table::default();
    for shard in index.shards() {
        let shard_path = path.with_file_name(shard);
        if !shard_path.is_file() {
            return Err(Error::file(path, format!("names `{shard}`, which is not there"), AGAIN));
        }
        let refuse = |(problem, hint): Refusal| Error::file(&shard_path, problem, hint);
        let file = Bytes::map(&shard_path)?;
        let tensors = choose(tables(&file).map_err(refuse)?, None).map_err(refuse)?;
        let named = |name: &String| index.weight_map.get(name).is_some_and(|holder| holder == shard);
        whole.tensors.extend(tensors.into_iter().filter(|(name, _)| named(name)));
    }
    match index.weight_map.iter().find(|(name, _)| !whole.tensors.contains_key(*name)) {
        Some((name, shard)) => {
            Err(Error::file(path, format!("says that `{shard}` holds `{name}`, which it does not"), AGAIN))
        }
        None => Ok(whole),
    }
}

/// The tables of a file. Its names will be compared and printed, so they are short and without control letters.
pub(super) fn tables(file: &Bytes) -> Result<Vec<Table>, Refusal> {
    let tables = by_format(file)?;
    let is_strange = |name: &&String| name.len() > MAX_NAME || name.contains(char::is_control);
    match tables.iter().flat_map(|table| table.tensors.keys()).find(is_strange) {
        Some(name) => Err((format!("has a name of {} letters, or one that is no text", name.len()), SAVE.to_owned())),
        None => Ok(tables),
    }
}

/// Reads a file in the format its first bytes tell.
fn by_format(file: &Bytes) -> Result<Vec<Table>, Refusal> {
    let because = |problem: String| (problem, SAVE.to_owned());
    // Its first bytes are a length, and may be those of anything.
    if file.get(8) == Some(&b'{') {
        return safetensors::read(file).map_err(|e| because(format!("not a weights file: {e}")));
    }
    if file.starts_with(b"PK") {
        let members = zip::members(file).map_err(because)?;
        let is_torch = torch::pickle_of(&members).is_some();
        return if is_torch { torch::read_zip(&members) } else { npz::read(members) }.map_err(because);
    }
    if file.first() == Some(&0x80) {
        return torch::read_legacy(file).map_err(because);
    }
    match OTHERS.iter().find(|(start, ..)| file.starts_with(start)) {
        Some((_, what, hint)) => Err(((*what).to_owned(), (*hint).to_owned())),
        None => safetensors::read(file).map_err(|e| because(format!("not a weights file: {e}"))),
    }
}

const SAVE: &str = "wanted a state dict (torch.save(model.state_dict(), PATH)), a .safetensors or an .npz file";

/// Files that are taken for weights by mistake: how they start, what they are, what to do.
const OTHERS: [(&[u8], &str, &str); 5] = [
    (
        b"version https://git-lfs",
        "is a pointer of git-lfs, not the file itself",
        "run `git lfs pull` in its repository",
    ),
    (b"<", "is a web page", "the download went wrong: fetch the file itself"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them", "export the network as ONNX, or its weights as .npz"),
    (b"GGUF", "is a GGUF file", "its weights are quantised: take the .safetensors they were made from"),
    (b"\x93NUMPY", "is a single array", "save all arrays by name: numpy.savez(PATH, **weights)"),
];
