//! The members of a zip archive: stored or deflated, on one disk, with 64-bit sizes where there are any.
//!
//! Everything is found through the central directory (APPNOTE.TXT 4.3). Nothing is unfolded here.

use std::collections::BTreeMap;

use super::Parsed;
use super::bytes::Bytes;
use super::storage::Storage;

/// What the compressed members of an archive may unfold to, all together.
pub(super) const MAX_UNFOLDED: usize = 4 << 30;

const END: &[u8] = b"PK\x05\x06";
const END64_PLACE: &[u8] = b"PK\x06\x07";
const END64: &[u8] = b"PK\x06\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const STORED: u64 = 0;
const DEFLATED: u64 = 8;

/// Every member by name.
pub(super) fn members(file: &Bytes) -> Parsed<BTreeMap<String, Storage>> {
    let (mut at, count) = directory(file)?;
    let directory = at;
    let mut members = BTreeMap::new();
    let mut places = Vec::new();
    let mut unfolded = 0usize;
    for _ in 0..count {
        let entry = Entry::read(file, at)?;
        at += entry.length;
        let (start, storage) = entry.storage(file)?;
        if let Storage::Deflated { size, .. } = &storage {
            unfolded = unfolded.saturating_add(*size);
        }
        places.push((start, start + entry.packed));
        if members.insert(entry.name.clone(), storage).is_some() {
            return Err(format!("two members are called {}", entry.name));
        }
    }
    if unfolded > MAX_UNFOLDED {
        let limit = MAX_UNFOLDED >> 30;
        return Err(format!("its compressed members unfold to {unfolded} bytes, more than the {limit} GiB allowed"));
    }
    places.retain(|(start, end)| start < end);
    places.sort_unstable();
    let overlap = places.windows(2).any(|w| w[0].1 > w[1].0) || places.last().is_some_and(|p| p.1 > directory);
    if overlap { Err("its members overlap".into()) } else { Ok(members) }
}

/// Where the central directory starts, and how many entries it has.
fn directory(file: &[u8]) -> Parsed<(usize, usize)> {
    let first = file.len().saturating_sub(22 + usize::from(u16::MAX));
    let ends = (first..=file.len().saturating_sub(22)).rev();
    let whole = |at: usize| {
        file[at..].starts_with(END)
            && number(file, at + 20, 2).is_ok_and(|comment| at + 22 + comment as usize == file.len())
    };
    let end = ends.into_iter().find(|at| whole(*at)).ok_or("a zip archive without an end: it is cut off")?;
    let (disk, count, start) = (number(file, end + 4, 4)?, number(file, end + 10, 2)?, number(file, end + 16, 4)?);
    let place = end.checked_sub(20).filter(|at| file[*at..].starts_with(END64_PLACE));
    let Some(place) = place else {
        return if disk == 0 { Ok((start as usize, count as usize)) } else { Err("it spans several disks".into()) };
    };
    let end = index(number(file, place + 8, 8)?)?;
    signature(file, end, END64)?;
    Ok((index(number(file, end + 48, 8)?)?, index(number(file, end + 32, 8)?)?))
}

/// An entry of the central directory.
struct Entry {
    name: String,
    length: usize,
    method: u64,
    crc: u32,
    packed: usize,
    size: usize,
    local: usize,
}

impl Entry {
    fn read(file: &[u8], at: usize) -> Parsed<Self> {
        signature(file, at, ENTRY)?;
        let lengths = [28, 30, 32].map(|o| number(file, at + o, 2));
        let [name, extra, comment] = lengths;
        let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
        let text =
            std::str::from_utf8(part(file, at + 46, name)?).map_err(|_| "a member's name is no text")?.to_owned();
        if number(file, at + 8, 2)? & 1 != 0 {
            return Err(format!("{text} is encrypted"));
        }
        let mut long = Long::new(part(file, at + 46 + name, extra)?);
        // Their order in the extra field is this one.
        let size = long.or(number(file, at + 24, 4)?)?;
        let packed = long.or(number(file, at + 20, 4)?)?;
        let local = long.or(number(file, at + 42, 4)?)?;
        let (method, crc) = (number(file, at + 10, 2)?, number(file, at + 16, 4)? as u32);
        let length = 46 + name + extra + comment;
        Ok(Self { name: text, length, method, crc, packed, size, local })
    }

    /// Where its bytes start, and what they are.
    fn storage(&self, file: &Bytes) -> Parsed<(usize, Storage)> {
        signature(file, self.local, LOCAL)?;
        let (name, extra) = (number(file, self.local + 26, 2)?, number(file, self.local + 28, 2)?);
        let start = self.local + 30 + name as usize + extra as usize;
        let cut = || format!("{} reaches beyond the end of the file", self.name);
        let packed = file.piece(start, self.packed).ok_or_else(cut)?;
        let storage = match self.method {
            STORED if self.size == self.packed => Storage::Plain(packed),
            STORED => return Err(format!("{} is stored in {} bytes but has {}", self.name, self.packed, self.size)),
            DEFLATED => Storage::Deflated { packed, size: self.size, skip: 0, crc: self.crc },
            other => return Err(format!("{} is compressed by method {other}, wanted stored or deflated", self.name)),
        };
        Ok((start, storage))
    }
}

/// The 64-bit sizes of an entry's extra field, taken in order by those that did not fit into 32 bits.
struct Long<'a>(&'a [u8]);

impl<'a> Long<'a> {
    fn new(mut extra: &'a [u8]) -> Self {
        while let [a, b, c, d, rest @ ..] = extra {
            let size = usize::from(u16::from_le_bytes([*c, *d])).min(rest.len());
            if [*a, *b] == [1, 0] {
                return Self(&rest[..size]);
            }
            extra = &rest[size..];
        }
        Self(&[])
    }

    fn or(&mut self, short: u64) -> Parsed<usize> {
        if short != u64::from(u32::MAX) {
            return index(short);
        }
        let value = number(self.0, 0, 8)?;
        self.0 = &self.0[8..];
        index(value)
    }
}

fn part(file: &[u8], at: usize, count: usize) -> Parsed<&[u8]> {
    let end = at.checked_add(count).filter(|end| *end <= file.len());
    end.map(|end| &file[at..end]).ok_or_else(|| "a zip archive's directory is cut off".to_owned())
}

fn number(file: &[u8], at: usize, width: usize) -> Parsed<u64> {
    Ok(part(file, at, width)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

fn signature(file: &[u8], at: usize, wanted: &[u8]) -> Parsed<()> {
    if part(file, at, wanted.len())? == wanted { Ok(()) } else { Err("a zip archive's directory is damaged".into()) }
}

/// A place or size that lies in what memory can address, with room for the sums made of it.
fn index(value: u64) -> Parsed<usize> {
    let fits = usize::try_from(value).ok().filter(|v| *v <= usize::MAX / 4);
    fits.ok_or_else(|| format!("a zip archive announces {value} bytes"))
}
