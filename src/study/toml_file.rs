//! A TOML file with a version, read into a type; every refusal names the file, the line and the nearest key.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Table;

use super::overrides;
use crate::error::{Error, Result, nearest};

/// Reads a file of the given version and applies `key=value` overrides.
///
/// # Errors
/// When the file cannot be read, is no TOML, or has an unknown key or version.
pub(super) fn read<T: DeserializeOwned>(path: &Path, set: &[String], version: u32) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let hint = "give the path of a study file, such as probes/quickstart.toml";
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::file(path, "there is no such file", hint)
        } else {
            Error::file(path, format!("cannot be read: {e}"), hint)
        }
    })?;
    let mut table: Table = text.parse().map_err(|e: toml::de::Error| refusal(path, &text, &e))?;
    let found = table.get("version").and_then(toml::Value::as_integer);
    if found != Some(i64::from(version)) {
        let found = table.get("version").map_or("no `version`".to_owned(), |v| format!("version {v}"));
        let hint =
            format!("this cavern reads version {version}: write `version = {version}` and run `cavern validate`");
        return Err(Error::file(path, found, hint));
    }
    for assignment in set {
        overrides::apply(&mut table, assignment)?;
    }
    // Without overrides the text itself is read again: its errors then know their line.
    let read = if set.is_empty() { toml::from_str(&text) } else { table.try_into() };
    read.map_err(|e| refusal(path, &text, &e))
}

/// serde's message in the form of ours: file, line, what is wrong, the nearest key.
fn refusal(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message().to_owned();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let place = line.map_or(String::new(), |l| format!("line {l}: "));
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let name = quoted.next().unwrap_or_default().to_owned();
        let known: Vec<&str> = quoted.collect();
        let near = nearest(&name, known.iter().copied());
        let what = if message.starts_with("unknown field") { "key" } else { "value" };
        let hint = match near.first() {
            Some(first) => format!("the nearest {what} is `{first}`; known are {}", known.join(", ")),
            None => "it has no place here: remove it".to_owned(),
        };
        return Error::file(path, format!("{place}unknown {what} `{name}`"), hint);
    }
    Error::file(path, format!("{place}{}", message.trim_end()), "see the study files in probes/ for working examples")
}
