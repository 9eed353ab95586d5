//! What the hub says of a repository, and of a branch or tag of it: documents that remember.
//!
//! A repository's document is asked for again every few minutes and answers most questions by itself: who may read it, which commit its main branch leads to, what
//! clients are told of it. A refusal is a fact that is added to what was known, not put in its place; so it can be told whether a repository was
//! ever open, and since when it is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::cache::lookup::{
    Accepted, Admission, Admit, Answer as OriginAnswer, Demand, Document, Follow, Fresh, Keep,
    Kept, Parsed,
};
use crate::ecosystem::Ask;
use crate::ecosystem::huggingface::changes::Topic;
use crate::ecosystem::huggingface::config::{AfterWithdrawal, IdentityRule, Settings};
use crate::ecosystem::huggingface::facts::Memo;
use crate::ecosystem::huggingface::identity::{self, Identity, Stranger};
use crate::ecosystem::huggingface::naming::SCHEME;
use crate::ecosystem::huggingface::reach::{self, Reach, Reading};
use crate::ecosystem::huggingface::repository::{Commit, Repository, Revision};
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::huggingface::{datasets_server, past, tree};
use crate::ecosystem::past::{Dated, Unknown, last_up_to};
use crate::types::{Audience, Timestamp};

mod form;

/// The largest answer to a question of right.
const ANSWER_LIMIT_BYTES: u64 = 1 << 20;

/// A repository, or one revision of it, as the hub describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The hub's last description, in JSON, verbatim.
    pub text: Option<String>,
    /// The commit that it is of.
    pub commit: Option<Commit>,
    pub is_private: bool,
    pub is_gated: bool,
    /// Closed by the hub's staff.
    pub is_disabled: bool,
    /// The hub's present word, where that is a refusal.
    pub refusal: Option<Word>,
    /// Since when it is no longer open to all, if it ever was.
    pub closed_since: Option<Timestamp>,
    /// The commits that it led to, oldest first, each with the time it was first seen.
    pub history: Vec<Seen>,
    /// It led to others before those, which were dropped.
    pub is_cut: bool,
    /// The repository that all of this is of, whatever it is called.
    pub identity: Option<Identity>,
    /// Another repository that has the name now and is not taken for this one.
    pub stranger: Option<Stranger>,
    /// The identity of a stranger that somebody has looked at and lets take over.
    pub accepted: Option<String>,
    /// The licence that it declared when it was first seen, in the card's words; empty where that was none.
    pub first_licence: Option<String>,
    /// What rules look at.
    #[serde(skip)]
    pub memo: Memo,
}

/// A commit that a branch led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub commit: Commit,
    pub at: Timestamp,
}

impl Dated for Seen {
    fn from(&self) -> Timestamp {
        self.at
    }
}

impl Info {
    /// The commit that it led to at an instant.
    pub fn as_of(&self, at: Timestamp) -> Result<&Seen, Unknown> {
        last_up_to(&self.history, self.is_cut, at).map_err(|unknown| {
            let created = self.identity.as_ref().and_then(|identity| identity.created);
            created.filter(|created| *created > at).map_or(unknown, Unknown::Unborn)
        })
    }

    /// Whether anybody may read all of it.
    pub const fn is_open(&self) -> bool {
        self.text.is_some()
            && self.refusal.is_none()
            && self.stranger.is_none()
            && !self.is_private
            && !self.is_gated
            && !self.is_disabled
    }

    /// Adds what the hub says now to what it said before.
    fn succeed(mut self, previous: Option<&Self>, rule: &Rule, now: Timestamp) -> Self {
        let stranger = self.stranger(previous, rule, now);
        if let Some(previous) = previous {
            if self.text.is_none() {
                let refusal = self.refusal.take();
                self = Self { refusal, ..previous.clone() };
            } else if stranger.is_some() {
                self = Self { refusal: None, stranger, ..previous.clone() };
            }
            self.history.clone_from(&previous.history);
            self.is_cut = previous.is_cut;
            self.identity = self.identity.or_else(|| previous.identity.clone());
            self.first_licence = previous.first_licence.clone();
            self.closed_since = match (self.is_open(), previous.is_open()) {
                (true, _) => None,
                (false, true) => Some(now),
                (false, false) => previous.closed_since,
            };
        } else if let Some(stranger) = stranger {
            let refusal = Some(Word::taken(&stranger.identity.id));
            return Self { refusal, stranger: Some(stranger), ..Self::default() };
        }
        if self.text.is_some() && self.first_licence.is_none() {
            self.first_licence = Some(self.declared_licence());
        }
        if let Some(commit) = &self.commit
            && self.history.last().is_none_or(|last| last.commit != *commit)
        {
            self.history.push(Seen { commit: commit.clone(), at: now });
            let excess = self.history.len().saturating_sub(rule.history.max(1));
            self.history.drain(..excess);
            self.is_cut |= excess > 0;
        }
        self
    }
}

/// By what a description is added to those before.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) identity: IdentityRule,
    /// The identity that counts, where it is known from elsewhere.
    pub(super) expected: Option<String>,
    /// Commits that are remembered.
    pub(super) history: usize,
}

