//! Hostile pickles, inside files of torch's legacy format.

use super::{read_within_bounds, refusal};

/// A file whose table is made by this program; it has no storages.
fn legacy(program: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let (version, system, keys) = (b"\x80\x02M\xe9\x03.", b"\x80\x02}.", b"\x80\x02].");
    [magic.as_slice(), version, system, program, keys].concat()
}

fn refused(program: &[u8], because: &str) {
    let message = refusal(&legacy(program));
    assert!(message.contains(because), "{because}: {message}");
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// `('storage', FloatStorage, '0', 'cpu', 4)` as a persistent id.
fn storage() -> Vec<u8> {
    [b"(".as_slice(), &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x04tQ"].concat()
}

/// A table with one tensor of the given offset, shape and strides, as pickled values.
fn tensor(offset: &[u8], shape: &[u8], stride: &[u8]) -> Vec<u8> {
    let build = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    [b"}".as_slice(), &text("a"), build, &storage(), offset, shape, stride, b"\x89}tRs."].concat()
}

/// A file with that table and the storage.
fn with_storage(program: &[u8], count: u64) -> Vec<u8> {
    let mut file = legacy(program);
    file.truncate(file.len() - 1);
    file.extend([text("0").as_slice(), b"a.", &count.to_le_bytes(), &[0; 16]].concat());
    file
}

#[test]
fn nothing_is_executed() {
    for name in [
        "cos\nsystem\n",
        "cposix\nsystem\n",
        "cbuiltins\neval\n",
        "c__builtin__\nexec\n",
        "cbuiltins\ngetattr\n",
        "ctorch\nload\n",
        "ctorch.serialization\nload\n",
        "cnumpy\nload\n",
        "csubprocess\nPopen\n",
        "cbuiltins\nopen\n",
        "cpickle\nloads\n",
    ] {
        refused(&[name.as_bytes(), &text("true"), b"\x85R."].concat(), "refused");
        let (module, name) = name[1..].trim().split_once('\n').unwrap();
        refused(&[text(module).as_slice(), &text(name), b"\x93)R."].concat(), "refused");
    }
    // Instructions that import or call in other ways.
    for program in [b"(ios\nsystem\n.".as_slice(), b"(cos\nsystem\no.", b"\x82\x01.", b"\x84\x01\0\0\0.", b"Pos\n."] {
        refused(program, "");
    }
    // A call of what is no function.
    refused(b"K\x01)R.", "no function");
    refused(b"cargparse\nNamespace\n)R)R.", "no function");
}

#[test]
fn cycles_and_shared_values_are_visited_once() {
    for program in [
        [b"}q\0".as_slice(), &text("a"), b"h\0s."].concat(),
        b"]q\0h\0a.".to_vec(),
        [b"]q\0}".as_slice(), &text("a"), b"h\0sa."].concat(),
    ] {
        refused(&program, "no tensors");
    }
    // Ten billion paths to one list.
    let mut laughs = b"]q\0".to_vec();
    for level in 0..10u8 {
        laughs.push(b'(');
        laughs.extend([b'h', level].repeat(10));
        laughs.extend([b't', b'q', level + 1]);
    }
    laughs.push(b'.');
    refused(&laughs, "no tensors");
}

#[test]
fn deep_nesting_needs_no_stack() {
    let many = 300_000;
    refused(&[b")".as_slice(), &vec![0x85; many], b"."].concat(), "nested");
    refused(&[b"]".repeat(many).as_slice(), &b"a".repeat(many - 1), b"."].concat(), "nested");
    let dicts = [b"}".as_slice(), b"U\x01a"].concat().repeat(many / 4);
    refused(&[dicts.as_slice(), b"N", &b"s".repeat(many / 4), b"."].concat(), "nested");
    refused(&[b"(".repeat(many).as_slice(), &b"t".repeat(many), b"."].concat(), "nested");
}

#[test]
fn sizes_beyond_the_file_are_refused() {
    for program in [
        b"X\xff\xff\xff\xff".as_slice(),
        b"T\xff\xff\xff\x7f",
        b"B\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8a\xff",
    ] {
        refused(program, "truncated");
    }
    refused(&vec![b'c'; 5000], "no end");
}

#[test]
fn a_pickle_makes_so_many_values_and_no_more() {
    refused(&vec![b'N'; 5 << 20], "values");
    refused(&[b"Nq\0".as_slice(), &b"h\0".repeat(5 << 20)].concat(), "values");
    // Memory numbers far apart are no array.
    refused(b"Nr\xff\xff\xff\xff.", "no tensors");
}

#[test]
fn an_unbalanced_stack_is_an_error() {
    for program in [
        b".".as_slice(),
        b"0",
        b"1",
        b"2",
        b"t",
        b"\x85",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"Q",
        b"R",
        b"b",
        b"\x81",
        b"\x92",
        b"\x93",
        b"q\0",
        b"\x94",
        b"h\0",
        b"j\0\0\0\0",
        b"Na",
        b"NNs",
        b"]Nu",
        b"}Ne",
        b"(u",
        b"NQ",
        b")Q",
        b"KKR",
        b"NN\x93",
        b"N)\x81",
        b"]]]NNs",
        b"(.",
        b"((t.",
        b"}K\x01K\x02K\x03u.",
        b"}(K\x01u.",
    ] {
        assert!(read_within_bounds(&legacy(program)).is_err(), "{program:?}");
    }
}

#[test]
fn calls_with_other_arguments_are_errors() {
    for name in ["_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter"] {
        for arguments in [b")".as_slice(), b"(NNNNNNNt", b"(K\x01K\x02]}NNNt", b"N", b"]", b"}"] {
            let program = [format!("ctorch._utils\n{name}\n").as_bytes(), arguments, b"R."].concat();
            assert!(read_within_bounds(&legacy(&program)).is_err(), "{name} {arguments:?}");
        }
    }
    // A function that rebuilds by a function that rebuilds by a function.
    let subclass = b"ctorch._tensor\n_rebuild_from_type_v2\n";
    let program = [subclass.as_slice(), b"(", subclass, b"N(tNtR."].concat();
    assert!(read_within_bounds(&legacy(&program)).is_err());
}

#[test]
fn tensors_lie_in_their_storage() {
    let file = |offset: &[u8], shape: &[u8], stride: &[u8]| with_storage(&tensor(offset, shape, stride), 4);
    assert_eq!(read_within_bounds(&file(b"K\0", b"K\x02K\x02\x86", b"K\x02K\x01\x86")), Ok(4));
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let two_huge = [huge.as_slice(), huge, b"\x86"].concat();
    let unreadable: [(&[u8], &[u8], &[u8]); 6] = [
        (b"K\x01", b"K\x04\x85", b"K\x01\x85"),
        (b"K\0", b"K\x05\x85", b"K\x01\x85"),
        (huge, b"K\x01\x85", b"K\x01\x85"),
        (b"K\0", &two_huge, b"K\x01K\x01\x86"),
        (b"K\0", b"K\x02K\x02\x86", &two_huge),
        // A million times a single number.
        (b"K\0", b"J\x40\x42\x0f\0\x85", b"K\0\x85"),
    ];
    for (offset, shape, stride) in unreadable {
        assert_eq!(read_within_bounds(&file(offset, shape, stride)), Ok(0), "{offset:?} {shape:?} {stride:?}");
    }
    let refused: [(&[u8], &[u8], &[u8]); 5] = [
        (b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"),
        (b"K\0", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"),
        (b"N", b"K\x01\x85", b"K\x01\x85"),
        (b"K\0", b"N\x85", b"K\x01\x85"),
        (b"K\0", b"N", b"K\x01\x85"),
    ];
    for (offset, shape, stride) in refused {
        refusal(&file(offset, shape, stride));
    }
    let dimensions = [b"(".as_slice(), &b"K\x01".repeat(65), b"t"].concat();
    assert!(refusal(&file(b"K\0", &dimensions, &dimensions)).contains("short tuple"));
}

#[test]
fn storages_are_those_announced() {
    let program = tensor(b"K\0", b"K\x04\x85", b"K\x01\x85");
    assert_eq!(read_within_bounds(&with_storage(&program, 4)), Ok(4));
    for count in [0, 3, 5, 1 << 40, u64::MAX] {
        assert!(refusal(&with_storage(&program, count)).contains("truncated"));
    }
    // One that says it has 2^62 numbers.
    let vast = [b"\x8a\x08".as_slice(), &(1u64 << 62).to_le_bytes()].concat();
    let at = program.windows(4).position(|w| w == b"K\x04tQ").unwrap();
    let program = [&program[..at], &vast, &program[at + 2..]].concat();
    assert!(refusal(&with_storage(&program, 1 << 62)).contains("cut off"));
    // A storage that nothing refers to.
    assert!(refusal(&with_storage(b"}.", 4)).contains("belongs to no tensor"));
}

#[test]
fn long_names_are_no_names() {
    let name = "n".repeat(1000);
    refused(&[b"}".as_slice(), &text(&name), b"Ns."].concat(), "letters");
    // One long key on the way to many tables is not repeated for each.
    let key = text(&"k".repeat(500));
    let mut program = key;
    program.extend(b"q\0");
    for _ in 0..40 {
        program.extend(b"}h\0");
    }
    program.extend([b"N".as_slice(), &b"s".repeat(40), b"."].concat());
    refused(&program, "nested");
}
