//! One artifact: a folder of files with a manifest, published by a rename.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::file;
use crate::error::{Error, Result};

/// The manifest's file name. It is written last, so a folder that has it is complete.
pub const MANIFEST: &str = "manifest.json";

/// Version of the layout inside artifacts; part of no key, since keys name their own versions.
const SCHEMA: u32 = 1;

/// What an artifact is and what it was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Kind of artifact: "activation", "probe", "map", "score", "rendering".
    pub kind: String,
    /// Version of the layout.
    pub schema: u32,
    /// Digest of everything it was made from; the folder's name.
    pub key: Digest,
    /// cavern's version.
    pub version: String,
    /// Inputs and parameters, for people and for `inspect`.
    pub parameters: serde_json::Value,
    /// Name, length and digest of every file.
    pub files: Vec<FileEntry>,
}

/// A file of an artifact.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Digest of its content.
    pub digest: Digest,
}

impl Manifest {
    /// A manifest without files yet.
    pub fn new(kind: &str, key: &Digest, parameters: serde_json::Value) -> Self {
        Self {
            kind: kind.to_owned(),
            schema: SCHEMA,
            key: key.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            parameters,
            files: Vec::new(),
        }
    }
}

/// A published artifact.
#[derive(Debug, Clone)]
pub struct Artifact {
    folder: PathBuf,
    manifest: Manifest,
}

impl Artifact {
    /// Opens the artifact in a folder and checks the files' lengths.
    ///
    /// # Errors
    /// When the manifest cannot be read, or a file is missing or of another length.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let damaged = |path: &Path, problem: String| {
            Error::file(path, problem, format!("delete the folder {} and run again", folder.display()))
        };
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|e| damaged(&path, format!("not a manifest: {e}")))?;
        for entry in &manifest.files {
            let path = folder.join(&entry.name);
            let bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
            if bytes != entry.bytes {
                return Err(damaged(&path, format!("{bytes} bytes, but the manifest says {}", entry.bytes)));
            }
        }
        Ok(Self { folder: folder.to_path_buf(), manifest })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The path of one of its files.
    ///
    /// # Errors
    /// When the artifact has no such file.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let known = || self.manifest.files.iter().map(|f| f.name.as_str());
        if known().any(|k| k == name) {
            Ok(self.folder.join(name))
        } else {
            Err(Error::unknown("file of the artifact", name, known()))
        }
    }

    /// Reads one of its files and checks it against its digest.
    ///
    /// # Errors
    /// When it cannot be read, or its content is not what was published.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name)?;
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let wanted = self.manifest.files.iter().find(|f| f.name == name).map(|f| &f.digest);
        if wanted == Some(&Digest::of(&bytes)) {
            Ok(bytes)
        } else {
            let hint = format!("delete the folder {} and run again", self.folder.display());
            Err(Error::file(&path, "its content is not what was written", hint))
        }
    }

    /// Reads one of its files as JSON.
    ///
    /// # Errors
    /// When it cannot be read or does not have the form asked for.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.read(name)?;
        serde_json::from_slice(&bytes).map_err(|e| {
            let hint = format!("it was written by another version: delete {} and run again", self.folder.display());
            Error::file(&self.folder.join(name), e.to_string(), hint)
        })
    }
}

/// An artifact being made, in a temporary folder that vanishes unless it is published.
#[derive(Debug)]
pub struct Draft {
    folder: tempfile::TempDir,
    files: Vec<FileEntry>,
}

impl Draft {
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        // A store may be shared: its folders have the permissions of any new folder.
        builder.prefix("draft-").permissions(Permissions::from_mode(0o777));
        let folder = builder.tempdir_in(parent);
        Ok(Self { folder: folder.map_err(Error::io("create a folder in", parent))?, files: Vec::new() })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When it cannot be written (a full disk, say).
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        self.files.push(FileEntry { name: name.to_owned(), bytes: bytes.len() as u64, digest: Digest::of(bytes) });
        Ok(())
    }

    /// Adds a file with a value's JSON form.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write(name, &file::to_json(value)?)
    }

    pub(super) fn publish(self, folder: &Path, mut manifest: Manifest) -> Result<Artifact> {
        manifest.files = self.files;
        let path = self.folder.path().join(MANIFEST);
        std::fs::write(&path, file::to_json(&manifest)?).map_err(Error::io("write", &path))?;
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        std::fs::rename(self.folder.path(), folder).map_err(Error::io("publish", folder))?;
        // The folder has moved: there is nothing left for the guard to remove.
        let _moved = self.folder.keep();
        Ok(Artifact { folder: folder.to_path_buf(), manifest })
    }
}
