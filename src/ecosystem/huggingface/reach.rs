//! As whom the hub is asked, for whom its answers are kept, and the documents and requests that follow from it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::lookup::{Admit, Demand, Document, Keep, Lookup, Stale};
use crate::ecosystem::huggingface::config::{Auth, ID, Settings};
use crate::ecosystem::huggingface::explain;
use crate::ecosystem::huggingface::word::Word;
use crate::ecosystem::{Ask, ClientCredential, Reply};
use crate::semantics::cache_control::RequestDirectives;
use crate::types::{Audience, CacheKey, Secret};
use crate::upstream::request::{Credentials, Origin, OriginRequest};

/// One way to ask the hub. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reach {
    pub settings: Arc<Settings>,
    pub audience: Audience,
    /// The client's own `Authorization`, where it is asked with that.
    credential: Option<Secret>,
    may_ask: bool,
    /// The hub's present word on what it has closed: told where nothing is kept that could be served in spite of it.
    closed_by: Option<Arc<Word>>,
}

/// What a document is read by and how large it may be.
pub struct Reading {
    pub keep: Arc<dyn Keep>,
    pub admit: Arc<dyn Admit>,
    pub limit_bytes: u64,
    pub demand: Demand,
}

/// The host that is asked.
pub fn host(reach: &Reach) -> Option<&str> {
    reach.settings.origin.base.host_str()
}

impl Reach {
    /// As nobody: what comes of it is for everybody.
    pub fn public(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
            audience: Audience::Public,
            credential: None,
            may_ask: true,
            closed_by: None,
        }
    }

    /// As Larder with its own token.
    pub fn service(settings: &Arc<Settings>) -> Self {
        Self {
            settings: Arc::clone(settings),
            audience: Audience::Service,
            credential: None,
            may_ask: true,
            closed_by: None,
        }
    }

    /// As a client with its token: what comes of it is for who shows the same one.
    pub fn client(settings: &Arc<Settings>, credential: &ClientCredential) -> Self {
        Self {
            settings: Arc::clone(settings),
            audience: Audience::Credential(credential.id),
            credential: Some(credential.verbatim.clone()),
            may_ask: true,
            closed_by: None,
        }
    }

    /// As the client of a request, where its token counts and is meant for the hub.
    pub fn of_client(&self, ask: &Ask) -> Option<Self> {
        let credential = ask.credential.as_ref()?;
        let counts = self.settings.auth == Auth::Passthrough && is_hub_token(credential);
        counts.then(|| Self::client(&self.settings, credential))
    }

    /// For an audience that was settled before, by a capability: `credential` is what the hub is asked with, if it may be asked at all.
    pub fn of_audience(
        settings: &Arc<Settings>,
        audience: Audience,
        credential: Option<Secret>,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            audience,
            credential,
            may_ask: true,
            closed_by: None,
        }
    }

    /// The same for what is kept: the hub is not asked.
    #[must_use]
    pub fn kept_only(self) -> Self {
        Self { may_ask: false, ..self }
    }

    /// The same for what was kept before the hub closed it.
    #[must_use]
    pub fn closed(self, word: &Word) -> Self {
        Self { may_ask: false, closed_by: Some(Arc::new(word.clone())), ..self }
    }

    /// Words a failure for a client: of what the hub has closed, and nothing is kept, its own word is told.
    pub fn explain(&self, ask: &Ask, failure: &Failure) -> Reply {
        match (failure, &self.closed_by) {
            (Failure::NotKept, Some(word)) => explain::refusal(ask, word),
            _ => explain::failure(ask, failure),
        }
    }

    /// Whether the hub may be asked at all.
    pub const fn may_ask(&self) -> bool {
        self.may_ask
    }

    /// The client's `Authorization` that the hub is asked with.
    pub const fn credential(&self) -> Option<&Secret> {
        self.credential.as_ref()
    }

    fn origin(&self) -> &Arc<Origin> {
        match (&self.audience, &self.settings.service) {
            (Audience::Service, Some(service)) => service,
            _ => &self.settings.origin,
        }
    }

    /// A question to the hub: a path below its root, encoded, without a leading slash; a query may follow. `None` where it may not be asked, or the path
    /// would lead out of it.
    pub fn get(&self, path: &str) -> Option<OriginRequest> {
        let url = below(&self.settings, path).filter(|_| self.may_ask)?;
        let mut request = OriginRequest::get(self.origin(), url);
        request.credentials = self.credential.clone().map(Credentials::Verbatim);
        Some(request)
    }

    /// The key of something that is kept for this audience.
    pub fn key(&self, name: &str) -> CacheKey {
        CacheKey::new(ID, &self.audience, name)
    }

    /// Whether what is kept may be served unconfirmed. What a client's own token opened is, only under an offline grant.
    pub fn stale(&self) -> Stale {
        match (&self.audience, self.settings.offline_grant) {
            (Audience::Credential(_), None) => Stale::Never,
            _ => Stale::Always,
        }
    }

    /// A document of this audience.
    pub fn document(&self, name: &str, request: Option<OriginRequest>, how: Reading) -> Document {
        let Reading { keep, admit, limit_bytes, demand } = how;
        let lookup = Lookup {
            key: self.key(name),
            origins: request.into_iter().collect(),
            admit,
            stale: self.stale(),
        };
        Document { lookup, keep, limit_bytes, demand }
    }

    /// What other caches may do with an answer: what is not public is for its reader alone.
    pub const fn shareability(&self) -> &'static str {
        match self.audience {
            Audience::Public => "public",
            Audience::Service | Audience::Credential(_) => "private",
        }
    }
}

/// Whether a credential is one of the hub's own tokens: nothing else is sent there, least of all a password.
pub fn is_hub_token(credential: &ClientCredential) -> bool {
    let text = credential.verbatim.expose();
    text.split_once(' ').is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && token.trim_start().starts_with("hf_")
    })
}

/// The address of a path below the hub's root. `None`: it would lead out of it.
pub fn below(settings: &Settings, path: &str) -> Option<Url> {
    let base = settings.origin.base.as_str();
    let url = Url::parse(&format!("{base}{path}")).ok()?;
    (url.as_str().starts_with(base) && settings.origin.owns(&url)).then_some(url)
}

/// How current the answer must be that a client asks for.
pub fn demand(ask: &Ask) -> Demand {
    let said = RequestDirectives::read(&ask.headers);
    match said.no_cache || said.max_age == Some(0) {
        true => Demand::Revalidated,
        false => Demand::Fresh,
    }
}

/// `Cache-Control` of what can change, with the time that it is trusted here.
pub fn changing(shareability: &str, fresh_for: Duration) -> HeaderValue {
    let text = format!("{shareability}, max-age={}", fresh_for.as_secs().min(60));
    HeaderValue::from_str(&text).expect("letters and digits are a field value")
}
