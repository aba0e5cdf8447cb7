//! Weights on the Hugging Face hub: `hf://OWNER/REPO`, with `@REVISION` and `/FILE` where they matter.
//!
//! Files lie in the cache that other tools of the hub use too, in its layout, so that what one of them fetched is found.
//! What is in the cache is taken from there without asking anybody: a branch is looked up once. Only the feature `hub`
//! brings the client; addresses whose files are in the cache need no feature.
//!
//! `HF_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME` say where the cache is, `HF_ENDPOINT` which server is asked, `HF_TOKEN`
//! as whom, and `HF_HUB_OFFLINE=1` that none is.

mod address;
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use address::Address;
pub use address::is_address;
use cache::Repository;

/// The values of environment variables.
type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the cache is, and whether anybody may be asked for what it lacks.
#[derive(Debug, Clone)]
struct Settings {
    /// Folder of all repositories.
    cache: PathBuf,
    offline: bool,
}

impl Settings {
    fn of(variable: Variables<'_>) -> Result<Self> {
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let user = || folder("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
        let home = || folder("HF_HOME").or_else(|| Some(user()?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")));
        let unknown =
            || Error::key("HF_HUB_CACHE", "there is no home folder for the hub's cache", "set it to a folder");
        let is_yes = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        Ok(Self { cache: cache.ok_or_else(unknown)?, offline: variable("HF_HUB_OFFLINE").is_some_and(is_yes) })
    }
}

/// The file or folder a path means: itself, or for an address of the hub the file in the cache, fetched if it has to be.
///
/// # Errors
/// When the address is not right, its file does not exist, or it cannot be fetched.
pub fn local(path: &Path) -> Result<Cow<'_, Path>> {
    if !is_address(path) {
        return Ok(Cow::Borrowed(path));
    }
    resolve(&Address::parse(path)?, &Settings::of(&environment)?, fetch).map(Cow::Owned)
}

/// The commit a file in the cache is of.
pub(super) fn commit_of(path: &Path) -> Option<String> {
    let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.find(|part| part == "snapshots").and_then(|_| parts.next()).filter(|commit| cache::is_commit(commit))
}

fn resolve(
    address: &Address,
    settings: &Settings,
    fetch: impl FnOnce(&Address, &Repository) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let repository = Repository::new(&settings.cache, address);
    match repository.find(address) {
        Some(found) => Ok(found),
        None if settings.offline => {
            let problem = format!("is not in the cache {}", settings.cache.display());
            Err(address.refuse(problem, "unset HF_HUB_OFFLINE to fetch it, or give the path of a file"))
        }
        None => fetch(address, &repository),
    }
}

#[cfg(feature = "hub")]
fn fetch(address: &Address, repository: &Repository) -> Result<PathBuf> {
    fetch::fetch(address, &client::Server::of(&environment), repository)
}

#[cfg(not(feature = "hub"))]
fn fetch(address: &Address, _: &Repository) -> Result<PathBuf> {
    let hint = "build it with --features hub, or fetch the file yourself and give its path";
    Err(address.refuse("is not in the hub's cache, and this cavern cannot fetch it", hint))
}

#[cfg(test)]
mod of_environment {
    use super::*;

    fn cache(set: &[(&str, &str)]) -> PathBuf {
        Settings::of(&|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).unwrap().cache
    }

    #[test]
    fn the_cache_is_where_other_tools_have_it() {
        let all = [("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(cache(&all), Path::new("/c"));
        assert_eq!(cache(&all[1..]), Path::new("/h/hub"));
        assert_eq!(cache(&all[2..]), Path::new("/x/huggingface/hub"));
        assert!(cache(&[]).ends_with(".cache/huggingface/hub"));
        for (value, offline) in [("1", true), ("ON", true), ("0", false), ("no", false)] {
            let found = Settings::of(&|name| (name == "HF_HUB_OFFLINE").then(|| value.to_owned())).unwrap();
            assert_eq!(found.offline, offline, "{value}");
        }
    }

    #[test]
    fn the_commit_stands_in_the_path() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let path = format!("/c/models--o--r/snapshots/{commit}/onnx/model.safetensors");
        assert_eq!(commit_of(Path::new(&path)).as_deref(), Some(commit));
        assert_eq!(commit_of(Path::new("/c/snapshots/x/model.safetensors")), None);
    }

    #[test]
    fn a_path_is_itself() {
        assert_eq!(local(Path::new("a/b.pth")).unwrap(), Path::new("a/b.pth"));
        assert!(local(Path::new("hf://a")).unwrap_err().is_users_mistake());
    }
}
