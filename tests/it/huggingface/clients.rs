//! Clients of the hub as sequences of requests: what each sends, which redirects it follows, and which fields it cannot do without.
//!
//! A sequence ends with the files it got, or with the words in which its client would give up. It runs against whatever is at its
//! base address: the fake hub, which shows that the sequence is one that the hub answers, or Larder.

mod others;
mod xet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, Method};
use serde_json::Value;
use url::Url;

use crate::support::client::{Client, Reply};
use crate::support::hub::{Kind, encoded, encoded_path};
use crate::support::index::sha256;

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// huggingface_hub 0.36: the names of files from the repository's information, metadata of each, then each.
    Siblings,
    /// huggingface_hub 1.x and 2.x without Xet: the tree instead.
    Tree,
    /// The same with Xet, which asks for no metadata of what the tree says is in Xet.
    Xet,
    /// hf-hub 0.x in Rust: metadata from the answer to a range of one byte.
    FirstByte,
    /// llama.cpp: branches, tree, metadata, then the file in two parts.
    LlamaCpp,
    /// Ollama: a manifest, then parts of each blob at the address that its redirect or its `Location` names.
    Ollama,
    /// git-lfs: a batch, then each object at its address.
    GitLfs,
}

pub const EVERY_SEQUENCE: [Sequence; 7] = [
    Sequence::Siblings,
    Sequence::Tree,
    Sequence::Xet,
    Sequence::FirstByte,
    Sequence::LlamaCpp,
    Sequence::Ollama,
    Sequence::GitLfs,
];

impl Sequence {
    /// Whether it can be told to fetch a commit instead of a branch.
    pub fn takes_commits(self) -> bool {
        !matches!(self, Self::LlamaCpp | Self::Ollama)
    }
}

/// Files by path, each by its sha256.
pub type Fetched = BTreeMap<String, String>;

/// What a client is told to fetch.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub id: String,
    pub revision: String,
    /// For git-lfs, which has the pointers from git: sha256 and size by path.
    pub pointers: BTreeMap<String, (String, u64)>,
}

/// One run of a client, with connections of its own.
pub struct Session {
    /// `HF_ENDPOINT`.
    pub base: String,
    /// A name for `Host`, of which the test's client knows that it is `base`.
    pub host: Option<String>,
    pub token: Option<String>,
    http: Client,
    visited: Mutex<BTreeSet<String>>,
}

/// Which redirects a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Only relative ones, and what is on them counts: HEAD of older clients.
    Relative,
    /// Those within the endpoint: HEAD of newer ones.
    Endpoint,
    All,
}

/// Most redirects in a row.
const MOST_HOPS: usize = 20;

type Outcome<T> = Result<T, String>;

