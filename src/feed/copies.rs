//! Copies of records from addresses: fetched now and then into a folder of the data directory, which is read like the operator's own.
//!
//! A copy takes the place of the one before only once it was read to its end and holds records: an outage, an error page, an empty archive or one that never
//! stops growing changes nothing. Copies outlive restarts, so that a start without network judges by what was known before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{Config, folder};
use crate::clock::Clock;
use crate::types::Timestamp;
use crate::upstream::request::{Origin, OriginRequest, UpstreamError, display_address};
use crate::upstream::{OriginBody, Upstream};

/// What addresses may end with: how the records are written there.
const ENDS: [&str; 3] = [".zip", ".json", ".jsonl"];

/// One address, and where its copy lies.
#[derive(Debug)]
pub(super) struct Copy {
    origin: Arc<Origin>,
    url: Url,
    path: PathBuf,
}

/// What is known of a copy, in a hidden file beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    etag: Option<String>,
    last_modified: Option<String>,
    pub(super) fetched: Timestamp,
    /// When its address last confirmed it.
    pub(super) confirmed: Timestamp,
}

/// What came of asking an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Fresh,
    Unchanged,
}

/// Why an address gave no copy. The one before stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it cannot be reached")]
    Unreachable(#[from] UpstreamError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it is longer than {0} (`advisories.most_fetched`)")]
    TooLong(crate::types::ByteSize),
    #[error("it cannot be used")]
    Unusable(#[source] io::Error),
    #[error("its copy cannot be written")]
    Disk(#[source] io::Error),
}

/// The addresses of a configuration.
///
/// # Errors
///
/// What is wrong with each, in words.
pub fn addresses(config: &Config) -> Result<Vec<Url>, Vec<String>> {
    let read = |text: &String| match Url::parse(text) {
        Ok(url) if is_usable(&url) => Ok(url),
        _ => Err(format!(
            "holds {text:?}, expected an http or https address, without credentials, that ends with one of {}",
            ENDS.join(", ")
        )),
    };
    let (urls, faults): (Vec<_>, Vec<_>) = config.sources.iter().map(read).partition(Result::is_ok);
    match faults.is_empty() {
        true => Ok(urls.into_iter().flatten().collect()),
        false => Err(faults.into_iter().filter_map(Result::err).collect()),
    }
}

fn is_usable(url: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_web && url.username().is_empty() && url.password().is_none() && end(url).is_some()
}

fn end(url: &Url) -> Option<&'static str> {
    ENDS.into_iter().find(|end| url.path().ends_with(end))
}

/// The copies of a configuration in their folder, which is made. What is no copy of an address any more, or cannot be read, is taken away.
pub(super) fn open(config: &Config, folder: &Path) -> io::Result<Vec<Copy>> {
    fs::create_dir_all(folder)?;
    let urls = addresses(config).unwrap_or_default();
    let copies: Vec<Copy> = urls.into_iter().map(|url| Copy::new(url, folder)).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_own = copies.iter().any(|copy| path == copy.path || path == copy.note_path());
        if !is_own {
            fs::remove_file(&path)?;
        }
    }
    for copy in copies.iter().filter(|copy| copy.path.exists()) {
        if let Err(error) = copy.check(&copy.path, config) {
            tracing::warn!(source = %copy.address(), %error, "a copy of advisories is damaged and is fetched again");
            fs::remove_file(&copy.path)?;
        }
    }
    Ok(copies)
}

impl Copy {
    fn new(url: Url, folder: &Path) -> Self {
        let mut base = url.clone();
        base.set_path("/");
        base.set_query(None);
        base.set_fragment(None);
        // The operator names the host, wherever it is, and nothing leads to another one.
        let origin = Origin {
            id: "advisories".into(),
            base,
            hosts: Vec::new(),
            credentials: None,
            allow_private: true,
        };
        let digest = hex::encode(&Sha256::digest(url.as_str())[..8]);
        let path = folder.join(format!("{digest}{}", end(&url).unwrap_or_default()));
        Self { origin: Arc::new(origin), url, path }
    }

    /// The address as it may be told.
    pub(super) fn address(&self) -> String {
        display_address(&self.url)
    }

