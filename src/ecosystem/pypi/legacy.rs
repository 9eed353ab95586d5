//! The legacy JSON of a project or release: `pypi/NAME/json`, `pypi/NAME/VERSION/json`.
//!
//! Upstream's document is passed on with our file addresses and without files that the policy hides. Where upstream has no such document for
//! a release, one is made from the page: it says what the page knows and null for what only the files know, which poetry takes as a reason to look into them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document};
use crate::ecosystem::past::Unknown;
use crate::ecosystem::pypi::config::Settings;
use crate::ecosystem::pypi::listing::{self, Entry, Judge, Listing, Place, Shown};
use crate::ecosystem::pypi::page::{Page, Yanked};
use crate::ecosystem::pypi::reach::{self, Reach};
use crate::ecosystem::pypi::routes::Slash;
use crate::ecosystem::pypi::verbatim::{JsonText, VerbatimJson};
use crate::ecosystem::pypi::{explain, links, merge, name, past, project};
use crate::ecosystem::{Ask, Held, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};
use crate::policy::Ruleset;
use crate::types::Timestamp;

/// Plans the legacy JSON. The page is needed first: it tells which upstream has the project and what may be seen.
pub fn plan(
    settings: &Arc<Settings>,
    ask: &Ask,
    named: &str,
    version: Option<&str>,
    slash: Slash,
) -> Step {
    if !name::is_valid(named) {
        return Step::Reply(project::invalid(named));
    }
    if version.is_some_and(|version| !is_version(version)) {
        return Step::Reply(explain::problem(
            StatusCode::NOT_FOUND,
            "No version",
            "The address names no version.",
        ));
    }
    let project = name::normalised(named);
    if project != named || slash == Slash::Present {
        return Step::Reply(canonical(ask, &project, version, slash));
    }
    let reach = match Reach::of(settings, &project, ask) {
        Ok(reach) => reach,
        Err(reply) => return Step::Reply(reply),
    };
    if let (None, Some(at)) = (version, ask.as_of) {
        let what = format!("the legacy description of {project}");
        return Step::Reply(explain::unknown(&what, Unknown::NoHistory, at));
    }
    let release = Release {
        as_of: ask.as_of,
        place: reach.place(ask),
        reach,
        project: project.into_owned(),
        version: version.map(str::to_owned),
        demand: reach::demand(&ask.headers),
        rules: Arc::clone(&ask.rules),
        now: ask.now,
    };
    let documents = vec![release.reach.page(&release.project, Demand::AnyAge)];
    Step::Need { documents, then: Box::new(move |held| release.with_page(held)) }
}

/// A version as it may stand in an address: one segment, no dots alone.
fn is_version(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".!+_-".contains(&byte);
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(plain)
        && !text.bytes().all(|byte| byte == b'.')
}

fn canonical(ask: &Ask, project: &str, version: Option<&str>, slash: Slash) -> Reply {
    let up = match (version, slash) {
        (None, Slash::Missing) => "../",
        (None, Slash::Present) | (Some(_), Slash::Missing) => "../../",
        (Some(_), Slash::Present) => "../../../",
    };
    let location = match version {
        Some(version) => format!("{up}{project}/{version}/json"),
        None => format!("{up}{project}/json"),
    };
    project::redirect(ask, &location)
}

/// Upstream's own document of a project or release, from the upstream that has the project.
pub fn document(
    reach: &Reach,
    page: &Page,
    version: Option<&str>,
    demand: Demand,
) -> Option<Document> {
    let source = page.sources.get(usize::from(page.source))?;
    let upstream = reach.upstreams.iter().find(|one| *one.source == **source)?;
    let url = upstream.legacy_url(&page.name, version)?;
    let origins = vec![reach.request(upstream, url, Some("application/json"))];
    let name = format!("legacy/{}/{}", page.name, version.unwrap_or_default());
    let keep = Arc::new(VerbatimJson { required: "urls" });
    Some(reach.document(&name, origins, keep, demand))
}

/// What is asked for.
struct Release {
    as_of: Option<Timestamp>,
    reach: Reach,
    place: Place,
    project: String,
    version: Option<String>,
    demand: Demand,
    rules: Arc<Ruleset>,
    now: Timestamp,
}

impl Release {
    fn with_page(self, held: Vec<Result<Held, Failure>>) -> Step {
        let held = match held.into_iter().next() {
            Some(Ok(held)) => held,
            Some(Err(failure)) => {
                return Step::Reply(explain::failure(&self.reach.settings, &failure));
            }
            None => return Step::Reply(explain::failure(&self.reach.settings, &Failure::Absent)),
        };
        if self.reach.is_withdrawn(&held.standing) {
            return Step::Reply(explain::refused(
                &self.reach.settings,
                StatusCode::FORBIDDEN.as_u16(),
            ));
        }
        let page = held.parsed.get::<Page>().filter(|_| self.as_of.is_none());
        let document =
            page.and_then(|page| document(&self.reach, page, self.version.as_deref(), self.demand));
        let Some(document) = document else {
            return self.without_document(&held, &Failure::Absent);
        };
        let documents = vec![document.clone()];
        Step::Need {
            documents,
            then: Box::new(move |answers| self.with_document(&held, document, answers)),
        }
    }