impl Session {
    pub fn new(base: &str) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            host: None,
            token: None,
            http: Client::new(),
            visited: Mutex::default(),
        }
    }

    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = (!token.is_empty()).then(|| token.to_owned());
        self
    }

    #[must_use]
    pub fn at_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// Origins that were asked so far.
    pub fn visited(&self) -> BTreeSet<String> {
        self.visited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub async fn run(&self, sequence: Sequence, wanted: &Wanted) -> Outcome<Fetched> {
        // Capabilities are long; their beginning says as much.
        let shortened = |told: String| told.chars().take(400).collect();
        self.fetch(sequence, wanted).await.map_err(shortened)
    }

    async fn fetch(&self, sequence: Sequence, wanted: &Wanted) -> Outcome<Fetched> {
        match sequence {
            Sequence::Siblings => self.siblings(wanted).await,
            Sequence::Tree => self.tree(wanted, false).await,
            Sequence::Xet => self.tree(wanted, true).await,
            Sequence::FirstByte => self.first_byte(wanted).await,
            Sequence::LlamaCpp => self.llama_cpp(wanted).await,
            Sequence::Ollama => self.ollama(wanted).await,
            Sequence::GitLfs => self.git_lfs(wanted).await,
        }
    }

    /// One request, without following anything.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        fields: &[(&'static str, &str)],
        body: &str,
    ) -> Outcome<Reply> {
        let mut parsed = Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
        let base = Url::parse(&self.base).map_err(|error| error.to_string())?;
        let named = self.host.as_ref().is_some_and(|host| parsed.host_str() == Some(host));
        let inside = named || parsed.origin() == base.origin();
        if named {
            parsed.set_host(base.host_str()).map_err(|error| error.to_string())?;
            let _ = parsed.set_port(base.port());
        }
        let origin = parsed.origin().ascii_serialization();
        self.visited.lock().unwrap_or_else(PoisonError::into_inner).insert(origin);
        let mut ask = self.http.ask(method.clone(), parsed.as_str()).body(body.to_owned());
        for (name, value) in fields {
            ask = ask.with(name, value);
        }
        if inside && let Some(host) = &self.host {
            ask = ask.with("host", host);
        }
        let reply = ask.try_send().await.ok_or_else(|| format!("{method} {url}: no answer"))?;
        if reply.cut {
            return Err(format!("{method} {url}: {} cut", reply.status));
        }
        Ok(reply)
    }

    /// One request of the hub's own, with the token, and what it leads to. Answers the last address and its answer.
    async fn go(
        &self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
        follow: Follow,
    ) -> Outcome<Reply> {
        let mut url = self.absolute(path);
        for _ in 0..MOST_HOPS {
            let inside = self.is_inside(&url);
            let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
            let mut fields = fields.to_vec();
            if let (true, Some(bearer)) = (inside, &bearer) {
                fields.push(("authorization", bearer));
            }
            let reply = self.ask(method.clone(), &url, &fields, "").await?;
            let location = reply.header("location").to_owned();
            if !reply.status.is_redirection() || location.is_empty() {
                return Ok(reply);
            }
            let base = Url::parse(&url).map_err(|error| error.to_string())?;
            let next = base.join(&location).map_err(|error| error.to_string())?;
            let followed = match follow {
                Follow::Relative => Url::parse(&location).is_err(),
                Follow::Endpoint => self.is_inside(next.as_str()),
                Follow::All => true,
            };
            if !followed {
                return Ok(reply);
            }
            url = next.into();
        }
        Err(format!("{method} {path}: too many redirects"))
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    fn is_inside(&self, url: &str) -> bool {
        let origin = |text: &str| Url::parse(text).map(|url| url.origin()).ok();
        let named = Url::parse(url).is_ok_and(|url| url.host_str() == self.host.as_deref());
        origin(url) == origin(&self.base) || named
    }

    async fn json(&self, path: &str) -> Outcome<(Value, HeaderMap)> {
        let agent = ("user-agent", "unknown/None; hf_hub/2.4.0; python/3.11.2");
        let reply = self.go(Method::GET, path, &[agent], Follow::All).await?;
        succeeded(&reply, path)?;
        let value =
            serde_json::from_slice(&reply.body).map_err(|error| format!("{path}: {error}"))?;
        Ok((value, reply.headers))
    }

    async fn siblings(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let (sha, info) = self.commit_of(wanted).await?;
        let mut fetched = Fetched::new();
        for sibling in info["siblings"].as_array().ok_or("no siblings")? {
            let path = text(&sibling["rfilename"], "rfilename")?;
            let content = self.file(wanted, &sha, path, Follow::Relative).await?;
            fetched.insert(path.to_owned(), content);
        }
        Ok(fetched)
    }

    async fn commit_of(&self, wanted: &Wanted) -> Outcome<(String, Value)> {
        let (plural, id) = (wanted.kind.plural(), &wanted.id);
        let revision = encoded(&wanted.revision);
        let (info, _) = self.json(&format!("/api/{plural}/{id}/revision/{revision}")).await?;
        Ok((text(&info["sha"], "sha")?.to_owned(), info))
    }

    /// Metadata by HEAD, then the bytes; their length is all that these clients check.
    async fn file(
        &self,
        wanted: &Wanted,
        sha: &str,
        path: &str,
        follow: Follow,
    ) -> Outcome<String> {
        let url = resolve(wanted, sha, path);
        let identity = ("accept-encoding", "identity");
        let head = self.go(Method::HEAD, &url, &[identity], follow).await?;
        if !head.status.is_redirection() {
            succeeded(&head, &url)?;
        }
        let known = metadata(&head, &url)?;
        if known.commit != sha {
            return Err(format!("{url}: commit {} instead of {sha}", known.commit));
        }
        let reply = self.go(Method::GET, &url, &[], Follow::All).await?;
        succeeded(&reply, &url)?;
        if known.size.is_some_and(|size| size != reply.body.len() as u64) {
            return Err(format!("{url}: {} bytes instead of {:?}", reply.body.len(), known.size));
        }
        Ok(sha256(&reply.body))
    }

    async fn tree(&self, wanted: &Wanted, with_xet: bool) -> Outcome<Fetched> {
        let (sha, _) = self.commit_of(wanted).await?;
        let (plural, id) = (wanted.kind.plural(), &wanted.id);
        let first = format!("/api/{plural}/{id}/tree/{sha}?recursive=true&expand=false");
        let mut fetched = Fetched::new();
        for entry in self.pages(&first).await?.iter().filter(|entry| entry["type"] == "file") {
            let path = text(&entry["path"], "path")?;
            text(&entry["oid"], "oid")?;
            let size = entry["size"].as_u64().ok_or("a file without a size")?;
            let content = match entry["xetHash"].as_str() {
                Some(hash) if with_xet => {
                    sha256(&self.whole_of_xet(wanted, &sha, hash, size).await?)
                }
                _ => self.file(wanted, &sha, path, Follow::Endpoint).await?,
            };
            fetched.insert(path.to_owned(), content);
        }
        Ok(fetched)
    }

    /// All pages of a list, each where the last one says.
    pub async fn pages(&self, first: &str) -> Outcome<Vec<Value>> {
        let (mut entries, mut next) = (Vec::new(), first.to_owned());
        for _ in 0..1000 {
            let (page, headers) = self.json(&next).await?;
            entries.extend(page.as_array().ok_or("no array")?.iter().cloned());
            match next_link(&headers) {
                // Clients take the address as it is: a relative one is none to them.
                Some(link) if Url::parse(&link).is_err() => {
                    return Err(format!("{link}: relative"));
                }
                Some(link) => next = link,
                None => return Ok(entries),
            }
        }
        Err(format!("{first}: pages without end"))
    }

    async fn first_byte(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let (_, info) = self.commit_of(wanted).await?;
        let mut fetched = Fetched::new();
        for sibling in info["siblings"].as_array().ok_or("no siblings")? {
            let path = text(&sibling["rfilename"], "rfilename")?;
            let url = resolve(wanted, &encoded(&wanted.revision), path);
            let range = ("range", "bytes=0-0");
            let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
            let mut fields = vec![range];
            fields.extend(bearer.as_ref().map(|bearer| ("authorization", bearer.as_str())));
            let head = self.ask(Method::GET, &self.absolute(&url), &fields, "").await?;
            metadata(&head, &url)?;
            let first = self.go(Method::GET, &url, &[range], Follow::All).await?;
            let total =
                first.header("content-range").rsplit_once('/').map(|(_, total)| total.to_owned());
            let total: u64 = total
                .and_then(|total| total.parse().ok())
                .ok_or_else(|| format!("{url}: {} without Content-Range", first.status))?;
            let reply = self.go(Method::GET, &url, &[], Follow::All).await?;
            succeeded(&reply, &url)?;
            if reply.body.len() as u64 != total {
                return Err(format!("{url}: {} bytes instead of {total}", reply.body.len()));
            }
            fetched.insert(path.to_owned(), sha256(&reply.body));
        }
        Ok(fetched)
    }
}

