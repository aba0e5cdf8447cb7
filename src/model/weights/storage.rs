//! Where a tensor's numbers lie: plainly in the file, or compressed by deflate.

use std::io::Read;

use super::Parsed;
use super::bytes::Bytes;

/// Bytes that deflate can make of one: a match of 258 bytes takes two bits at least.
const MAX_RATIO: usize = 1032;

/// Numbers of one or more tensors, as bytes.
#[derive(Debug, Clone)]
pub(super) enum Storage {
    /// As they are.
    Plain(Bytes),
    /// Compressed, with the size and the checksum they should have unfolded.
    Deflated {
        /// The compressed bytes.
        packed: Bytes,
        /// Bytes when unfolded.
        size: usize,
        /// How many of them come before the numbers.
        skip: usize,
        /// CRC-32 when unfolded.
        crc: u32,
    },
}

impl Storage {
    /// Bytes of the numbers, unfolded.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Deflated { size, skip, .. } => size - skip,
        }
    }

    /// All bytes; unfolding stops at the size that was announced.
    pub(super) fn bytes(&self) -> Parsed<Bytes> {
        match self {
            Self::Plain(bytes) => Ok(bytes.clone()),
            Self::Deflated { packed, size, skip, crc } => {
                let out = unfold(packed, size.saturating_add(1))?;
                if out.len() != *size {
                    return Err(format!("a compressed member unfolds to another size than the {size} bytes announced"));
                }
                let mut sum = flate2::Crc::new();
                sum.update(&out);
                if sum.sum() != *crc {
                    return Err("a compressed member's checksum is wrong: the file is damaged".into());
                }
                Bytes::new(out).piece(*skip, self.len()).ok_or_else(|| "truncated".to_owned())
            }
        }
    }

    /// Without its first bytes.
    pub(super) fn after(self, count: usize) -> Parsed<Self> {
        let cut = || format!("truncated: {count} bytes wanted");
        match self {
            Self::Plain(bytes) => {
                let left = bytes.len().checked_sub(count).ok_or_else(cut)?;
                Ok(Self::Plain(bytes.piece(count, left).ok_or_else(cut)?))
            }
            Self::Deflated { packed, size, skip, crc } => {
                let skip = skip.checked_add(count).filter(|skip| *skip <= size).ok_or_else(cut)?;
                Ok(Self::Deflated { packed, size, skip, crc })
            }
        }
    }

    /// The first bytes, `count` at most.
    pub(super) fn head(&self, count: usize) -> Parsed<Bytes> {
        match self {
            Self::Plain(bytes) => bytes.piece(0, count.min(bytes.len())).ok_or_else(|| "truncated".to_owned()),
            Self::Deflated { packed, .. } => Ok(Bytes::new(unfold(packed, count)?)),
        }
    }
}

/// Unfolds `most` bytes, or all there are if those are fewer.
fn unfold(packed: &[u8], most: usize) -> Parsed<Vec<u8>> {
    let mut out = Vec::with_capacity(most.min(packed.len().saturating_mul(MAX_RATIO)));
    let read = flate2::read::DeflateDecoder::new(packed).take(most as u64).read_to_end(&mut out);
    read.map_err(|e| format!("a compressed member cannot be unfolded: {e}"))?;
    Ok(out)
}
