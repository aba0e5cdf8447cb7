//! The hub's protocol: `GET /OWNER/REPO/resolve/REVISION/FILE`, whose answer says which commit and digest a file has, and
//! may lead to another host for its bytes.

use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::Variables;
use super::address::{Address, is_name};
use super::cache::is_commit;
use crate::error::{Error, Result};

const REDIRECTS: usize = 6;

/// A file as the hub describes it.
#[derive(Debug, Clone)]
pub(super) struct Description {
    /// The commit it is of.
    pub(super) commit: String,
    /// SHA-256 of large files, git's SHA-1 of small ones, both as hexadecimal digits.
    pub(super) digest: String,
    /// Bytes, where the hub says it.
    pub(super) size: Option<u64>,
    /// Where the bytes are.
    url: String,
}

/// The server that is asked.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its address, without a slash at the end.
    pub(super) endpoint: String,
    /// Sent to it, and to no other.
    pub(super) token: Option<String>,
}

impl Server {
    /// `HF_ENDPOINT` and `HF_TOKEN`.
    pub(super) fn of(variable: Variables<'_>) -> Self {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), token: variable("HF_TOKEN") }
    }
}

/// A connection to the hub.
pub(super) struct Client<'s> {
    server: &'s Server,
    address: &'s Address,
    agent: Agent,
}

impl<'s> Client<'s> {
    pub(super) fn new(server: &'s Server, address: &'s Address) -> Self {
        // Redirects are followed here, so that the token stays with its server.
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("cavern/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .timeout_per_read(Some(Duration::from_mins(1)));
        Self { server, address, agent: config.build().new_agent() }
    }

    /// Asks for a file of a revision; `None` where the repository has none of that name.
    pub(super) fn describe(&self, revision: &str, file: &str) -> Result<Option<Description>> {
        let Server { endpoint, .. } = self.server;
        let Address { owner, name, .. } = self.address;
        let mut url = format!("{endpoint}/{owner}/{name}/resolve/{revision}/{file}");
        for _ in 0..REDIRECTS {
            let answer = self.send(self.agent.head(&url), &url, None)?;
            match self.redirect(&url, &answer)? {
                // On the same server: a repository that was renamed, or the place of a small file.
                Some(next) if text(answer.headers(), "location").is_some_and(|to| to.starts_with('/')) => url = next,
                Some(next) => return self.description(answer.headers(), next).map(Some),
                None if answer.status().is_success() => return self.description(answer.headers(), url).map(Some),
                None if is_absent(&answer) => return Ok(None),
                None => return Err(self.refusal(&answer)),
            }
        }
        Err(self.address.refuse("is redirected without end", "check HF_ENDPOINT"))
    }

    fn description(&self, headers: &HeaderMap, url: String) -> Result<Description> {
        let strange =
            |what: &str| self.address.refuse(format!("the server's answer has no {what}"), "check HF_ENDPOINT");
        let commit = text(headers, "x-repo-commit").filter(|c| is_commit(c)).ok_or_else(|| strange("commit"))?;
        let digest = digest(headers).ok_or_else(|| strange("digest"))?;
        let linked = text(headers, "x-linked-size");
        let own = || if headers.contains_key("location") { None } else { text(headers, "content-length") };
        let size = linked.or_else(own).and_then(|size| size.parse().ok());
        Ok(Description { commit: commit.to_owned(), digest: digest.to_owned(), size, url })
    }

    /// Asks for the bytes from `start` on.
    pub(super) fn bytes(&self, file: &Description, start: u64) -> Result<Response<Body>> {
        let mut url = file.url.clone();
        for _ in 0..REDIRECTS {
            let answer = self.send(self.agent.get(&url), &url, (start > 0).then_some(start))?;
            match self.redirect(&url, &answer)? {
                Some(next) => url = next,
                None if answer.status().is_success() => return Ok(answer),
                None if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE => return Ok(answer),
                None => return Err(self.refusal(&answer)),
            }
        }
        Err(self.address.refuse("is redirected without end", "check HF_ENDPOINT"))
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
        url: &str,
        start: Option<u64>,
    ) -> Result<Response<Body>> {
        let mut request = request;
        if let Some(start) = start {
            request = request.header("Range", format!("bytes={start}-"));
        }
        let at_home = origin(url).is_some() && origin(url) == origin(&self.server.endpoint);
        if let Some(token) = self.server.token.as_ref().filter(|_| at_home) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|e| {
            let hint = "check the network; HF_ENDPOINT names another server, and a local path needs none";
            self.address.refuse(format!("{} does not answer: {e}", origin(url).unwrap_or(url)), hint)
        })
    }

    /// Where an answer leads.
    fn redirect(&self, from: &str, answer: &Response<Body>) -> Result<Option<String>> {
        if !answer.status().is_redirection() {
            return Ok(None);
        }
        let to = text(answer.headers(), "location").unwrap_or_default();
        let url = if to.starts_with('/') { format!("{}{to}", origin(from).unwrap_or_default()) } else { to.to_owned() };
        match origin(&url) {
            Some(_) => Ok(Some(url)),
            None => {
                Err(self.address.refuse(format!("is redirected to `{to}`, which is no address"), "check HF_ENDPOINT"))
            }
        }
    }

    /// What a refusal of the server means.
    fn refusal(&self, answer: &Response<Body>) -> Error {
        let reason = text(answer.headers(), "x-error-code").unwrap_or_default();
        let Address { owner, name, .. } = self.address;
        let log_in =
            if self.server.token.is_some() { "HF_TOKEN may not read it" } else { "set HF_TOKEN if it is private" };
        let (problem, hint) = match (answer.status().as_u16(), reason) {
            (401 | 403, "GatedRepo") => {
                ("asks its readers to accept terms".to_owned(), "accept them on its page, and set HF_TOKEN".to_owned())
            }
            (404, "RevisionNotFound") => (
                format!("has no revision `{}`", self.address.revision()),
                "leave @REVISION out for its main branch".to_owned(),
            ),
            (401 | 403 | 404, _) => {
                (format!("there is no repository {owner}/{name} that may be read"), format!("check its name; {log_in}"))
            }
            (429, _) => ("the server has had too many requests".to_owned(), "wait, or set HF_TOKEN".to_owned()),
            (status, _) => (format!("the server refuses with status {status}"), "try again later".to_owned()),
        };
        self.address.refuse(problem, hint)
    }
}

/// Whether the repository is there and the file is not; servers that are no hub give no reason.
fn is_absent(answer: &Response<Body>) -> bool {
    let reason = text(answer.headers(), "x-error-code");
    answer.status() == StatusCode::NOT_FOUND && reason.is_none_or(|reason| reason == "EntryNotFound")
}

/// The digest in an answer's etag, without quotes and the mark of weak ones. It will name a file.
fn digest(headers: &HeaderMap) -> Option<&str> {
    let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"))?;
    let bare = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    Some(bare).filter(|digest| is_name(digest))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Scheme, host and port of an address of the web.
fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    Some(&url[..url.len() - rest.len() + host.len()])
}
