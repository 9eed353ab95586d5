//! Files and what lies beside them: `files/HOST/PATH`, `.metadata` (PEP 658) and provenance objects (PEP 740).
//!
//! An address is served only if the project's page, of any age, lists it: that is where its digest is from, and it keeps this from being an open
//! proxy. The page is looked for under each name that the file's name may stand for; only when none lists the file is upstream asked again.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Demand, Document, Nature, Parsed};
use crate::ecosystem::past::{Past, Unknown};
use crate::ecosystem::pypi::admit::AdmitFile;
use crate::ecosystem::pypi::config::{Settings, Upstream};
use crate::ecosystem::pypi::explain;
use crate::ecosystem::pypi::facts::OfPage;
use crate::ecosystem::pypi::links::Address;
use crate::ecosystem::pypi::listing::Place;
use crate::ecosystem::pypi::more::More;
use crate::ecosystem::pypi::name;
use crate::ecosystem::pypi::naming::Words;
use crate::ecosystem::pypi::page::{File, Page, Provenance, Sidecar};
use crate::ecosystem::pypi::past;
use crate::ecosystem::pypi::provenance::{self, Verbatim};
use crate::ecosystem::pypi::reach::{self, Reach};
use crate::ecosystem::{Ask, Held, Plan, Reply, Serve, Step, Subject};
use crate::policy::{Judged, Point, Verdict};
use crate::types::{Digest, Timestamp};

/// Suffix of the metadata beside a file.
const METADATA: &str = ".metadata";

/// Plans what is at an address below `files/`.
pub fn plan(settings: &Arc<Settings>, ask: &Ask, rest: &str) -> Step {
    let Some(address) = Address::parse(rest, ask.query.as_deref()) else {
        return Step::Reply(explain::problem(
            StatusCode::NOT_FOUND,
            "No file address",
            "A file's address is files/HOST/PATH, as the pages of this index link to it.",
        ));
    };
    let projects = candidates(&address);
    let pages = projects.into_iter().map(|project| (project, Demand::AnyAge)).collect();
    let search = Search {
        settings: Arc::clone(settings),
        ask: ask.clone(),
        address,
        pages,
        failure: None,
        unknown: None,
    };
    search.next()
}

/// The projects whose pages may list the address.
fn candidates(address: &Address) -> Vec<String> {
    if let Some(project) = &address.project {
        return vec![project.clone()];
    }
    let filename = address.filename();
    let filename = filename.strip_suffix(METADATA).unwrap_or(&filename);
    name::splits(filename).into_iter().map(|split| split.project).collect()
}

/// The way from an address to the page that lists it.
struct Search {
    settings: Arc<Settings>,
    ask: Ask,
    address: Address,
    /// Pages still to be looked at.
    pages: VecDeque<(String, Demand)>,
    /// Why a page could not be had.
    failure: Option<Failure>,
    /// Why a page is not known as of the instant that is asked for.
    unknown: Option<(String, Unknown)>,
}

