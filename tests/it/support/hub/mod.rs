//! A fake model hub over real sockets, faithful in what clients and caches depend on: metadata on redirects, a CDN of another name with signed
//! links that expire, pages with cursors, the taxonomy of errors, Xet's two services, and a state that tests rearrange.
//!
//! Every host is an [`Origin`], with its journal and its faults by path. What a path cannot say (the second page of a tree, links
//! that lead astray) is in [`Switches`].

mod access;
mod api;
mod cas;
mod cdn;
mod files;
mod git;
mod library;
mod registry;
mod repository;
mod tree;
mod viewer;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, header};

use super::origin::{Answer, Content, Fault, Origin, Respond};
pub use library::LibraryModel;
pub use repository::{EVERY_KIND, File, Files, Kind, Repository, Storage, files};
pub use world::{EVERY_WORLD, World};

/// A running hub with all its hosts. Each is another host name, as the real ones are.
pub struct FakeHub {
    /// Pages, the API, `resolve`, `/v2/` and git.
    pub hub: Origin,
    /// Large files and xorbs, by signed links. Never gets a credential.
    pub cdn: Origin,
    /// Xet's reconstructions, for its own tokens.
    pub cas: Origin,
    /// The datasets' viewer, `datasets-server.` of the real one.
    pub viewer: Origin,
    /// Ollama's own library.
    pub library: Origin,
    shelf: Arc<Shelf>,
    refusing: AtomicBool,
}

/// The hub's clock at the start; the same as that of a Larder under test.
const START: u64 = 1_800_000_000;

/// How the hub behaves where a path cannot say.
#[derive(Debug, Clone)]
pub struct Switches {
    /// Entries on a page of a tree, of commits, of a list.
    pub page_entries: usize,
    /// Pages of a tree from this number on (counted from 0) are answered 500.
    pub tree_fails_from: Option<usize>,
    /// What `X-Linked-Size` says: the truth, nothing, or something else.
    pub linked_size: LinkedSize,
    /// Small files and large ones are sent without a length.
    pub chunked: bool,
    /// For how many seconds links of the CDN and tokens of Xet are good.
    pub link_seconds: u64,
    /// The CDN refuses to assemble files beyond this size (400), as the real bridge does.
    pub bridge_limit: Option<u64>,
    /// Where large files are said to be instead of the CDN: `http://elsewhere.example`.
    pub cdn_instead: Option<String>,
    /// Xet's service knows only its first version.
    pub first_xet_only: bool,
    /// Chunks of xorbs are compressed in every way there is.
    pub compressed_xorbs: bool,
    /// Files do not say that they are in Xet.
    pub xet_hidden: bool,
}

/// What `X-Linked-Size` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkedSize {
    True,
    Missing,
    /// This many bytes too many.
    Wrong(u64),
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            page_entries: 1000,
            tree_fails_from: None,
            linked_size: LinkedSize::True,
            chunked: false,
            link_seconds: 3600,
            bridge_limit: None,
            cdn_instead: None,
            first_xet_only: false,
            compressed_xorbs: false,
            xet_hidden: false,
        }
    }
}

/// What the hub holds, shared by its hosts.
struct Shelf {
    hosts: OnceLock<Hosts>,
    now: AtomicU64,
    state: Mutex<State>,
    /// Numbers its answers, as `X-Request-Id` does.
    answers: AtomicU64,
}

/// Base addresses, without a trailing slash.
#[derive(Debug, Clone)]
struct Hosts {
    hub: String,
    cdn: String,
    cas: String,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<(Kind, String), Repository>,
    /// Old names to new ones.
    renamed: BTreeMap<(Kind, String), String>,
    /// Users by token.
    users: BTreeMap<String, String>,
    models: Vec<LibraryModel>,
    switches: Switches,
}

impl FakeHub {
    pub async fn start() -> Self {
        Self::start_at(START).await
    }

    /// Starts one whose clock shows `now`.
    pub async fn start_at(now: u64) -> Self {
        let shelf = Arc::new(Shelf {
            hosts: OnceLock::new(),
            now: AtomicU64::new(now),
            state: Mutex::default(),
            answers: AtomicU64::new(0),
        });
        let host = |answer| Host { shelf: Arc::clone(&shelf), answer };
        let hub = Origin::start("127.0.0.1", host(hub)).await;
        let cdn = Origin::start("127.0.0.2", host(cdn::answer)).await;
        let cas = Origin::start("127.0.0.3", host(cas::answer)).await;
        let viewer = Origin::start("127.0.0.4", host(viewer::answer)).await;
        let library = Origin::start("127.0.0.5", host(library::answer)).await;
        let hosts = Hosts { hub: hub.url(""), cdn: cdn.url(""), cas: cas.url("") };
        shelf.hosts.set(hosts).expect("it is set once");
        Self { hub, cdn, cas, viewer, library, shelf, refusing: AtomicBool::new(false) }
    }

    /// What `HF_ENDPOINT` is set to.
    pub fn endpoint(&self) -> String {
        self.hub.url("")
    }

