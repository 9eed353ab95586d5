//! Whom a request about one project leads to, with whose credentials, and who may read what comes of it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::cache::lookup::{Admit, Demand, Document, Keep, Lookup, Stale};
use crate::ecosystem::pypi::accept::Representation;
use crate::ecosystem::pypi::admit::{AdmitDocument, Forbidden};
use crate::ecosystem::pypi::config::{AfterWithdrawal, Auth, Layout, Settings, Upstream};
use crate::ecosystem::pypi::listing::Place;
use crate::ecosystem::pypi::merge::ProjectPage;
use crate::ecosystem::pypi::naming::Words;
use crate::ecosystem::pypi::routes;
use crate::ecosystem::{Access, Ask, Reply, Standing};
use crate::semantics::cache_control::RequestDirectives;
use crate::types::{Audience, CacheKey, Presence, Secret};
use crate::upstream::request::{Credentials, OriginRequest};

/// The largest page, after content decoding.
pub const PAGE_LIMIT_BYTES: u64 = 64 << 20;

/// What we ask pages for, best first: JSON knows more, HTML is what every index speaks.
const PAGE_TYPES: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// What a request about one project may reach.
#[derive(Debug)]
pub struct Reach {
    pub settings: Arc<Settings>,
    /// In the order in which they are asked; never empty.
    pub upstreams: Vec<Arc<Upstream>>,
    pub audience: Audience,
    pub access: Access,
    pub stale: Stale,
    /// The client's own credential, for upstreams that it is passed through to.
    credential: Option<Secret>,
}

impl Reach {
    /// The reach for a project (normalised). `Err` when no upstream is responsible for it or the client holds no grant: that is
    /// checked before anything is got, so that not even existence leaks.
    pub fn of(settings: &Arc<Settings>, project: &str, ask: &Ask) -> Result<Self, Reply> {
        Self::through(settings, settings.upstreams_for(project), ask)
    }

    /// The reach of given upstreams.
    pub fn through(
        settings: &Arc<Settings>,
        upstreams: Vec<Arc<Upstream>>,
        ask: &Ask,
    ) -> Result<Self, Reply> {
        let uses = |auth| upstreams.iter().any(|upstream| upstream.auth == auth);
        if upstreams.is_empty() {
            return Err(Reply::problem(
                StatusCode::NOT_FOUND,
                "No upstream for this name",
                &format!(
                    "No upstream of index {} is configured for projects of this name.",
                    settings.name
                ),
            ));
        }
        let access = if uses(Auth::Service) { granted(settings, ask)? } else { Access::Public };
        let passed = ask.credential.as_ref().filter(|_| uses(Auth::Passthrough));
        let audience = match (passed, uses(Auth::Service)) {
            (Some(credential), _) => Audience::Credential(credential.id),
            (None, true) => Audience::Service,
            (None, false) => Audience::Public,
        };
        let confirmed_only = matches!(audience, Audience::Credential(_)) && !settings.offline_grant;
        Ok(Self {
            settings: Arc::clone(settings),
            upstreams,
            audience,
            access,
            stale: if confirmed_only { Stale::Never } else { Stale::Always },
            credential: passed.map(|credential| credential.verbatim.clone()),
        })
    }

    /// A question to one of the upstreams, with the credential that is meant for it.
    pub fn request(
        &self,
        upstream: &Upstream,
        url: Url,
        accept: Option<&'static str>,
    ) -> OriginRequest {
        let mut request = OriginRequest::get(&upstream.origin, url);
        if let Some(accept) = accept {
            request.headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        if upstream.auth == Auth::Passthrough {
            request.credentials = self.credential.clone().map(Credentials::Verbatim);
        }
        request
    }

    /// The page of a project (normalised).
    pub fn page(&self, project: &str, demand: Demand) -> Document {
        let origins = self.upstreams.iter();
        let origins = origins.map(|one| self.request(one, one.page_url(project), Some(PAGE_TYPES)));
        let keep = ProjectPage {
            name: project.to_owned(),
            sources: self.upstreams.iter().map(|one| Arc::clone(&one.source)).collect(),
            flat: self.upstreams.iter().map(|one| one.layout == Layout::Flat).collect(),
            subject: Words::of(&self.settings).name(project).to_string(),
        };
        self.document(&format!("page/{project}"), origins.collect(), Arc::new(keep), demand)
    }

    /// A document of this audience, admitted by the rules for pages.
    pub fn document(
        &self,
        name: &str,
        origins: Vec<OriginRequest>,
        keep: Arc<dyn Keep>,
        demand: Demand,
    ) -> Document {
        let admit =
            AdmitDocument { forbidden: self.forbidden(), fresh_for: self.settings.page_ttl };
        let lookup = self.lookup(self.key(name), origins, Arc::new(admit));
        Document { lookup, keep, limit_bytes: PAGE_LIMIT_BYTES, demand }
    }

    pub fn lookup(
        &self,
        key: CacheKey,
        origins: Vec<OriginRequest>,
        admit: Arc<dyn Admit>,
    ) -> Lookup {
        Lookup { key, origins, admit, stale: self.stale }
    }

    pub fn key(&self, name: &str) -> CacheKey {
        CacheKey::new(&self.settings.id, &self.audience, name)
    }

    /// What a 403 means, per upstream.
    pub fn forbidden(&self) -> Vec<Forbidden> {
        self.upstreams.iter().map(|upstream| forbidden(upstream)).collect()
    }

    /// Where the links of a rendered page lead.
    pub fn place(&self, ask: &Ask) -> Place {
        let name = &self.settings.name;
        let root = routes::root_of(&ask.prefix, name);
        let relative_root = match root == ask.prefix {
            true => "../../".to_owned(),
            // Below a shared entrance (`/simple/NAME/`), the server's root is two steps up.
            false => format!("../../{}", root.trim_start_matches('/')),
        };
        Place {
            relative_root,
            absolute_root: format!("{}{root}", ask.base),
            space: self.settings.id.clone(),
            audience: self.audience.clone(),
            base: ask.base.clone(),
        }
    }

    /// Whether upstream's later refusal closes what is kept: always for what was never public, by the settings for what was.
    pub fn is_withdrawn(&self, standing: &Standing) -> bool {
        let closes = self.audience != Audience::Public
            || self.settings.after_withdrawal == AfterWithdrawal::Deny;
        closes && matches!(standing.presence, Presence::Withdrawn { .. })
    }

    /// `public` or `private`, for `Cache-Control`.
    pub fn shareability(&self) -> &'static str {
        if self.audience == Audience::Public { "public" } else { "private" }
    }
}

