//! safetensors: a JSON header of types, shapes and places, then the numbers.

use safetensors::{Dtype, SafeTensors};

use super::Parsed;
use super::bytes::Bytes;
use super::storage::Storage;
use super::table::{Entry, Table};
use super::view::{Number, View};

/// Reads the table of a file. The crate checks that places do not overlap, have the size of their shapes and end where
/// the file does.
pub(super) fn read(file: &Bytes) -> Parsed<Vec<Table>> {
    let (header, metadata) = SafeTensors::read_metadata(file).map_err(|e| format!("no whole safetensors file: {e}"))?;
    let mut table = Table::default();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let bytes = file.piece(8 + header + start, end - start).ok_or_else(|| format!("{name} is cut off"))?;
        let entry: Entry = match number(info.dtype) {
            Some(number) => View::rows(Storage::Plain(bytes), number, info.shape.clone()),
            None => Err(format!("has elements of type {:?}: convert it to f32 first", info.dtype)),
        };
        table.tensors.insert(name, entry);
    }
    Ok(vec![table])
}

/// Types of eight bits and fewer are left out: such weights need scales, which every tool keeps elsewhere.
fn number(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::F64 => Number::F64,
        Dtype::F32 => Number::F32,
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::I64 => Number::I64,
        Dtype::I32 => Number::I32,
        Dtype::I16 => Number::I16,
        Dtype::I8 => Number::I8,
        Dtype::U64 => Number::U64,
        Dtype::U32 => Number::U32,
        Dtype::U16 => Number::U16,
        Dtype::U8 => Number::U8,
        Dtype::BOOL => Number::Bool,
        _ => return None,
    })
}