/// What an address stands for on a page.
enum Listed<'a> {
    File(&'a File),
    Sidecar(&'a File),
    Provenance(&'a File),
}

impl Search {
    /// Asks for the next page, or gives up.
    fn next(mut self) -> Step {
        let Some((project, demand)) = self.pages.pop_front() else {
            return Step::Reply(self.not_listed());
        };
        let reach = match Reach::of(&self.settings, &project, &self.ask) {
            Ok(reach) => reach,
            Err(reply) => return Step::Reply(reply),
        };
        let documents = vec![reach.page(&project, demand)];
        Step::Need {
            documents,
            then: Box::new(move |held| self.look(reach, project, demand, held)),
        }
    }

    /// Looks for the address on a page.
    fn look(
        mut self,
        reach: Reach,
        project: String,
        demand: Demand,
        held: Vec<Result<Held, Failure>>,
    ) -> Step {
        let held = match held.into_iter().next() {
            Some(Ok(held)) => held,
            Some(Err(failure)) => {
                if !matches!(failure, Failure::Absent) {
                    self.failure.get_or_insert(failure);
                }
                return self.next();
            }
            None => return self.next(),
        };
        let Some(today) = held.parsed.get::<Page>() else { return self.next() };
        let then = match self.ask.as_of.map(|at| today.as_of(at)).transpose() {
            Ok(then) => then,
            Err(unknown) => {
                self.unknown.get_or_insert((project, unknown));
                return self.next();
            }
        };
        let page = then.as_ref().map_or(today, |then| &then.page);
        match self.listed(page) {
            Some(_) if reach.is_withdrawn(&held.standing) => {
                Step::Reply(explain::refused(&self.settings, StatusCode::FORBIDDEN.as_u16()))
            }
            Some(_) => {
                let (more, documents) = self.more(&reach, page);
                if documents.is_empty() {
                    return self.serve_from(&reach, &held.parsed, &more);
                }
                let then =
                    Box::new(move |got| self.serve_from(&reach, &held.parsed, &more.with(got)));
                Step::Need { documents, then }
            }
            None => {
                if demand == Demand::AnyAge && self.ask.as_of.is_none() {
                    self.pages.push_back((project, Demand::Revalidated));
                }
                self.next()
            }
        }
    }

    fn listed<'a>(&self, page: &'a Page) -> Option<Listed<'a>> {
        let url = self.address.url.as_str();
        if let Some(file) = page.file_at(url) {
            return Some(Listed::File(file));
        }
        if let Some(file) = page.names_provenance(url) {
            return Some(Listed::Provenance(file));
        }
        let mut beside = self.address.url.clone();
        beside.set_path(self.address.url.path().strip_suffix(METADATA)?);
        page.file_at(beside.as_str()).map(Listed::Sidecar)
    }

    /// What rules look at beside the page.
    fn more(&self, reach: &Reach, page: &Page) -> (More, Vec<Document>) {
        let Some(listed) = self.listed(page) else { return Default::default() };
        let (Listed::File(file) | Listed::Sidecar(file) | Listed::Provenance(file)) = listed;
        let provenance = |file: &File| {
            let Provenance::At(url) = &file.attributes().provenance else { return None };
            let (place, as_of) = (reach.place(&self.ask), self.ask.as_of);
            let asked = Asked { reach, place, today: page, page, file, as_of };
            asked.provenance_document(&Url::parse(url).ok()?)
        };
        More::wanted(reach, page, file, &self.ask.rules, provenance)
    }

    fn serve_from(&self, reach: &Reach, kept: &Parsed, more: &More) -> Step {
        let Some(today) = kept.get::<Page>() else { return Step::Reply(self.not_listed()) };
        let then = self.ask.as_of.and_then(|at| today.as_of(at).ok());
        let page = then.as_ref().map_or(today, |then| &then.page);
        match self.listed(page) {
            Some(listed) => self.serve(reach, (today, page), &listed, more),
            None => Step::Reply(self.not_listed()),
        }
    }

    fn serve(
        &self,
        reach: &Reach,
        (today, page): (&Page, &Page),
        listed: &Listed<'_>,
        more: &More,
    ) -> Step {
        let (Listed::File(file) | Listed::Sidecar(file) | Listed::Provenance(file)) = *listed;
        let as_of = self.ask.as_of;
        let asked = Asked { reach, place: reach.place(&self.ask), today, page, file, as_of };
        let serve = match listed {
            Listed::File(_) => asked.artifact(Beside::Itself),
            Listed::Sidecar(_) => asked.artifact(Beside::Metadata),
            Listed::Provenance(_) => asked.provenance(&self.address.url),
        };
        match serve {
            Ok(serve) => {
                let point = match listed {
                    Listed::File(_) => Point::Content,
                    Listed::Sidecar(_) | Listed::Provenance(_) => Point::Metadata,
                };
                let subject = asked.subject(&self.ask, point, more);
                Step::Serve(Box::new(Plan { access: reach.access.clone(), subject, serve }))
            }
            Err(reply) => Step::Reply(reply),
        }
    }

    fn not_listed(&self) -> Reply {
        if let Some(failure) = &self.failure {
            return explain::failure(&self.settings, failure);
        }
        let filename = self.address.filename();
        let index = &self.settings.name;
        let detail = match (self.ask.as_of, &self.unknown) {
            (Some(at), Some((project, unknown))) => {
                return explain::unknown(project, *unknown, at);
            }
            (Some(at), None) => {
                format!("No page of index {index} listed {filename} at {}.", at.to_rfc3339())
            }
            (None, _) => {
                format!("No page of index {index} lists {filename} at this address, now or ever.")
            }
        };
        explain::problem(StatusCode::NOT_FOUND, "No such file", &detail)
    }
}

/// Which of a file's addresses is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Itself,
    Metadata,
}

/// A file that was found on its page.
struct Asked<'a> {
    reach: &'a Reach,
    place: Place,
    /// The page that the policy judges by, beside the one that lists the file: another one where the past is asked for.
    today: &'a Page,
    page: &'a Page,
    file: &'a File,
    as_of: Option<Timestamp>,
}

