//! Hostile zip archives, and arrays of numpy's inside them.

use super::{read_within_bounds, refusal};

/// A member as its two headers describe it.
#[derive(Clone)]
struct Member {
    name: &'static str,
    flags: u16,
    method: u16,
    packed: Vec<u8>,
    packed_size: u32,
    size: u32,
    extra: Vec<u8>,
    crc: u32,
}

fn stored(name: &'static str, bytes: &[u8]) -> Member {
    let size = bytes.len() as u32;
    let (packed, extra) = (bytes.to_vec(), Vec::new());
    Member { name, flags: 0, method: 0, packed, packed_size: size, size, extra, crc: 0 }
}

/// An array of `count` zeros compressed into a few bytes, which says that it has `size`.
fn deflated(name: &'static str, bytes: &[u8]) -> Member {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    let packed = encoder.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let (packed_size, size) = (packed.len() as u32, bytes.len() as u32);
    Member { name, flags: 0, method: 8, packed, packed_size, size, extra: Vec::new(), crc: crc.sum() }
}

fn archive(members: &[Member]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for m in members {
        let offset = file.len() as u32;
        let common = |out: &mut Vec<u8>| {
            for field in [20, m.flags, m.method, 0, 0] {
                out.extend(field.to_le_bytes());
            }
            for field in [m.crc, m.packed_size, m.size] {
                out.extend(field.to_le_bytes());
            }
            out.extend((m.name.len() as u16).to_le_bytes());
        };
        file.extend(b"PK\x03\x04");
        common(&mut file);
        file.extend([0, 0]);
        file.extend(m.name.as_bytes());
        file.extend(&m.packed);
        directory.extend(b"PK\x01\x02\x14\0");
        common(&mut directory);
        directory.extend((m.extra.len() as u16).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(m.name.as_bytes());
        directory.extend(&m.extra);
    }
    end(file, &directory, members.len() as u16)
}

fn end(mut file: Vec<u8>, directory: &[u8], count: u16) -> Vec<u8> {
    let start = file.len() as u32;
    file.extend(directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    file.extend([(directory.len() as u32).to_le_bytes(), start.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}

fn npy(descr: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\0".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), numbers].concat()
}

fn refused(members: &[Member], because: &str) {
    let message = refusal(&archive(members));
    assert!(message.contains(because), "{because}: {message}");
}

#[test]
fn archives_of_this_test_are_right() {
    let array = npy("'<f4'", "(2,)", &[0; 8]);
    assert_eq!(read_within_bounds(&archive(&[stored("a.npy", &array), deflated("b.npy", &array)])), Ok(4));
}

#[test]
fn members_are_where_and_what_they_say() {
    let a = stored("a.npy", &npy("'<f4'", "(2,)", &[0; 8]));
    refused(&[Member { flags: 1, ..a.clone() }], "encrypted");
    refused(&[Member { method: 99, ..a.clone() }], "method 99");
    refused(&[Member { size: 7, ..a.clone() }], "stored in");
    refused(&[Member { packed_size: 1 << 30, size: 1 << 30, ..a.clone() }], "beyond the end");
    refused(&[a.clone(), a.clone()], "two members");
    refused(&[Member { packed_size: a.size + 40, size: a.size + 40, ..a.clone() }, stored("b.npy", b"")], "overlap");
    for size in [1 << 40, 1 << 62, u64::MAX] {
        let extra = [b"\x01\0\x10\0".as_slice(), &size.to_le_bytes(), &size.to_le_bytes()].concat();
        let vast = Member { packed_size: u32::MAX, size: u32::MAX, extra, ..a.clone() };
        assert!(read_within_bounds(&archive(&[vast])).is_err(), "{size}");
    }
    refused(&[Member { size: u32::MAX, packed_size: u32::MAX, ..a.clone() }], "cut off");
    refused(&[stored("a.txt", b"x")], "no array");
}

#[test]
fn directories_are_not_believed() {
    let whole = archive(&[stored("a.npy", &npy("'<f4'", "(2,)", &[0; 8]))]);
    for at in whole.len() - 22..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut file = whole.clone();
            file[at] = value;
            let _ = read_within_bounds(&file);
        }
    }
    assert!(refusal(&end(Vec::new(), b"PK\x01\x02", u16::MAX)).contains("cut off"));
    assert!(refusal(&end(b"PK".to_vec(), &[0; 100], 2)).contains("damaged"));
}

#[test]
fn bombs_do_not_unfold() {
    // 64 MiB of zeros, which are read as such when they are said to be.
    let zeros = vec![0; 64 << 20];
    let bomb = deflated("a.npy", &zeros);
    assert!(bomb.packed.len() < 100_000);
    // One that says it is small is cut off there, one that says it is huge is not believed.
    let array = npy("'|u1'", "(100,)", &[0; 100]);
    let mut lying = deflated("a.npy", &[array.as_slice(), &zeros].concat());
    lying.size = array.len() as u32;
    refused(&[lying], "another size");
    let mut vast = deflated("a.npy", &npy("'|u1'", "(4000000000,)", &[0; 100]));
    vast.size = 4_000_000_100;
    assert!(read_within_bounds(&archive(&[vast])).is_err());
    // Many that are small by themselves: their sum counts.
    let names = ["a.npy", "b.npy", "c.npy", "d.npy", "e.npy"];
    let many: Vec<Member> = names.map(|name| Member { name, size: 1 << 30, ..deflated("x", &array) }).into();
    refused(&many, "4 GiB allowed");
    // A pickle that unfolds without end.
    refused(&[Member { name: "archive/data.pkl", ..bomb }], "data.pkl has");
}

#[test]
fn compressed_bytes_have_their_checksum() {
    let array = npy("'<f4'", "(2,)", &[0; 8]);
    refused(&[Member { crc: 1, ..deflated("a.npy", &array) }], "checksum");
    let mut broken = deflated("a.npy", &array);
    broken.packed[0] ^= 0xff;
    assert!(read_within_bounds(&archive(&[broken])).is_err());
}

#[test]
fn arrays_have_the_header_numpy_gives_them() {
    let refused = |bytes: &[u8]| refusal(&archive(&[stored("a.npy", bytes)]));
    assert!(refused(b"").contains("no array"));
    assert!(refused(b"\x93NUMPY\x01\0\xff\xff").contains("numpy allows"));
    assert!(refused(b"\x93NUMPY\x02\0\xff\xff\xff\xff").contains("numpy allows"));
    assert!(refused(b"\x93NUMPY\x01\0\xff\x20    ").contains("cut off"));
    for (descr, shape) in [
        ("'<f4'", "(3,)"),
        ("'<f4'", "(-1,)"),
        ("'<f4'", "(99999999999999999999,)"),
        ("'<f4'", "(4611686018427387904, 4611686018427387904)"),
        ("'<f4'", "(18446744073709551615, 1)"),
        ("'<f4'", "2"),
        ("'<f4'", "(x,)"),
    ] {
        refused(&npy(descr, shape, &[0; 8]));
    }
    refused(&npy("'<f4'", &format!("({})", "1,".repeat(65)), &[0; 8]));
    // Objects are pickles, structures are several numbers: neither is a weight.
    for descr in ["'|O'", "[('a', '<f4')]", "'<c8'", "'<U3'"] {
        assert_eq!(read_within_bounds(&archive(&[stored("a.npy", &npy(descr, "(1,)", &[0; 8]))])), Ok(0), "{descr}");
    }
}

#[test]
fn archives_of_torch_are_as_torch_writes_them() {
    let pickle = stored("a/data.pkl", b"\x80\x02}.");
    refused(&[pickle.clone(), stored("a/byteorder", b"middle")], "byte order `middle`");
    refused(&[pickle.clone(), stored("a/version", b"99\n")], "version `99`");
    refused(&[pickle.clone(), stored("a/constants.pkl", b"")], "TorchScript");
    refused(&[pickle], "no tensors");
}