    fn note_path(&self) -> PathBuf {
        self.beside("note")
    }

    /// A hidden file beside it: what is read passes it over.
    fn beside(&self, what: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.{what}"))
    }

    /// What is known of the copy, where there is one.
    pub(super) fn note(&self) -> Option<Note> {
        let text = fs::read(self.note_path()).ok().filter(|_| self.path.exists())?;
        serde_json::from_slice(&text).ok()
    }

    fn write_note(&self, note: &Note) -> io::Result<()> {
        fs::write(self.note_path(), serde_json::to_vec(note).map_err(io::Error::other)?)
    }

    /// Whether a file holds what this address is to give.
    fn check(&self, path: &Path, config: &Config) -> io::Result<()> {
        let kind = folder::kind(&self.path).ok_or(io::ErrorKind::InvalidInput)?;
        match folder::check(path, kind, &config.ecosystems, config.most_inflated.bytes())? {
            0 => Err(io::Error::other("it holds no record of `advisories.ecosystems`")),
            _ => Ok(()),
        }
    }

    /// Asks the address for something newer.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        upstream: &dyn Upstream,
        config: &Config,
        clock: &Clock,
    ) -> Result<Outcome, FetchError> {
        let known = self.note();
        let mut request = OriginRequest::get(&self.origin, self.url.clone());
        let identity = HeaderValue::from_static("identity");
        request.headers.insert(header::ACCEPT_ENCODING, identity);
        let validators = known.iter().flat_map(|note| {
            let etag = note.etag.as_ref().map(|text| (header::IF_NONE_MATCH, text));
            let date = note.last_modified.as_ref().map(|text| (header::IF_MODIFIED_SINCE, text));
            etag.into_iter().chain(date)
        });
        for (name, text) in validators {
            if let Ok(value) = HeaderValue::from_str(text) {
                request.headers.insert(name, value);
            }
        }
        let response = upstream.send(request).await?;
        let now = clock.now();
        match (response.head.status, known) {
            (StatusCode::NOT_MODIFIED, Some(note)) => {
                let note = Note { confirmed: now, ..note };
                self.write_note(&note).map_err(FetchError::Disk)?;
                Ok(Outcome::Unchanged)
            }
            (StatusCode::OK, _) => {
                let field = |name| response.head.text(&name).map(str::to_owned);
                let (etag, last_modified) = (field(header::ETAG), field(header::LAST_MODIFIED));
                let note = Note { etag, last_modified, fetched: now, confirmed: now };
                self.take(response.body, note, config).await?;
                Ok(Outcome::Fresh)
            }
            (status, _) => Err(FetchError::Status(status)),
        }
    }

    /// Writes a body down and puts it in the place of the copy before, once it was read.
    async fn take(
        self: &Arc<Self>,
        mut body: OriginBody,
        note: Note,
        config: &Config,
    ) -> Result<(), FetchError> {
        let part = self.beside("part");
        let mut file = BufWriter::new(File::create(&part).map_err(FetchError::Disk)?);
        let mut length = 0;
        while let Some(chunk) = body.try_next().await? {
            length += chunk.len() as u64;
            if length > config.most_fetched.bytes() {
                return Err(FetchError::TooLong(config.most_fetched));
            }
            file.write_all(&chunk).map_err(FetchError::Disk)?;
        }
        let file = file.into_inner().map_err(|error| FetchError::Disk(error.into_error()))?;
        let (copy, config) = (Arc::clone(self), config.clone());
        let taking = tokio::task::spawn_blocking(move || {
            copy.check(&part, &config).map_err(FetchError::Unusable)?;
            // Without its note a copy is fetched again, whatever happens in between.
            let _ = fs::remove_file(copy.note_path());
            file.sync_all().map_err(FetchError::Disk)?;
            fs::rename(&part, &copy.path).map_err(FetchError::Disk)?;
            copy.write_note(&note).map_err(FetchError::Disk)
        });
        taking.await.map_err(|error| FetchError::Disk(io::Error::other(error)))?
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When its address last confirmed it; `None` where there is none.
    pub(super) fn confirmed(&self) -> Option<Timestamp> {
        self.note().map(|note| note.confirmed)
    }
}
