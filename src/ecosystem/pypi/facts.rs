//! What a project's page, and the legacy JSON of a release, say that rules may rest on.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;
use url::Url;

use crate::advisory::{Package, Score, Summary};
use crate::cache::lookup::Parsed;
use crate::ecosystem::pypi::name;
use crate::ecosystem::pypi::page::{File, Page, Provenance, Yanked};
use crate::ecosystem::pypi::verbatim::JsonText;
use crate::licence::Licence;
use crate::policy::{Ecosystem, Fact, Facts, Ruleset, State};
use crate::types::Timestamp;

/// What advisories call this ecosystem.
const OSV: &str = "PyPI";

/// The facts that only the legacy JSON of a release knows.
pub const OF_RELEASE: [Fact; 4] =
    [Fact::Licence, Fact::LicenceUnknown, Fact::LicenceChanged, Fact::Maintainers];

/// Facts of a whole page, found once for all its files, as far as rules look at them.
#[derive(Debug)]
pub struct OfPage<'a> {
    page: &'a Page,
    /// What advisories know of the project, if there are any, and what that comes to for each version.
    known: Option<Package<'a>>,
    of_versions: RefCell<HashMap<String, Summary>>,
    knows_times: bool,
    /// When the first and when the newest file was published, with the newest one's version.
    first: Option<Timestamp>,
    newest: Option<(Timestamp, &'a str)>,
}

/// Whether rules look at what only the legacy JSON of a release knows.
pub fn needs_release(rules: &Ruleset) -> bool {
    OF_RELEASE.iter().any(|fact| rules.needs(Ecosystem::PyPi, *fact))
}

impl<'a> OfPage<'a> {
    pub fn new(page: &'a Page, rules: &'a Ruleset) -> Self {
        let needs = |fact| rules.needs(Ecosystem::PyPi, fact);
        let advisories = rules.advisories();
        let mut all = Self {
            page,
            known: (!advisories.is_empty()).then(|| advisories.package(OSV, &page.name)),
            of_versions: RefCell::default(),
            knows_times: needs(Fact::Release),
            first: None,
            newest: None,
        };
        if needs(Fact::Project) || needs(Fact::NewerVersion) {
            for file in page.listed() {
                let at = file.published();
                all.first = Some(all.first.map_or(at, |first| first.min(at)));
                let version = name::version_of(&page.name, &file.filename).unwrap_or_default();
                if file.is_live() && all.newest.is_none_or(|(newest, _)| newest < at) {
                    all.newest = Some((at, version));
                }
            }
        }
        all
    }

