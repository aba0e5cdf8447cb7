//! numpy's `.npz`: a zip archive of `.npy` arrays, plain (`savez`) or compressed (`savez_compressed`).
//!
//! An array is a line of text (a Python dict of type, order and shape: NEP 1), then its numbers.

use std::collections::BTreeMap;

use super::Parsed;
use super::storage::Storage;
use super::table::{Entry, Table};
use super::view::{MAX_DIMENSIONS, Number, View, column_major};

/// As numpy's own limit.
const MAX_HEADER: usize = 10_000;

/// Reads the arrays of an archive.
pub(super) fn read(members: BTreeMap<String, Storage>) -> Parsed<Vec<Table>> {
    let mut table = Table::default();
    for (name, storage) in members {
        let Some(array) = name.strip_suffix(".npy") else {
            return Err(format!("holds {name}, which is no array of numpy's"));
        };
        table.tensors.insert(array.to_owned(), entry(storage).map_err(|e| format!("{name}: {e}"))?);
    }
    Ok(vec![table])
}

/// An array; numbers that cannot be converted are told when the array is asked for.
fn entry(storage: Storage) -> Parsed<Entry> {
    let start = storage.head(12)?;
    let (prefix, length) = match *start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err("is no array of numpy's".into()),
    };
    if length > MAX_HEADER {
        return Err(format!("announces a header of {length} bytes, numpy allows {MAX_HEADER}"));
    }
    let head = storage.head(prefix + length)?;
    let text = head.get(prefix..prefix + length).ok_or("is cut off")?;
    let header = Header::parse(std::str::from_utf8(text).map_err(|_| "its header is no text")?)?;
    let numbers = storage.after(prefix + length)?;
    let Some((number, big_endian)) = number(header.descr) else {
        return Ok(Err(format!("has elements of type {}, which are no plain numbers", header.descr)));
    };
    let view = if header.fortran {
        let stride = column_major(&header.shape).ok_or("is too large to be counted")?;
        View::new(numbers, number, 0, header.shape, stride)
    } else {
        View::rows(numbers, number, header.shape)
    };
    Ok(Ok(view?.big_endian(big_endian)))
}

/// numpy's name of a type; bfloat16 is how `ml_dtypes` writes it.
fn number(descr: &str) -> Option<(Number, bool)> {
    let order = descr.chars().next()?;
    let kind = descr.strip_prefix(['<', '>', '|', '=']).unwrap_or(descr);
    let number = match kind {
        "f8" => Number::F64,
        "f4" => Number::F32,
        "f2" => Number::F16,
        "V2" | "bfloat16" => Number::Bf16,
        "i8" => Number::I64,
        "i4" => Number::I32,
        "i2" => Number::I16,
        "i1" => Number::I8,
        "u8" => Number::U64,
        "u4" => Number::U32,
        "u2" => Number::U16,
        "u1" => Number::U8,
        "b1" => Number::Bool,
        _ => return None,
    };
    Some((number, order == '>'))
}

struct Header<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Parsed<Self> {
        let descr = value(text, "descr")?;
        let quoted = descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next());
        let order = value(text, "fortran_order")?;
        let fortran = match (order.starts_with("True"), order.starts_with("False")) {
            (true, _) => true,
            (_, true) => false,
            _ => return Err("its header has no order".into()),
        };
        let shape = value(text, "shape")?.strip_prefix('(').and_then(|rest| rest.split(')').next());
        let shape = shape.ok_or("its header has no shape")?;
        let sizes = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape: Vec<usize> =
            sizes.map(|s| s.parse().map_err(|_| format!("`{s}` is no size"))).collect::<Parsed<_>>()?;
        if shape.len() > MAX_DIMENSIONS {
            return Err(format!("has {} dimensions", shape.len()));
        }
        Ok(Self { descr: quoted.unwrap_or("a structure"), fortran, shape })
    }
}

/// What follows a key of the header.
fn value<'a>(text: &'a str, key: &str) -> Parsed<&'a str> {
    let after = |quote: char| text.split_once(&format!("{quote}{key}{quote}")).map(|(_, rest)| rest);
    let rest = after('\'').or_else(|| after('"')).ok_or_else(|| format!("its header has no `{key}`"))?;
    rest.trim_start()
        .strip_prefix(':')
        .map(str::trim_start)
        .ok_or_else(|| format!("`{key}` of its header has no value"))
}
