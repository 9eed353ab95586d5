//! What an index says it has of a project (PEP 691), and which of it is wanted.

use std::collections::BTreeMap;

use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;
use serde_json::Value;

use crate::collect::{Package, Platform, requirement::Requirement};
use crate::ecosystem::pypi::name;
use crate::types::{Algorithm, Digest};

/// A project's page.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    pub files: Vec<PageFile>,
}

/// A file of a page.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PageFile {
    pub filename: String,
    /// Absolute, or relative to the page.
    pub url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    pub size: Option<u64>,
    requires_python: Option<String>,
    #[serde(default)]
    yanked: Value,
    #[serde(default)]
    core_metadata: Value,
}

impl Page {
    /// Reads the JSON form.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text)
            .map_err(|error| format!("the index's page cannot be read: {error}"))
    }

    /// The version that a package means: its pin, or the newest that it allows. Pre-releases and yanked ones only where nothing else is left or they are
    /// what it says. `None`: there is none.
    pub fn choose(&self, package: &Package, python: Option<&str>) -> Option<Version> {
        let specifiers = package.specifiers()?;
        let python: Option<Version> = python.and_then(|python| python.parse().ok());
        let asks_for_early =
            specifiers.iter().any(|specifier| specifier.version().any_prerelease());
        let pinned = package.pinned();
        let candidates = self.files.iter().filter_map(|file| {
            let version = file.version(&package.name)?;
            let is_pin = pinned.as_ref() == Some(&version);
            let fits = is_pin
                || pinned.is_none()
                    && specifiers.contains(&version)
                    && file.runs_on(python.as_ref());
            let early = version.any_prerelease() && !asks_for_early;
            fits.then_some((!file.is_yanked(), !early, version))
        });
        candidates.max().map(|(_, _, version)| version)
    }

    /// The files of a version that run on one of the platforms, or all of them.
    pub fn files_of<'a>(
        &'a self,
        project: &'a str,
        version: &'a Version,
        platforms: &'a [Platform],
    ) -> impl Iterator<Item = &'a PageFile> {
        let is_for = move |file: &&PageFile| {
            platforms.is_empty() || platforms.iter().any(|platform| platform.takes(&file.filename))
        };
        self.files
            .iter()
            .filter(move |file| file.version(project).as_ref() == Some(version))
            .filter(is_for)
    }

    /// The file of this name.
    pub fn file(&self, filename: &str) -> Option<&PageFile> {
        self.files.iter().find(|file| file.filename == filename)
    }
}

impl PageFile {
    /// The version that it carries, by its name; `None` where that tells none of the project.
    pub fn version(&self, project: &str) -> Option<Version> {
        name::version_of(project, &self.filename)?.parse().ok()
    }

    /// The digests that the page names and that can be checked, the strongest last.
    pub fn digests(&self) -> Vec<Digest> {
        let read = |(name, digits): (&String, &String)| {
            Digest::from_hex(name.parse::<Algorithm>().ok()?, digits).ok()
        };
        let mut digests: Vec<Digest> = self.hashes.iter().filter_map(read).collect();
        digests.sort_by_key(Digest::algorithm);
        digests
    }

    /// Whether the metadata can be had beside the file (PEP 658, PEP 714).
    pub fn has_metadata(&self) -> bool {
        !matches!(self.core_metadata, Value::Null | Value::Bool(false))
    }

    fn is_yanked(&self) -> bool {
        !matches!(self.yanked, Value::Null | Value::Bool(false))
    }

    fn runs_on(&self, python: Option<&Version>) -> bool {
        let (Some(python), Some(text)) = (python, &self.requires_python) else { return true };
        text.parse::<VersionSpecifiers>().is_ok_and(|needed| needed.contains(python))
    }
}

/// What core metadata says is required. Lines that cannot be read are told, not guessed at.
pub fn requirements(metadata: &str) -> (Vec<Requirement>, Vec<String>) {
    let head = metadata.lines().take_while(|line| !line.is_empty());
    let lines = head.filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case("requires-dist").then_some(value.trim())
    });
    read_all(lines)
}

