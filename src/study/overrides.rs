//! `--set a.b=c`: changes to a study file from the command line.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// Applies `key=value` to the table. The value is read as TOML where it is TOML (`3`, `true`, `["a", "b"]`), otherwise
/// as text, so that paths need no quotes.
///
/// # Errors
/// When there is no `=`, a part of the key is empty, or a part that should be a table is a value.
pub fn apply(table: &mut Table, assignment: &str) -> Result<()> {
    let usage = || Error::key(assignment, "not of the form key=value", "write --set model.weights=PATH, for example");
    let (key, text) = assignment.split_once('=').ok_or_else(usage)?;
    let parts: Vec<&str> = key.trim().split('.').collect();
    let Some((last, tables)) = parts.split_last() else { return Err(usage()) };
    if parts.iter().any(|p| p.is_empty()) {
        return Err(usage());
    }
    let mut at = table;
    for part in tables {
        let entry = at.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        at = entry
            .as_table_mut()
            .ok_or_else(|| Error::key(key, format!("`{part}` is a value, not a table"), "check the key's spelling"))?;
    }
    at.insert((*last).to_owned(), parse_value(text.trim()));
    Ok(())
}

fn parse_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(assignment: &str) -> Result<Table> {
        let mut table: Table = "seed = 1\n[model]\nname = \"a\"".parse().unwrap();
        apply(&mut table, assignment).map(|()| table)
    }

    #[test]
    fn values_are_toml_or_text() {
        assert_eq!(set("seed=7").unwrap()["seed"].as_integer(), Some(7));
        assert_eq!(set("model.weights=/a b/c.pth").unwrap()["model"]["weights"].as_str(), Some("/a b/c.pth"));
        assert_eq!(set("model.layers=[\"x\"]").unwrap()["model"]["layers"].as_array().unwrap().len(), 1);
        assert_eq!(set("probe.folds=3").unwrap()["probe"]["folds"].as_integer(), Some(3));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["seed", "=1", "a..b=1", "seed.x=1"] {
            assert!(set(bad).is_err(), "{bad}");
        }
    }
}