    /// Every host, for faults and questions that concern all of them.
    pub fn hosts(&self) -> [&Origin; 5] {
        [&self.hub, &self.cdn, &self.cas, &self.viewer, &self.library]
    }

    /// Adds a commit to `main` of a model, which comes to be if it was not. Answers the commit's name.
    pub fn model(&self, id: &str, files: Files) -> String {
        self.commit(Kind::Model, id, "main", files)
    }

    pub fn dataset(&self, id: &str, files: Files) -> String {
        self.commit(Kind::Dataset, id, "main", files)
    }

    /// Adds a commit to a branch or another reference. Answers its name.
    pub fn commit(&self, kind: Kind, id: &str, branch: &str, files: Files) -> String {
        self.edit(kind, id, |repository| {
            let title = format!("Commit {}", repository.commits.len());
            repository.commit(branch, &title, files)
        })
    }

    /// Lets a branch show other files, and forgets the commit that it showed: nothing leads to it any more.
    pub fn force_push(&self, kind: Kind, id: &str, branch: &str, files: Files) -> String {
        self.edit(kind, id, |repository| {
            let old = repository.refs.get(&repository::reference(branch)).cloned();
            let new = repository.commit(branch, "Squash", files);
            repository.commits.retain(|commit| Some(&commit.sha) != old.as_ref());
            new
        })
    }

    /// Names a commit by a tag.
    pub fn tag(&self, kind: Kind, id: &str, tag: &str, sha: &str) {
        self.edit(kind, id, |repository| {
            repository.refs.insert(format!("refs/tags/{tag}"), sha.to_owned());
        });
    }

    /// Changes whatever there is to change of a repository, which comes to be if it was not.
    pub fn edit<T>(&self, kind: Kind, id: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        let mut state = self.shelf.state();
        let repository = state
            .repositories
            .entry((kind, id.to_owned()))
            .or_insert_with(|| Repository::new(kind, id));
        change(repository)
    }

    /// Takes a repository away. To everybody it looks as if it had never been.
    pub fn delete(&self, kind: Kind, id: &str) {
        self.shelf.state().repositories.remove(&(kind, id.to_owned()));
    }

    /// Gives a repository another name; the old one leads there.
    pub fn rename(&self, kind: Kind, id: &str, new: &str) {
        let mut state = self.shelf.state();
        if let Some(mut repository) = state.repositories.remove(&(kind, id.to_owned())) {
            repository.id = new.to_owned();
            state.repositories.insert((kind, new.to_owned()), repository);
        }
        state.renamed.insert((kind, id.to_owned()), new.to_owned());
    }

    /// Shows a repository to these users only.
    pub fn make_private(&self, kind: Kind, id: &str, users: &[&str]) {
        self.edit(kind, id, |repository| repository.private_to = Some(names(users)));
    }

    pub fn make_public(&self, kind: Kind, id: &str) {
        self.edit(kind, id, |repository| {
            repository.private_to = None;
            repository.gated_to = None;
        });
    }

    /// Puts a gate before a repository's files, through which these users were let.
    pub fn gate(&self, kind: Kind, id: &str, users: &[&str]) {
        self.edit(kind, id, |repository| repository.gated_to = Some(names(users)));
    }

    /// Makes `token` a credential of `user`.
    pub fn user(&self, user: &str, token: &str) {
        self.shelf.state().users.insert(token.to_owned(), user.to_owned());
    }

    /// Makes a token worthless.
    pub fn revoke(&self, token: &str) {
        self.shelf.state().users.remove(token);
    }

    /// Puts a model into Ollama's library.
    pub fn shelve(&self, model: LibraryModel) {
        self.shelf.state().models.push(model);
    }

    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.shelf.state().switches);
    }

    /// Moves the hub's clock, by which links and tokens expire.
    pub fn advance(&self, seconds: u64) {
        self.shelf.now.fetch_add(seconds, Ordering::AcqRel);
    }

    /// Puts a fault on everything at every host.
    pub fn fault_everywhere(&self, fault: &Fault) {
        self.hosts().iter().for_each(|host| host.fault("*", fault.clone()));
    }

    /// Takes all faults away, and listens where connections were refused.
    pub fn heal(&self) {
        let was_refusing = self.refusing.swap(false, Ordering::AcqRel);
        for host in self.hosts() {
            host.heal();
            if was_refusing {
                host.listen();
            }
        }
    }

    /// Refuses connections at every host.
    pub async fn refuse(&self) {
        if !self.refusing.swap(true, Ordering::AcqRel) {
            for host in self.hosts() {
                host.refuse().await;
            }
        }
    }

    pub fn forget(&self) {
        self.hosts().iter().for_each(|host| host.forget());
    }

    /// Requests at every host so far: `GET 127.0.0.1 /api/models/a/b?c=d`.
    pub fn journal(&self) -> Vec<String> {
        let line = |origin: &Origin, logged: &super::origin::Logged| {
            let query = logged.query.as_deref().map(|query| format!("?{query}"));
            let (ip, query) = (origin.address.ip(), query.unwrap_or_default());
            format!("{} {ip} {}{query}", logged.method, logged.path)
        };
        let of = |origin: &Origin| -> Vec<String> {
            origin.log().iter().map(|logged| line(origin, logged)).collect()
        };
        self.hosts().iter().flat_map(|origin| of(origin)).collect()
    }

    /// Bytes of large files that have left so far, over any of the ways.
    pub fn sent_by_cdn(&self) -> u64 {
        self.cdn.log().iter().map(|logged| logged.sent()).sum()
    }

    /// What a client gets that has asked too often.
    pub fn rate_limited(seconds: u32) -> Fault {
        let answer = Answer::new(429)
            .with("retry-after", &seconds.to_string())
            .with("ratelimit", &format!("\"api\";r=0;t={seconds}"))
            .with("ratelimit-policy", "\"fixed window\";\"api\";q=500;w=300")
            .with("content-type", "application/json")
            .of(r#"{"error":"We had to rate limit your IP."}"#);
        Fault::Instead(answer)
    }
}