/// What a client reads from the head of a file's answer.
struct Metadata {
    commit: String,
    size: Option<u64>,
}

fn metadata(head: &Reply, url: &str) -> Outcome<Metadata> {
    let either = |first: &'static str, second: &'static str| {
        let first = head.header(first);
        if first.is_empty() { head.header(second).to_owned() } else { first.to_owned() }
    };
    let commit = head.header("x-repo-commit").to_owned();
    let tag = either("x-linked-etag", "etag");
    if commit.is_empty() || tag.trim_start_matches("W/").trim_matches('"').is_empty() {
        return Err(format!("{url}: {} without metadata", head.status));
    }
    let size = either("x-linked-size", "content-length").parse().ok();
    let size = size.filter(|_| !head.header("x-linked-size").is_empty() || head.status == 200);
    Ok(Metadata { commit, size })
}

fn resolve(wanted: &Wanted, revision: &str, path: &str) -> String {
    let (prefix, id) = (wanted.kind.prefix(), &wanted.id);
    format!("/{prefix}{id}/resolve/{revision}/{}", encoded_path(path))
}

fn text<'a>(value: &'a Value, name: &str) -> Outcome<&'a str> {
    value.as_str().ok_or_else(|| format!("no {name}"))
}

/// An error in the words of the head, as clients print them.
fn succeeded(reply: &Reply, url: &str) -> Outcome<()> {
    if reply.status.is_success() {
        return Ok(());
    }
    let (code, message) = (reply.header("x-error-code"), reply.header("x-error-message"));
    Err(format!("{url}: {} {code} {message}", reply.status.as_u16()))
}

/// The address behind `rel="next"`.
pub fn next_link(headers: &HeaderMap) -> Option<String> {
    let link = headers.get("link")?.to_str().ok()?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    next.split('<').nth(1)?.split('>').next().map(str::to_owned)
}
