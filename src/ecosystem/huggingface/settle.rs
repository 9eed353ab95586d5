//! Who may read what of a repository, and which commit is meant: settled before anything else is planned.
//!
//! The hub's document about a repository says whether it is open to all. Where it is, everybody is served from the same documents, whatever token they send.
//! Where it is not, the question is put again with the client's own token (or answered by Larder's grant), and the answer counts for a short
//! while, for that token alone. What was open when it was kept and is closed now is served on or not as the configuration says.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache::failure::Failure;
use crate::ecosystem::huggingface::config::{AfterWithdrawal, Auth, Settings};
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::licence_text::Texts;
use crate::ecosystem::huggingface::lineage::Inherited;
use crate::ecosystem::huggingface::past;
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::repository::{Commit, MAIN, Repository, Revision};
use crate::ecosystem::huggingface::signed::Vouching;
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::huggingface::{explain, judge};
use crate::ecosystem::past::Past;
use crate::ecosystem::{Ask, Held, Standing, Step};
use crate::semantics::warning::warn;
use crate::types::{Audience, Secret, Timestamp};

/// What a right is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What the hub says of a repository: also of a gated one, to all.
    Listing,
    /// The bytes of its files.
    Files,
}

/// A repository at a commit that this client may read.
#[derive(Debug, Clone)]
pub struct Settled {
    /// As whom the hub is asked about it.
    pub reach: Reach,
    /// As whom the hub is asked for its files: differs where everybody may see the list and only some the files.
    pub files: Reach,
    pub repository: Repository,
    pub commit: Commit,
    /// Whether the client named the commit itself, so that the answer can never change.
    pub is_pinned: bool,
    /// The repository is closed now: only what was kept before then is served.
    pub before: Option<Timestamp>,
    pub marks: Marks,
    /// The repository's document, where it was looked at.
    pub described: Option<Held>,
    /// The licences of those that it was made from, where rules look at them.
    pub inherited: Inherited,
    /// What the texts of its licences are, where rules look at them.
    pub texts: Texts,
    /// Who vouches for its files, where rules look at that.
    pub vouching: Vouching,
}

/// What a person should see of how an answer stands to the hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// The hub could not be asked which commit is meant.
    pub is_stale: bool,
    /// The hub no longer gives it.
    pub is_withdrawn: bool,
    /// Another repository has its name.
    pub is_taken: bool,
    /// What it rests on, where it is told as of an instant of the past.
    pub past: Option<Past>,
}

/// What the hub's own library shows to its user: a topic, and a text.
const SHOWN_WARNING: HeaderName = HeaderName::from_static("x-hf-warning");

impl Marks {
    /// An answer that the hub could not be asked for.
    pub fn stale() -> Self {
        Self { is_stale: true, ..Self::default() }
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            is_stale: self.is_stale || other.is_stale,
            is_withdrawn: self.is_withdrawn || other.is_withdrawn,
            is_taken: self.is_taken || other.is_taken,
            past: if self.past.is_some() { self.past } else { other.past },
        }
    }

    /// Tells them in a head.
    pub fn write(self, headers: &mut HeaderMap) {
        if let Some(past) = self.past {
            past.write(headers);
        }
        if self.is_taken {
            let text =
                "identity; another repository has this name upstream now, what was kept is served";
            headers.insert(SHOWN_WARNING, HeaderValue::from_static(text));
        }
        let warning = match (self.is_withdrawn, self.is_stale) {
            (true, _) => "withdrawn upstream, served from what was kept",
            (false, true) => "the hub could not be asked, served as it was known",
            (false, false) => return,
        };
        warn(headers, warning);
    }
}

/// A repository that this client may read, before a commit was chosen.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub reach: Reach,
    pub files: Reach,
    pub repository: Repository,
    pub before: Option<Timestamp>,
    pub marks: Marks,
    /// The repository's document, as `reach` has it.
    pub document: Held,
}

/// How planning goes on once the right is settled.
type Then = Box<dyn FnOnce(Admitted) -> Step + Send>;

