//! What a project's page, and the legacy JSON of a release, say that rules may rest on.

use std::borrow::Cow;

use serde_json::Value;
use url::Url;

use crate::cache::lookup::Parsed;
use crate::ecosystem::pypi::name;
use crate::ecosystem::pypi::page::{File, Page, Provenance, Yanked};
use crate::ecosystem::pypi::verbatim::JsonText;
use crate::policy::{Ecosystem, Fact, Facts, Ruleset, State};
use crate::types::Timestamp;

/// The facts that only the legacy JSON of a release knows.
const OF_RELEASE: [Fact; 3] = [Fact::Licence, Fact::LicenceUnknown, Fact::Maintainers];

/// Facts of a whole page, found once for all its files, as far as rules look at them.
#[derive(Debug, Clone, Copy)]
pub struct OfPage<'a> {
    page: &'a Page,
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
    pub fn new(page: &'a Page, rules: &Ruleset) -> Self {
        let needs = |fact| rules.needs(Ecosystem::PyPi, fact);
        let mut all = Self { page, knows_times: needs(Fact::Release), first: None, newest: None };
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
        let state = page.state(file);
        facts.state = (state != State::Listed).then(|| (state, file.published()));
        facts
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

/// The licence that the metadata declares: an SPDX expression where there is one, else what a classifier stands for, else the name that was written
/// down, unless that is the licence's whole text.
fn licence(info: &Value) -> Option<String> {
    let text = |key: &str| {
        let text = info[key].as_str().map(str::trim);
        text.filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("unknown"))
    };
    let expression = text("license_expression").map(str::to_owned);
    let named = || {
        let classifiers = info["classifiers"].as_array()?;
        let found: Vec<&str> =
            classifiers.iter().filter_map(|one| of_classifier(one.as_str()?)).collect();
        (!found.is_empty()).then(|| found.join(" AND "))
    };
    let written = || {
        let name = text("license").filter(|text| text.len() <= 64 && !text.contains('\n'));
        name.map(str::to_owned)
    };
    expression.or_else(named).or_else(written)
}

/// What a classifier stands for, where that is one licence.
fn of_classifier(classifier: &str) -> Option<&'static str> {
    let name = classifier.strip_prefix("License :: ")?.strip_prefix("OSI Approved :: ")?;
    let known = [
        ("MIT License", "MIT"),
        ("MIT No Attribution License (MIT-0)", "MIT-0"),
        ("Apache Software License", "Apache-2.0"),
        ("BSD License", "BSD-3-Clause"),
        ("ISC License (ISCL)", "ISC"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("The Unlicense (Unlicense)", "Unlicense"),
        ("zlib/libpng License", "Zlib"),
        ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
        ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
        ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
        ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
        ("GNU Affero General Public License v3", "AGPL-3.0-only"),
        ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
        ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
        ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ];
    known.iter().find(|(one, _)| *one == name).map(|(_, id)| *id)
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
        check(json!({"license_expression": "MIT OR X", "license": "Y"}), Some("MIT OR X"));
        check(json!({"classifiers": [mit, "Framework :: X"], "license": "Y"}), Some("MIT"));
        check(json!({"license": "BSD"}), Some("BSD"));
        check(json!({"license": "Copyright\n\nPermission is"}), None);
        check(json!({"license": "UNKNOWN", "classifiers": []}), None);
        check(json!({"license": null}), None);
        check(json!(null), None);
    }
}