    fn with_document(
        self,
        page: &Held,
        document: Document,
        answers: Vec<Result<Held, Failure>>,
    ) -> Step {
        match answers.into_iter().next() {
            Some(Ok(_)) => {
                let judged =
                    page.parsed.get::<Page>().map(|page| self.judged(page)).unwrap_or_default();
                let render = UpstreamRender {
                    place: self.place.clone(),
                    project: self.project.clone(),
                    judged,
                    epoch: self.rules.epoch(),
                    page_version: page.version,
                    shareability: self.reach.shareability(),
                };
                self.serve(document, Arc::new(render))
            }
            Some(Err(failure)) => self.without_document(page, &failure),
            None => self.without_document(page, &Failure::Absent),
        }
    }

    /// Only a release can be told from the page alone.
    fn without_document(self, page: &Held, failure: &Failure) -> Step {
        let known = page.parsed.get::<Page>().zip(self.version.clone());
        let Some((_, version)) = known.filter(|(page, version)| self.has(page, version)) else {
            return Step::Reply(explain::failure(&self.reach.settings, failure));
        };
        let document = self.reach.page(&self.project, Demand::AnyAge);
        let render = PageRender {
            place: self.place.clone(),
            settings: Arc::clone(&self.reach.settings),
            rules: Arc::clone(&self.rules),
            version,
            shareability: self.reach.shareability(),
            as_of: self.as_of,
        };
        self.serve(document, Arc::new(render))
    }

    /// Whether there is, or was, such a release. What is not known of the past is told when it is rendered.
    fn has(&self, page: &Page, version: &str) -> bool {
        let then = self.as_of.map(|at| page.as_of(at));
        match then {
            None => has_version(page, version),
            Some(Ok(then)) => has_version(&then.page, version),
            Some(Err(_)) => true,
        }
    }

    /// What the policy says of the files that are not listed plainly.
    fn judged(&self, page: &Page) -> JudgedFiles {
        let mut judge = Judge::new(&self.rules, page, &self.place.base, self.now);
        let mut shown = HashMap::new();
        for file in &page.files {
            let how = judge.judge(file, &|_| ());
            if how != Shown::Plainly {
                shown.insert(file.filename.clone(), how);
            }
        }
        JudgedFiles { shown, valid_until: judge.valid_until }
    }

    fn serve(self, document: Document, render: Arc<dyn Render>) -> Step {
        let subject =
            Subject { package: Some(self.project), version: self.version, ..Subject::default() };
        let access = self.reach.access;
        Step::Serve(Box::new(Plan { access, subject, serve: Serve::Document { document, render } }))
    }
}

fn has_version(page: &Page, version: &str) -> bool {
    page.listed().any(|file| name::version_of(&page.name, &file.filename) == Some(version))
}

/// How files of a project may be shown, by their names; those that are not here, plainly.
#[derive(Debug, Default)]
struct JudgedFiles {
    shown: HashMap<Box<str>, Shown>,
    valid_until: Option<Timestamp>,
}

/// Passes upstream's document on with our addresses.
#[derive(Debug)]
struct UpstreamRender {
    place: Place,
    project: String,
    judged: JudgedFiles,
    /// What it was judged by.
    epoch: u64,
    /// The version of the page that was judged.
    page_version: u64,
    shareability: &'static str,
}

impl Render for UpstreamRender {
    fn variant(&self) -> String {
        let Self { shareability, place, page_version, epoch, .. } = self;
        format!("{shareability} {} {page_version:x} {epoch:x}", place.absolute_root)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let text = view.document.get::<JsonText>().map(|text| text.0.clone()).unwrap_or_default();
        let mut value: Value = serde_json::from_slice(&text).unwrap_or_default();
        if let Some(files) = value.get_mut("urls").and_then(Value::as_array_mut) {
            self.rewrite(files);
        }
        if let Some(releases) = value.get_mut("releases").and_then(Value::as_object_mut) {
            self.rewrite_releases(releases);
        }
        let serial = value.get("last_serial").and_then(Value::as_u64);
        let rendered = answer(value.to_string().into(), serial, view, self.shareability);
        Rendered { valid_until: self.judged.valid_until, ..rendered }
    }
}

impl UpstreamRender {
    fn rewrite_releases(&self, releases: &mut Map<String, Value>) {
        releases.retain(|_, files| {
            let Some(files) = files.as_array_mut() else { return true };
            let had = !files.is_empty();
            self.rewrite(files);
            !(had && files.is_empty())
        });
    }