impl Asked<'_> {
    /// What is judged, with what came of it: of the past, what is said of its state then, unless more is held against it today.
    fn subject(&self, ask: &Ask, point: Point, more: &More) -> Subject {
        let judged = |page: &Page, file: &File| -> Judged {
            let mut facts = OfPage::new(page, &ask.rules).of(file);
            more.add(&mut facts, file, &ask.rules);
            ask.rules.judged(facts, point, ask.now)
        };
        let then = judged(self.page, self.file);
        let today = self.as_of.and_then(|_| past::known_today(self.today, self.file));
        let today = today.map(|known| judged(self.today, known));
        let stricter = today.filter(|today| {
            let (today, then) = (today.decision.verdict, then.decision.verdict);
            today >= Verdict::Hide && today > then
        });
        Subject::of(stricter.unwrap_or(then), &ask.base)
    }

    /// The file as people call it.
    fn called(&self) -> String {
        let Page { name, .. } = self.page;
        let project = Words::of(&self.reach.settings).name(name);
        let version = name::version_of(name, &self.file.filename);
        let release = match version {
            Some(version) => project.version("==", version),
            None => project,
        };
        release.part(&*self.file.filename).to_string()
    }

    fn artifact(&self, which: Beside) -> Result<Serve, Reply> {
        let file = self.file;
        let (key, digests, size) = match which {
            Beside::Itself => (self.place.file_key(file), file.hashes.digests(), file.size),
            Beside::Metadata => {
                let digests = match &file.attributes().core_metadata {
                    Sidecar::Hashed(hashes) => hashes.digests(),
                    Sidecar::Unsaid | Sidecar::No | Sidecar::Yes => Ok(Vec::new()),
                };
                (self.place.sidecar_key(file), digests, None)
            }
        };
        let digests = digests.map_err(|reason| {
            explain::problem(StatusCode::BAD_GATEWAY, "The index names no real digest", &reason)
        })?;
        let upstream = self.upstream();
        let mut origins = Vec::new();
        if let Some(upstream) = &upstream {
            for url in self.addresses(upstream, which)? {
                let mut request = self.reach.request(upstream, url, None);
                request
                    .headers
                    .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                origins.push(request);
            }
        }
        let forbidden = upstream
            .map_or_else(Vec::new, |upstream| vec![reach::forbidden(&upstream); origins.len()]);
        let mut headers = self.headers(&digests);
        if let Some(at) = self.as_of {
            Past::immutable(at).write(&mut headers);
        }
        let admit = AdmitFile { forbidden, is_unverified: digests.is_empty() };
        let lookup = self.reach.lookup(key, origins, Arc::new(admit));
        let subject = (which == Beside::Itself).then(|| self.called());
        let artifact = Artifact {
            lookup,
            digests,
            size,
            nature: Nature::Program,
            is_excepted: false,
            subject,
        };
        Ok(Serve::Artifact { artifact, headers, chunking: None })
    }

    /// The upstream that the file came from. When that is no longer configured, the first that may be asked for the file; none when it is, but
    /// not for this project any more: then only what is kept is served.
    fn upstream(&self) -> Option<Arc<Upstream>> {
        let source = self.page.sources.get(usize::from(self.file.source))?;
        let upstreams = &self.reach.upstreams;
        if let Some(upstream) = upstreams.iter().find(|upstream| *upstream.source == **source) {
            return Some(Arc::clone(upstream));
        }
        let configured = &self.reach.settings.upstreams;
        let is_configured = configured.iter().any(|upstream| *upstream.source == **source);
        if is_configured { None } else { upstreams.first().cloned() }
    }

    /// The addresses to try: where the file is now, then where it was. `Err` when none of them may be asked.
    fn addresses(&self, upstream: &Upstream, which: Beside) -> Result<Vec<Url>, Reply> {
        let parsed = self.file.addresses().filter_map(|address| Url::parse(address).ok());
        let known: Vec<Url> = parsed
            .map(|mut url| {
                if which == Beside::Metadata {
                    let path = format!("{}{METADATA}", url.path());
                    url.set_path(&path);
                }
                url
            })
            .collect();
        let refused = known.first().map(|url| self.not_allowed(url));
        let allowed: Vec<Url> =
            known.into_iter().filter(|url| upstream.origin.allows(url)).collect();
        match refused {
            Some(reply) if allowed.is_empty() => Err(reply),
            _ => Ok(allowed),
        }
    }

    fn not_allowed(&self, url: &Url) -> Reply {
        let (host, name) = (url.host_str().unwrap_or_default(), &self.reach.settings.name);
        let detail = match url.scheme() {
            "http" => format!(
                "The index is asked over https, but its page leads to {host} over plain http."
            ),
            _ => format!(
                "The page leads to {host}, which is neither of the index's own domain nor declared. If it is to be trusted, add it to \
                 pypi.indexes.{name}.file_hosts."
            ),
        };
        explain::problem(StatusCode::FORBIDDEN, "This file's host is not declared", &detail)
    }

    /// What a file's answer says of it. A digest of its bytes is the strongest of entity tags: pip resumes by it.
    fn headers(&self, digests: &[Digest]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let control = format!("max-age=365000000, immutable, {}", self.reach.shareability());
        let control =
            HeaderValue::from_str(&control).expect("letters and digits are a field value");
        headers.insert(header::CACHE_CONTROL, control);
        if let Some(digest) = digests.first() {
            let tag = HeaderValue::from_str(&format!("\"{digest}\""));
            headers.insert(
                header::ETAG,
                tag.expect("an algorithm and hexadecimal digits are a field value"),
            );
        }
        headers
    }

    /// The provenance object of the file.
    fn provenance(&self, url: &Url) -> Result<Serve, Reply> {
        let document = self.provenance_document(url).ok_or_else(|| self.not_allowed(url))?;
        let render = Arc::new(Verbatim { shareability: self.reach.shareability() });
        Ok(Serve::Document { document, render })
    }

    /// `None` when it is not to be asked for at that address.
    fn provenance_document(&self, url: &Url) -> Option<Document> {
        let upstream = self.upstream().filter(|upstream| upstream.origin.allows(url))?;
        let demand = if self.as_of.is_some() { Demand::AnyAge } else { Demand::Fresh };
        Some(provenance::document(self.reach, &upstream, url, demand))
    }
}
