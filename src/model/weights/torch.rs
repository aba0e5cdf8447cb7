//! Checkpoints of `torch.save`: zip archives (since 1.6), and pickles with the storages behind them (before).

use std::collections::BTreeMap;

use super::Parsed;
use super::bytes::Bytes;
use super::pickle::{Pickle, tables};
use super::storage::Storage;
use super::table::Table;

/// Bytes of the pickle in an archive: some 200 for every tensor.
const MAX_PICKLE: usize = 32 << 20;
/// The newest form of archive torch writes.
const MAX_VERSION: u32 = 10;
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The pickle of an archive by its name, if it is a checkpoint of torch's.
pub(super) fn pickle_of(members: &BTreeMap<String, Storage>) -> Option<&str> {
    members.keys().map(String::as_str).find(|n| *n == "data.pkl" || n.ends_with("/data.pkl"))
}

/// Reads an archive: a pickle, and a member for every storage.
pub(super) fn read_zip(members: &BTreeMap<String, Storage>) -> Parsed<Vec<Table>> {
    let name = pickle_of(members).ok_or("it has no data.pkl")?;
    let root = name.strip_suffix("data.pkl").unwrap_or_default();
    let member = |name: &str| members.get(&format!("{root}{name}"));
    if member("constants.pkl").is_some() {
        return Err("is a TorchScript program, not a table of weights".into());
    }
    if let Some(version) = member("version").map(text).transpose()? {
        let known = version.parse::<u32>().is_ok_and(|v| v <= MAX_VERSION);
        if !known {
            return Err(format!("is of version `{version}`, known are those up to {MAX_VERSION}"));
        }
    }
    let big_endian = match member("byteorder").map(text).transpose()?.as_deref() {
        None | Some("little") => false,
        Some("big") => true,
        Some(other) => return Err(format!("has the byte order `{other}`, wanted little or big")),
    };
    let data = &members[name];
    if data.len() > MAX_PICKLE {
        return Err(format!("its data.pkl has {} bytes, more than the {MAX_PICKLE} allowed", data.len()));
    }
    let data = data.bytes()?;
    let pickle = Pickle::run(&data, 0)?;
    tables(&pickle, big_endian, &|stored| member(&format!("data/{}", stored.key)).cloned())
}

/// A short member's text.
fn text(member: &Storage) -> Parsed<String> {
    Ok(String::from_utf8_lossy(&member.head(16)?).trim().to_owned())
}

/// Reads five pickles (magic, version, system, table, keys), then the storages in the order of their keys.
pub(super) fn read_legacy(file: &Bytes) -> Parsed<Vec<Table>> {
    let magic = Pickle::run(file, 0)?;
    if !magic.is_bytes(&MAGIC) {
        return Err("the first pickle is not torch's magic number".into());
    }
    let system = Pickle::run(file, Pickle::run(file, magic.end)?.end)?;
    let pickle = Pickle::run(file, system.end)?;
    let keys = Pickle::run(file, pickle.end)?;
    let mut widths = BTreeMap::new();
    for stored in pickle.storages() {
        if widths.insert(stored.key, (stored.width, stored.count)).is_some_and(|w| w != (stored.width, stored.count)) {
            return Err(format!("storage {} has two sizes", stored.key));
        }
    }
    let mut storages = BTreeMap::new();
    let mut at = keys.end;
    for key in keys.texts().ok_or("the last pickle is not a list of storages")? {
        let (width, announced) = *widths.get(key).ok_or_else(|| format!("storage {key} belongs to no tensor"))?;
        let count = file.get(at..).and_then(|rest| rest.first_chunk()).map(|c| u64::from_le_bytes(*c));
        if count != Some(announced as u64) {
            return Err(format!("storage {key} is truncated, or has not the {announced} numbers announced"));
        }
        let size = announced.checked_mul(width);
        let storage =
            size.and_then(|size| file.piece(at + 8, size)).ok_or_else(|| format!("storage {key} is cut off"))?;
        at += 8 + storage.len();
        storages.insert(key, Storage::Plain(storage));
    }
    tables(&pickle, false, &|stored| storages.get(stored.key).cloned())
}
