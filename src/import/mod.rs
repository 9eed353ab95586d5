//! `larder import hf-cache DIR`: what a hub client has downloaded already is kept as if it had come through Larder.
//!
//! ```text
//! folder   reads the client's cache folder: repositories, references, snapshots, blobs
//! source   that folder as an upstream, in place of the hub
//! ```
//!
//! Every blob is fetched from there through the cache, which checks it against the digest that it is named by; every file of every snapshot and
//! every reference is asked for once, so that the adapter writes down what it would have written online. So nothing here knows how anything is
//! kept. Left out: which components there are, and the data directory, which must be this process's own (`app`).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::cache::Cache;
use crate::cache::artifact::Want;
use crate::cache::failure::Failure;
use crate::ecosystem::huggingface::file::{artifact, blob_key};
use crate::ecosystem::huggingface::repository::{Commit, FilePath, Repository, encoded};
use crate::import::folder::{Blob, Folder, Stored};
use crate::import::source::BLOBS;
use crate::server::{Handler, Peer, RequestBody};
use crate::upstream::{Origin, OriginRequest};

pub mod folder;
pub mod source;

/// Blobs copied at once: more would only fight for the disk.
const AT_ONCE: usize = 4;

/// An import, ready to run.
pub struct Import {
    pub cache: Cache,
    /// Answers requests as a server would, with the folder in place of the hub.
    pub handler: Arc<dyn Handler>,
    pub folder: Arc<Folder>,
    pub origin: Arc<Origin>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs that were kept before.
    pub known: u64,
    /// Files and references that can be served from now on.
    pub named: u64,
    /// What could not be taken over, and why.
    pub refused: Vec<String>,
}

/// How a blob fared.
enum Fared {
    Kept(u64),
    Known,
    Refused(String),
}

impl Import {
    /// Takes everything over. What is not right is told in the report, and the rest goes on.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        for stored in &self.folder.repositories {
            let copies = stored.blobs.iter().map(|blob| self.copy(blob));
            let mut copies = stream::iter(copies).buffer_unordered(AT_ONCE);
            while let Some(fared) = copies.next().await {
                report.add(fared);
            }
            drop(copies);
            self.name(stored, &mut report).await;
        }
        report
    }

    /// Copies a blob, unless it is kept, and compares it with its name.
    async fn copy(&self, blob: &Blob) -> Fared {
        let key = blob_key(&blob.digest);
        if self.cache.is_kept(&key) {
            return Fared::Known;
        }
        let refused =
            |why: &dyn fmt::Display| Fared::Refused(format!("{}: {why}", blob.path.display()));
        let address = self.origin.base.join(&format!("{BLOBS}{}", blob.digest.to_hex()));
        let request = match address {
            Ok(url) => OriginRequest::get(&self.origin, url),
            Err(error) => return refused(&error),
        };
        let wanted = artifact(key, Some(blob.digest), Some(blob.size), Some(request));
        let found = match self.cache.artifact(&wanted, Want::whole()).await {
            Ok(found) => found,
            Err(Failure::BadAnswer(reason)) => return refused(&reason),
            Err(failure) => return refused(&failure),
        };
        let mut body = found.source.body(None);
        while let Some(frame) = body.frame().await {
            if let Err(fault) = frame {
                let cause = std::error::Error::source(&fault).map(ToString::to_string);
                return refused(&cause.unwrap_or_else(|| fault.to_string()));
            }
        }
        Fared::Kept(blob.size)
    }

    /// Asks for every file and every reference once, so that they are known by name.
    async fn name(&self, stored: &Stored, report: &mut Report) {
        let repository = &stored.repository;
        for (commit, files) in &stored.snapshots {
            for path in files.keys() {
                let asked = self.ask(repository, commit.as_str(), path).await;
                report.note(repository, commit.as_str(), path, asked);
            }
        }
        for (name, commit) in &stored.references {
            let Some(path) = first_of(stored, commit) else { continue };
            let asked = self.ask(repository, name, path).await;
            report.note(repository, name, path, asked);
        }
    }

    /// `HEAD` of a file, as a client asks for it.
    async fn ask(
        &self,
        repository: &Repository,
        revision: &str,
        path: &FilePath,
    ) -> Result<(), String> {
        let address =
            format!("/{}/resolve/{}/{}", repository.web_path(), encoded(revision), path.encoded());
        let mut request = Request::new(RequestBody::from(bytes::Bytes::new()));
        *request.method_mut() = Method::HEAD;
        *request.uri_mut() = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peer = Peer { address: nowhere, local: nowhere, tls: false, certificate: None };
        let response = self.handler.handle(request, peer).await;
        let told = response.headers().get("x-error-message");
        match (response.status(), told) {
            (StatusCode::OK, _) => Ok(()),
            (_, Some(message)) => Err(String::from_utf8_lossy(message.as_bytes()).into_owned()),
            (status, None) => Err(status.to_string()),
        }
    }
}

/// A file of a commit, by which a reference to it can be asked for.
fn first_of<'a>(stored: &'a Stored, commit: &Commit) -> Option<&'a FilePath> {
    stored.snapshots.get(commit)?.keys().next()
}

impl Report {
    fn add(&mut self, fared: Fared) {
        match fared {
            Fared::Kept(bytes) => {
                self.blobs += 1;
                self.bytes += bytes;
            }
            Fared::Known => self.known += 1,
            Fared::Refused(why) => self.refused.push(why),
        }
    }

    fn note(
        &mut self,
        repository: &Repository,
        revision: &str,
        path: &FilePath,
        asked: Result<(), String>,
    ) {
        match asked {
            Ok(()) => self.named += 1,
            Err(why) => self.refused.push(format!("{repository} {revision} {path}: {why}")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for why in &self.refused {
            writeln!(f, "not taken over: {why}")?;
        }
        write!(
            f,
            "{} files of {} bytes verified and kept, {} kept before, {} names filed, {} refused",
            self.blobs,
            self.bytes,
            self.known,
            self.named,
            self.refused.len()
        )
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("folder", &self.folder).finish_non_exhaustive()
    }
}