/// What a 403 of an upstream means.
pub fn forbidden(upstream: &Upstream) -> Forbidden {
    if upstream.forbidden_means_absent { Forbidden::Absent } else { Forbidden::Refused }
}

/// The grant that the service credential needs, when this client holds it. Fails closed.
fn granted(settings: &Settings, ask: &Ask) -> Result<Access, Reply> {
    if settings.grant.holds(ask) {
        return Ok(Access::Grant(settings.grant.clone()));
    }
    let name = &settings.name;
    Err(Reply::problem(
        StatusCode::FORBIDDEN,
        "No grant for this index",
        &format!(
            "Larder asks the upstream of index {name} with a credential of its own, and grants that to nobody, or not to you. The \
             setting is pypi.indexes.{name}.grant: a list of access token names and networks, or [\"*\"] for every client."
        ),
    ))
}

/// How current a page must be for a request: for the past, whatever is kept will do, and only what was never seen is asked for.
pub fn demand_of(ask: &Ask) -> Demand {
    match ask.as_of {
        Some(_) => Demand::AnyAge,
        None => demand(&ask.headers),
    }
}

/// How current a client wants a page.
///
/// `no-cache` is a wish for upstream's word. `max-age=0` is one, too, but not from pip before 26.2 (nor pip-tools on top of it), which
/// sends it with every page whether its user asked for fresh pages or not.
pub fn demand(headers: &HeaderMap) -> Demand {
    let said = RequestDirectives::read(headers);
    if said.no_cache || said.max_age == Some(0) && !says_so_always(headers) {
        return Demand::Revalidated;
    }
    Demand::Fresh
}

fn says_so_always(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let Some(version) = agent.and_then(|agent| agent.strip_prefix("pip/")) else { return false };
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(26), Some(2))
}

/// The fields of a rendered document: its type, what it varies by, how long it may be taken for current.
///
/// `max-age` is the whole freshness time, since the response's `Age` tells how much of it has passed.
pub fn document_headers(
    shareability: &str,
    representation: Representation,
    standing: &Standing,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(representation.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(header::CACHE_CONTROL, cache_control(standing, shareability));
    headers
}

/// How long a client may take a document for current.
pub fn cache_control(standing: &Standing, shareability: &str) -> HeaderValue {
    const SHORT: Duration = Duration::from_secs(60);
    let lifetime = standing.fresh_until.since(standing.validated);
    let lifetime = if standing.offline { lifetime.min(SHORT) } else { lifetime };
    HeaderValue::from_str(&format!("max-age={}, {shareability}", lifetime.as_secs()))
        .expect("digits and letters are a field value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_fresh_page_is_told_from_a_habit() {
        let check = |agent: &str, control: &str, expected: Demand| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().expect("a field value"));
            headers.insert(header::CACHE_CONTROL, control.parse().expect("a field value"));
            assert_eq!(demand(&headers), expected, "{agent} {control}");
        };
        check("pip/23.2.1 {\"ci\":null}", "max-age=0", Demand::Fresh);
        check("pip/26.1", "max-age=0", Demand::Fresh);
        check("pip/26.2.1", "max-age=0", Demand::Revalidated);
        check("pip/27", "max-age=0", Demand::Revalidated);
        check("pip/23.2.1", "no-cache", Demand::Revalidated);
        check("uv/0.13.9", "no-cache", Demand::Revalidated);
        check("uv/0.13.9", "max-age=600", Demand::Fresh);
        assert_eq!(demand(&HeaderMap::new()), Demand::Fresh);
    }
}