/// What the names of repositories' documents begin with in the cache.
const REPOSITORY_NAME: &str = "repo/";

/// The document of a repository with what the hub's scanners say of its files.
pub fn scanned_document(reach: &Reach, repository: &Repository, commit: &Commit) -> Document {
    let name = format!("scan/{repository}/{commit}");
    let path = format!("{}/revision/{commit}?securityStatus=true", repository.api_path());
    let how = (reach.settings.ref_ttl, Demand::Fresh);
    described(reach, repository, &name, &path, how, None)
}

/// The document of a repository. For the past, what is kept is taken as it is, unless somebody's right depends on what the hub says today.
pub fn document(reach: &Reach, repository: &Repository, ask: &Ask) -> Document {
    let name = format!("{REPOSITORY_NAME}{repository}");
    let path = repository.api_path();
    let how = (reach.settings.ref_ttl, reach::demand(ask));
    let document = described(reach, repository, &name, &path, how, None);
    let decides = reach.of_client(ask).is_some()
        || reach.settings.after_withdrawal(repository) == AfterWithdrawal::Deny;
    match ask.as_of {
        Some(_) if !decides => past::remembered(reach, document),
        _ => document,
    }
}

/// The document of a repository as it is kept.
pub fn kept_document(reach: &Reach, repository: &Repository) -> Document {
    let name = format!("repo/{repository}");
    let how = (reach.settings.ref_ttl, Demand::AnyAge);
    past::remembered(reach, described(reach, repository, &name, "", how, None))
}

/// The document of a branch, tag or commit. `of`: the repository that it must be of.
pub fn revision_document(
    reach: &Reach,
    repository: &Repository,
    revision: &Revision,
    of: Option<&Info>,
    ask: &Ask,
) -> Document {
    let path = format!("{}/revision/{}", repository.api_path(), revision.encoded());
    let (name, fresh_for) = match revision {
        Revision::Commit(commit) => (format!("commit/{repository}/{commit}"), Duration::MAX),
        Revision::Name(name) => (format!("rev/{repository}/{name}"), reach.settings.ref_ttl),
    };
    let expected = of.and_then(|info| info.identity.as_ref()).map(|identity| identity.id.clone());
    let how = (fresh_for, reach::demand(ask));
    let document = described(reach, repository, &name, &path, how, expected);
    match (revision, ask.as_of) {
        (Revision::Name(_), Some(_)) => past::remembered(reach, document),
        _ => document,
    }
}

fn described(
    reach: &Reach,
    repository: &Repository,
    name: &str,
    path: &str,
    (fresh_for, demand): (Duration, Demand),
    expected: Option<String>,
) -> Document {
    let Settings { identity, history, .. } = *reach.settings;
    // What a client's own token opens is confirmed by the hub each time, for that client alone.
    let identity = match reach.audience {
        Audience::Credential(_) => IdentityRule::Follow,
        Audience::Public | Audience::Service => identity,
    };
    let rule = Rule { identity, expected, history };
    let subject = format!("{SCHEME}:{}", repository.web_path());
    let topic = match name.split_once('/') {
        Some(("repo", _)) => Topic::Repository(subject),
        Some(("rev", rest)) => {
            let reference = rest.strip_prefix(&format!("{repository}/")).unwrap_or(rest);
            Topic::Reference(format!("{subject}@{reference}"))
        }
        _ => Topic::Commit,
    };
    let how = Reading {
        keep: Arc::new(KeepInfo {
            reach: reach.clone(),
            repository: repository.clone(),
            rule,
            topic,
        }),
        admit: Arc::new(AdmitFacts::of(reach, fresh_for)),
        limit_bytes: reach.settings.info_limit_bytes,
        demand,
    };
    reach.document(name, reach.get(path), how)
}

/// Whether a client's own token opens a gated repository's files.
pub fn auth_document(client: &Reach, repository: &Repository) -> Document {
    let how = Reading {
        keep: Arc::new(KeepAnswer),
        admit: Arc::new(AdmitFacts::of(client, client.settings.memo)),
        limit_bytes: ANSWER_LIMIT_BYTES,
        demand: Demand::Fresh,
    };
    let request = client.get(&format!("{}/auth-check", repository.api_path()));
    client.document(&format!("auth/{repository}"), request, how)
}

/// Admits answers and refusals alike: both are facts. Outages and anything odd are not.
#[derive(Debug)]
pub struct AdmitFacts {
    fresh_for: Duration,
    memo: Duration,
    /// Asked with Larder's own token: that the hub does not know it says nothing of any repository.
    is_own: bool,
}

impl AdmitFacts {
    /// `fresh_for`: how long a success is trusted. What a client's token opened is trusted as briefly as a refusal.
    pub fn of(reach: &Reach, fresh_for: Duration) -> Self {
        let memo = reach.settings.memo;
        let fresh_for = match reach.audience {
            Audience::Credential(_) if fresh_for != Duration::MAX => fresh_for.min(memo),
            _ => fresh_for,
        };
        Self { fresh_for, memo, is_own: reach.audience == Audience::Service }
    }
}

