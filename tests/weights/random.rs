//! Valid files with a few bytes changed, at random.

use proptest::prelude::*;

use super::{goldens, read_within_bounds};

/// A change of a file.
#[derive(Debug, Clone)]
enum Change {
    /// Bytes at a place become others.
    Set(usize, Vec<u8>),
    /// Bytes go away.
    Remove(usize, usize),
    /// Bytes come again elsewhere.
    Repeat(usize, usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let edges = prop::sample::select(vec![vec![0xff; 8], vec![0xff; 4], vec![0; 4], vec![0x7f], vec![0x80, 0, 0, 0]]);
    let change = prop_oneof![
        4 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Change::Set(at, bytes)),
        2 => (any::<usize>(), edges).prop_map(|(at, bytes)| Change::Set(at, bytes)),
        1 => (any::<usize>(), 1usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<usize>(), 1usize..80, any::<usize>()).prop_map(|(from, count, to)| Change::Repeat(from, count, to)),
    ];
    prop::collection::vec(change, 1..6)
}

fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    for change in changes {
        let length = file.len().max(1);
        let piece =
            |from: usize, count: usize| (from % length).min(file.len())..(from % length + count).min(file.len());
        match change {
            Change::Set(at, bytes) => {
                let range = piece(*at, bytes.len());
                let count = range.len();
                file[range].copy_from_slice(&bytes[..count]);
            }
            Change::Remove(at, count) => drop(file.drain(piece(*at, *count))),
            Change::Repeat(from, count, to) => {
                let again = file[piece(*from, *count)].to_vec();
                let to = to % length;
                file.splice(to..to, again);
            }
        }
    }
    file
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn changed_files_are_read_or_refused(which in any::<prop::sample::Index>(), changes in changes()) {
        let goldens = goldens();
        let (_, bytes) = which.get(&goldens);
        let _ = read_within_bounds(&changed(bytes, &changes));
    }

    #[test]
    fn anything_is_read_or_refused(
        start in prop::sample::select(vec![b"PK\x03\x04".to_vec(), b"\x80\x02".to_vec(), b"\x10\0\0\0\0\0\0\0{".to_vec(), Vec::new()]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = read_within_bounds(&[start, rest].concat());
    }
}