    /// The facts of one of its files.
    pub fn of(&self, file: &'a File) -> Facts<'a> {
        let page = self.page;
        let attributes = file.attributes();
        let version = name::version_of(&page.name, &file.filename);
        let mut facts = Facts::of(Ecosystem::PyPi, &*page.name)
            .with(Fact::Version, version)
            .with(Fact::File, &*file.filename)
            .with(Fact::Size, file.size)
            .with(Fact::Format, format(&file.filename))
            .with(Fact::Project, self.first)
            .with(Fact::Yanked, attributes.yanked != Yanked::No);
        if let Some(source) = page.sources.get(usize::from(file.source)) {
            let host = Url::parse(source).ok().and_then(|url| url.host_str().map(str::to_owned));
            facts.set(Fact::Upstream, host);
        }
        if self.knows_times {
            facts.set(Fact::Release, file.published());
        }
        if let Some((_, newest)) = self.newest {
            facts.set(Fact::NewerVersion, version.is_some_and(|version| version != newest));
        }
        facts.set(Fact::Status, page.current_status().map_or("active", |status| &status.status));
        facts.set(
            Fact::Attested,
            match attributes.provenance {
                Provenance::At(_) => Some(true),
                Provenance::None => Some(false),
                Provenance::Unsaid => None,
            },
        );
        facts.digest = file.hashes.sha256().map(|digest| Cow::Owned(format!("sha256:{digest}")));
        let state = self.state(file);
        facts.state = (state != State::Listed).then(|| (state, file.published()));
        self.advise(&mut facts, version);
        facts
    }

    /// In which state a file is: as upstream has it, unless an advisory knows better.
    pub fn state(&self, file: &File) -> State {
        let version = name::version_of(&self.page.name, &file.filename);
        match self.summary(version).is_some_and(|known| known.malicious) {
            true => State::Malicious,
            false => self.page.state(file),
        }
    }

    /// What advisories come to for a version; `None` without any.
    fn summary(&self, version: Option<&str>) -> Option<Summary> {
        let known = self.known?;
        let Some(version) = version.filter(|_| !known.is_empty()) else {
            return Some(Summary::default());
        };
        let mut found = self.of_versions.borrow_mut();
        if let Some(summary) = found.get(version) {
            return Some(summary.clone());
        }
        let summary = Summary::of(&known.at(version));
        found.insert(version.to_owned(), summary.clone());
        Some(summary)
    }

    fn advise(&self, facts: &mut Facts<'_>, version: Option<&str>) {
        let Some(known) = self.summary(version) else { return };
        facts.set(Fact::Malicious, known.malicious);
        facts.set(Fact::FixAvailable, known.fixed.unwrap_or(false));
        let score = known.severity.map(Score::tenths);
        facts.set(Fact::Cvss, if known.ids.is_empty() { Some(0) } else { score });
        facts.set(Fact::Vulnerability, known.ids);
    }
}

/// Adds what the legacy JSON of the release says.
pub fn add_release(facts: &mut Facts<'_>, document: &Parsed) {
    let Some(JsonText(text)) = document.get::<JsonText>() else { return };
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return };
    let licence = licence(&json["info"]);
    facts.set(Fact::LicenceUnknown, licence.is_none());
    facts.set(Fact::Licence, licence);
    let roles = json.pointer("/ownership/roles").and_then(Value::as_array);
    facts.set(Fact::Maintainers, roles.map(|roles| roles.len() as u64));
}

/// The licence that the legacy JSON of a release declares, if any. `None`: it cannot be read.
pub fn licence_of_release(document: &Parsed) -> Option<Option<String>> {
    let JsonText(text) = document.get::<JsonText>()?;
    let json: Value = serde_json::from_slice(text).ok()?;
    Some(licence(&json["info"]))
}

/// The licence that the metadata declares: an SPDX expression where there is one, else what classifiers stand for, else the name that was written down,
/// unless that is the licence's whole text.
pub fn licence(info: &Value) -> Option<String> {
    let text = |key: &str| {
        let text = info[key].as_str().map(str::trim);
        text.filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("unknown"))
    };
    let read = |text: &str| match Licence::parse(text) {
        Ok(licence) => licence.as_str().to_owned(),
        // A name of somebody's own is one, too: lists may hold it.
        Err(_) => text.to_owned(),
    };
    let named = || {
        let classifiers = info["classifiers"].as_array()?;
        let found = classifiers.iter().filter_map(|one| Licence::of_classifier(one.as_str()?));
        Some(Licence::all(found)?.as_str().to_owned())
    };
    let written =
        || text("license").filter(|text| text.len() <= 64 && !text.contains('\n')).map(read);
    text("license_expression").map(read).or_else(named).or_else(written)
}

fn format(filename: &str) -> Option<&'static str> {
    let ends = |suffix: &str| filename.ends_with(suffix);
    match () {
        () if ends(".whl") => Some("wheel"),
        () if ends(".egg") => Some("egg"),
        () if ends(".exe") || ends(".msi") => Some("installer"),
        () if name::is_distribution(filename) => Some("sdist"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn licences_are_read_from_where_they_are_declared() {
        let check = |info: Value, expected: Option<&str>| {
            assert_eq!(licence(&info).as_deref(), expected, "{info}");
        };
        let mit = "License :: OSI Approved :: MIT License";
        check(
            json!({"license_expression": "mit OR Apache-2.0", "license": "Y"}),
            Some("MIT OR Apache-2.0"),
        );
        check(json!({"license": "Acme 7"}), Some("Acme 7"));
        check(json!({"classifiers": [mit, "Framework :: X"], "license": "Y"}), Some("MIT"));
        check(json!({"license": "Apache 2.0"}), Some("Apache-2.0"));
        check(json!({"license": "Copyright\n\nPermission is"}), None);
        check(json!({"license": "UNKNOWN", "classifiers": []}), None);
        check(json!({"license": null}), None);
        check(json!(null), None);
    }
}
