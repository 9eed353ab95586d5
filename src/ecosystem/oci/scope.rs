//! One repository of a registry, as somebody may read it: what every question to a registry is about, and what every answer is kept under.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use url::Url;

use crate::cache::lookup::{Admit, Demand, Document, Keep, Lookup, Stale};
use crate::ecosystem::oci::SPACE;
use crate::ecosystem::oci::name::Repository;
use crate::ecosystem::oci::registry::{MANIFEST_LIMIT_BYTES, MANIFEST_TYPES, Reader, Registry};
use crate::types::{Audience, CacheKey};
use crate::upstream::request::{Challenged, Credentials, OriginRequest, Redirects};

/// Where something is read, and on whose behalf. Nothing of one scope is given out in another.
#[derive(Debug, Clone)]
pub struct Scope {
    pub registry: Arc<Registry>,
    pub repository: Repository,
    pub reader: Reader,
}

impl Scope {
    /// A question about the repository: `rest` is the path behind its name.
    pub fn request(&self, method: Method, rest: &str) -> OriginRequest {
        let mut request = OriginRequest::get(&self.registry.origin, self.url(rest));
        request.method = method;
        request.credentials = Some(self.credentials());
        request
    }

    /// A question about a manifest.
    pub fn manifest_request(&self, method: Method, reference: &str) -> OriginRequest {
        let mut request = self.request(method, &format!("manifests/{reference}"));
        request.headers.insert(header::ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        request
    }

    /// A question that is answered where it is asked: a redirect is an answer, too.
    pub fn bare_request(&self, method: Method, rest: &str) -> OriginRequest {
        let mut request = self.request(method, rest);
        request.redirects = Redirects::Pass;
        request
    }

    /// A document about the repository.
    pub fn document(
        &self,
        name: &str,
        origins: Vec<OriginRequest>,
        admit: Arc<dyn Admit>,
        keep: Arc<dyn Keep>,
    ) -> Document {
        let lookup = Lookup { key: self.key(name), origins, admit, stale: self.stale() };
        Document { lookup, keep, limit_bytes: MANIFEST_LIMIT_BYTES, demand: Demand::Fresh }
    }

    /// What the names of one kind of documents about the repository begin with, or are.
    pub fn name(&self, kind: &str) -> String {
        format!("{kind}/{}/{}", self.registry.name, self.repository)
    }

    pub fn key(&self, name: &str) -> CacheKey {
        CacheKey::new(SPACE, &self.reader.audience, name)
    }

    /// How long what moves is believed.
    pub fn fresh_for(&self) -> Duration {
        self.registry.tag_ttl.min(self.reader.trust())
    }

    /// What a client's own credential opened is served only while upstream confirms it, unless the settings say otherwise.
    fn stale(&self) -> Stale {
        match self.reader.audience {
            Audience::Credential(_) if !self.registry.offline_grant => Stale::Never,
            _ => Stale::Always,
        }
    }

    /// What the registry's challenge is answered with.
    fn credentials(&self) -> Credentials {
        Credentials::Challenged(Arc::new(Challenged {
            scope: Some(format!("repository:{}:pull", self.repository)),
            token_hosts: self.registry.token_hosts.clone(),
            who: self.reader.who.clone(),
        }))
    }

    fn url(&self, rest: &str) -> Url {
        let base = &self.registry.origin.base;
        base.join(&format!("v2/{}/{rest}", self.repository)).unwrap_or_else(|_| base.clone())
    }
}
