//! `-/hf/record/TYPE/ID?revision=REVISION`: all that is known of a repository at a revision, as one JSON object, for Larder's own use.
//!
//! It is planned as any question of a client's is, so that nobody learns of a repository what the hub would not tell him, and nothing is asked when the request says
//! `only-if-cached`. Left out: what is in the files, which is read as files are.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::lookup::{Document, Parsed};
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::explain;
use crate::ecosystem::huggingface::file::Content;
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::query::Query;
use crate::ecosystem::huggingface::repository::{MAIN, Repository, Revision};
use crate::ecosystem::huggingface::settle::{Purpose, Settled, settle};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::{
    Access, Ask, Held, Plan, Render, Rendered, Reply, Serve, Standing, Step, Subject, View,
};
use crate::types::{BlobId, CacheKey, Presence, Timestamp};

/// Files that are listed; of more, only how many there are is told.
const MOST_FILES: usize = 20_000;

/// What is known of a repository at a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The hub's address.
    pub hub: String,
    /// `models/org/name`.
    pub repository: String,
    /// The revision as it was asked for.
    pub asked: String,
    /// The commit that it leads to.
    pub commit: String,
    /// The commits that the revision led to, oldest first, with the times at which that was first seen; empty for one that is a commit itself.
    pub history: Vec<Sighting>,
    /// When the hub last confirmed what it said of the repository.
    pub validated: Timestamp,
    /// Since when the hub no longer has it, or no longer gives it to all.
    pub gone_since: Option<Timestamp>,
    pub closed_since: Option<Timestamp>,
    /// The hub could not be asked when it should have been.
    pub is_offline: bool,
    pub is_private: bool,
    pub is_gated: bool,
    pub is_disabled: bool,
    /// The hub's present word, where that is a refusal.
    pub refusal: Option<Word>,
    /// The hub's own identifier of the repository.
    pub identity: Option<String>,
    /// That of another repository, which has the name now and is not taken for this one.
    pub stranger: Option<String>,
    /// The hub's description of exactly this commit.
    pub description: Option<Value>,
    /// Its latest description of the repository, where that is of another commit: what does not change with commits is in it, too.
    pub latest: Option<Value>,
    /// The files of the commit, by path; `None` where the list is not kept, or was not asked for (`files=false`).
    pub files: Option<Vec<RecordFile>>,
    /// How many files are not listed here, because they are too many.
    pub more_files: usize,
}

/// A commit that a revision led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub commit: String,
    pub at: Timestamp,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFile {
    pub path: String,
    pub size: Option<u64>,
    /// Git's name of the file, or of the pointer that stands for it.
    pub oid: Option<String>,
    /// Of a file that is not in git itself.
    pub sha256: Option<String>,
    pub xet: Option<String>,
    /// Whether its bytes are kept here.
    pub is_kept: bool,
}

/// Plans the record of a repository.
pub fn plan(settings: &Arc<Settings>, ask: &Ask, repository: Repository) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        let text = "This address is for GET.";
        return Step::Reply(explain::error(ask, StatusCode::METHOD_NOT_ALLOWED, None, text));
    }
    let query = Query::of(ask.query.as_deref());
    let asked = query.first("revision").unwrap_or(MAIN);
    let Some(revision) = Revision::parse(asked) else {
        let text = "The revision is none that git would take.";
        return Step::Reply(explain::error(ask, StatusCode::BAD_REQUEST, None, text));
    };
    let again = ask.clone();
    let named = revision.clone();
    let with_files = query.first("files").is_none_or(|_| query.is_on("files"));
    settle(settings, ask, repository, revision, Purpose::Listing, move |at| {
        look(at, &again, named, with_files)
    })
}

/// Looks at everything that is kept of the commit.
fn look(at: Settled, ask: &Ask, revision: Revision, with_files: bool) -> Step {
    let whole = info::document(&at.reach, &at.repository, ask);
    let of_commit = Revision::Commit(at.commit.clone());
    let tree = tree::document(&at.reach, &at.repository, &at.commit);
    let mut documents = vec![
        whole.clone(),
        info::revision_document(&at.reach, &at.repository, &of_commit, None, ask),
    ];
    documents.push(if with_files { tree } else { whole.clone() });
    if let Revision::Name(name) = &revision
        && **name != *MAIN
    {
        documents.push(info::revision_document(&at.reach, &at.repository, &revision, None, ask));
    }
    Step::Need {
        documents,
        then: Box::new(move |held| {
            let mut held = held.into_iter().map(Result::ok);
            let mut next = || held.next().flatten();
            let form = RecordForm {
                at,
                revision,
                whole: next(),
                commit: next(),
                tree: next(),
                named: next(),
            };
            form.serve(whole)
        }),
    }
}

/// A record, but for what only the index knows.
#[derive(Debug)]
struct RecordForm {
    at: Settled,
    revision: Revision,
    whole: Option<Held>,
    commit: Option<Held>,
    tree: Option<Held>,
    /// The revision's own document, where it is a name other than the main branch's.
    named: Option<Held>,
}

