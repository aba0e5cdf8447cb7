//! The tables of tensors in a checkpoint, and which of them is the network's.

use std::collections::BTreeMap;

use super::Parsed;
use super::view::View;
use crate::error::nearest;

/// A tensor, or why it cannot be read.
pub(super) type Entry = Parsed<View>;

/// Tensors that one dict of a checkpoint holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// The keys that lead to the dict, joined by dots; empty for the outermost.
    pub(super) path: String,
    /// By name.
    pub(super) tensors: BTreeMap<String, Entry>,
}

/// Bytes of a tensor's name, or of the keys that lead to it.
pub(super) const MAX_NAME: usize = 512;

/// What a checkpoint of training keeps beside the network, by the beginnings of its keys.
const TRAINING: [&str; 9] = ["optim", "sched", "lr_", "scaler", "amp", "rng", "callbacks", "loops", "hyper"];

/// What is wrong, and what to do.
pub(super) type Refusal = (String, String);

/// The network's tensors: those below `key`, or the one table there is.
///
/// # Errors
/// When there is none, or several and no key. The message lists them.
pub(super) fn choose(tables: Vec<Table>, key: Option<&str>) -> Result<BTreeMap<String, Entry>, Refusal> {
    match key {
        Some(key) => below(tables, key),
        None => only(tables),
    }
}

/// Every tensor whose full name begins with the key, by the rest of its name; an empty key takes all.
fn below(tables: Vec<Table>, key: &str) -> Result<BTreeMap<String, Entry>, Refusal> {
    let known = describe(&tables);
    let paths: Vec<String> = tables.iter().map(|t| t.path.clone()).collect();
    let mut found = BTreeMap::new();
    for table in tables {
        for (name, entry) in table.tensors {
            let full = join(&table.path, &name);
            let rest = if key.is_empty() { Some(full.as_str()) } else { after(&full, key) };
            if let Some(rest) = rest {
                found.insert(rest.to_owned(), entry);
            }
        }
    }
    if found.is_empty() {
        let near = nearest(key, paths.iter().filter(|p| !p.is_empty()).map(String::as_str));
        let hint = match near.first() {
            Some(first) => format!("the nearest is model.key = \"{first}\""),
            None => "leave model.key out".to_owned(),
        };
        return Err((format!("nothing in it is called `{key}`: it holds {known}"), hint));
    }
    Ok(found)
}

/// The rest of a dotted name after its beginning.
fn after<'a>(name: &'a str, beginning: &str) -> Option<&'a str> {
    name.strip_prefix(beginning)?.strip_prefix('.')
}

/// A key below a path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn only(tables: Vec<Table>) -> Result<BTreeMap<String, Entry>, Refusal> {
    let (mut kept, rest): (Vec<Table>, Vec<Table>) = tables.into_iter().partition(|t| !is_training(t) && has_matrix(t));
    if kept.is_empty() {
        kept = rest.into_iter().filter(|t| !is_training(t) && !t.tensors.is_empty()).collect();
    }
    match kept.len() {
        0 => Err(("it holds no tensors".into(), "wanted a state dict: torch.save(model.state_dict(), PATH)".into())),
        1 => Ok(kept.remove(0).tensors),
        _ => {
            let first = kept.iter().find(|t| !t.path.is_empty()).map_or("", |t| &t.path);
            let hint = format!(
                "say which: --set model.key={first}, or `key = \"{first}\"` below [model]; a shorter key takes all tables below \
                 it"
            );
            Err((format!("it holds several tables of tensors: {}", describe(&kept)), hint))
        }
    }
}

fn is_training(table: &Table) -> bool {
    table.path.split('.').any(|part| TRAINING.iter().any(|beginning| part.starts_with(beginning)))
}

fn has_matrix(table: &Table) -> bool {
    table.tensors.values().any(|entry| entry.as_ref().is_ok_and(|view| view.shape().len() > 1))
}

fn describe(tables: &[Table]) -> String {
    let one = |t: &Table| {
        let path = if t.path.is_empty() { "no key" } else { &t.path };
        let first = t.tensors.keys().next().map_or("", String::as_str);
        format!("`{path}` ({} tensors: {first}, ...)", t.tensors.len())
    };
    let shown: Vec<String> = tables.iter().take(8).map(one).collect();
    let more = tables.len().saturating_sub(shown.len());
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}
