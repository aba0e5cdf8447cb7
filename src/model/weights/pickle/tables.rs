//! The dicts of tensors in a pickle.

use std::collections::BTreeSet;

use super::object::{Object, Strided, Value, object};
use super::{Pickle, Stored};
use crate::model::weights::Parsed;
use crate::model::weights::storage::Storage;
use crate::model::weights::table::{Entry, MAX_NAME, Table, join};
use crate::model::weights::view::View;

/// Dicts in dicts.
const MAX_DEPTH: usize = 32;
/// Dicts that hold tensors; an optimiser's state has one a parameter.
const MAX_TABLES: usize = 1 << 16;

/// Every dict, list or tuple that holds tensors; `storage` finds the numbers.
pub(in crate::model::weights) fn tables<'a>(
    pickle: &Pickle<'a>,
    big_endian: bool,
    storage: &dyn Fn(&Stored<'a>) -> Option<Storage>,
) -> Parsed<Vec<Table>> {
    let mut walk = Walk { pickle, big_endian, storage, seen: BTreeSet::new(), tables: Vec::new() };
    walk.visit(pickle.root, "", 0)?;
    walk.tables.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.tables)
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    big_endian: bool,
    storage: &'p dyn Fn(&Stored<'a>) -> Option<Storage>,
    seen: BTreeSet<usize>,
    tables: Vec<Table>,
}

impl<'a> Walk<'_, 'a> {
    /// Visits a container once, whatever refers to it.
    fn visit(&mut self, value: Value<'a>, path: &str, depth: usize) -> Parsed<()> {
        let Value::Object(id) = value else { return Ok(()) };
        if !self.seen.insert(id) {
            return Ok(());
        }
        if depth > MAX_DEPTH || path.len() > MAX_NAME {
            return Err(format!("its dicts are nested more than {MAX_DEPTH} deep, or have keys of {MAX_NAME} letters"));
        }
        let mut table = Table { path: path.to_owned(), ..Table::default() };
        match &self.pickle.heap[id] {
            Object::Dict(entries) => {
                for (key, value) in entries {
                    let key = match key {
                        Value::Text(text) if text.len() <= MAX_NAME => (*text).to_owned(),
                        Value::Text(text) => return Err(format!("a name has {} letters", text.len())),
                        Value::Int(number) => number.to_string(),
                        _ => continue,
                    };
                    self.item(*value, key, &mut table, depth)?;
                }
            }
            Object::List(items) | Object::Tuple(items) => {
                for (i, value) in items.iter().enumerate().filter(|(_, v)| matches!(v, Value::Object(_))) {
                    self.item(*value, i.to_string(), &mut table, depth)?;
                }
            }
            _ => {}
        }
        if !table.tensors.is_empty() {
            self.tables.push(table);
        }
        if self.tables.len() > MAX_TABLES { Err(format!("it holds more than {MAX_TABLES} tables")) } else { Ok(()) }
    }

    fn item(&mut self, value: Value<'a>, key: String, table: &mut Table, depth: usize) -> Parsed<()> {
        match object(&self.pickle.heap, value) {
            Some(Object::Tensor(tensor)) => drop(table.tensors.insert(key, self.entry(tensor))),
            Some(Object::Unreadable(why)) => drop(table.tensors.insert(key, Err(format!("is {why}")))),
            Some(_) => self.visit(value, &join(&table.path, &key), depth + 1)?,
            None => {}
        }
        Ok(())
    }

    fn entry(&self, tensor: &Strided<'a>) -> Entry {
        let number = tensor.number.map_err(|why| format!("is {why}"))?;
        let stored = &tensor.storage;
        let storage =
            (self.storage)(stored).ok_or_else(|| format!("lies in storage {}, which is missing", stored.key))?;
        let offset = stored.start.checked_add(tensor.offset).ok_or("starts beyond its storage")?;
        Ok(View::new(storage, number, offset, tensor.shape.clone(), tensor.stride.clone())?.big_endian(self.big_endian))
    }
}
