//! Tickets: what an address that works without credentials carries.
//!
//! Clients fetch ranges of xorbs, the blobs of a registry and the objects of git-lfs at addresses that they were given by somebody who knew them,
//! and send no credentials there. Who asks for such an address has shown his rights; the ticket in it names the bytes, where upstream has them,
//! and, where that takes one, the credential that opened them. It is sealed, it expires, and it opens nothing else.
//!
//! A [`Pass`] is the same for Larder as a chunk server: it opens one commit of one repository.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::cache::lookup::Artifact;
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::facts::{add_path, of_repository};
use crate::ecosystem::huggingface::file::{self, Content, FileFacts};
use crate::ecosystem::huggingface::licence_text::Texts;
use crate::ecosystem::huggingface::lineage::Inherited;
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::repository::{Commit, FilePath, Repository};
use crate::ecosystem::huggingface::settle::{Marks, Settled};
use crate::ecosystem::huggingface::signed::Vouching;
use crate::policy::Facts;
use crate::types::{Algorithm, Audience, Digest, Secret, Signer, Timestamp};
use crate::upstream::request::OriginRequest;

/// Names the use in every ticket, so that a pass is no ticket and the other way round.
const TICKET: &str = "huggingface/ticket";
const PASS: &str = "huggingface/pass";

/// How long a ticket lasts. Clients that are slower ask for another one; what they have by then they keep.
pub const TICKET_SECS: u64 = 3600;

/// How long a pass lasts. Clients renew it half a minute to a minute before its end; rights that were withdrawn end with it.
pub const PASS_SECS: u64 = 600;

/// Whose rights were shown: the hub is asked with them when something is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub audience: Audience,
    /// A client's `Authorization`, as it came.
    pub credential: Option<Secret>,
    /// Whether the hub may be asked at all: what it has closed meanwhile is served from what is kept.
    pub may_ask: bool,
}

/// Bytes, and where upstream has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub digest: Digest,
    pub size: Option<u64>,
    pub source: Source,
    pub bearer: Bearer,
}

/// Where upstream has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File {
        repository: Repository,
        commit: Commit,
        path: FilePath,
        xet_hash: Option<String>,
    },
    /// A path below the hub's root, encoded.
    Hub(String),
    /// A path below the root of Ollama's library, encoded.
    Library(String),
    /// An address that the hub named, signed for a while.
    Address(Url),
}

/// The right to have files of one commit described and fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    pub repository: Repository,
    pub commit: Commit,
    /// As whom the list of its files is read.
    pub listing: Bearer,
    /// As whom the files are.
    pub files: Bearer,
    /// The repository is closed now: only what was kept before then is served.
    pub before: Option<Timestamp>,
}

impl Ticket {
    /// A file of a repository that this client may read. `None`: the hub named no digest of it.
    pub fn of_file(settled: &Settled, facts: &FileFacts) -> Option<Self> {
        let source = Source::File {
            repository: settled.repository.clone(),
            commit: settled.commit.clone(),
            path: facts.path.clone(),
            xet_hash: facts.xet_hash.clone(),
        };
        let bearer = Bearer::of(&settled.files);
        Some(Self { digest: facts.content.digest()?, size: facts.size, source, bearer })
    }