/// The same of what the index's older API says.
pub fn legacy_requirements(json: &[u8]) -> (Vec<Requirement>, Vec<String>) {
    let json: Value = serde_json::from_slice(json).unwrap_or_default();
    let listed = json["info"]["requires_dist"].as_array().map(Vec::as_slice).unwrap_or_default();
    read_all(listed.iter().filter_map(Value::as_str))
}

fn read_all<'a>(lines: impl Iterator<Item = &'a str>) -> (Vec<Requirement>, Vec<String>) {
    let (mut read, mut faults) = (Vec::new(), Vec::new());
    for line in lines {
        match Requirement::read(line) {
            Ok(requirement) => read.push(requirement),
            Err(fault) => faults.push(format!("{line:?}: {fault}")),
        }
    }
    (read, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::What;

    fn page() -> Page {
        let file = |name: &str, more: &str| {
            format!(r#"{{"filename":"{name}","url":"x/{name}","hashes":{{}}{more}}}"#)
        };
        let files = [
            file("p-1.0.tar.gz", ""),
            file(
                "p-1.0-py3-none-any.whl",
                r#","core-metadata":{"sha256":"00"},"requires-python":">=3.8""#,
            ),
            file("p-1.1-py3-none-any.whl", r#","requires-python":">=3.12""#),
            file("p-1.2-py3-none-any.whl", r#","yanked":"broken""#),
            file("p-2.0rc1-cp312-cp312-manylinux2014_aarch64.whl", ""),
            file("other-9.tar.gz", ""),
        ];
        Page::read(format!(r#"{{"files":[{}]}}"#, files.join(",")).as_bytes()).expect("a page")
    }

    #[test]
    fn the_newest_that_will_do_is_chosen() {
        let check = |text: &str, python: Option<&str>, expected: Option<&str>| {
            let Ok(What::Package(package)) = text.parse() else { panic!("{text}") };
            let chosen = page().choose(&package, python).map(|version| version.to_string());
            assert_eq!(chosen.as_deref(), expected, "{text} {python:?}");
        };
        check("pypi:p==3", None, None);
        // What nobody can read was taken for any version at all.
        check("pypi:p===whatever-1", None, None);
        check("pypi:q", None, None);
        check("pypi:p", None, Some("1.1"));
        check("pypi:p", Some("3.11"), Some("1.0"));
        check("pypi:p<1.1", None, Some("1.0"));
        check("pypi:p==1.2", None, Some("1.2"));
        check("pypi:p>=1.2,<2", None, Some("1.2"));
        check("pypi:p>=2.0rc1", None, Some("2.0rc1"));
        check("pypi:p==1.1", Some("3.11"), Some("1.1"));
    }

    #[test]
    fn files_are_those_of_the_platforms() {
        let page = page();
        let names = |version: &str, platforms: &[Platform]| {
            let version = version.parse().expect("a version");
            page.files_of("p", &version, platforms)
                .map(|file| file.filename.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("1.0", &[]).len(), 2);
        assert_eq!(names("2.0rc1", &["linux/amd64".parse().expect("a platform")]), [""; 0]);
        assert!(page.files[1].has_metadata() && !page.files[0].has_metadata());
    }

    #[test]
    fn requirements_are_found_in_metadata() {
        let text = "Metadata-Version: 2.1\nName: p\nRequires-Dist: a>=1\nrequires-dist: b ; extra == 'x'\nRequires-Dist: ???\n\nRequires-Dist: none\n";
        let (read, faults) = requirements(text);
        let names: Vec<&str> = read.iter().map(|one| one.name.as_str()).collect();
        assert_eq!((names.as_slice(), faults.len()), (["a", "b"].as_slice(), 1));
        let (read, _) = legacy_requirements(br#"{"info":{"requires_dist":["a","b"]}}"#);
        assert_eq!(read.len(), 2);
        assert_eq!(legacy_requirements(b"{").0.len(), 0);
    }
}