fn parsed<T: Send + Sync + 'static>(held: Option<&Held>) -> Option<&T> {
    held.map(|held| &held.parsed).and_then(Parsed::get)
}

impl RecordForm {
    fn serve(self, document: Document) -> Step {
        Step::Serve(Box::new(Plan {
            access: Access::Public,
            subject: Subject::default(),
            serve: Serve::Document { document, render: Arc::new(self) },
        }))
    }

    /// What describes the commit, and what describes another one.
    fn descriptions(&self) -> (Option<Value>, Option<Value>) {
        let read = |info: &Info| serde_json::from_str(info.text.as_deref()?).ok();
        let (mut own, mut other) = (None, None);
        for held in [&self.commit, &self.named, &self.whole] {
            let Some(info) = parsed::<Info>(held.as_ref()) else { continue };
            let place =
                if info.commit.as_ref() == Some(&self.at.commit) { &mut own } else { &mut other };
            if place.is_none() {
                *place = read(info);
            }
        }
        (own, other)
    }

    fn record(&self, view: &View<'_>) -> Record {
        let at = &self.at;
        let info = parsed::<Info>(self.whole.as_ref());
        let led = match (&self.revision, &self.named) {
            (Revision::Commit(_), _) => None,
            (Revision::Name(_), Some(named)) => parsed::<Info>(Some(named)),
            (Revision::Name(_), None) => info,
        };
        let history = led.map(|info| info.history.as_slice()).unwrap_or_default();
        let standing = self.named.as_ref().or(self.whole.as_ref()).map(|held| held.standing);
        let standing = standing.unwrap_or(view.standing);
        let (description, latest) = self.descriptions();
        let tree = parsed::<Tree>(self.tree.as_ref()).filter(|tree| at.covers(tree.kept()));
        let files = tree.map(|tree| files(tree, at, view.is_kept));
        let count = tree.map_or(0, |tree| {
            tree.entries(0..tree.len()).filter(|(_, entry)| !entry.is_folder).count()
        });
        Record {
            hub: at.reach.settings.origin.base.to_string(),
            repository: at.repository.to_string(),
            asked: self.revision.to_string(),
            commit: at.commit.to_string(),
            history: history
                .iter()
                .map(|seen| Sighting { commit: seen.commit.to_string(), at: seen.at })
                .collect(),
            validated: standing.validated,
            gone_since: gone_since(standing),
            closed_since: info.and_then(|info| info.closed_since),
            is_offline: standing.offline,
            is_private: info.is_some_and(|info| info.is_private),
            is_gated: info.is_some_and(|info| info.is_gated),
            is_disabled: info.is_some_and(|info| info.is_disabled),
            refusal: info.and_then(|info| info.refusal.clone()),
            identity: info.and_then(|info| Some(info.identity.as_ref()?.id.clone())),
            stranger: info.and_then(|info| Some(info.stranger.as_ref()?.identity.id.clone())),
            description,
            latest,
            more_files: count - files.as_ref().map_or(0, Vec::len),
            files,
        }
    }
}

const fn gone_since(standing: Standing) -> Option<Timestamp> {
    match standing.presence {
        Presence::Present => None,
        Presence::Gone { since, .. } | Presence::Withdrawn { since, .. } => Some(since),
    }
}

fn files(tree: &Tree, at: &Settled, is_kept: &dyn Fn(&CacheKey) -> bool) -> Vec<RecordFile> {
    let all = tree.entries(0..tree.len()).filter(|(_, entry)| !entry.is_folder);
    let read = |(_, entry): (usize, tree::Entry<'_>)| {
        let facts = entry.facts()?;
        let key = facts.artifact(at).lookup.key;
        let sha256 = match &facts.content {
            Content::Large { sha256, .. } => Some(sha256.to_hex()),
            Content::Git(_) | Content::Opaque(_) => None,
        };
        Some(RecordFile {
            path: facts.path.to_string(),
            size: facts.size,
            oid: Some(hex::encode(entry.oid)),
            sha256,
            xet: facts.xet_hash,
            is_kept: is_kept(&key),
        })
    };
    all.take(MOST_FILES).filter_map(read).collect()
}

impl Render for RecordForm {
    fn variant(&self) -> String {
        let Self { at, revision, .. } = self;
        let versions: Vec<u64> = [&self.commit, &self.tree, &self.named]
            .into_iter()
            .map(|held| held.as_ref().map_or(0, |held| held.version))
            .collect();
        let text = format!("{:?} {revision} {} {versions:?}", at.reach.audience, at.commit);
        format!("record {}", BlobId::of(text.as_bytes()))
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let text = serde_json::to_string(&self.record(view)).unwrap_or_default();
        let reply = Reply::new(StatusCode::OK, "application/json", text)
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // What is kept changes without a word to anybody here.
        Rendered { reply, valid_until: Some(view.now) }
    }
}
