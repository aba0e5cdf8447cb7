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

/// What the environment says about the hub.
#[derive(Debug, Clone)]
struct Settings {
    /// Folder of all repositories.
    cache: PathBuf,
    /// Server, without a slash at the end.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    endpoint: String,
    /// Sent to the server, and to no other.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    token: Option<String>,
    offline: bool,
}

impl Settings {
    fn from_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = || variable("HF_HOME").map(PathBuf::from);
        let user = || {
            let folder = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let folder = folder.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(folder.join("huggingface"))
        };
        let cache = variable("HF_HUB_CACHE").map(PathBuf::from);
        let cache = cache.or_else(|| Some(home().or_else(user)?.join("hub")));
        let unknown =
            || Error::key("HF_HUB_CACHE", "there is no home folder for the hub's cache", "set it to a folder");
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let offline =
            variable("HF_HUB_OFFLINE").is_some_and(|v| ["1", "true", "yes", "on"].contains(&v.to_lowercase().as_str()));
        Ok(Self {
            cache: cache.ok_or_else(unknown)?,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: variable("HF_TOKEN"),
            offline,
        })
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
    resolve(&Address::parse(path)?, &Settings::from_environment()?).map(Cow::Owned)
}

fn resolve(address: &Address, settings: &Settings) -> Result<PathBuf> {
    let repository = Repository::new(&settings.cache, address);
    match repository.find(address) {
        Some(found) => Ok(found),
        None if settings.offline => {
            let problem = format!("is not in the cache {}", settings.cache.display());
            Err(address.refuse(problem, "unset HF_HUB_OFFLINE to fetch it, or give the path of a file"))
        }
        None => fetch_missing(address, settings, &repository),
    }
}

#[cfg(feature = "hub")]
use fetch::fetch as fetch_missing;

#[cfg(not(feature = "hub"))]
fn fetch_missing(address: &Address, settings: &Settings, _: &Repository) -> Result<PathBuf> {
    let problem = format!("is not in the cache {}, and this cavern cannot fetch it", settings.cache.display());
    Err(address.refuse(problem, "build it with --features hub, or fetch the file yourself and give its path"))
}
