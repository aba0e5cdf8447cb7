//! Files that appear whole or not at all.

use std::fs::Permissions;
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
    let persisted = neighbour(path, bytes)?.persist(path);
    persisted.map(drop).map_err(|e| Error::io("write", path)(e.error))
}

/// As [`write_atomic`], but never over a file that is there.
///
/// # Errors
/// When there is such a file, the folder cannot be created or the file not written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let persisted = neighbour(path, bytes)?.persist_noclobber(path);
    persisted.map(drop).map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::file(path, "is there already, and is not written over", "give another name, or move it away")
        }
        _ => Error::io("write", path)(e.error),
    })
}

/// A temporary file with these bytes in the folder of `path`.
fn neighbour(path: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut builder = tempfile::Builder::new();
    let file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
    let mut file = file.map_err(Error::io("write in", folder))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    Ok(file)
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
