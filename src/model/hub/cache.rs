//! The hub's cache on disk: `models--OWNER--REPO/`, with
//!
//! * `refs/REVISION`, a text: the commit a branch or tag was at;
//! * `snapshots/COMMIT/FILE`, a link to
//! * `blobs/DIGEST`, the file's bytes.

use std::path::{Path, PathBuf};

use super::address::Address;
use crate::model::weights::{USUAL_FILES, is_index, shards};

/// One repository's folder.
pub(super) struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// The folder of an address's repository; it need not exist.
    pub(super) fn new(cache: &Path, address: &Address) -> Self {
        Self { folder: cache.join(format!("models--{}--{}", address.owner, address.name)) }
    }

    /// The file an address means, if it is whole in the cache.
    pub(super) fn find(&self, address: &Address) -> Option<PathBuf> {
        let snapshot = self.snapshot(&self.commit(address.revision())?);
        let usual = || USUAL_FILES.iter().map(|name| (*name).to_owned()).collect();
        let wanted: Vec<String> = address.file.clone().map_or_else(usual, |file| vec![file]);
        wanted.iter().map(|name| snapshot.join(name)).find(|path| is_whole(path))
    }

    /// The commit a revision was at when it was fetched.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(self.reference(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|c| is_commit(c))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision.replace("%2F", "/"))
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }
}

/// Whether it is a commit's full name.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a file is there, and for an index all files it names.
fn is_whole(path: &Path) -> bool {
    path.is_file() && (!is_index(path) || shards(path).is_ok_and(|all| all.iter().all(|shard| shard.is_file())))
}

#[cfg(feature = "hub")]
mod write {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::{Repository, is_commit};
    use crate::error::{Error, Result};

    impl Repository {
        /// Where the bytes with this digest lie.
        pub(in crate::model::hub) fn blob(&self, digest: &str) -> Result<PathBuf> {
            let folder = self.folder.join("blobs");
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            Ok(folder.join(digest))
        }

        /// Lets a snapshot's file be the bytes with this digest.
        pub(in crate::model::hub) fn link(&self, commit: &str, file: &str, digest: &str) -> Result<PathBuf> {
            let path = self.snapshot(commit).join(file);
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            let target = format!("{}blobs/{digest}", "../".repeat(2 + file.matches('/').count()));
            let mut made = symlink(&target, &path);
            if made.as_ref().is_err_and(|e| e.kind() == ErrorKind::AlreadyExists) {
                // A link to bytes that are gone, or one that another process has just made.
                fs::remove_file(&path).map_err(Error::io("replace", &path))?;
                made = symlink(&target, &path);
            }
            made.map_err(Error::io("create", &path))?;
            Ok(path)
        }

        /// Remembers the commit of a branch or tag.
        pub(in crate::model::hub) fn remember(&self, revision: &str, commit: &str) -> Result<()> {
            if is_commit(revision) {
                return Ok(());
            }
            let path = self.reference(revision);
            crate::store::file::write_atomic(&path, commit.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(Path::new(text)).unwrap()
    }

    #[test]
    fn what_other_tools_fetched_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let folder = dir.path().join("models--o--r");
        let snapshot = folder.join("snapshots").join(commit);
        std::fs::create_dir_all(snapshot.join("sub")).unwrap();
        std::fs::create_dir_all(folder.join("refs/refs/pr")).unwrap();
        for file in ["pytorch_model.bin", "sub/x.bin"] {
            std::fs::write(snapshot.join(file), "x").unwrap();
        }
        for reference in ["main", "refs/pr/1"] {
            std::fs::write(folder.join("refs").join(reference), commit).unwrap();
        }
        let find = |text: &str| Repository::new(dir.path(), &address(text)).find(&address(text));
        for text in ["hf://o/r", "hf://o/r@main", "hf://o/r@refs%2Fpr%2F1", &format!("hf://o/r@{commit}")] {
            assert_eq!(find(text), Some(snapshot.join("pytorch_model.bin")), "{text}");
        }
        assert_eq!(find("hf://o/r/sub/x.bin"), Some(snapshot.join("sub/x.bin")));
        assert!(find("hf://o/other").is_none() && find("hf://o/r@v2").is_none() && find("hf://o/r/y.bin").is_none());
        // An index counts once its shards are there; safetensors come before pickles.
        let index = snapshot.join("model.safetensors.index.json");
        std::fs::write(&index, "{\"weight_map\": {\"a\": \"m-1.safetensors\"}}").unwrap();
        assert_eq!(find("hf://o/r"), Some(snapshot.join("pytorch_model.bin")));
        std::fs::write(snapshot.join("m-1.safetensors"), "x").unwrap();
        assert_eq!(find("hf://o/r"), Some(index));
    }
}
