//! numpy's `.npz`: a zip archive of `.npy` files, not compressed (numpy.lib.format, version 1.0).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{ABOUT, Array, Element};
use crate::error::{Error, Result};

/// From this many bytes on a file of an archive needs sizes of eight bytes; numpy reads both.
const LARGE: u64 = 0xF000_0000;

/// Writes the archive; `about` becomes a text without dimensions.
pub(super) fn write(file: &mut File, path: &Path, about: &str, arrays: Vec<Array<'_>>) -> Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(file));
    let letters: Vec<u8> = about.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    start(&mut zip, path, ABOUT, &format!("<U{}", letters.len() / 4), &[], letters.len() as u64)?;
    zip.write_all(&letters).map_err(Error::io("write", path))?;
    for array in arrays {
        let kind = match array.element {
            Element::F32 => "<f4",
            Element::I32 => "<i4",
            Element::I8 => "|i1",
        };
        start(&mut zip, path, &array.name, kind, &array.shape, array.bytes())?;
        array.write(&mut zip, path)?;
    }
    let mut out = zip.finish().map_err(|e| Error::io("write", path)(e.into()))?;
    out.flush().map_err(Error::io("write", path))
}

/// Starts a file of the archive with the head of an array.
fn start(
    zip: &mut ZipWriter<BufWriter<&mut File>>,
    path: &Path,
    name: &str,
    kind: &str,
    shape: &[usize],
    bytes: u64,
) -> Result<()> {
    // No time of day: the same arrays are the same bytes.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(bytes >= LARGE);
    zip.start_file(format!("{name}.npy"), options).map_err(|e| Error::io("write", path)(e.into()))?;
    zip.write_all(&head(kind, shape)).map_err(Error::io("write", path))
}

/// The head of an `.npy` file: a multiple of 64 bytes.
fn head(kind: &str, shape: &[usize]) -> Vec<u8> {
    let sizes = shape.iter().fold(String::new(), |all, n| all + &n.to_string() + ", ");
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}
