//! Digests that name artifacts by what they were made from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A blake3 digest, printed as hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of raw bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }

    /// The digest of a file's bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        hasher.update_reader(file).map_err(Error::io("read", path))?;
        Ok(Self(hasher.finalize().to_hex().to_string()))
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Builds a [`Digest`] from named fields; names and lengths are hashed too, so that no two lists of fields collide.
#[derive(Debug)]
pub struct DigestBuilder(blake3::Hasher);

impl DigestBuilder {
    /// Starts a digest of the given kind of thing, such as "activation v1".
    pub fn new(kind: &str) -> Self {
        Self(blake3::Hasher::new()).field("kind", kind.as_bytes())
    }

    /// Adds a named field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// Adds a named field in its JSON form; structs keep their field order, so the form is stable.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn json(self, name: &str, value: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_vec(value).map_err(|e| Error::Failure(format!("cannot describe {name}: {e}")))?;
        Ok(self.field(name, text))
    }

    /// The digest, as the last step of a chain that can fail.
    ///
    /// # Errors
    /// Never; it spares the caller a wrapping.
    pub fn finish_ok(self) -> Result<Digest> {
        Ok(self.finish())
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().to_hex().to_string())
    }
}
