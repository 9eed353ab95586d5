//! Clients of the hub as sequences of requests: what each sends, which redirects it follows, and which fields it cannot do without.
//!
//! A sequence ends with the files it got, or with the words in which its client would give up. It runs against whatever is at its
//! base address: the fake hub, which shows that the sequence is one that the hub answers, or Larder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
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

    async fn whole_of_xet(
        &self,
        wanted: &Wanted,
        sha: &str,
        hash: &str,
        size: u64,
    ) -> Outcome<Vec<u8>> {
        let (plural, id) = (wanted.kind.plural(), &wanted.id);
        let path = format!("/api/{plural}/{id}/xet-read-token/{sha}");
        let (told, headers) = self.json(&path).await?;
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let missing = || format!("{path}: Xet headers have not been correctly set by the server");
        let (cas, token) = (
            field("x-xet-cas-url").ok_or_else(missing)?,
            field("x-xet-access-token").ok_or_else(missing)?,
        );
        field("x-xet-token-expiration")
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(missing)?;
        if (told["casUrl"].as_str(), told["accessToken"].as_str()) != (Some(cas), Some(token)) {
            return Err(format!("{path}: body and head differ"));
        }
        told["exp"].as_u64().ok_or_else(missing)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let before = bytes.len();
            self.block(cas, token, hash, &mut bytes).await?;
            if bytes.len() == before {
                return Err(format!("{hash}: no bytes behind {before}"));
            }
        }
        if bytes.len() as u64 != size {
            return Err(format!("{hash}: {} bytes instead of {size}", bytes.len()));
        }
        Ok(bytes)
    }

    /// The next block of a file: its reconstruction, then each term of it.
    async fn block(&self, cas: &str, token: &str, hash: &str, bytes: &mut Vec<u8>) -> Outcome<()> {
        const BLOCK: usize = 1 << 20;
        let start = bytes.len();
        let range = format!("bytes={start}-{}", start + BLOCK - 1);
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str()), ("range", range.as_str())];
        let url = |version: &str| format!("{cas}/{version}/reconstructions/{hash}");
        let mut reply = self.ask(Method::GET, &url("v2"), &fields, "").await?;
        if matches!(reply.status.as_u16(), 404 | 501) {
            reply = self.ask(Method::GET, &url("v1"), &fields, "").await?;
        }
        succeeded(&reply, &url("v2"))?;
        let told = reply.json();
        let skipped = told["offset_into_first_range"].as_u64().ok_or("no offset")? as usize;
        let mut plain = Vec::new();
        for term in told["terms"].as_array().ok_or("no terms")? {
            let part = self.term(&told, term).await?;
            plain.extend_from_slice(&part);
        }
        let plain = plain.get(skipped..).ok_or("an offset beyond the first range")?;
        bytes.extend_from_slice(&plain[..plain.len().min(BLOCK)]);
        Ok(())
    }

    /// One term: chunks of a xorb in a row, by a range of its signed address, without credentials.
    async fn term(&self, told: &Value, term: &Value) -> Outcome<Vec<u8>> {
        let xorb = text(&term["hash"], "hash")?;
        let (first, end) = (&term["range"]["start"], &term["range"]["end"]);
        let holds = |chunks: &Value| {
            chunks["start"].as_u64() <= first.as_u64() && chunks["end"].as_u64() >= end.as_u64()
        };
        let second = told["xorbs"][xorb].as_array().into_iter().flatten().flat_map(|fetch| {
            let ranges = fetch["ranges"].as_array().cloned().unwrap_or_default();
            ranges.into_iter().map(|range| {
                (fetch["url"].clone(), range["chunks"].clone(), range["bytes"].clone())
            })
        });
        let first_version = told["fetch_info"][xorb].as_array().into_iter().flatten();
        let first_version = first_version.map(|fetch| {
            (fetch["url"].clone(), fetch["range"].clone(), fetch["url_range"].clone())
        });
        let (url, chunks, place) = second
            .chain(first_version)
            .find(|(_, chunks, _)| holds(chunks))
            .ok_or_else(|| format!("{xorb}: not to be fetched"))?;
        let url = text(&url, "url")?;
        let range = format!("bytes={}-{}", place["start"], place["end"]);
        let reply = self.ask(Method::GET, url, &[("range", &range)], "").await?;
        if reply.status != 206 {
            return Err(format!("{url} {range}: {}", reply.status));
        }
        let skipped = first.as_u64().unwrap_or(0) - chunks["start"].as_u64().unwrap_or(0);
        let count = end.as_u64().unwrap_or(0) - first.as_u64().unwrap_or(0);
        let plain = unframed(&reply.body)?;
        let plain: Vec<u8> =
            plain.into_iter().skip(skipped as usize).take(count as usize).flatten().collect();
        if Some(plain.len() as u64) != term["unpacked_length"].as_u64() {
            return Err(format!("{xorb}: {} bytes in {term}", plain.len()));
        }
        Ok(plain)
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

    async fn llama_cpp(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let id = &wanted.id;
        let (refs, _) = self.json(&format!("/api/models/{id}/refs")).await?;
        let branches = refs["branches"].as_array().ok_or("no branches")?;
        let main = branches.iter().find(|branch| branch["name"] == wanted.revision.as_str());
        let sha = text(&main.ok_or("no such branch")?["targetCommit"], "targetCommit")?.to_owned();
        // Whatever else there may be of the tree is never asked for.
        let (tree, _) = self.json(&format!("/api/models/{id}/tree/{sha}?recursive=true")).await?;
        let mut fetched = Fetched::new();
        for entry in tree.as_array().ok_or("no array")? {
            let path = text(&entry["path"], "path")?;
            if !path.ends_with(".gguf") {
                continue;
            }
            let url = resolve(wanted, &sha, path);
            let agent = ("user-agent", "llama-cpp/b7000");
            let head = self.go(Method::HEAD, &url, &[agent], Follow::All).await?;
            succeeded(&head, &url)?;
            let length = head.header("content-length").parse::<u64>();
            let length = length.map_err(|_| format!("{url}: no Content-Length"))?;
            if head.header("accept-ranges") != "bytes" {
                return Err(format!("{url}: no Accept-Ranges"));
            }
            let mut bytes = Vec::new();
            for range in [format!("bytes=0-{}", length / 2), format!("bytes={}-", length / 2 + 1)] {
                let part =
                    self.go(Method::GET, &url, &[agent, ("range", &range)], Follow::All).await?;
                if part.status != 206 {
                    return Err(format!("{url} {range}: {}", part.status));
                }
                bytes.extend_from_slice(&part.body);
            }
            fetched.insert(path.to_owned(), sha256(&bytes));
        }
        Ok(fetched)
    }

    async fn ollama(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let base = format!("/v2/{}", wanted.id);
        let accept = ("accept", "application/vnd.docker.distribution.manifest.v2+json");
        let agent = ("user-agent", "ollama/0.13.0 (amd64 linux) Go/go1.24.1");
        let url = format!("{base}/manifests/latest");
        let reply = self.go(Method::GET, &url, &[accept, agent], Follow::All).await?;
        succeeded(&reply, &url)?;
        let manifest = reply.json();
        let mut fetched = Fetched::new();
        let layers = manifest["layers"].as_array().ok_or("no layers")?;
        for layer in layers.iter().chain([&manifest["config"]]) {
            let digest = text(&layer["digest"], "digest")?;
            let got = self.blob(&format!("{base}/blobs/{digest}")).await?;
            if format!("sha256:{got}") != digest {
                return Err(format!("digest mismatch, {digest} and {got}"));
            }
            fetched.insert(text(&layer["mediaType"], "mediaType")?.to_owned(), got);
        }
        Ok(fetched)
    }

    /// A blob in parts, at the address that Go's `Response.Location` names once the host has changed or the answer is no redirect.
    async fn blob(&self, path: &str) -> Outcome<String> {
        let head = self.go(Method::HEAD, path, &[], Follow::All).await?;
        succeeded(&head, path)?;
        let length: u64 = head
            .header("content-length")
            .parse()
            .map_err(|_| format!("{path}: no Content-Length"))?;
        let answer = self.go(Method::GET, path, &[], Follow::Endpoint).await?;
        if !answer.status.is_redirection() {
            succeeded(&answer, path)?;
        }
        if answer.header("location").is_empty() {
            return Err(format!("{path}: http: no Location header in response"));
        }
        let base = Url::parse(&self.absolute(path)).map_err(|error| error.to_string())?;
        let direct = base.join(answer.header("location")).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        for range in parts(length) {
            let part = self.ask(Method::GET, direct.as_str(), &[("range", &range)], "").await?;
            if !matches!(part.status.as_u16(), 200 | 206) {
                return Err(format!("{direct} {range}: {}", part.status));
            }
            bytes.extend_from_slice(&part.body);
        }
        Ok(sha256(&bytes))
    }

    async fn git_lfs(&self, wanted: &Wanted) -> Outcome<Fetched> {
        const TYPE: &str = "application/vnd.git-lfs+json";
        let objects: Vec<Value> = wanted
            .pointers
            .values()
            .map(|(oid, size)| json!({ "oid": oid, "size": size }))
            .collect();
        let body = json!({
            "operation": "download", "objects": objects, "transfers": ["lfs-standalone-file", "basic", "ssh"],
            "ref": { "name": "refs/heads/main" }, "hash_algo": "sha256",
        });
        let url = format!(
            "{}/{}{}.git/info/lfs/objects/batch",
            self.base,
            wanted.kind.prefix(),
            wanted.id
        );
        let fields = [
            ("accept", TYPE),
            ("content-type", "application/vnd.git-lfs+json; charset=utf-8"),
            ("user-agent", "git-lfs/3.3.0 (GitHub; linux amd64; go 1.19.8)"),
        ];
        let reply = self.ask(Method::POST, &url, &fields, &body.to_string()).await?;
        succeeded(&reply, &url)?;
        let told = reply.json();
        let mut fetched = Fetched::new();
        for (path, (oid, size)) in &wanted.pointers {
            let objects = told["objects"].as_array().ok_or("no objects")?;
            let object = objects.iter().find(|object| object["oid"] == oid.as_str());
            let action =
                &object.ok_or_else(|| format!("{oid} is not answered"))?["actions"]["download"];
            let href = text(&action["href"], "href")?;
            let got = self.ask(Method::GET, href, &[("accept-encoding", "identity")], "").await?;
            succeeded(&got, href)?;
            if (sha256(&got.body), got.body.len() as u64) != (oid.clone(), *size) {
                return Err(format!("expected OID {oid}, got {}", sha256(&got.body)));
            }
            fetched.insert(path.clone(), oid.clone());
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

/// Chunks of a xorb, each without its header. They are refused where the real client refuses them.
fn unframed(mut framed: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    const LARGEST: usize = 128 << 10;
    let mut chunks = Vec::new();
    while !framed.is_empty() {
        let [0, a, b, c, 0, d, e, f, rest @ ..] = framed else {
            return Err("a chunk's header is not one".to_owned());
        };
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        if [a, b, c] != [d, e, f] || length > LARGEST || length > rest.len() || length == 0 {
            return Err(format!("a chunk of {length} bytes"));
        }
        let (chunk, rest) = rest.split_at(length);
        chunks.push(chunk.to_vec());
        framed = rest;
    }
    Ok(chunks)
}

/// Ranges of a download in parts.
fn parts(length: u64) -> Vec<String> {
    const PART: u64 = 100_000;
    (0..length.div_ceil(PART))
        .map(|number| {
            let first = number * PART;
            format!("bytes={first}-{}", (first + PART).min(length) - 1)
        })
        .collect()
}