/// Settles a client's right to a repository.
pub fn admit(
    settings: &Arc<Settings>,
    ask: &Ask,
    repository: Repository,
    purpose: Purpose,
    then: impl FnOnce(Admitted) -> Step + Send + 'static,
) -> Step {
    let case = Case { ask: ask.clone(), repository, purpose, then: Box::new(then) };
    case.begin(settings)
}

/// Settles a client's right to a repository, and the commit that a revision leads to.
pub fn settle(
    settings: &Arc<Settings>,
    ask: &Ask,
    repository: Repository,
    revision: Revision,
    purpose: Purpose,
    then: impl FnOnce(Settled) -> Step + Send + 'static,
) -> Step {
    let asked = ask.clone();
    admit(settings, ask, repository, purpose, move |admitted| {
        let further = asked.clone();
        at_revision(admitted, &asked, revision, move |settled| match purpose {
            Purpose::Files => judge::gathered(settled, further, |settled, _| then(settled)),
            Purpose::Listing => then(settled),
        })
    })
}

impl Settled {
    /// What a capability settled when it was signed: `credential` is what the hub may be asked with for more; without one, a closed audience is served
    /// from what is kept.
    pub fn by_capability(
        settings: &Arc<Settings>,
        repository: Repository,
        commit: Commit,
        audience: Audience,
        credential: Option<Secret>,
    ) -> Self {
        let may_ask = credential.is_some() || !matches!(audience, Audience::Credential(_));
        let reach = Reach::of_audience(settings, audience, credential);
        let reach = if may_ask { reach } else { reach.kept_only() };
        Self {
            files: reach.clone(),
            reach,
            repository,
            commit,
            is_pinned: true,
            before: None,
            marks: Marks::default(),
            described: None,
            inherited: Inherited::default(),
            texts: Texts::default(),
            vouching: Vouching::default(),
        }
    }

    /// Whether something that was kept at `kept` may be served.
    pub fn covers(&self, kept: Timestamp) -> bool {
        self.before.is_none_or(|closed| kept < closed)
    }
}

/// A question of right under way.
struct Case {
    ask: Ask,
    repository: Repository,
    purpose: Purpose,
    then: Then,
}

/// How a repository's document stands to a client.
enum Ruling {
    Go,
    /// The files need the hub's word for this client.
    AskForFiles,
    /// What it refuses with, where nothing else speaks for the client.
    Refuse(Word),
    /// Another repository has the name, and nobody has accepted it.
    Taken(Word),
}

impl Case {
    fn begin(self, settings: &Arc<Settings>) -> Step {
        let reach = match settings.auth {
            Auth::Service => Reach::service(settings),
            Auth::Passthrough | Auth::PublicOnly => Reach::public(settings),
        };
        let document = info::document(&reach, &self.repository, &self.ask);
        need(document, move |held| self.judge(reach, held))
    }

    /// Rules on what is said to all, or to Larder.
    fn judge(self, reach: Reach, held: Result<Held, Failure>) -> Step {
        let held = match held {
            Ok(held) => held,
            Err(failure) => return self.fall_back_on_grant(&reach, failure),
        };
        let Some(info) = held.parsed.get::<Info>() else { return Step::Reply(explain::lost()) };
        match self.rule(&reach, info) {
            Ruling::Go => {
                let files = reach.clone();
                self.go(reach, files, held, None)
            }
            Ruling::AskForFiles => self.ask_for_files(reach, held),
            Ruling::Taken(word) => self.close(reach, held, &word),
            Ruling::Refuse(word) => match info.refusal {
                Some(_) => self.ask_as_client(reach, held, word),
                None => self.close(reach, held, &word),
            },
        }
    }