impl Admit for AdmitFacts {
    fn admit(&self, _: usize, answer: &OriginAnswer<'_>) -> Admission {
        let fresh_for = match answer.head.status {
            StatusCode::UNAUTHORIZED if self.is_own => {
                let reason = "the hub does not know Larder's own token".to_owned();
                return Admission::Fail { reason };
            }
            StatusCode::OK => self.fresh_for,
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => self.memo,
            other => return Admission::Fail { reason: format!("the hub answered {other}") },
        };
        Admission::Accept(Accepted { fresh_for, ..Accepted::default() })
    }
}

/// Reads descriptions.
#[derive(Debug)]
struct KeepInfo {
    reach: Reach,
    repository: Repository,
    rule: Rule,
    topic: Topic,
}

/// What Larder itself reads of a description.
#[derive(Deserialize)]
struct Said {
    id: Option<String>,
    #[serde(rename = "_id")]
    identity: Option<String>,
    #[serde(rename = "createdAt")]
    created: Option<String>,
    #[serde(rename = "modelId")]
    model_id: Option<String>,
    sha: Option<String>,
    private: Option<bool>,
    gated: Option<serde_json::Value>,
    disabled: Option<bool>,
}

impl Info {
    /// What the hub calls it, which is another name than the one that was asked for where that leads on.
    pub(super) fn called(&self) -> Option<String> {
        let said: Said = serde_json::from_str(self.text.as_deref()?).ok()?;
        said.id.or(said.model_id)
    }
}

impl Keep for KeepInfo {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Info::read(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let previous = previous.and_then(Parsed::get::<Info>);
        let now = match fresh.head.status {
            StatusCode::OK => described_by(fresh.body)?,
            _ => Info { refusal: Some(Word::of(fresh.head, fresh.body)), ..Info::default() },
        };
        let info = now.succeed(previous, &self.rule, fresh.now);
        let is_new = info.commit.as_ref() != previous.and_then(|info| info.commit.as_ref());
        let follow = match &info.commit {
            Some(commit) if is_new => {
                let mut documents = datasets_server::documents(&self.reach, &self.repository);
                documents.push(tree::document(&self.reach, &self.repository, commit));
                documents.into_iter().map(Follow::Document).collect()
            }
            _ => Vec::new(),
        };
        // Anybody can ask for names that do not exist, or that are not theirs to see.
        let bytes = if info.text.is_some() { info.to_bytes() } else { Bytes::new() };
        let mut told = self.topic.changes(previous, &info);
        if let Topic::Repository(_) = self.topic {
            told.extend(identity::changes(&self.repository, previous, &info));
        }
        Ok(Kept { follow, ..Kept::alone(bytes, Parsed::new(info)) }.telling(told))
    }

    fn subject(&self) -> Option<String> {
        self.topic.subject()
    }
}

fn described_by(body: &Bytes) -> Result<Info, String> {
    let said: Said = serde_json::from_slice(body)
        .map_err(|error| format!("the hub's description cannot be read: {error}"))?;
    if said.id.or(said.model_id).is_none() {
        return Err("the hub's answer describes nothing".to_owned());
    }
    let commit = match said.sha {
        None => None,
        Some(sha) => {
            Some(Commit::parse(&sha).ok_or_else(|| format!("{sha:?} is no name of a commit"))?)
        }
    };
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| "the hub's description is not UTF-8".to_owned())?;
    Ok(Info {
        text: Some(text),
        commit,
        is_private: said.private == Some(true),
        is_gated: said.gated.is_some_and(|gated| !gated.is_null() && gated != false),
        is_disabled: said.disabled == Some(true),
        identity: Identity::of(said.identity, said.created.as_deref()),
        ..Info::default()
    })
}

/// The hub's answer to a question of right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Granted,
    Refused(Word),
}

#[derive(Debug)]
struct KeepAnswer;

impl Keep for KeepAnswer {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        from_row::<Answer>(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let answer = match fresh.head.status {
            StatusCode::OK => Answer::Granted,
            _ => Answer::Refused(Word::of(fresh.head, fresh.body)),
        };
        // A refusal is written down only where it takes back what was granted.
        let bytes = match (&answer, previous) {
            (Answer::Refused(_), None) => Bytes::new(),
            _ => to_row(&answer),
        };
        Ok(Kept::alone(bytes, Parsed::new(answer)))
    }
}

/// The form of rows; changes with the types that are written in it, so it says which one it is.
const ROW_VERSION: u8 = 1;

/// A value as the bytes that are kept.
pub(super) fn to_row<T: Serialize>(value: &T) -> Bytes {
    let written = postcard::to_extend(value, vec![ROW_VERSION]);
    written.expect("postcard writes any value of these types to memory").into()
}

/// Reads [`to_row`]. A row of another version is a miss that heals.
pub(super) fn from_row<T: DeserializeOwned>(kept: &Bytes) -> Result<T, String> {
    match kept.split_first() {
        Some((&ROW_VERSION, row)) => postcard::from_bytes(row).map_err(|error| error.to_string()),
        _ => Err("a row of another version".to_owned()),
    }
}
