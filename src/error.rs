//! The library's error type. Every message names the file, key or layer, says what was wrong, and how to mend it.

use std::path::{Path, PathBuf};

/// What can go wrong in cavern.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// What was attempted, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file the user gave is not what it should be.
    #[error("{}: {problem}\n  help: {hint}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A key of a study file has a wrong value, or does not exist.
    #[error("study key `{key}`: {problem}\n  help: {hint}")]
    Key {
        /// The key with its tables, as in `model.weights`.
        key: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A layer, concept, probe or other name that does not exist.
    #[error("no {kind} is called `{name}`\n  help: {}", near_hint(near))]
    Name {
        /// What was looked for: "layer", "model", "concept".
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The closest existing names, best first.
        near: Vec<String>,
    },
    /// The data cannot carry what the study asks of them.
    #[error("{subject}: {problem}\n  help: {hint}")]
    Data {
        /// The concept, layer or sample.
        subject: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The user asked to stop.
    #[error("interrupted: {doing}\n  help: {hint}")]
    Interrupted {
        /// What was going on, and how much of it is kept.
        doing: String,
        /// How to go on.
        hint: String,
    },
    /// A failure that is not the user's to mend.
    #[error("{0}")]
    Failure(String),
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// An [`Error::File`].
    pub fn file(path: &Path, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::File { path: path.to_path_buf(), problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Key`].
    pub fn key(key: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Key { key: key.into(), problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Data`].
    pub fn data(subject: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Data { subject: subject.into(), problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Name`] with the nearest of the `known` names.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Name { kind, name: name.to_owned(), near: nearest(name, known) }
    }

    /// Whether the user can mend this by changing what they gave (exit code 2), or the machine failed (exit code 1).
    pub fn is_users_mistake(&self) -> bool {
        match self {
            Self::File { .. } | Self::Key { .. } | Self::Name { .. } | Self::Data { .. } => true,
            Self::Io { source, .. } => {
                use std::io::ErrorKind as K;
                let mistakes =
                    [K::NotFound, K::NotADirectory, K::AlreadyExists, K::PermissionDenied, K::ReadOnlyFilesystem];
                mistakes.contains(&source.kind())
            }
            Self::Tensor(_) | Self::Interrupted { .. } | Self::Failure(_) => false,
        }
    }
}

/// Up to three of the `known` names, closest to `name` first; all of them where there are few.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = known.into_iter().map(|k| (strsim::jaro_winkler(name, k), k)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, k)| k.to_owned()).collect()
}

fn io_hint(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "\n  help: free some space, or choose another --out or --store, and run again: what is done is kept"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "\n  help: allow it, or give a place of your own: --out and --store say where results go"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "\n  help: a file lies where a folder is wanted: move it away, or give another place"
        }
        ErrorKind::IsADirectory => {
            "\n  help: a folder lies where a file is wanted: move it away, or give another place"
        }
        ErrorKind::NotFound => "\n  help: check the path: it, or a folder on the way, is not there",
        _ => "",
    }
}

pub(crate) fn near_hint(near: &[String]) -> String {
    match near {
        [] => "there is none to choose from".to_owned(),
        names => {
            format!("the nearest names are {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io("write", Path::new("runs/a"))(full);
        let message = error.to_string();
        assert!(message.contains("runs/a") && message.contains("free some space"), "{message}");
        assert!(!error.is_users_mistake());
    }

    #[test]
    fn what_the_system_refuses_names_the_cure() {
        use std::io::ErrorKind;
        let kinds = [
            (ErrorKind::FileTooLarge, "free some space"),
            (ErrorKind::ReadOnlyFilesystem, "--out"),
            (ErrorKind::NotADirectory, "move it away"),
            (ErrorKind::NotFound, "check the path"),
        ];
        for (kind, cure) in kinds {
            let message = Error::io("write", Path::new("runs/a"))(kind.into()).to_string();
            assert!(message.contains("runs/a") && message.contains(cure), "{message}");
        }
    }

    #[test]
    fn near_names_come_first() {
        assert_eq!(nearest("conf4", ["input", "conv1", "conv4"])[0], "conv4");
        assert!(Error::unknown("layer", "x", []).to_string().contains("none to choose from"));
    }
}