    fn rule(&self, reach: &Reach, info: &Info) -> Ruling {
        let settings = &reach.settings;
        let is_trusted = match reach.audience {
            Audience::Public => false,
            Audience::Service => settings.grants(&self.ask),
            Audience::Credential(_) => true,
        };
        if let Some(stranger) = &info.stranger {
            return Ruling::Taken(Word::taken(&stranger.identity.id));
        }
        if let Some(word) = &info.refusal {
            let strangers_word = reach.audience == Audience::Service && !is_trusted;
            let word = if strangers_word { Word::not_found() } else { word.clone() };
            return Ruling::Refuse(word);
        }
        if info.is_private && !is_trusted {
            return Ruling::Refuse(Word::not_found());
        }
        if self.purpose == Purpose::Listing {
            return Ruling::Go;
        }
        if info.is_disabled {
            return Ruling::Refuse(Word::disabled());
        }
        if !info.is_gated {
            return Ruling::Go;
        }
        match reach.audience {
            Audience::Service if is_trusted => Ruling::Go,
            Audience::Service => Ruling::Refuse(Word::gated()),
            Audience::Public if reach.of_client(&self.ask).is_none() => {
                Ruling::Refuse(Word::gated())
            }
            Audience::Public | Audience::Credential(_) => Ruling::AskForFiles,
        }
    }

    /// All are refused, or it does not exist: the client's own token may open it.
    fn ask_as_client(self, public: Reach, held: Held, word: Word) -> Step {
        let Some(client) = public.of_client(&self.ask) else {
            return self.close(public, held, &word);
        };
        let document = info::document(&client, &self.repository, &self.ask);
        need(document, move |answer| match self.confirmed(&client, answer) {
            Ok(own) => {
                let Some(info) = own.parsed.get::<Info>() else {
                    return Step::Reply(explain::lost());
                };
                match self.rule(&client, info) {
                    Ruling::Go => {
                        let files = client.clone();
                        self.go(client, files, own, None)
                    }
                    Ruling::AskForFiles => self.ask_for_files(client, own),
                    Ruling::Taken(word) => self.close(client, own, &word),
                    Ruling::Refuse(word) => self.close(public, held, &word),
                }
            }
            Err(failure) => self.close_or_fail(public, held, &failure),
        })
    }

    /// A gated repository: whether its files are open to this client.
    fn ask_for_files(self, listing: Reach, held: Held) -> Step {
        let Some(client) = listing.of_client(&self.ask) else {
            return self.close(listing, held, &Word::gated());
        };
        let document = info::auth_document(&client, &self.repository);
        need(document, move |answer| match self.confirmed(&client, answer) {
            Ok(answer) => match answer.parsed.get::<info::Answer>() {
                Some(info::Answer::Granted) => self.go(listing, client, held, None),
                Some(info::Answer::Refused(word)) => {
                    let word = word.clone();
                    self.close(listing, held, &word)
                }
                None => Step::Reply(explain::lost()),
            },
            Err(failure) => self.close_or_fail(listing, held, &failure),
        })
    }

    /// The hub cannot be asked, and nothing that it says to all is kept: what it granted this client may still count.
    fn fall_back_on_grant(self, public: &Reach, failure: Failure) -> Step {
        let client =
            public.of_client(&self.ask).filter(|_| public.settings.offline_grant.is_some());
        let Some(client) = client.map(Reach::kept_only) else {
            return Step::Reply(explain::failure(&self.ask, &failure));
        };
        let document = info::document(&client, &self.repository, &self.ask);
        need(document, move |answer| {
            let Ok(own) = self.confirmed(&client, answer) else {
                return Step::Reply(explain::failure(&self.ask, &failure));
            };
            match own.parsed.get::<Info>().map(|info| self.rule(&client, info)) {
                Some(Ruling::Go) => {
                    let files = client.clone();
                    self.go(client, files, own, None)
                }
                Some(Ruling::AskForFiles) => self.ask_for_files(client, own),
                Some(Ruling::Refuse(_) | Ruling::Taken(_)) | None => {
                    Step::Reply(explain::failure(&self.ask, &failure))
                }
            }
        })
    }

    /// What a client's token opened counts while the hub confirms it, and beyond that only for as long as the configuration grants.
    fn confirmed(&self, client: &Reach, answer: Result<Held, Failure>) -> Result<Held, Failure> {
        let held = answer?;
        let Standing { validated, offline, .. } = held.standing;
        let grant = client.settings.offline_grant.unwrap_or_default();
        match offline && self.ask.now.since(validated) > grant {
            true => Err(Failure::NotKept),
            false => Ok(held),
        }
    }

    fn close_or_fail(self, reach: Reach, held: Held, failure: &Failure) -> Step {
        match self.closed_since(&reach, &held) {
            Some(since) => self.serve_on(reach.kept_only(), held, since),
            None => Step::Reply(explain::failure(&self.ask, failure)),
        }
    }

