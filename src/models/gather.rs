//! Gathers what a passport is composed from: the mount's record of a repository, small files, the beginnings of weights, and what is known of ancestors.
//!
//! All of it is asked of the mount as the caller, with `only-if-cached` unless he allows more. Weights are never fetched for a passport: only what is kept of them is
//! looked at. Everything is bounded; what lies beyond a bound is left out, and the passport says what it does not know.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, BodyStream};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::admin::Visitor;
use crate::admin::api::Problem;
use crate::ecosystem::huggingface::record::{Record, RecordFile};
use crate::ecosystem::huggingface::repository::{
    FilePath, MAIN, Repository, RepositoryType, Revision, encoded,
};
use crate::ecosystem::huggingface::route::OWN;
use crate::formats::Reading;
use crate::passport::{Ancestor, Card, Kind, Sources, Text, Weights};
use crate::server::Body;
use crate::signature::Trust;

/// The longest record, and the longest header of weights. Real ones have a few MiB.
const MOST_RECORD_BYTES: usize = 64 << 20;
const MOST_HEADER_BYTES: u64 = 32 << 20;

/// The longest file that is read as a whole, how many of them, and how many bytes of them together.
const MOST_TEXT_BYTES: u64 = 12 << 20;
const MOST_TEXTS: usize = 256;
const MOST_TEXTS_BYTES: u64 = 64 << 20;

/// Files of weights whose beginnings are read.
const MOST_WEIGHTS: usize = 256;

/// What is asked for at first of a file of weights.
const FIRST_LOOK_BYTES: u64 = 64 << 10;

/// Questions under way at once.
const AT_ONCE: usize = 4;

/// Ancestors, and generations of them.
const MOST_ANCESTORS: usize = 16;
const MOST_GENERATIONS: usize = 4;

/// Gathers on behalf of a caller.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) visitor: Visitor,
    /// What is small and not kept may be asked for upstream.
    pub(super) may_fetch: bool,
    /// The instant as of which the mount is asked: a date, a time or the name of a snapshot.
    pub(super) at: Option<String>,
    /// The hub that package URLs mean when they name none.
    pub(super) known_hub: Option<String>,
    /// Whom signatures must lead back to.
    pub(super) trust: Trust,
}

/// Why the mount gave nothing.
struct Refusal {
    status: StatusCode,
    reason: String,
}

/// Whether the mount may ask upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    AsAllowed,
    Never,
}

impl Gather {
    /// Everything that is known of a repository at a revision.
    pub(super) async fn sources(
        &self,
        repository: &Repository,
        revision: &Revision,
    ) -> Result<Sources, Problem> {
        let record = self.record(repository, revision, true).await;
        let record = record.map_err(|refusal| self.problem(&refusal, repository))?;
        let files = record.files.as_deref().unwrap_or_default();
        let place = Place { repository, commit: &record.commit };
        let texts = self.texts(&place, files).await;
        let weights = self.weights(&place, files).await;
        let card = record.description.as_ref().and_then(Card::of);
        let ancestors = self.ancestors(repository, card.as_ref()).await;
        let is_known_hub = self.known_hub.as_deref().is_some_and(|hub| is_same(hub, &record.hub));
        let trust = self.trust.clone();
        Ok(Sources { is_known_hub, trust, texts, weights, ancestors, record })
    }

    fn problem(&self, refusal: &Refusal, repository: &Repository) -> Problem {
        let Refusal { status, reason } = refusal;
        match status {
            &StatusCode::GATEWAY_TIMEOUT | &StatusCode::NOT_FOUND if !self.may_fetch => {
                Problem::absent(format!(
                    "nothing is kept of {repository} that may be told here: {reason}; with fetch=true the hub is asked"
                ))
            }
            status => Problem::new(*status, reason.clone()),
        }
    }

    async fn record(
        &self,
        repository: &Repository,
        revision: &Revision,
        with_files: bool,
    ) -> Result<Record, Refusal> {
        let path =
            format!("/{OWN}record/{repository}?revision={}&files={with_files}", revision.encoded());
        let answer = self.get(&path, None, Ask::AsAllowed).await?;
        let text = start(answer, MOST_RECORD_BYTES).await?;
        serde_json::from_slice(&text).map_err(|error| Refusal {
            status: StatusCode::BAD_GATEWAY,
            reason: format!("the record of {repository} cannot be read: {error}"),
        })
    }

