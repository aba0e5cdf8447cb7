//! The client against a server on this machine that speaks the hub's protocol.

mod server;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::address::Address;
use super::client::Server as Hub;
use super::fetch::hexadecimal;
use super::{Settings, fetch, resolve};
use crate::error::Result;
use server::{Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(digest(&SHA256, bytes).as_ref())
}

fn git_name(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("blob {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    hexadecimal(context.finish().as_ref())
}

/// The files of the repository `o/r`.
type Files = BTreeMap<&'static str, Vec<u8>>;

fn files(names: &[&'static str]) -> Files {
    names.iter().map(|name| (*name, format!("the bytes of {name}").repeat(50).into_bytes())).collect()
}

/// A server of bytes, which knows ranges.
fn storage(files: &Files) -> impl Fn(&Request) -> Reply + Send + 'static {
    let files: BTreeMap<String, Vec<u8>> =
        files.values().map(|bytes| (format!("/{}", sha256(bytes)), bytes.clone())).collect();
    move |request| {
        let bytes = &files[&request.path];
        let start =
            request.headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match start {
            Some(start) if start >= bytes.len() => Reply::new(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206).header("Content-Range", range).body(&bytes[start..])
            }
            None => Reply::new(200).body(bytes),
        }
    }
}

/// A hub: JSON is small and comes at once, the rest lies with another server.
fn hub(files: &Files, storage: &str) -> impl Fn(&Request) -> Reply + Send + 'static {
    let (files, storage) = (files.clone(), storage.to_owned());
    move |request| {
        let resolved =
            ["main", "v1", COMMIT].iter().find_map(|r| request.path.strip_prefix(&format!("/o/r/resolve/{r}/")));
        let Some(name) = resolved else { return Reply::new(404).header("X-Error-Code", "RevisionNotFound") };
        let Some(bytes) = files.get(name) else { return Reply::new(404).header("X-Error-Code", "EntryNotFound") };
        let reply = |status| Reply::new(status).header("X-Repo-Commit", COMMIT);
        if name.contains(".json") {
            return reply(200).header("ETag", format!("\"{}\"", git_name(bytes))).body(bytes);
        }
        let sha = sha256(bytes);
        let linked = reply(302).header("X-Linked-Size", bytes.len().to_string()).header("ETag", "\"xet\"");
        linked.header("X-Linked-Etag", format!("\"{sha}\"")).header("Location", format!("{storage}/{sha}"))
    }
}

struct World {
    dir: tempfile::TempDir,
    hub: Server,
    storage: Server,
}

impl World {
    fn new(files: &Files) -> Self {
        Self::with(files, storage(files))
    }

    fn with(files: &Files, bytes: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let storage = Server::start(bytes);
        let hub = Server::start(hub(files, &storage.origin));
        Self { dir: tempfile::tempdir().unwrap(), hub, storage }
    }

    fn settings(&self) -> Settings {
        Settings { cache: self.dir.path().to_path_buf(), offline: false }
    }

    fn asking(&self, endpoint: &str, token: Option<&str>, address: &str) -> Result<PathBuf> {
        let server = Hub { endpoint: endpoint.to_owned(), token: token.map(str::to_owned) };
        let address = Address::parse(Path::new(address)).unwrap();
        resolve(&address, &self.settings(), |address, cache| fetch::fetch(address, &server, cache))
    }

    fn resolve(&self, address: &str) -> Result<PathBuf> {
        self.asking(&self.hub.origin, Some(TOKEN), address)
    }

    fn message(&self, address: &str) -> String {
        let error = self.resolve(address).unwrap_err();
        assert!(error.is_users_mistake(), "{error}");
        error.to_string().replace(&self.hub.origin, "HUB").replace(&self.dir.path().display().to_string(), "CACHE")
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("models--o--r")
    }

    fn blobs(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.repository().join("blobs")).into_iter().flatten().flatten();
        let mut names: Vec<String> = listed.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn files_come_from_another_host_which_never_sees_the_token() {
    let files = files(&["model.safetensors", "pytorch_model.bin", "config.json"]);
    let world = World::new(&files);
    let path = world.resolve("hf://o/r").unwrap();
    assert_eq!(path, world.repository().join("snapshots").join(COMMIT).join("model.safetensors"));
    assert_eq!(std::fs::read(&path).unwrap(), files["model.safetensors"]);
    assert_eq!(std::fs::read(path.with_file_name("config.json")).unwrap(), files["config.json"]);
    assert_eq!(std::fs::read_to_string(world.repository().join("refs/main")).unwrap(), COMMIT);
    let sha = sha256(&files["model.safetensors"]);
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(&sha));
    let mut blobs = vec![sha, git_name(&files["config.json"])];
    blobs.sort();
    assert_eq!(world.blobs(), blobs);
    let told =
        |server: &Server| server.asked().iter().map(|r| r.headers.contains_key("authorization")).collect::<Vec<_>>();
    assert!(told(&world.hub).into_iter().all(|told| told));
    assert_eq!(told(&world.storage), [false]);
    assert_eq!(world.hub.asked()[0].headers["authorization"], format!("Bearer {TOKEN}"));
}

