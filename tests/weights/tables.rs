//! Hostile safetensors.

use super::{read_within_bounds, refusal};

fn file(header: &str, numbers: usize) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; numbers]].concat()
}

fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!("{{\"dtype\": \"{dtype}\", \"shape\": {shape}, \"data_offsets\": {offsets}}}")
}

#[test]
fn headers_are_not_believed() {
    assert_eq!(read_within_bounds(&file(&format!("{{\"a\": {}}}", entry("F32", "[2]", "[0, 8]")), 8)), Ok(2));
    for size in [0, 1, 7, 9, 1 << 20, 100_000_001, 1 << 40, u64::MAX] {
        refusal(&[size.to_le_bytes().as_slice(), b"{}      "].concat());
    }
    for header in ["", "[]", "1", "{", "{\"a\": 1}", "{\"a\": {}}", "{\"__metadata__\": 3}"] {
        refusal(&file(header, 0));
    }
    refusal(&file(&"[".repeat(100_000), 0));
    refusal(&file(&format!("{{\"a\": {}", "{\"a\": ".repeat(100_000)), 0));
}

#[test]
fn places_are_those_of_the_shapes_one_after_the_other() {
    for (dtype, shape, offsets) in [
        ("F32", "[2]", "[0, 4]"),
        ("F32", "[2]", "[0, 16]"),
        ("F32", "[2]", "[8, 0]"),
        ("F32", "[2]", "[4, 12]"),
        ("F32", "[-1]", "[0, 8]"),
        ("F32", "[18446744073709551615, 2]", "[0, 8]"),
        ("F32", "[4611686018427387904]", "[0, 8]"),
        ("F32", "[2]", "[0, 18446744073709551615]"),
        ("F32", "[1e9]", "[0, 8]"),
        ("F99", "[2]", "[0, 8]"),
        ("F32", "{}", "[0, 8]"),
    ] {
        refusal(&file(&format!("{{\"a\": {}}}", entry(dtype, shape, offsets)), 8));
    }
    let two = |first: &str, second: &str| {
        format!("{{\"a\": {}, \"b\": {}}}", entry("F32", "[2]", first), entry("F32", "[2]", second))
    };
    assert_eq!(read_within_bounds(&file(&two("[0, 8]", "[8, 16]"), 16)), Ok(4));
    for (first, second) in [("[0, 8]", "[0, 8]"), ("[0, 8]", "[4, 12]"), ("[0, 8]", "[16, 24]")] {
        refusal(&file(&two(first, second), 16));
    }
}

#[test]
fn numbers_no_network_takes_are_told_when_they_are_wanted() {
    assert_eq!(read_within_bounds(&file(&format!("{{\"a\": {}}}", entry("F8_E4M3", "[8]", "[0, 8]")), 8)), Ok(0));
}

#[test]
fn names_can_be_printed() {
    for name in ["n".repeat(600), "\\u001b[2J".to_owned()] {
        let message = refusal(&file(&format!("{{\"{name}\": {}}}", entry("F32", "[2]", "[0, 8]")), 8));
        assert!(message.contains("letters") && message.len() < 300, "{message}");
    }
}