    /// Small files, whole. Those that are not kept are asked for only where their content says something.
    async fn texts(&self, place: &Place<'_>, files: &[RecordFile]) -> Vec<Text> {
        let mut budget = MOST_TEXTS_BYTES;
        let wanted = files.iter().filter(|file| {
            let is_small =
                file.sha256.is_none() && file.size.is_some_and(|size| size <= MOST_TEXT_BYTES);
            is_small && (file.is_kept || (self.may_fetch && says_something(&file.path)))
        });
        let wanted: Vec<&RecordFile> = wanted
            .take(MOST_TEXTS)
            .take_while(|file| {
                let rest = budget.checked_sub(file.size.unwrap_or(0));
                budget = rest.unwrap_or(0);
                rest.is_some()
            })
            .collect();
        let questions: Vec<_> = wanted.into_iter().map(|file| self.text(place, file)).collect();
        let read: Vec<Option<Text>> = stream::iter(questions).buffered(AT_ONCE).collect().await;
        read.into_iter().flatten().collect()
    }

    async fn text(&self, place: &Place<'_>, file: &RecordFile) -> Option<Text> {
        let path = place.address(&file.path)?;
        let answer = self.get(&path, None, Ask::AsAllowed).await.ok()?;
        let limit = usize::try_from(MOST_TEXT_BYTES).unwrap_or(usize::MAX);
        let bytes = start(answer, limit).await.ok()?;
        // What was cut says nothing of the whole.
        let is_whole = Some(bytes.len() as u64) == file.size;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        is_whole.then(|| Text { path: file.path.clone(), sha256, bytes })
    }

    /// The beginnings of weights that are kept.
    async fn weights(
        &self,
        place: &Place<'_>,
        files: &[RecordFile],
    ) -> Vec<(String, Result<Weights, String>)> {
        let wanted: Vec<(&RecordFile, Kind)> = files
            .iter()
            .filter(|file| file.is_kept)
            .filter_map(|file| Some((file, Kind::of(&file.path)?)))
            .take(MOST_WEIGHTS)
            .collect();
        let questions: Vec<_> =
            wanted.iter().map(|(file, kind)| self.weight(place, file, *kind)).collect();
        let read: Vec<_> = stream::iter(questions).buffered(AT_ONCE).collect().await;
        wanted.into_iter().map(|(file, _)| file.path.clone()).zip(read).collect()
    }

    async fn weight(
        &self,
        place: &Place<'_>,
        file: &RecordFile,
        kind: Kind,
    ) -> Result<Weights, String> {
        let path = place.address(&file.path).ok_or("its path cannot be written as an address")?;
        let mut look = FIRST_LOOK_BYTES;
        loop {
            let end = file.size.map_or(look, |size| size.min(look));
            let answer = self.get(&path, Some(end), Ask::Never).await;
            let limit = usize::try_from(end).unwrap_or(usize::MAX);
            let prefix = match answer {
                Ok(answer) => start(answer, limit).await,
                Err(refusal) => Err(refusal),
            };
            let prefix = prefix.map_err(|refusal| refusal.reason)?;
            match Weights::read(&file.path, kind, &prefix, file.size) {
                Reading::Read(weights) => return Ok(weights),
                Reading::Broken(fault) => return Err(fault),
                Reading::Needs(more) if more > MOST_HEADER_BYTES => {
                    return Err(format!("its header is longer than {MOST_HEADER_BYTES} bytes"));
                }
                Reading::Needs(more) if more <= look => {
                    return Err("it ended before it should".to_owned());
                }
                Reading::Needs(more) => look = more,
            }
        }
    }

    /// The models that the card names, theirs, and so on, nearest first.
    async fn ancestors(&self, of: &Repository, card: Option<&Card>) -> Vec<Ancestor> {
        let mut found: Vec<Ancestor> = Vec::new();
        let mut seen = BTreeSet::from([of.id().to_owned()]);
        let mut waiting: VecDeque<(usize, Ancestor)> = VecDeque::new();
        enqueue(&mut waiting, 1, of.id(), card);
        while let Some((generation, mut ancestor)) = waiting.pop_front() {
            if found.len() >= MOST_ANCESTORS || !seen.insert(ancestor.repository.clone()) {
                continue;
            }
            match self.ancestor(&ancestor.repository).await {
                Ok((commit, card)) => {
                    if generation < MOST_GENERATIONS {
                        enqueue(&mut waiting, generation + 1, &ancestor.repository, card.as_ref());
                    }
                    if card.as_ref().is_none_or(|card| card.licence.is_none()) {
                        ancestor.unknown = Some("its card names no licence".to_owned());
                    }
                    ancestor.commit = Some(commit);
                    ancestor.card = card;
                }
                Err(reason) => ancestor.unknown = Some(reason),
            }
            found.push(ancestor);
        }
        found
    }

