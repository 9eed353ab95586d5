//! A cache folder as an upstream: answers what the hub's adapter asks, out of the folder.
//!
//! So an import is a download like any other: every digest is checked, every document is written in its usual form, by the code that
//! does so for the hub itself. What the folder cannot know is whether a repository is open to all; that question goes on to the hub, unless the person
//! who imports answers for it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use url::Url;

use crate::ecosystem::huggingface::file::Content;
use crate::ecosystem::huggingface::repository::{Commit, FilePath, Repository, Revision};
use crate::ecosystem::huggingface::route::{FileRoute, Route, route};
use crate::import::folder::{Blob, Folder, Listed, Stored};
use crate::types::{Algorithm, Head};
use crate::upstream::{
    Availability, Framing, OriginBody, OriginRequest, OriginResponse, Upstream, UpstreamError,
};

/// Where blobs are asked for by their place in the folder: no path of the hub's begins so.
pub const BLOBS: &str = "-/import/";

/// What is read of a file at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Who answers whether a repository is open to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Openness {
    /// The hub.
    Asked,
    /// Whoever imports: every repository of the folder is.
    Declared,
}

/// The folder, in place of the hub at `base`.
#[derive(Debug)]
pub struct Source {
    pub folder: Arc<Folder>,
    pub base: Url,
    pub openness: Openness,
    pub hub: Arc<dyn Upstream>,
}

impl Upstream for Source {
    fn send(
        &self,
        request: OriginRequest,
    ) -> BoxFuture<'static, Result<OriginResponse, UpstreamError>> {
        match self.find(&request) {
            Found::Elsewhere => self.hub.send(request),
            Found::Here(head, Body::Memory(body)) => {
                let body = stream::iter([Ok(body)]).boxed();
                let response = respond(request.url, head, body);
                async move { Ok(response) }.boxed()
            }
            Found::Here(head, Body::File(path)) => async move {
                let host = request.url.host_str().unwrap_or_default().to_owned();
                let body = read(path, host).await?;
                Ok(respond(request.url, head, body))
            }
            .boxed(),
        }
    }

    fn availability(&self, request: &OriginRequest) -> Availability {
        match self.find(request) {
            Found::Elsewhere => self.hub.availability(request),
            Found::Here(..) => Availability::Closed,
        }
    }

    fn report_slow(&self, request: &OriginRequest) {
        if matches!(self.find(request), Found::Elsewhere) {
            self.hub.report_slow(request);
        }
    }
}

/// What the folder has to say.
enum Found {
    Here(Head, Body),
    Elsewhere,
}

enum Body {
    Memory(Bytes),
    File(PathBuf),
}

impl Source {
    fn find(&self, request: &OriginRequest) -> Found {
        let Some(path) = request.url.as_str().strip_prefix(self.base.as_str()) else {
            return Found::Elsewhere;
        };
        let path = path.split('?').next().unwrap_or_default();
        if let Some(digest) = path.strip_prefix(BLOBS) {
            return self.blob(digest);
        }
        match route(path) {
            Route::Info { repository, revision } => self.info(&repository, revision),
            Route::Tree { repository, revision: Revision::Commit(commit), folder: None } => {
                self.tree(&repository, &commit)
            }
            Route::Resolve(file) => self.file(&file, &request.method),
            _ => nothing(),
        }
    }

    fn blob(&self, digest: &str) -> Found {
        let digest = Content::of_tag(digest).digest();
        let stored = self.folder.repositories.iter();
        let blob = digest.and_then(|digest| {
            stored.into_iter().flat_map(|stored| &stored.blobs).find(|blob| blob.digest == digest)
        });
        match blob {
            Some(blob) => Found::Here(head_of(blob), Body::File(blob.path.clone())),
            None => nothing(),
        }
    }

    /// A repository, or a revision of it, as far as the folder knows it.
    fn info(&self, repository: &Repository, revision: Option<Revision>) -> Found {
        let Some(stored) = self.folder.find(repository) else { return Found::Elsewhere };
        if self.openness == Openness::Asked {
            return Found::Elsewhere;
        }
        let commit = match &revision {
            Some(Revision::Commit(commit)) => Some(commit),
            Some(Revision::Name(name)) => stored.references.get(name.as_ref()),
            None => stored.references.get("main").or_else(|| stored.snapshots.keys().next_back()),
        };
        let Some(commit) = commit else { return nothing() };
        let files = stored.snapshots.get(commit).into_iter().flat_map(|files| files.keys());
        let listed = stored.trees.get(commit).into_iter().flat_map(|files| files.keys());
        let paths: BTreeSet<&FilePath> = files.chain(listed).collect();
        let siblings: Vec<Value> =
            paths.into_iter().map(|path| json!({ "rfilename": path.as_str() })).collect();
        told(&json!({
            "id": repository.id(), "modelId": repository.id(), "sha": commit.as_str(),
            "private": false, "gated": false, "disabled": false, "tags": [], "siblings": siblings,
        }))
    }

