//! A project from upstream's answers to what clients read: its history, its pages, and the plans that hang on them. Times are passed in.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use url::Url;

use crate::cache::lookup::{Fresh, Keep, Parsed};
use crate::ecosystem::pypi::listing::{Listing, Place};
use crate::ecosystem::pypi::merge::ProjectPage;
use crate::ecosystem::pypi::page::*;
use crate::ecosystem::pypi::render_json;
use crate::ecosystem::{Standing, View};
use crate::policy::Ruleset;
use crate::types::event::What;
use crate::types::{Audience, Head, Presence, Timestamp};

mod history;
mod pages;
mod plans;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// 23 November 2026.
const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);
const SOURCE: &str = "https://index.example/simple/";
const OLD: &str = "demo_project-1.0.tar.gz";
const NEW: &str = "demo_project-1.1.tar.gz";
const JSON: &str = include_str!("../../../../tests/fixtures/pypi/demo.json");

/// A project whose upstreams answer one after the other.
struct Story {
    keep: ProjectPage,
    page: Option<Parsed>,
    bytes: Bytes,
    /// What happened last.
    told: Vec<What>,
}

impl Story {
    fn of(name: &str) -> Self {
        let keep = ProjectPage {
            name: name.to_owned(),
            sources: vec![SOURCE.into()],
            flat: vec![false],
            subject: format!("pypi:{name}"),
        };
        Self { keep, page: None, bytes: Bytes::new(), told: Vec::new() }
    }

    fn hears(&mut self, body: &str, now: Timestamp) -> Result<(), String> {
        self.hears_from(0, body, now)
    }

    fn hears_from(&mut self, origin: usize, body: &str, now: Timestamp) -> Result<(), String> {
        let (head, body) = (Head::new(StatusCode::OK), Bytes::copy_from_slice(body.as_bytes()));
        let url = Url::parse(&self.keep.sources[origin]).and_then(|url| url.join("demo-project/"));
        let url = url.expect("an address");
        let fresh = Fresh { origin, url: &url, head: &head, body: &body, rest: &[], now };
        let kept = self.keep.merge(self.page.as_ref(), &fresh)?;
        let read = self.keep.read(&kept.bytes).expect("what was written can be read");
        assert_eq!(read.get::<Page>(), kept.parsed.get::<Page>());
        self.bytes = kept.bytes;
        self.told = kept.events;
        self.page = Some(read);
        Ok(())
    }

    fn loses_project(&mut self, now: Timestamp) -> bool {
        let kept = self.keep.absent(self.page.as_ref().expect("a page"), now);
        let recorded = kept.is_some();
        self.page = kept.map(|kept| kept.parsed).or_else(|| self.page.take());
        recorded
    }

    fn page(&self) -> &Page {
        self.page.as_ref().and_then(Parsed::get).expect("a page")
    }

    /// The names that are listed, with their marks.
    fn listed(&self) -> Vec<(String, Option<String>)> {
        listed(self.page(), &Ruleset::default())
    }

    fn names(&self) -> Vec<String> {
        self.listed().into_iter().map(|(name, _)| name).collect()
    }
}

fn place() -> Place {
    Place {
        relative_root: "../../".to_owned(),
        absolute_root: "http://larder.example/pypi/default/".to_owned(),
        space: "pypi/default".to_owned(),
        audience: Audience::Public,
        base: "http://larder.example".to_owned(),
    }
}

fn with_listing<T>(
    page: &Page,
    rules: &Ruleset,
    standing: Standing,
    use_it: impl FnOnce(&Listing<'_>) -> T,
) -> T {
    let parsed = Parsed::new(page.clone());
    let view = view(&parsed, standing);
    use_it(&Listing::of(page, rules, &place(), &view))
}

/// A look at a document of which nothing else is kept.
fn view(document: &Parsed, standing: Standing) -> View<'_> {
    View { document, standing, now: NOW, is_kept: &|_| false, note: &|_| () }
}

fn standing(offline: bool) -> Standing {
    let fresh_until = NOW.plus(Duration::from_secs(600));
    Standing { validated: NOW, fresh_until, presence: Presence::Present, offline }
}

fn listed(page: &Page, rules: &Ruleset) -> Vec<(String, Option<String>)> {
    with_listing(page, rules, standing(false), |listing| {
        listing
            .entries
            .iter()
            .map(|entry| (entry.file.filename.to_string(), entry.mark.clone()))
            .collect()
    })
}

fn json_of(page: &Page, offline: bool) -> String {
    let bytes = with_listing(page, &Ruleset::default(), standing(offline), render_json::page);
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// A page with one file per name; `more` goes into every file.
fn project(names: &[&str], more: &str) -> String {
    let file = |name: &&str| {
        format!(
            "{{\"filename\": \"{name}\", \"url\": \"/p/{name}\", \"hashes\": {{\"sha256\": \"{}\"}}, \"size\": 1{more}}}",
            "ab".repeat(32)
        )
    };
    let files: Vec<String> = names.iter().map(file).collect();
    format!(
        "{{\"meta\": {{\"api-version\": \"1.1\"}}, \"name\": \"demo-project\", \"versions\": [], \"files\": [{}]}}",
        files.join(",")
    )
}
