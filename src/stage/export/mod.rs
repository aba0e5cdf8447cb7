//! What a study has made, as arrays for other programs: directions, activations, maps.

mod activations;
mod cavs;
mod maps;
mod samples;

pub use activations::activations;
pub use cavs::cavs;
pub use maps::maps;

use std::collections::BTreeSet;
use std::path::Path;

use crate::dataset::split::Part;
use crate::error::{Error, Result};

/// The parts of a split by their codes in files: an array's 1 is `PARTS[1]`.
pub const PARTS: [Part; 4] = [Part::Fit, Part::Val, Part::Test, Part::Out];

/// Where an export goes, and what of everything is wanted; an empty list wants all.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The file, `.npz` or `.safetensors`.
    pub to: &'a Path,
    /// Whether a file that is there may be written over.
    pub over: bool,
    /// Layers by name.
    pub layers: &'a [String],
    /// Concepts by name.
    pub concepts: &'a [String],
    /// Kinds of probe, as in tables.
    pub probes: &'a [String],
    /// Parts of the split.
    pub parts: &'a [Part],
}

/// Whether a list has a name, or wants all.
fn wants(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|n| n == name)
}

/// Refuses a name that is not known.
fn check<'k>(kind: &'static str, list: &[String], known: impl Iterator<Item = &'k str>) -> Result<()> {
    let known: BTreeSet<&str> = known.collect();
    let wrong = list.iter().find(|name| !known.contains(name.as_str()));
    wrong.map_or(Ok(()), |name| Err(Error::unknown(kind, name, known.iter().copied())))
}
