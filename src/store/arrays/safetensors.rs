//! `.safetensors`: the length of a JSON header, the header with every tensor's place, then the tensors.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ABOUT, Array, Element};
use crate::error::{Error, Result};

/// Writes the file; `about` becomes metadata.
pub(super) fn write(file: &mut File, path: &Path, about: &str, arrays: Vec<Array<'_>>) -> Result<()> {
    let mut out = BufWriter::new(file);
    let header = header(about, &arrays);
    let length = (header.len() as u64).to_le_bytes();
    out.write_all(&length).and_then(|()| out.write_all(header.as_bytes())).map_err(Error::io("write", path))?;
    arrays.into_iter().try_for_each(|array| array.write(&mut out, path))?;
    out.flush().map_err(Error::io("write", path))
}

/// The header, filled with spaces so that the tensors start at a multiple of eight bytes.
fn header(about: &str, arrays: &[Array<'_>]) -> String {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({ ABOUT: about }))]);
    let mut at = 0;
    for array in arrays {
        let end = at + array.bytes();
        let kind = match array.element {
            Element::F32 => "F32",
            Element::I32 => "I32",
            Element::I8 => "I8",
        };
        entries.insert(array.name.clone(), json!({ "dtype": kind, "shape": array.shape, "data_offsets": [at, end] }));
        at = end;
    }
    let text = Value::Object(entries).to_string();
    let width = text.len().next_multiple_of(8);
    let fill = " ".repeat(width - text.len());
    text + &fill
}
