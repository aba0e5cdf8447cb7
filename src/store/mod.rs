//! Where results live: immutable, content-addressed, atomically published artifacts.
//!
//! ```text
//! STORE/
//!   lock                          held while a study writes
//!   tmp/                          drafts; left over only by a killed run, removed by the next
//!   activation/3f/3f9a…/          one artifact: a folder named by the digest of what it was made from
//!     manifest.json               kind, schema version, inputs, parameters, length and digest of every file
//!     activation.safetensors
//!   probe/… map/… score/… rendering/…
//! ```

pub mod arrays;
pub mod artifact;
pub mod digest;
pub mod file;
pub mod nan;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use artifact::{Artifact, Draft, Manifest};
use digest::Digest;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::interrupt;

/// Between two looks at a lock that another run holds.
const AGAIN: Duration = Duration::from_millis(200);

/// A folder of artifacts, locked for the time this value lives.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens the store at `root`, creating it if needed, and waits for another run on it to end.
    ///
    /// `waiting` is called once before a wait, so that a person can be told.
    ///
    /// # Errors
    /// When the folder cannot be created, written or locked.
    pub fn open(root: &Path, waiting: impl FnOnce()) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(Error::io("create the store", root))?;
        let path = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::io("open", &path))?;
        if !is_locked(&lock, &path)? {
            waiting();
            // Asked again and again rather than once for all, so that Ctrl-C ends the wait.
            while !is_locked(&lock, &path)? {
                interrupt::check("waiting for another run")?;
                std::thread::sleep(AGAIN);
            }
        }
        // With the lock held, whatever lies in tmp was left by a run that was killed.
        let drafts = root.join("tmp");
        if drafts.exists() {
            std::fs::remove_dir_all(&drafts).map_err(Error::io("clear", &drafts))?;
        }
        std::fs::create_dir_all(&drafts).map_err(Error::io("create", &drafts))?;
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the artifact has been published.
    pub fn has(&self, kind: &str, key: &Digest) -> bool {
        self.folder(kind, key).join(artifact::MANIFEST).is_file()
    }

    /// The artifact with this key, or `None` if there is none yet.
    ///
    /// # Errors
    /// When the artifact is there and damaged: a file is missing or has another length than its manifest says.
    pub fn find(&self, kind: &str, key: &Digest) -> Result<Option<Artifact>> {
        let found = self.open_artifact(kind, key)?;
        if let Some(found) = &found {
            tracing::debug!("read {kind} {}{}", key.short(), facts(found));
        }
        Ok(found)
    }

    /// The artifact with this key, which an earlier stage must have made.
    ///
    /// # Errors
    /// When it is missing (`stage` names the command that makes it) or damaged.
    pub fn get(&self, kind: &str, key: &Digest, stage: &str) -> Result<Artifact> {
        self.find(kind, key)?.ok_or_else(|| self.lacks(kind, key, stage))
    }

    /// Several artifacts that are parts of one thing, in order.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn get_all(&self, kind: &str, keys: &[Digest], stage: &str) -> Result<Vec<Artifact>> {
        let get = |key: &Digest| self.open_artifact(kind, key)?.ok_or_else(|| self.lacks(kind, key, stage));
        let all = keys.iter().map(get).collect::<Result<Vec<_>>>()?;
        if let Some(first) = all.first() {
            tracing::debug!("read {} of {kind} from {} on{}", all.len(), first.manifest().key.short(), facts(first));
        }
        Ok(all)
    }

    fn open_artifact(&self, kind: &str, key: &Digest) -> Result<Option<Artifact>> {
        if self.has(kind, key) { Artifact::open(&self.folder(kind, key)).map(Some) } else { Ok(None) }
    }

    fn lacks(&self, kind: &str, key: &Digest, stage: &str) -> Error {
        Error::data(
            format!("{kind} {}", key.short()),
            format!("not in the store {}", self.root.display()),
            format!("run `cavern {stage} STUDY` with the same --out, --store and --set first, or `cavern run STUDY`"),
        )
    }

    /// The artifact with this key; where there is none, `make` fills a draft that is then published at once.
    ///
    /// # Errors
    /// When `make` fails (nothing is published then), or the disk does.
    pub fn get_or_make(
        &self,
        kind: &str,
        key: &Digest,
        parameters: Value,
        make: impl FnOnce(&mut Draft) -> Result<()>,
    ) -> Result<Artifact> {
        if let Some(found) = self.find(kind, key)? {
            return Ok(found);
        }
        let started = Instant::now();
        let mut draft = Draft::new(&self.root.join("tmp"))?;
        make(&mut draft)?;
        let made = draft.publish(&self.folder(kind, key), Manifest::new(kind, key, parameters))?;
        tracing::debug!("made {kind} {} in {:.2} s{}", key.short(), started.elapsed().as_secs_f64(), facts(&made));
        Ok(made)
    }

    fn folder(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join(kind).join(&key.as_str()[..2]).join(key.as_str())
    }
}

/// Tries to take the lock.
fn is_locked(lock: &File, path: &Path) -> Result<bool> {
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", path)(e)),
    }
}

/// What an artifact is of, as far as it fits a line.
fn facts(artifact: &Artifact) -> String {
    let parameters = artifact.manifest().parameters.as_object().into_iter().flatten();
    let plain = parameters.filter_map(|(name, value)| match value {
        Value::String(text) => Some(format!("{name} {text}")),
        Value::Number(number) => Some(format!("{name} {number}")),
        _ => None,
    });
    let plain = plain.collect::<Vec<_>>().join(", ");
    if plain.is_empty() { plain } else { format!(": {plain}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use digest::DigestBuilder;

    fn key(name: &str) -> Digest {
        DigestBuilder::new("test").field("name", name).finish()
    }

    #[test]
    fn an_artifact_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        for round in 0..2 {
            let made = store.get_or_make("thing", &key("a"), serde_json::json!({"k": 1}), |draft| {
                assert_eq!(round, 0, "a published artifact is not made again");
                draft.write("data.bin", b"hello")
            });
            assert_eq!(std::fs::read(made.unwrap().file("data.bin").unwrap()).unwrap(), b"hello");
        }
    }

    #[test]
    fn a_failed_draft_publishes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        let result = store.get_or_make("thing", &key("a"), Value::Null, |draft| {
            draft.write("data.bin", b"half")?;
            Err(Error::Failure("stopped".into()))
        });
        assert!(result.is_err());
        assert!(!store.has("thing", &key("a")));
    }

    #[test]
    fn damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        let made = store.get_or_make("thing", &key("a"), Value::Null, |d| d.write("data.bin", b"hello"));
        std::fs::write(made.unwrap().file("data.bin").unwrap(), b"hell").unwrap();
        let message = store.find("thing", &key("a")).unwrap_err().to_string();
        assert!(message.contains("4 bytes") && message.contains('5'), "{message}");
    }

    #[test]
    fn a_missing_artifact_names_the_stage_that_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), || ()).unwrap();
        let message = store.get("probe", &key("a"), "fit").unwrap_err().to_string();
        assert!(message.contains("cavern fit STUDY"), "{message}");
    }

    #[test]
    fn left_over_drafts_are_cleared() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tmp/old")).unwrap();
        let _store = Store::open(dir.path(), || ()).unwrap();
        assert!(!dir.path().join("tmp/old").exists());
    }
}