#[test]
fn what_is_in_the_cache_is_never_asked_for_again() {
    let world = World::new(&files(&["pytorch_model.bin"]));
    let path = world.resolve("hf://o/r").unwrap();
    let asked = (world.hub.asked().len(), world.storage.asked().len());
    assert_eq!(world.resolve("hf://o/r").unwrap(), path);
    assert_eq!(world.resolve(&format!("hf://o/r@{COMMIT}/pytorch_model.bin")).unwrap(), path);
    let offline = |text: &str| {
        let address = Address::parse(Path::new(text)).unwrap();
        resolve(&address, &Settings { offline: true, ..world.settings() }, |_, _| panic!("a server is asked"))
    };
    assert_eq!(offline("hf://o/r").unwrap(), path);
    let message = offline("hf://o/r@v1").unwrap_err().to_string();
    assert!(message.contains("not in the cache") && message.contains("HF_HUB_OFFLINE"), "{message}");
    assert_eq!(asked, (world.hub.asked().len(), world.storage.asked().len()));
    // Another tag of the same commit brings no bytes again.
    assert_eq!(world.resolve("hf://o/r@v1").unwrap(), path);
    assert_eq!(asked.1, world.storage.asked().len());
}

#[test]
fn a_download_that_broke_off_is_resumed() {
    let files = files(&["model.safetensors"]);
    let whole = storage(&files);
    let world = World::with(&files, move |request| {
        let cut = (!request.headers.contains_key("range")).then_some(100);
        Reply { cut, ..whole(request) }
    });
    let path = world.resolve("hf://o/r").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), files["model.safetensors"]);
    let ranges: Vec<_> = world.storage.asked().iter().map(|r| r.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [None, Some("bytes=100-".to_owned())]);
}

#[test]
fn a_part_of_an_earlier_run_is_kept_and_a_server_without_ranges_starts_anew() {
    let files = files(&["model.safetensors"]);
    let bytes = files["model.safetensors"].clone();
    for ranges in [true, false] {
        let whole = storage(&files);
        let world = World::with(&files, move |request| {
            let bare = Request { headers: BTreeMap::new(), ..request.clone() };
            whole(if ranges { request } else { &bare })
        });
        let blobs = world.repository().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", sha256(&bytes))), &bytes[..77]).unwrap();
        assert_eq!(std::fs::read(world.resolve("hf://o/r").unwrap()).unwrap(), bytes);
        assert_eq!(world.storage.asked()[0].headers["range"], "bytes=77-");
        assert_eq!(world.blobs(), [sha256(&bytes)]);
    }
}

#[test]
fn bytes_that_are_not_the_ones_announced_are_thrown_away() {
    let files = files(&["model.safetensors"]);
    let wrong = |change: fn(&mut Vec<u8>)| {
        let whole = storage(&files);
        let world = World::with(&files, move |request| {
            let mut reply = whole(request);
            change(&mut reply.body);
            reply
        });
        let message = world.message("hf://o/r");
        assert!(world.blobs().is_empty() && world.resolve("hf://o/r").is_err(), "{message}");
        message
    };
    let message = wrong(|body| body[3] ^= 1);
    assert!(message.contains("has the digest") && message.contains("thrown away"), "{message}");
    let message = wrong(|body| body.extend([0; 5000]));
    assert!(message.contains("the hub says"), "{message}");
}

#[test]
fn a_line_that_always_breaks_is_given_up_and_what_came_is_kept() {
    let files = files(&["model.safetensors"]);
    let whole = storage(&files);
    let world = World::with(&files, move |request| Reply { cut: Some(10), ..whole(request) });
    let message = world.message("hf://o/r");
    assert!(message.contains("broke off") && message.contains("is kept"), "{message}");
    let part = world.repository().join("blobs").join(&world.blobs()[0]);
    assert_eq!(std::fs::read(part).unwrap(), files["model.safetensors"][..40]);
}

