//! Requests planned to their end against a hub of a page: who gets what, in which state of the hub, and what the hub is asked for it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::cache::failure::Failure;
use crate::cache::lookup::{
    Admission, Answer, Artifact, Demand, Document, Follow, Fresh, Kept, Parsed, Stale,
};
use crate::ecosystem::huggingface::Hub;
use crate::ecosystem::huggingface::config::Config;
use crate::ecosystem::{
    Ask, ClientCredential, Ecosystem, Held, MOST_ROUNDS, Serve, Standing, Step, View,
};
use crate::types::{CacheKey, Head, Presence, Secret, Signer, Timestamp};
use crate::upstream::request::{Credentials, OriginRequest};

mod answers;
mod rights;

const HUB: &str = "https://hub.example/";
const BASE: &str = "http://larder.example";
const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";
const OID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SHA256: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const XET: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const FRIEND: Option<&str> = Some("hf_friend");
const STRANGER: Option<&str> = Some("hf_stranger");
const START: Timestamp = Timestamp::from_secs(1_795_392_000);
const FILE: &str = "org/m/resolve/main/a.txt";
const LARGE: &str = "org/m/resolve/main/w.bin";
const INFO: &str = "api/models/org/m";
const TREE: &str = "api/models/org/m/tree/main?recursive=true";

/// Who may see the one repository of the hub, `models/org/m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Gated,
    /// To strangers the same as one that does not exist.
    Private,
}

/// The hub, what Larder keeps of it, and the time.
struct Stage {
    mount: Hub,
    door: Door,
    /// The token that opens it.
    friend: &'static str,
    head: &'static str,
    is_down: bool,
    /// Whether follow-ups are carried out.
    follows: bool,
    now: Timestamp,
    kept: HashMap<CacheKey, Row>,
    asked: Vec<String>,
    tokens: BTreeSet<String>,
}

#[derive(Clone)]
struct Row {
    bytes: Bytes,
    parsed: Parsed,
    validated: Timestamp,
    fresh_until: Timestamp,
}

/// What a request ended with.
#[derive(Debug)]
enum End {
    Reply(StatusCode, HeaderMap, Bytes),
    File(Box<Artifact>, HeaderMap),
    Passed(Box<OriginRequest>),
}

impl End {
    fn status(&self) -> u16 {
        match self {
            Self::Reply(status, ..) => status.as_u16(),
            Self::File(..) | Self::Passed(_) => 200,
        }
    }

    fn field(&self, name: &'static str) -> &str {
        let headers = match self {
            Self::Reply(_, headers, _) | Self::File(_, headers) => headers,
            Self::Passed(request) => &request.headers,
        };
        let value = headers.get(HeaderName::from_static(name));
        value.map_or("", |value| value.to_str().expect("visible"))
    }

    fn json(&self) -> Value {
        match self {
            Self::Reply(_, _, body) => serde_json::from_slice(body).expect("JSON"),
            other => panic!("no document: {other:?}"),
        }
    }
}