    /// Nothing opens it to this client: what was kept while it was open is served on, where the configuration says so.
    fn close(self, reach: Reach, held: Held, word: &Word) -> Step {
        match self.closed_since(&reach, &held) {
            Some(since) => self.serve_on(reach.closed(word), held, since),
            None => Step::Reply(explain::refusal(&self.ask, word)),
        }
    }

    fn closed_since(&self, reach: &Reach, held: &Held) -> Option<Timestamp> {
        let since = held.parsed.get::<Info>()?.closed_since?;
        let serves = reach.settings.after_withdrawal(&self.repository) == AfterWithdrawal::Serve;
        serves.then_some(since)
    }

    fn serve_on(self, reach: Reach, held: Held, since: Timestamp) -> Step {
        let files = reach.clone();
        self.go(reach, files, held, Some(since))
    }

    fn go(self, reach: Reach, files: Reach, document: Held, before: Option<Timestamp>) -> Step {
        let is_taken = document.parsed.get::<Info>().is_some_and(|info| info.stranger.is_some());
        let (is_stale, is_withdrawn) = (document.standing.offline, before.is_some());
        let marks = Marks { is_stale, is_withdrawn, is_taken, past: None };
        let Self { ask, repository, purpose, then } = self;
        let admitted = Admitted { reach, files, repository, before, marks, document };
        match purpose {
            Purpose::Files => match judge::refusal(&ask, &admitted) {
                Some(refused) => refused,
                None => then(admitted),
            },
            Purpose::Listing => then(admitted),
        }
    }
}

/// Goes on at the commit that a revision leads to.
fn at_revision(
    admitted: Admitted,
    ask: &Ask,
    revision: Revision,
    then: impl FnOnce(Settled) -> Step + Send + 'static,
) -> Step {
    if let Some(at) = ask.as_of {
        return past::at_revision(admitted, ask, revision, at, then);
    }
    let known = match (&revision, admitted.document.parsed.get::<Info>()) {
        (Revision::Commit(commit), _) => Some((commit.clone(), true)),
        (Revision::Name(name), Some(info)) if **name == *MAIN => {
            info.commit.clone().map(|commit| (commit, false))
        }
        _ => None,
    };
    if let Some((commit, is_pinned)) = known {
        return then(admitted.at(commit, is_pinned));
    }
    let Admitted { reach, repository, document, .. } = &admitted;
    let info = document.parsed.get::<Info>();
    let document = info::revision_document(reach, repository, &revision, info, ask);
    let ask = ask.clone();
    need(document, move |held| {
        let held = match held {
            Ok(held) => held,
            Err(failure) => return Step::Reply(admitted.reach.explain(&ask, &failure)),
        };
        let Some(info) = held.parsed.get::<Info>() else { return Step::Reply(explain::lost()) };
        match (&info.commit, &info.refusal) {
            (Some(commit), refusal) => {
                let mut admitted = admitted;
                admitted.marks.is_stale |= held.standing.offline;
                admitted.marks.is_withdrawn |= refusal.is_some();
                then(admitted.at(commit.clone(), false))
            }
            (None, Some(word)) => Step::Reply(explain::refusal(&ask, word)),
            (None, None) => Step::Reply(explain::refusal(&ask, &Word::no_revision(&revision))),
        }
    })
}

impl Admitted {
    pub(super) fn at(self, commit: Commit, is_pinned: bool) -> Settled {
        let Self { reach, files, repository, before, marks, document } = self;
        let described = Some(document);
        Settled {
            reach,
            files,
            repository,
            commit,
            is_pinned,
            before,
            marks,
            described,
            inherited: Inherited::default(),
            texts: Texts::default(),
            vouching: Vouching::default(),
        }
    }
}

/// One document first.
pub(super) fn need(
    document: crate::cache::lookup::Document,
    then: impl FnOnce(Result<Held, Failure>) -> Step + Send + 'static,
) -> Step {
    Step::Need {
        documents: vec![document],
        then: Box::new(move |held| then(held.into_iter().next().unwrap_or(Err(Failure::NotKept)))),
    }
}