    /// The file as rules know it, where it names one. Who made the ticket had it judged.
    pub fn facts(&self) -> Option<Facts<'static>> {
        let Source::File { repository, commit, path, .. } = &self.source else { return None };
        let mut facts = of_repository(repository, Some(commit), None, None);
        add_path(&mut facts, path.as_str(), self.size);
        let digest = Some(self.digest).filter(|digest| digest.algorithm() == Algorithm::Sha256);
        facts.digest = digest.map(|digest| digest.to_string().into());
        Some(facts.into_owned())
    }

    /// The bytes, to be had from upstream where they are not kept.
    pub fn artifact(&self, settings: &Arc<Settings>) -> Artifact {
        let reach = self.bearer.reach(settings);
        let origin = match &self.source {
            Source::File { repository, commit, path, xet_hash } => {
                let facts = FileFacts {
                    path: path.clone(),
                    size: self.size,
                    content: Content::of_tag(&self.digest.to_hex()),
                    xet_hash: xet_hash.clone(),
                };
                let pass = Pass {
                    repository: repository.clone(),
                    commit: commit.clone(),
                    listing: self.bearer.clone(),
                    files: self.bearer.clone(),
                    before: None,
                };
                return facts.artifact(&pass.settled(settings));
            }
            Source::Hub(path) => reach.get(path),
            Source::Library(path) => library_request(settings, path),
            Source::Address(url) => {
                let may_go = self.bearer.may_ask && settings.origin.allows(url);
                may_go.then(|| OriginRequest::get(&settings.origin, url.clone()))
            }
        };
        file::artifact(file::blob_key(&self.digest), Some(self.digest), self.size, origin)
    }

    /// The ticket as a segment of an address.
    pub fn seal(&self, signer: &Signer, now: Timestamp) -> String {
        let source = match &self.source {
            Source::File { repository, commit, path, xet_hash } => SealedSource::File {
                repository: repository.to_string(),
                commit: commit.clone(),
                path: path.as_str().to_owned(),
                xet_hash: xet_hash.clone(),
            },
            Source::Hub(path) => SealedSource::Hub(path.clone()),
            Source::Library(path) => SealedSource::Library(path.clone()),
            Source::Address(url) => SealedSource::Address(url.as_str().to_owned()),
        };
        let sealed = SealedTicket {
            digest: self.digest.to_string(),
            size: self.size,
            source,
            bearer: self.bearer.sealed(),
        };
        signer.seal(TICKET, &encoded(&sealed), after(now, TICKET_SECS))
    }

    /// Reads what [`Ticket::seal`] wrote. `None`: forged, expired, or not a ticket.
    pub fn unseal(signer: &Signer, text: &str, now: Timestamp) -> Option<Self> {
        let sealed: SealedTicket = postcard::from_bytes(&signer.unseal(TICKET, text, now)?).ok()?;
        let source = match sealed.source {
            SealedSource::File { repository, commit, path, xet_hash } => Source::File {
                repository: repository.parse().ok()?,
                commit,
                path: FilePath::parse(&path)?,
                xet_hash,
            },
            SealedSource::Hub(path) => Source::Hub(path),
            SealedSource::Library(path) => Source::Library(path),
            SealedSource::Address(url) => Source::Address(Url::parse(&url).ok()?),
        };
        let digest = sealed.digest.parse().ok()?;
        Some(Self { digest, size: sealed.size, source, bearer: Bearer::unsealed(sealed.bearer) })
    }
}

impl Pass {
    /// What a client was found to have a right to.
    pub fn of(settled: &Settled) -> Self {
        Self {
            repository: settled.repository.clone(),
            commit: settled.commit.clone(),
            listing: Bearer::of(&settled.reach),
            files: Bearer::of(&settled.files),
            before: settled.before,
        }
    }

    /// The same again, without asking anybody.
    pub fn settled(&self, settings: &Arc<Settings>) -> Settled {
        Settled {
            reach: self.listing.reach(settings),
            files: self.files.reach(settings),
            repository: self.repository.clone(),
            commit: self.commit.clone(),
            is_pinned: true,
            before: self.before,
            marks: Marks::default(),
            described: None,
            inherited: Inherited::default(),
            texts: Texts::default(),
            vouching: Vouching::default(),
        }
    }

    /// The pass as a bearer token.
    pub fn seal(&self, signer: &Signer, now: Timestamp) -> String {
        let sealed = SealedPass {
            repository: self.repository.to_string(),
            commit: self.commit.clone(),
            listing: self.listing.sealed(),
            files: self.files.sealed(),
            before_ms: self.before.map(|time| time.0),
        };
        signer.seal(PASS, &encoded(&sealed), after(now, PASS_SECS))
    }

    /// Reads what [`Pass::seal`] wrote. `None`: forged, expired, or not a pass.
    pub fn unseal(signer: &Signer, text: &str, now: Timestamp) -> Option<Self> {
        let sealed: SealedPass = postcard::from_bytes(&signer.unseal(PASS, text, now)?).ok()?;
        Some(Self {
            repository: sealed.repository.parse().ok()?,
            commit: sealed.commit,
            listing: Bearer::unsealed(sealed.listing),
            files: Bearer::unsealed(sealed.files),
            before: sealed.before_ms.map(Timestamp),
        })
    }
}

impl Bearer {
    /// Who asks through `reach`.
    pub fn of(reach: &Reach) -> Self {
        Self {
            audience: reach.audience.clone(),
            credential: reach.credential().cloned(),
            may_ask: reach.may_ask(),
        }
    }

    /// The way to the hub that was open to who has this.
    pub fn reach(&self, settings: &Arc<Settings>) -> Reach {
        let reach = Reach::of_audience(settings, self.audience.clone(), self.credential.clone());
        if self.may_ask { reach } else { reach.kept_only() }
    }

    fn sealed(&self) -> SealedBearer {
        let audience = match self.audience {
            Audience::Public => SealedAudience::Public,
            Audience::Service => SealedAudience::Service,
            Audience::Credential(id) => SealedAudience::Client(id),
        };
        let authorization = self.credential.as_ref().map(|secret| secret.expose().to_owned());
        SealedBearer { audience, authorization, may_ask: self.may_ask }
    }