impl Stage {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let config = Config { upstream: HUB.to_owned(), ..config };
        let settings = config.resolve(|_| Ok(Secret::new("hf_service"))).expect("right settings");
        Self {
            mount: Hub::new(settings, Signer::new([7; 32])),
            door: Door::Open,
            friend: "hf_friend",
            head: ONE,
            is_down: false,
            follows: true,
            now: START,
            kept: HashMap::new(),
            asked: Vec::new(),
            tokens: BTreeSet::new(),
        }
    }

    /// Forgets what is not written down.
    fn restart(&mut self) {
        self.kept.retain(|_, row| !row.bytes.is_empty());
    }

    fn after(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn get(&mut self, path: &str, token: Option<&str>) -> End {
        self.ask(Method::GET, path, token, None, &[])
    }

    fn ask(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        client: Option<&str>,
        body: &[u8],
    ) -> End {
        let (path, query) = path.split_once('?').map_or((path, None), |(a, b)| (a, Some(b)));
        let credential = token.map(|token| ClientCredential {
            id: token.as_bytes().iter().fold([0; 16], |mut id, byte| {
                id.rotate_left(1);
                id[0] ^= byte;
                id
            }),
            verbatim: Secret::new(match token.contains(' ') {
                true => token.to_owned(),
                false => format!("Bearer {token}"),
            }),
        });
        let ask = Ask {
            method,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: HeaderMap::new(),
            prefix: "/".to_owned(),
            base: BASE.to_owned(),
            credential,
            client: client.map(str::to_owned),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            now: self.now,
            rules: std::sync::Arc::default(),
            as_of: None,
        };
        let mut step = self.mount.plan(&ask);
        for _ in 0..MOST_ROUNDS {
            step = match step {
                Step::Reply(reply) => return End::Reply(reply.status, reply.headers, reply.body),
                Step::Need { documents, then } => {
                    let held = documents.iter().map(|document| self.document(document)).collect();
                    then(held)
                }
                Step::NeedBody { then, .. } => then(Bytes::copy_from_slice(body)),
                Step::Inspect { then, .. } => then(None),
                Step::Names { .. } => panic!("the hub's adapter lists no names"),
                Step::Refuse(_) => panic!("there are no rules"),
                Step::Serve(plan) => return self.serve(plan.serve),
            };
        }
        panic!("too many rounds for {path}");
    }

    fn serve(&mut self, serve: Serve) -> End {
        match serve {
            Serve::Artifact { artifact, headers, .. } => End::File(Box::new(artifact), headers),
            Serve::Exchange { exchange, .. } => End::Passed(Box::new(exchange.request)),
            Serve::Document { document, render } => {
                let held = self.document(&document).expect("it was there a moment ago");
                let view = View {
                    document: &held.parsed,
                    standing: held.standing,
                    now: self.now,
                    is_kept: &|_| false,
                    note: &|_| (),
                };
                let reply = render.render(&view).reply;
                End::Reply(reply.status, reply.headers, reply.body)
            }
        }
    }

    /// What the cache would do.
    fn document(&mut self, document: &Document) -> Result<Held, Failure> {
        let key = &document.lookup.key;
        let row = self.kept.get(key).cloned();
        let is_fresh = |row: &Row| match document.demand {
            Demand::AnyAge | Demand::Prompt => {
                document.lookup.stale == Stale::Always || self.now < row.fresh_until
            }
            Demand::Fresh | Demand::Revalidated => self.now < row.fresh_until,
        };
        if let Some(row) = row.as_ref().filter(|row| is_fresh(row)) {
            return Ok(held(row, false));
        }
        let answered = match document.lookup.origins.first() {
            Some(_) if self.is_down => Err(Failure::NotKept),
            Some(request) => self.fetch(document, request),
            None => Err(Failure::NotKept),
        };
        match (answered, row) {
            (Ok(row), _) => Ok(held(&row, false)),
            (Err(_), Some(row)) if document.lookup.stale == Stale::Always => Ok(held(&row, true)),
            (Err(failure), _) => Err(failure),
        }
    }

    fn fetch(&mut self, document: &Document, request: &OriginRequest) -> Result<Row, Failure> {
        let (head, body) = self.answer(request);
        let answer = Answer { hops: &[], head: &head, now: self.now };
        let accepted = match document.lookup.admit.admit(0, &answer) {
            Admission::Accept(accepted) => accepted,
            Admission::Absent => return Err(Failure::Absent),
            Admission::Refused => return Err(Failure::Refused { status: head.status.as_u16() }),
            Admission::Fail { reason } => return Err(Failure::BadAnswer(reason)),
            Admission::Pieces(..) => return Err(Failure::BadAnswer("pieces".to_owned())),
        };
        let previous = self.kept.get(&document.lookup.key);
        let previous = previous.map(|row| row.parsed.clone());
        let fresh = Fresh {
            origin: 0,
            url: &request.url,
            head: &head,
            body: &body,
            rest: &[],
            now: self.now,
        };
        let merged = document.keep.merge(previous.as_ref(), &fresh).map_err(Failure::BadAnswer)?;
        let Kept { bytes, parsed, follow, .. } = merged;
        if !bytes.is_empty() {
            document.keep.read(&bytes).expect("what was written can be read");
        }
        let fresh_until = self.now.plus(accepted.fresh_for);
        let row = Row { bytes, parsed, validated: self.now, fresh_until };
        self.kept.insert(document.lookup.key.clone(), row.clone());
        let follow = if self.follows { follow } else { Vec::new() };
        for item in follow {
            if let Follow::Document(document) = item {
                // A follow-up that fails is forgotten.
                let _ = self.document(&document);
            }
        }
        Ok(row)
    }

    /// The hub.
    fn answer(&mut self, request: &OriginRequest) -> (Head, Bytes) {
        let token = match (&request.credentials, &request.origin.credentials) {
            (Some(Credentials::Verbatim(value)), _) => {
                value.expose().trim_start_matches("Bearer ").to_owned()
            }
            (None, Some(Credentials::Bearer(token))) => token.expose().to_owned(),
            _ => String::new(),
        };
        let path = request.url.path().trim_start_matches('/').to_owned();
        self.asked.push(format!("{} {path}", request.method));
        self.tokens.insert(token.clone());
        let is_friend = token == self.friend || token == "hf_service";
        if self.door == Door::Private && !is_friend {
            let status = if token.is_empty() { 401 } else { 404 };
            return said(status, "RepoNotFound", "Repository not found");
        }
        let is_of_files = path.contains("/resolve/") || path.ends_with("/auth-check");
        if self.door == Door::Gated && is_of_files && !is_friend {
            let status = if token.is_empty() { 401 } else { 403 };
            return said(status, "GatedRepo", "Ask for access first.");
        }
        self.content(&path)
    }

    fn content(&self, path: &str) -> (Head, Bytes) {
        let json = |value: Value| (Head::new(StatusCode::OK), Bytes::from(value.to_string()));
        let sha = self.head;
        let tree = |sha: &str| {
            json!([
                { "type": "directory", "oid": OID, "size": 0, "path": "d" },
                { "type": "file", "oid": OID, "size": 3, "path": "d/b.txt" },
                { "type": "file", "oid": OID, "size": 3, "path": "a.txt" },
                { "type": "file", "oid": OID, "size": 9_000_000, "path": "w.bin", "xetHash": XET,
                  "lfs": { "oid": SHA256, "size": 9_000_000, "pointerSize": 134 } },
                { "type": "file", "oid": OID, "size": 1, "path": format!("only-{}", &sha[..1]) },
            ])
        };
        let of_commit = |sha: &str| path.contains(sha);
        let asked_sha = [ONE, TWO].into_iter().find(|sha| of_commit(sha)).unwrap_or(sha);
        let info = json!({
            "_id": "1", "id": "org/m", "sha": asked_sha, "private": self.door == Door::Private,
            "gated": if self.door == Door::Gated { json!("auto") } else { json!(false) },
            "siblings": [{ "rfilename": "a.txt" }], "url": format!("{HUB}org/m"),
        });
        match path {
            "api/models/org/m" => json(info),
            "api/models/org/m/auth-check" => json(json!({})),
            "api/models/org/m/refs" => json(json!({ "branches": [
                { "name": "main", "ref": "refs/heads/main", "targetCommit": sha }
            ] })),
            _ if path.starts_with("api/models/org/m/revision/") => {
                match path.ends_with("/tag") || path.ends_with(ONE) || path.ends_with(TWO) {
                    true => json(info),
                    false => said(404, "RevisionNotFound", "Invalid rev id"),
                }
            }
            _ if path.starts_with("api/models/org/m/tree/") => json(tree(asked_sha)),
            _ if path.starts_with("org/m/resolve/") => self.file(path, asked_sha),
            _ => said(404, "", "Sorry, we can't find the page you are looking for."),
        }
    }

    fn file(&self, path: &str, sha: &str) -> (Head, Bytes) {
        let field = |head: &mut Head, name: &'static str, text: &str| {
            let value = HeaderValue::from_str(text).expect("a field value");
            head.headers.insert(HeaderName::from_static(name), value);
        };
        let (status, tag, size) = match path.rsplit('/').next() {
            Some("a.txt" | "b.txt") => (200, OID, 3),
            Some("w.bin") => (302, SHA256, 9_000_000),
            _ => {
                let (mut head, body) = said(404, "EntryNotFound", "Entry not found");
                field(&mut head, "x-repo-commit", sha);
                return (head, body);
            }
        };
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        field(&mut head, "x-repo-commit", sha);
        field(&mut head, "etag", &format!("\"{tag}\""));
        if status == 302 {
            field(&mut head, "location", "https://cdn.example/x?Signature=1");
            field(&mut head, "x-linked-etag", &format!("\"{tag}\""));
            field(&mut head, "x-linked-size", &size.to_string());
            field(&mut head, "x-xet-hash", XET);
        } else {
            field(&mut head, "content-length", &size.to_string());
        }
        (head, Bytes::new())
    }

    /// How often the hub was asked since the last time.
    fn questions(&mut self) -> usize {
        std::mem::take(&mut self.asked).len()
    }
}

fn held(row: &Row, offline: bool) -> Held {
    let standing = Standing {
        validated: row.validated,
        fresh_until: row.fresh_until,
        presence: Presence::Present,
        offline,
    };
    Held { parsed: row.parsed.clone(), version: 0, standing }
}

fn said(status: u16, code: &str, message: &str) -> (Head, Bytes) {
    let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
    for (name, text) in [("x-error-code", code), ("x-error-message", message)] {
        if !text.is_empty() {
            let value = HeaderValue::from_str(text).expect("a field value");
            head.headers.insert(HeaderName::from_static(name), value);
        }
    }
    (head, json!({ "error": message }).to_string().into())
}