fn names(users: &[&str]) -> BTreeSet<String> {
    users.iter().map(|user| (*user).to_owned()).collect()
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hosts(&self) -> &Hosts {
        self.hosts.get().expect("the hosts have started")
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }
}

/// One host of the hub.
struct Host {
    shelf: Arc<Shelf>,
    answer: fn(&Asked<'_>) -> Answer,
}

impl Respond for Host {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let state = self.shelf.state();
        let asked = Asked::new(&self.shelf, &state, request);
        let number = self.shelf.answers.fetch_add(1, Ordering::Relaxed);
        (self.answer)(&asked).with("x-request-id", &format!("Root=1-{number:08x}"))
    }
}

/// A request, and everything that its answer depends on.
struct Asked<'a> {
    shelf: &'a Shelf,
    state: &'a State,
    method: &'a Method,
    /// Still percent-encoded, split at slashes, without the empty one before the first.
    segments: Vec<&'a str>,
    path: &'a str,
    query: Vec<(String, String)>,
    raw_query: Option<&'a str>,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl<'a> Asked<'a> {
    fn new(shelf: &'a Shelf, state: &'a State, request: &'a Request<Bytes>) -> Self {
        let path = request.uri().path();
        let raw_query = request.uri().query();
        Self {
            shelf,
            state,
            method: request.method(),
            segments: path.trim_start_matches('/').split('/').collect(),
            path,
            query: form(raw_query.unwrap_or_default().as_bytes()),
            raw_query,
            headers: request.headers(),
            body: request.body(),
        }
    }

    fn switches(&self) -> &Switches {
        &self.state.switches
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn form(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

/// Percent-decodes one segment or path.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Percent-encodes everything but what is safe anywhere; slashes too unless they are to stay.
pub fn encoded(text: &str) -> String {
    const SAFE: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, SAFE).to_string()
}

/// A path whose slashes stay.
pub fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// The host of pages.
fn hub(asked: &Asked<'_>) -> Answer {
    let answer = match asked.segments.as_slice() {
        ["api", rest @ ..] => api::answer(asked, rest),
        ["v2", rest @ ..] => registry::answer(asked, rest),
        segments => files::answer(asked, segments),
    };
    let resource = if asked.segments.first() == Some(&"api") { "api" } else { "resolvers" };
    let left = 3000_u64.saturating_sub(asked.shelf.answers.load(Ordering::Relaxed));
    answer
        .with("ratelimit", &format!("\"{resource}\";r={left};t=123"))
        .with("ratelimit-policy", &format!("\"fixed window\";\"{resource}\";q=3000;w=300"))
        .with("x-powered-by", "hub")
        .with("access-control-expose-headers", EXPOSED)
        .with("vary", "Origin")
}

const EXPOSED: &str = "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash";

/// JSON with a weak entity tag, and 304 to whoever has it.
fn json(asked: &Asked<'_>, value: &serde_json::Value) -> Answer {
    let text = value.to_string();
    let tag = format!("W/\"{}\"", &super::index::sha256(text.as_bytes())[..32]);
    if asked.header(header::IF_NONE_MATCH) == Some(tag.as_str()) {
        return Answer::new(304).with("etag", &tag);
    }
    Answer::ok("application/json; charset=utf-8", text).with("etag", &tag)
}

/// Sends without a length what has one, where the switch says so.
fn framed(asked: &Asked<'_>, mut answer: Answer) -> Answer {
    if asked.switches().chunked {
        let content = answer.content.clone();
        let piece = move |number: u64| {
            let bytes = read(&content, number << 14, 1 << 14);
            (!bytes.is_empty()).then_some(bytes)
        };
        answer.content = Content::Chunks(Arc::new(piece));
    }
    answer
}

/// The bytes from `offset` on, exactly `length` of them unless the content ends before.
fn read(content: &Content, offset: u64, length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length);
    while bytes.len() < length {
        let piece = content.at(offset + bytes.len() as u64, length - bytes.len());
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    bytes.freeze()
}