    fn tree(&self, repository: &Repository, commit: &Commit) -> Found {
        let listed = self.folder.find(repository).and_then(|stored| stored.trees.get(commit));
        let Some(files) = listed else { return nothing() };
        let folders: BTreeSet<&str> = files.keys().flat_map(folders_of).collect();
        let folders = folders.into_iter().map(|path| {
            // The client did not keep what git calls them.
            json!({ "type": "directory", "path": path, "oid": "0".repeat(40), "size": 0 })
        });
        let entries: Vec<Value> =
            folders.chain(files.iter().map(|(path, listed)| entry(path, listed))).collect();
        told(&Value::Array(entries))
    }

    fn file(&self, file: &FileRoute, method: &Method) -> Found {
        let FileRoute { repository, revision: Revision::Commit(commit), path } = file else {
            return nothing();
        };
        let Some(stored) = self.folder.find(repository) else { return nothing() };
        let Some(blob) = stored.snapshots.get(commit).and_then(|files| files.get(path)) else {
            return nothing();
        };
        let mut head = head_of(blob);
        let mut insert = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                head.headers.insert(HeaderName::from_static(name), value);
            }
        };
        let tag = format!("\"{}\"", blob.digest.to_hex());
        insert("x-repo-commit", commit.as_str());
        insert("etag", &tag);
        if blob.digest.algorithm() == Algorithm::Sha256 {
            insert("x-linked-etag", &tag);
            insert("x-linked-size", &blob.size.to_string());
        }
        if let Some(hash) = xet_hash(stored, commit, path) {
            insert("x-xet-hash", hash);
        }
        match *method {
            Method::HEAD => Found::Here(head, Body::Memory(Bytes::new())),
            _ => Found::Here(head, Body::File(blob.path.clone())),
        }
    }
}

fn xet_hash<'a>(stored: &'a Stored, commit: &Commit, path: &FilePath) -> Option<&'a str> {
    stored.trees.get(commit)?.get(path)?.xet_hash.as_deref()
}

fn head_of(blob: &Blob) -> Head {
    let mut head = Head::new(StatusCode::OK);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.size));
    head.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    head
}

/// A file as the hub's list has it.
fn entry(path: &FilePath, listed: &Listed) -> Value {
    let Listed { size, blob_id, lfs_sha256, lfs_size, xet_hash } = listed;
    let mut entry = json!({ "type": "file", "path": path.as_str(), "oid": blob_id, "size": size });
    if let Some(sha256) = lfs_sha256 {
        let size = lfs_size.unwrap_or(*size);
        entry["lfs"] = json!({ "oid": sha256, "size": size, "pointerSize": pointer(sha256, size) });
    }
    if let Some(hash) = xet_hash {
        entry["xetHash"] = json!(hash);
    }
    entry
}

/// The length of the pointer that git holds, which follows from what it says.
fn pointer(sha256: &str, size: u64) -> usize {
    let version = "version https://git-lfs.github.com/spec/v1\n";
    version.len() + format!("oid sha256:{sha256}\nsize {size}\n").len()
}

/// The folders that a file is in.
fn folders_of(path: &FilePath) -> impl Iterator<Item = &str> {
    let text = path.as_str();
    text.match_indices('/').map(|(at, _)| &text[..at])
}

fn told(value: &Value) -> Found {
    let body = Bytes::from(value.to_string());
    let mut head = Head::new(StatusCode::OK);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Found::Here(head, Body::Memory(body))
}

/// The folder has no such thing, which says nothing of the hub.
fn nothing() -> Found {
    Found::Here(Head::new(StatusCode::SERVICE_UNAVAILABLE), Body::Memory(Bytes::new()))
}

fn respond(url: Url, head: Head, body: OriginBody) -> OriginResponse {
    let framing = Framing::Delimited;
    OriginResponse { head, hops: Vec::new(), url, elapsed: Duration::ZERO, framing, body }
}

/// A file's bytes as they are read.
async fn read(path: PathBuf, host: String) -> Result<OriginBody, UpstreamError> {
    let broken = move |error: io::Error| UpstreamError::Broken {
        host: host.clone(),
        detail: error.to_string(),
    };
    let file = File::open(path).await.map_err(&broken)?;
    let reading = stream::try_unfold((file, broken), |(mut file, broken)| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match file.read_buf(&mut chunk).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((chunk.freeze(), (file, broken)))),
            Err(error) => Err(broken(error)),
        }
    });
    Ok(reading.boxed())
}