#[test]
fn shards_come_with_their_index() {
    let mut files = files(&["a-1.safetensors", "a-2.safetensors", "other.bin"]);
    let map = r#"{"weight_map": {"x": "a-1.safetensors", "y": "a-2.safetensors", "z": "a-1.safetensors"}}"#;
    files.insert("model.safetensors.index.json", map.into());
    let world = World::new(&files);
    let path = world.resolve("hf://o/r").unwrap();
    assert!(path.ends_with("model.safetensors.index.json"));
    for name in ["a-1.safetensors", "a-2.safetensors"] {
        assert_eq!(std::fs::read(path.with_file_name(name)).unwrap(), files[name]);
    }
    assert_eq!(world.storage.asked().len(), 2);
    files.remove("a-2.safetensors");
    assert!(World::new(&files).message("hf://o/r").contains("a-2.safetensors, which is not there"));
    files.insert("model.safetensors.index.json", br#"{"weight_map": {"x": "../../x"}}"#.into());
    assert!(World::new(&files).message("hf://o/r").contains("no file beside it"));
}

#[test]
fn what_is_not_there_is_told() {
    let world = World::new(&files(&["sub/x.bin"]));
    assert!(
        world
            .resolve("hf://o/r/sub/x.bin")
            .unwrap()
            .ends_with("snapshots/0123456789abcdef0123456789abcdef01234567/sub/x.bin")
    );
    insta::assert_snapshot!(world.message("hf://o/r"), @"
    hf://o/r: its repository has no model.safetensors, no model.safetensors.index.json, no pytorch_model.bin, no pytorch_model.bin.index.json
      help: look at its list of files, and name one: hf://OWNER/REPO/FILE
    ");
    insta::assert_snapshot!(world.message("hf://o/r/y.bin"), @"
    hf://o/r/y.bin: its repository has no y.bin
      help: look at its list of files, and name one: hf://OWNER/REPO/FILE
    ");
    insta::assert_snapshot!(world.message("hf://o/r@v9"), @"
    hf://o/r@v9: has no revision `v9`
      help: leave @REVISION out for its main branch
    ");
}

#[test]
fn refusals_say_what_to_do() {
    let message = |status: u16, code: &'static str, token: Option<&str>| {
        let mut world = World::new(&Files::new());
        world.hub = Server::start(move |_| Reply::new(status).header("X-Error-Code", code));
        world.asking(&world.hub.origin, token, "hf://o/r").unwrap_err().to_string()
    };
    insta::assert_snapshot!(message(401, "RepoNotFound", None), @"
    hf://o/r: there is no repository o/r that may be read
      help: check its name; set HF_TOKEN if it is private
    ");
    insta::assert_snapshot!(message(404, "RepoNotFound", Some(TOKEN)), @"
    hf://o/r: there is no repository o/r that may be read
      help: check its name; HF_TOKEN may not read it
    ");
    insta::assert_snapshot!(message(403, "GatedRepo", None), @"
    hf://o/r: asks its readers to accept terms
      help: accept them on its page, and set HF_TOKEN
    ");
    insta::assert_snapshot!(message(500, "", None), @"
    hf://o/r: the server refuses with status 500
      help: try again later
    ");
}

#[test]
fn a_renamed_repository_is_followed_and_a_circle_is_not() {
    let files = files(&["model.safetensors"]);
    let mut world = World::new(&files);
    let behind = hub(&files, &world.storage.origin);
    world.hub = Server::start(move |request| match request.path.strip_prefix("/old/name/") {
        // Its etag is of the redirect, not of the file.
        Some(rest) => Reply::new(307).header("Location", format!("/o/r/{rest}")).header("ETag", "\"redirect\""),
        None if request.path.starts_with("/circle/") => Reply::new(307).header("Location", request.path.clone()),
        None => behind(request),
    });
    assert_eq!(std::fs::read(world.resolve("hf://old/name").unwrap()).unwrap(), files["model.safetensors"]);
    assert!(world.message("hf://circle/x").contains("redirected without end"));
}

#[test]
fn names_that_a_server_makes_up_reach_no_other_folder() {
    let answers: [(&str, &str); 4] = [(COMMIT, "../../evil"), ("../../evil", "abc"), ("main", "abc"), (COMMIT, "")];
    for (commit, etag) in answers {
        let mut world = World::new(&Files::new());
        world.hub = Server::start(move |_| {
            Reply::new(200).header("X-Repo-Commit", commit).header("ETag", format!("\"{etag}\"")).body(b"x")
        });
        let message = world.message("hf://o/r");
        assert!(message.contains("the server's answer has no"), "{commit} {etag}: {message}");
        assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn no_server_is_told() {
    let world = World::new(&Files::new());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let message = world.asking(&format!("http://{closed}"), None, "hf://o/r").unwrap_err().to_string();
    assert!(message.contains("does not answer") && message.contains("HF_ENDPOINT"), "{message}");
}

#[test]
fn the_server_is_the_public_one_unless_another_is_named() {
    let of = |endpoint: Option<&str>| {
        let endpoint = endpoint.map(str::to_owned);
        Hub::of(&|name| if name == "HF_ENDPOINT" { endpoint.clone() } else { None }).endpoint
    };
    assert_eq!(of(None), "https://huggingface.co");
    assert_eq!(of(Some("http://mirror:8080/")), "http://mirror:8080");
}