    fn unsealed(sealed: SealedBearer) -> Self {
        let audience = match sealed.audience {
            SealedAudience::Public => Audience::Public,
            SealedAudience::Service => Audience::Service,
            SealedAudience::Client(id) => Audience::Credential(id),
        };
        let credential = sealed.authorization.map(Secret::new);
        Self { audience, credential, may_ask: sealed.may_ask }
    }
}

/// When what is made now is void.
pub fn after(now: Timestamp, seconds: u64) -> Timestamp {
    now.plus(Duration::from_secs(seconds))
}

/// A question to Ollama's library. `None`: it is not served, or the path would lead out of it.
pub fn library_request(settings: &Settings, path: &str) -> Option<OriginRequest> {
    let origin = settings.ollama.as_ref()?;
    let url = Url::parse(&format!("{}{path}", origin.base)).ok()?;
    origin.owns(&url).then(|| OriginRequest::get(origin, url))
}

#[derive(Serialize, Deserialize)]
struct SealedTicket {
    digest: String,
    size: Option<u64>,
    source: SealedSource,
    bearer: SealedBearer,
}

#[derive(Serialize, Deserialize)]
enum SealedSource {
    File { repository: String, commit: Commit, path: String, xet_hash: Option<String> },
    Hub(String),
    Library(String),
    Address(String),
}

#[derive(Serialize, Deserialize)]
struct SealedPass {
    repository: String,
    commit: Commit,
    listing: SealedBearer,
    files: SealedBearer,
    before_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SealedBearer {
    audience: SealedAudience,
    authorization: Option<String>,
    may_ask: bool,
}

#[derive(Serialize, Deserialize)]
enum SealedAudience {
    Public,
    Service,
    Client([u8; 16]),
}

fn encoded(claims: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(claims).expect("text and numbers have a form in postcard")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Algorithm;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn signer() -> Signer {
        Signer::new([7; 32])
    }

    fn bearer() -> Bearer {
        Bearer {
            audience: Audience::Credential([3; 16]),
            credential: Some(Secret::new("Bearer hf_secret")),
            may_ask: true,
        }
    }

    fn pass() -> Pass {
        let listing = Bearer { audience: Audience::Public, credential: None, may_ask: false };
        Pass {
            repository: "models/org/m".parse().expect("a repository"),
            commit: Commit::parse(&"ab".repeat(20)).expect("a commit"),
            listing,
            files: bearer(),
            before: Some(NOW),
        }
    }

    fn ticket() -> Ticket {
        let Pass { repository, commit, .. } = pass();
        let path = FilePath::parse("d/model.bin").expect("a path");
        let xet_hash = Some("cd".repeat(32));
        Ticket {
            digest: Digest::new(Algorithm::Sha256, &[1; 32]).expect("32 bytes"),
            size: Some(60_000_000_000),
            source: Source::File { repository, commit, path, xet_hash },
            bearer: bearer(),
        }
    }

    #[test]
    fn both_are_read_back_until_they_expire() {
        let text = ticket().seal(&signer(), NOW);
        assert_eq!(Ticket::unseal(&signer(), &text, NOW), Some(ticket()));
        assert_eq!(Ticket::unseal(&signer(), &text, after(NOW, TICKET_SECS)), Some(ticket()));
        assert_eq!(Ticket::unseal(&signer(), &text, after(NOW, TICKET_SECS + 1)), None);
        let text = pass().seal(&signer(), NOW);
        assert_eq!(Pass::unseal(&signer(), &text, NOW), Some(pass()));
        assert_eq!(Pass::unseal(&signer(), &text, after(NOW, PASS_SECS + 1)), None);
        let address = Url::parse("http://cdn.example/x?Signature=a").expect("an address");
        let path = "v2/o/m/blobs/sha256:ab".to_owned();
        let sources = [Source::Address(address), Source::Hub(path.clone()), Source::Library(path)];
        for source in sources {
            let other = Ticket { source, ..ticket() };
            let text = other.seal(&signer(), NOW);
            assert_eq!(Ticket::unseal(&signer(), &text, NOW), Some(other));
        }
    }

    #[test]
    fn one_is_not_the_other_and_none_is_foreign() {
        let (ticket, pass) = (ticket().seal(&signer(), NOW), pass().seal(&signer(), NOW));
        assert_eq!(Ticket::unseal(&signer(), &pass, NOW), None);
        assert_eq!(Pass::unseal(&signer(), &ticket, NOW), None);
        assert_eq!(Ticket::unseal(&Signer::new([8; 32]), &ticket, NOW), None);
        for text in ["", "x", &ticket[1..]] {
            assert_eq!(Ticket::unseal(&signer(), text, NOW), None, "{text}");
        }
    }

    #[test]
    fn a_credential_is_not_to_be_seen() {
        let text = ticket().seal(&signer(), NOW);
        assert!(!text.contains("hf_") && !format!("{:?}", ticket()).contains("hf_secret"));
    }
}
