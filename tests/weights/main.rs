//! Files of weights that are cut off, damaged or hostile: every reader answers with an error or with numbers, without a
//! panic, and without more memory than a small multiple of the file.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod memory;
mod pickles;
mod random;
mod tables;
mod zips;

use std::path::{Path, PathBuf};

use candle_core::Device;
use cavern::model::Weights;

/// What reading may allocate whatever the file, and for each byte of it: a pickle's shortest instructions make a value on
/// the machine's stack and an object on its heap each, both in vectors that double.
const AT_LEAST: usize = 1 << 20;
const TIMES: usize = 256;

/// Every file of `tests/golden/checkpoints.py`.
fn goldens() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints");
    let folders = [folder.clone(), folder.join("sharded")];
    let listed = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let mut paths: Vec<PathBuf> = listed.map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Reads everything in the bytes of a file: the tensors as far as they can be read, and the message about the rest.
fn read_all(bytes: &[u8]) -> Result<usize, String> {
    let weights = Weights::from_safetensors(bytes, Path::new("f"), &Device::Cpu).map_err(|e| e.to_string())?;
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    let mut read = 0;
    for name in &names {
        let Some(shape) = weights.shape_of(name).map(<[usize]>::to_vec) else { continue };
        read += weights.take(name, &shape).map_err(|e| e.to_string())?.elem_count();
    }
    Ok(read)
}

/// Reads everything within the bounds of memory.
fn read_within_bounds(bytes: &[u8]) -> Result<usize, String> {
    let (result, peak) = memory::peak(|| read_all(bytes));
    let most = AT_LEAST + TIMES * bytes.len();
    assert!(peak <= most, "{peak} bytes for a file of {}: {result:?}", bytes.len());
    result
}

/// What is said of a file that has to be refused.
fn refusal(bytes: &[u8]) -> String {
    read_within_bounds(bytes).expect_err("a hostile file was read")
}

#[test]
fn files_cut_off_anywhere_are_errors() {
    for (path, bytes) in goldens() {
        let whole = read_within_bounds(&bytes);
        let refused =
            ["two.pth", "whole_network.pth", "model.safetensors.index.json"].iter().any(|n| path.ends_with(n));
        assert_eq!(whole.is_err(), refused, "{}: {whole:?}", path.display());
        for length in 0..bytes.len() {
            let cut = read_within_bounds(&bytes[..length]);
            assert!(cut.is_err(), "{} of {} bytes of {}", length, bytes.len(), path.display());
        }
    }
}
