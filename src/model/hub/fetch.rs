//! Files from the hub into the cache: resumed where they were broken off, and taken only if their digest is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use ureq::http::StatusCode;

use super::address::Address;
use super::cache::Repository;
use super::client::{Client, Description, Server};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::weights::{USUAL_FILES, shards};
use crate::terminal;

/// Times a download that breaks off is taken up again.
const ATTEMPTS: usize = 4;

/// Fetches what an address means, and the `config.json` beside it. Everything is of the commit of the first answer, so that
/// a push in between mixes nothing.
pub(super) fn fetch(address: &Address, server: &Server, repository: &Repository) -> Result<PathBuf> {
    let client = Client::new(server, address);
    let fetch = Fetch { client: &client, address, repository };
    let (name, found) = fetch.choose()?;
    let path = fetch.file(&name, &found)?;
    if name.ends_with(".index.json") {
        for shard in shards(&path)? {
            let file = shard.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
            fetch.beside(&name, &file, &found.commit, true)?;
        }
    }
    fetch.beside(&name, "config.json", &found.commit, false)?;
    repository.remember(address.revision(), &found.commit)?;
    tracing::info!("{address}: commit {}, {name} has the digest {}", found.commit, found.digest);
    Ok(path)
}

struct Fetch<'a> {
    client: &'a Client<'a>,
    address: &'a Address,
    repository: &'a Repository,
}

impl Fetch<'_> {
    /// The address's file, or the best of the usual ones.
    fn choose(&self) -> Result<(String, Description)> {
        let usual: Vec<&str> = self.address.file.as_deref().map_or_else(|| USUAL_FILES.to_vec(), |file| vec![file]);
        for name in &usual {
            if let Some(found) = self.client.describe(self.address.revision(), name)? {
                return Ok(((*name).to_owned(), found));
            }
        }
        let hint = "look at its list of files, and name one: hf://OWNER/REPO/FILE";
        Err(self.address.refuse(format!("its repository has no {}", usual.join(", no ")), hint))
    }

    /// Fetches a file that lies beside another.
    fn beside(&self, name: &str, file: &str, commit: &str, needed: bool) -> Result<()> {
        let file = name.rsplit_once('/').map_or_else(|| file.to_owned(), |(folder, _)| format!("{folder}/{file}"));
        match self.client.describe(commit, &file)? {
            Some(found) => self.file(&file, &found).map(drop),
            None if !needed => Ok(()),
            None => {
                Err(self.address.refuse(format!("its index names {file}, which is not there"), "name another file"))
            }
        }
    }

    /// Fetches a file, unless the cache has its bytes.
    fn file(&self, name: &str, found: &Description) -> Result<PathBuf> {
        let blob = self.repository.blob(&found.digest)?;
        let is_there = fs::metadata(&blob).is_ok_and(|m| found.size.is_none_or(|size| m.len() == size));
        if !is_there {
            self.blob(name, found, &blob)?;
        }
        self.repository.link(&found.commit, name, &found.digest)
    }

    /// Fetches bytes to a file of their own, which gets its name when their digest is right.
    fn blob(&self, name: &str, found: &Description, blob: &Path) -> Result<()> {
        let part = blob.with_added_extension("incomplete");
        let file = OpenOptions::new().create(true).append(true).read(true).open(&part);
        let mut file = file.map_err(Error::io("write", &part))?;
        // Another process that fetches the same file is waited for.
        file.lock().map_err(Error::io("lock", &part))?;
        if fs::metadata(blob).is_ok() && fs::metadata(&part).is_err() {
            return Ok(());
        }
        let bar = bar(name, found.size);
        let mut attempt = 1;
        while let Err(broken) = self.more(found, &mut file, &part, &bar)? {
            if attempt == ATTEMPTS {
                let hint = "run again: what has been fetched is kept";
                return Err(self.address.refuse(format!("{name} broke off: {broken}"), hint));
            }
            attempt += 1;
        }
        bar.finish_and_clear();
        if let Some(problem) = wrong(&part, found).map_err(Error::io("read", &part))? {
            fs::remove_file(&part).map_err(Error::io("remove", &part))?;
            let hint = "it was thrown away: run again, and if that does not help ask another server by HF_ENDPOINT";
            return Err(self.address.refuse(format!("{name} {problem}"), hint));
        }
        fs::rename(&part, blob).map_err(Error::io("rename", &part))
    }

    /// Adds to a file what it lacks. The inner error is the connection's.
    fn more(&self, found: &Description, file: &mut File, part: &Path, bar: &ProgressBar) -> Result<io::Result<()>> {
        let cannot = || Error::io("write", part);
        let mut have = file.metadata().map_err(cannot())?.len();
        if have > 0 && found.size == Some(have) {
            return Ok(Ok(()));
        }
        let answer = self.client.bytes(found, have)?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            // The whole file, or nothing beyond what there is: begin again.
            file.set_len(0).map_err(cannot())?;
            let is_whole = answer.status() == StatusCode::OK;
            if !is_whole {
                return Ok(Err(io::Error::other("the server has no more of it")));
            }
            have = 0;
        }
        bar.set_position(have);
        let most = found.size.map_or(u64::MAX, |size| size.saturating_sub(have) + 1);
        let mut body = answer.into_body().into_reader().take(most);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) => return Ok(Err(e)),
            };
            file.write_all(&buffer[..count]).map_err(cannot())?;
            interrupt::check("fetching weights, of which what has come is kept")?;
            bar.inc(count as u64);
        }
        file.flush().map_err(cannot())?;
        let now = file.metadata().map_err(cannot())?.len();
        let is_short = found.size.is_some_and(|size| now < size);
        Ok(if is_short { Err(io::Error::other("the connection was closed")) } else { Ok(()) })
    }
}

/// What is wrong with a file's size or digest.
fn wrong(path: &Path, found: &Description) -> io::Result<Option<String>> {
    let size = fs::metadata(path)?.len();
    if let Some(wanted) = found.size.filter(|wanted| *wanted != size) {
        return Ok(Some(format!("has {size} bytes, the hub says {wanted}")));
    }
    let mut context = match found.digest.len() {
        64 => Context::new(&SHA256),
        40 => {
            // The name git gives to a file's content.
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {size}\0").as_bytes());
            context
        }
        _ => return Ok(None),
    };
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => context.update(&buffer[..count]),
        }
    }
    let digest = hexadecimal(context.finish().as_ref());
    let differs = !digest.eq_ignore_ascii_case(&found.digest);
    Ok(differs.then(|| format!("has the digest {digest}, the hub says {}", found.digest)))
}

/// Bytes as hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// A bar on a terminal; a line elsewhere.
fn bar(name: &str, size: Option<u64>) -> ProgressBar {
    if !terminal::draws_bars() {
        let size = size.map_or(String::new(), |size| format!(" ({:.1} MB)", size as f64 / 1e6));
        tracing::info!("fetching {name}{size}");
        return ProgressBar::hidden();
    }
    let bar = terminal::bar("{prefix} {bar:20} {bytes}/{total_bytes} {bytes_per_sec} {eta} left", size);
    bar.set_prefix(name.to_owned());
    bar
}
