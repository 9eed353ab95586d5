//! One registry of the settings, and on whose behalf it is asked. The questions themselves are a [`super::scope::Scope`]'s.

use std::sync::Arc;
use std::time::Duration;

use crate::ecosystem::Ask;
use crate::ecosystem::grant::Grant;
use crate::ecosystem::oci::config::{AfterWithdrawal, Completeness};
use crate::ecosystem::oci::limits::Budget;
use crate::types::Audience;
use crate::upstream::request::{Credentials, HostRule, Origin, Who};

/// The kinds of manifests, asked for in the same words every time: registries may choose what a tag stands for by them, and a tag must
/// stand for one thing here.
pub const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// The largest manifest: twice what the specification asks registries to take.
pub const MANIFEST_LIMIT_BYTES: u64 = 8 << 20;

/// How long upstream's yes to a client's own credential is believed.
pub const MEMO: Duration = Duration::from_secs(60);

/// One registry of the settings.
#[derive(Debug)]
pub struct Registry {
    pub name: Arc<str>,
    pub aliases: Vec<String>,
    pub origin: Arc<Origin>,
    pub namespace: Option<String>,
    pub token_hosts: Vec<HostRule>,
    pub tag_ttl: Duration,
    /// Moves of a tag that are remembered, and entries that left a list.
    pub history: usize,
    pub immutable_tags: Vec<String>,
    /// Longest pattern first.
    pub keep: Vec<(String, Completeness)>,
    pub credentials: Option<Credentials>,
    pub grant: Grant,
    pub offline_grant: bool,
    pub after_withdrawal: AfterWithdrawal,
    pub pull_reserve: u64,
    pub budget: Arc<Budget>,
}

/// On whose behalf a repository is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub audience: Audience,
    pub who: Who,
}

impl Reader {
    /// Whoever asks: upstream must give it to anybody.
    pub const fn public() -> Self {
        Self { audience: Audience::Public, who: Who::Nobody }
    }

    /// A client that showed its credential to us before; upstream knows it by what was handed out then.
    pub const fn client(id: [u8; 16]) -> Self {
        Self { audience: Audience::Credential(id), who: Who::Known { id } }
    }

    /// A client that shows its credential now.
    pub const fn presenting(id: [u8; 16], credentials: Credentials) -> Self {
        Self { audience: Audience::Credential(id), who: Who::Somebody { id, credentials } }
    }

    /// How long something immutable is trusted: what is public for ever, what a client's credential opened until it must be asked again.
    pub fn trust(&self) -> Duration {
        match self.audience {
            Audience::Credential(_) => MEMO,
            Audience::Public | Audience::Service => Duration::MAX,
        }
    }
}

impl Registry {
    /// Larder itself, for clients that the settings grant that.
    pub fn service(&self, ask: &Ask) -> Option<Reader> {
        let credentials = self.credentials.clone()?;
        let granted = self.grant.holds(ask);
        let who = Who::Somebody { id: SERVICE, credentials };
        granted.then_some(Reader { audience: Audience::Service, who })
    }
}

/// Names Larder's own credentials among those that tokens are kept for.
const SERVICE: [u8; 16] = [0; 16];