    fn rewrite(&self, files: &mut Vec<Value>) {
        let text =
            |file: &Value, key: &str| file.get(key).and_then(Value::as_str).map(str::to_owned);
        let shown = |file: &Value| self.judged.shown.get(text(file, "filename")?.as_str());
        files.retain(|file| shown(file) != Some(&Shown::No));
        for file in files {
            if let Some(Shown::Withdrawn(reason)) = shown(file) {
                file["yanked"] = true.into();
                file["yanked_reason"] = reason.as_str().into();
            }
            let path = text(file, "url").and_then(|url| links::path_of(&url, &self.project));
            if let Some(path) = path {
                file["url"] = format!("{}{}{path}", self.place.absolute_root, links::FILES).into();
            }
        }
    }
}

/// Makes a release's document from the page.
#[derive(Debug)]
struct PageRender {
    place: Place,
    settings: Arc<Settings>,
    rules: Arc<Ruleset>,
    version: String,
    shareability: &'static str,
    as_of: Option<Timestamp>,
}

impl Render for PageRender {
    fn variant(&self) -> String {
        let Self { place, version, shareability, as_of, .. } = self;
        let epoch = self.rules.epoch();
        format!("legacy {version} {shareability} {} {epoch:x} {as_of:?}", place.absolute_root)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(page) = view.document.get::<Page>() else {
            let reply = explain::failure(&self.settings, &Failure::Absent);
            return Rendered { reply, valid_until: None };
        };
        let then = self.as_of.map(|at| {
            past::shown(&self.rules, page, at, view.now).map_err(|unknown| (unknown, at))
        });
        let then = match then.transpose() {
            Ok(then) => then,
            Err((unknown, at)) => {
                let reply = explain::unknown(&page.name, unknown, at);
                return Rendered { reply, valid_until: None };
            }
        };
        let page = then.as_ref().map_or(page, |then| &then.page);
        let place = Place { relative_root: self.place.absolute_root.clone(), ..self.place.clone() };
        let listing = Listing::of(page, &self.rules, &place, view);
        let of_version = |entry: &&Entry<'_>| {
            name::version_of(&page.name, &entry.file.filename) == Some(self.version.as_str())
        };
        let files: Vec<&Entry<'_>> = listing.entries.iter().filter(of_version).collect();
        let reply = match files.first() {
            Some(first) => {
                let text = self.release(page, first, &files).to_string();
                let mut rendered = answer(text.into(), None, view, self.shareability);
                if let Some(then) = &then {
                    then.past.write(&mut rendered.reply.headers);
                }
                return Rendered { valid_until: listing.valid_until, ..rendered };
            }
            None => explain::failure(&self.settings, &Failure::Absent),
        };
        Rendered { reply, valid_until: None }
    }
}

impl PageRender {
    fn release(&self, page: &Page, first: &Entry<'_>, files: &[&Entry<'_>]) -> Value {
        let all_yanked = files.iter().all(|entry| *entry.yanked != Yanked::No);
        json!({
            "info": {
                "name": page.name,
                "version": self.version,
                "summary": null,
                "requires_dist": null,
                "requires_python": first.attributes.requires_python,
                "yanked": all_yanked,
                "yanked_reason": yanked_reason(first),
            },
            "urls": files.iter().map(|entry| file(entry)).collect::<Vec<_>>(),
        })
    }
}

fn file(entry: &Entry<'_>) -> Value {
    let filename = &entry.file.filename;
    let digests: Map<String, Value> = listing::known_hashes(&entry.file.hashes)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let kind = match filename.rsplit('.').next() {
        Some("whl") => "bdist_wheel",
        Some("egg") => "bdist_egg",
        Some("exe") => "bdist_wininst",
        Some("msi") => "bdist_msi",
        Some("rpm") => "bdist_rpm",
        _ => "sdist",
    };
    let mut value = json!({
        "filename": filename,
        "url": entry.href,
        "digests": digests,
        "packagetype": kind,
        "requires_python": entry.attributes.requires_python,
        "yanked": *entry.yanked != Yanked::No,
        "yanked_reason": yanked_reason(entry),
    });
    if let Some(size) = entry.file.size {
        value["size"] = size.into();
    }
    if let Some(time) = &entry.file.upload_time {
        value["upload_time_iso_8601"] = time.as_ref().into();
    }
    value
}

fn yanked_reason<'a>(entry: &'a Entry<'_>) -> Option<&'a str> {
    match &*entry.yanked {
        Yanked::Because(reason) => Some(reason),
        Yanked::No | Yanked::Yes => None,
    }
}

fn answer(body: Bytes, serial: Option<u64>, view: &View<'_>, shareability: &str) -> Rendered {
    let mut reply = Reply::new(StatusCode::OK, "application/json", body)
        .with(header::CACHE_CONTROL, reach::cache_control(&view.standing, shareability))
        .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(serial) = serial {
        reply = reply.with(merge::SERIAL, HeaderValue::from(serial));
    }
    Rendered { reply, valid_until: None }
}
