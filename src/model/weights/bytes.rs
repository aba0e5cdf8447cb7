//! Bytes of a file that stay where they are, and pieces of them.

use std::fmt;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};

/// A piece of a file that is mapped into memory, or of bytes the program brings along.
#[derive(Clone)]
pub(super) struct Bytes {
    whole: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// Maps a file: pages are read when they are looked at, and take no memory of the process.
    pub(super) fn map(path: &Path) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            let hint = "give the weights file by --set model.weights=PATH (or --weights PATH)";
            Error::file(path, format!("cannot be read: {e}"), hint)
        };
        let file = File::open(path).map_err(cannot)?;
        if !file.metadata().map_err(cannot)?.is_file() {
            return Err(Error::file(path, "is no regular file", "copy the weights to a file first"));
        }
        // SAFETY: the map is read only. Should another process shorten the file meanwhile, the system ends this one at
        // the next look beyond its end; should it write to it, numbers change, as they would between two reads.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(cannot)?;
        Ok(Self::new(map))
    }

    /// Bytes in memory.
    pub(super) fn new(whole: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..whole.as_ref().len();
        Self { whole: Arc::new(whole), range }
    }

    /// `count` bytes from `start` on; `None` where they are not all there.
    pub(super) fn piece(&self, start: usize, count: usize) -> Option<Self> {
        let end = start.checked_add(count).filter(|end| *end <= self.len())?;
        let range = self.range.start + start..self.range.start + end;
        Some(Self { whole: self.whole.clone(), range })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.whole).as_ref()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_the_file_read() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0usize, 1, 5000] {
            let path = dir.path().join("f");
            std::fs::write(&path, (0..size).map(|i| i as u8).collect::<Vec<_>>()).unwrap();
            let mapped = Bytes::map(&path).unwrap();
            assert_eq!(*mapped, *std::fs::read(&path).unwrap());
            assert_eq!(mapped.piece(size / 2, size / 4).as_deref(), Some(&mapped[size / 2..size / 2 + size / 4]));
            assert!(mapped.piece(size, 1).is_none() && mapped.piece(1, usize::MAX).is_none());
        }
        assert!(Bytes::map(dir.path()).unwrap_err().is_users_mistake());
    }
}