    async fn ancestor(&self, id: &str) -> Result<(String, Option<Card>), String> {
        let repository = Repository::parse(RepositoryType::Models, id)
            .ok_or("the card's text names no repository")?;
        let main = Revision::parse(MAIN).ok_or("there is no main branch")?;
        let record = self.record(&repository, &main, false).await;
        let record = record.map_err(|refusal| match refusal.status {
            StatusCode::GATEWAY_TIMEOUT => "nothing of it passed through".to_owned(),
            _ => refusal.reason,
        })?;
        let described = record.description.as_ref().or(record.latest.as_ref());
        Ok((record.commit, described.and_then(Card::of)))
    }

    /// Asks the mount for a path, or for its first bytes.
    async fn get(
        &self,
        path: &str,
        first_bytes: Option<u64>,
        ask: Ask,
    ) -> Result<Response<Body>, Refusal> {
        let past = self.at.as_ref().map(|at| format!("/@{}", encoded(at)));
        let mut request = Request::get(format!("{}{path}", past.unwrap_or_default()));
        if ask == Ask::Never || !self.may_fetch {
            request = request.header(header::CACHE_CONTROL, "only-if-cached");
        }
        if let Some(bytes) = first_bytes.filter(|bytes| *bytes > 0) {
            request = request.header(header::RANGE, format!("bytes=0-{}", bytes - 1));
        }
        request = request.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let request = request.body(Bytes::new().into()).map_err(|error| Refusal {
            status: StatusCode::BAD_REQUEST,
            reason: error.to_string(),
        })?;
        let answer = self.visitor.ask(request).await;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(Refusal { status, reason: reason(answer).await }),
        }
    }
}

/// A commit of a repository.
struct Place<'a> {
    repository: &'a Repository,
    commit: &'a str,
}

impl Place<'_> {
    fn address(&self, path: &str) -> Option<String> {
        let path = FilePath::parse(path)?;
        let Self { repository, commit } = self;
        let web: Vec<String> = repository.web_path().split('/').map(encoded).collect();
        Some(format!("/{}/resolve/{commit}/{}", web.join("/"), path.encoded()))
    }
}

fn enqueue(
    waiting: &mut VecDeque<(usize, Ancestor)>,
    generation: usize,
    of: &str,
    card: Option<&Card>,
) {
    let Some(card) = card else { return };
    for base in &card.base_models {
        let relation = card.relation.clone();
        let ancestor = Ancestor {
            repository: base.clone(),
            of: of.to_owned(),
            relation,
            ..Ancestor::default()
        };
        waiting.push_back((generation, ancestor));
    }
}

/// Whether a passport is the better for a file's content.
fn says_something(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    matches!(name.as_str(), "config.json" | "readme.md" | "model.sig")
        || ["license", "licence", "copying"].iter().any(|word| name.starts_with(word))
}

fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

/// The first bytes of an answer, so many at most.
async fn start(answer: Response<Body>, limit: usize) -> Result<Bytes, Refusal> {
    let mut frames = BodyStream::new(answer.into_body());
    let mut whole = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| Refusal {
            status: StatusCode::BAD_GATEWAY,
            reason: format!("the answer broke off: {error}"),
        })?;
        if let Ok(data) = frame.into_data() {
            let room = limit - whole.len();
            whole.extend_from_slice(&data[..data.len().min(room)]);
            if whole.len() == limit {
                break;
            }
        }
    }
    Ok(whole.freeze())
}

/// What a refusal says for people.
async fn reason(answer: Response<Body>) -> String {
    let status = answer.status();
    let said = answer.headers().get("x-error-message");
    let said = said.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = start(answer.map(BodyExt::boxed_unsync), 64 << 10).await;
    let told = || {
        let json: Value = serde_json::from_slice(body.as_ref().ok()?).ok()?;
        let text = json["detail"].as_str().or_else(|| json["error"].as_str())?;
        Some(text.to_owned())
    };
    said.or_else(told).unwrap_or_else(|| status.to_string())
}
