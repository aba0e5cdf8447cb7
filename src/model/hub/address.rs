//! `hf://OWNER/REPO[@REVISION][/FILE]`.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

const SCHEME: &str = "hf://";

/// Where a file is on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Who publishes it.
    pub(super) owner: String,
    /// The repository's name.
    pub(super) name: String,
    /// A branch, a tag or a commit; slashes are written `%2F`, as in the hub's own addresses.
    pub(super) revision: Option<String>,
    /// A file of the repository; `None`: its weights.
    pub(super) file: Option<String>,
}

/// Whether a path is an address of the hub.
pub fn is_address(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(SCHEME))
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// When a part is missing or has letters that no repository's name has.
    pub(super) fn parse(path: &Path) -> Result<Self> {
        let wrong = |problem: &str| Error::file(path, problem, "wanted hf://OWNER/REPO, hf://OWNER/REPO@REVISION/FILE");
        let text = path.to_str().and_then(|text| text.strip_prefix(SCHEME)).ok_or_else(|| wrong("is no address"))?;
        let mut parts = text.split('/');
        let owner = parts.next().unwrap_or_default();
        let repository = parts.next().ok_or_else(|| wrong("has no repository"))?;
        let (name, revision) = match repository.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (repository, None),
        };
        let file: Vec<&str> = parts.collect();
        let named = [owner, name].into_iter().chain(file.iter().copied()).all(is_name);
        let revision_is_one = revision.is_none_or(|r| r.split("%2F").all(is_name));
        if !named || !revision_is_one {
            return Err(wrong("has a part that no repository has"));
        }
        let file = (!file.is_empty()).then(|| file.join("/"));
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.map(str::to_owned), file })
    }

    /// The revision as the hub's addresses have it.
    pub(super) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// An error about this address.
    pub(super) fn refuse(&self, problem: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::file(Path::new(&self.to_string()), problem, hint)
    }
}

/// A part of a path: letters, digits, `.`, `_`, `-` and `+`, and none that leads elsewhere.
pub(super) fn is_name(part: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    !part.is_empty() && part != "." && part != ".." && part.chars().all(ok)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.owner, self.name)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["hf://a/b", "hf://timm/resnet50.a1_in1k", "hf://a/b@v1.0", "hf://a/b@refs%2Fpr%2F1/x/y.bin"] {
            assert!(is_address(Path::new(text)));
            assert_eq!(Address::parse(Path::new(text)).unwrap().to_string(), text);
        }
        let full = Address::parse(Path::new("hf://a/b@c/d/e.bin")).unwrap();
        assert_eq!((full.revision(), full.file.as_deref()), ("c", Some("d/e.bin")));
        assert_eq!(Address::parse(Path::new("hf://a/b")).unwrap().revision(), "main");
        assert!(!is_address(Path::new("weights/hf.bin")));
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_refused() {
        for text in [
            "hf://",
            "hf://a",
            "hf://a/",
            "hf://a/..",
            "hf://../b",
            "hf://a/b/../c",
            "hf://a/b@../c",
            "hf://a/b@",
            "hf://a/b c",
        ] {
            let error = Address::parse(Path::new(text)).unwrap_err();
            assert!(error.is_users_mistake() && error.to_string().contains("OWNER/REPO"), "{text}: {error}");
        }
    }
}
