//! Files that appear whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::error::{Error, Result};

/// Writes a file through a temporary neighbour and a rename, so that a reader never sees half of it.
/// Its permissions are those of any new file.
///
/// # Errors
/// When the folder cannot be created or the file not written.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_pieces(path, true, |file| file.write_all(bytes).map_err(Error::io("write", path)))
}

/// As [`write_atomic`], but never over a file that is there.
///
/// # Errors
/// When there is such a file, the folder cannot be created or the file not written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_pieces(path, false, |file| file.write_all(bytes).map_err(Error::io("write", path)))
}

/// As [`write_atomic`], of a file that is never in memory as a whole: `write` writes it piece by piece. `over` is whether
/// a file that is there may be written over.
///
/// # Errors
/// When there is a file that may not be, the folder cannot be created, or `write` fails.
pub fn write_pieces(path: &Path, over: bool, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut builder = tempfile::Builder::new();
    let file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
    let mut file = file.map_err(Error::io("write in", folder))?;
    write(file.as_file_mut())?;
    let persisted = if over { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map(drop).map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::file(path, "is there already, and is not written over", "give another name, or move it away")
        }
        _ => Error::io("write", path)(e.error),
    })
}

/// What tells whether a file was replaced or written to: its length and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl Stamp {
    /// Of a file as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(path: &Path) -> Result<Self> {
        let found = std::fs::metadata(path).map_err(Error::io("read", path))?;
        let modified = found.modified().map_err(Error::io("read", path))?;
        Ok(Self { path: path.to_path_buf(), bytes: found.len(), modified })
    }

    /// Whether the file is still the one that was looked at.
    ///
    /// # Errors
    /// When it is not, or no longer there.
    pub fn check(&self) -> Result<()> {
        if Self::of(&self.path)? == *self {
            return Ok(());
        }
        let hint = "run again: what was made of the one before is kept, under its own name";
        Err(Error::file(&self.path, "was replaced or written to since it was read", hint))
    }
}

/// The indented JSON form of a value, with a line end.
///
/// # Errors
/// When the value has no JSON form (a map with keys that are no strings, say).
pub fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|e| Error::Failure(format!("cannot be written as JSON: {e}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}
