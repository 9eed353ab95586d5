//! What clients of the OSV API ask: a package, a version of it, or a commit. The shapes are that API's, version 1.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// The body of `POST v1/query`, and each entry of a batch's.
#[derive(Debug, Default, Deserialize)]
pub struct Query {
    #[serde(default)]
    commit: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    package: Option<PackageName>,
    #[serde(default, alias = "pageToken")]
    page_token: Option<String>,
}

/// The body of `POST v1/querybatch`.
#[derive(Debug, Deserialize)]
pub struct Batch {
    #[serde(default)]
    pub queries: Vec<Query>,
}

#[derive(Debug, Default, Deserialize)]
struct PackageName {
    #[serde(default)]
    ecosystem: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    purl: Option<String>,
}

/// What is asked, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub about: About,
    /// How many of the answers the client has already.
    pub from: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A version, or all of them.
    Package { ecosystem: String, name: String, version: Option<String> },
    /// A commit of a repository, of which nothing is kept.
    Commit,
}

/// The ecosystems of purl types, by their OSV names, and what stands between the namespace and the name of their packages.
const PURL_TYPES: [(&str, &str, &str); 7] = [
    ("composer", "Packagist", "/"),
    ("gem", "RubyGems", "/"),
    ("golang", "Go", "/"),
    ("maven", "Maven", ":"),
    ("npm", "npm", "/"),
    ("nuget", "NuGet", "/"),
    ("pypi", "PyPI", "/"),
];

impl Query {
    /// Reads a query, or says what is wrong with it.
    pub fn read(self) -> Result<Question, String> {
        let from = match present(self.page_token) {
            None => 0,
            Some(token) => token.parse().map_err(|_| "Invalid page token.".to_owned())?,
        };
        let version = present(self.version);
        let Some(package) = self.package else {
            return match present(self.commit) {
                Some(_) => Ok(Question { about: About::Commit, from }),
                None => Err("Invalid query: it names neither a package nor a commit.".to_owned()),
            };
        };
        let about = package.with(version)?;
        Ok(Question { about, from })
    }
}

impl PackageName {
    fn with(self, version: Option<String>) -> Result<About, String> {
        let (name, ecosystem) = (present(self.name), present(self.ecosystem));
        if let Some(purl) = present(self.purl) {
            if name.is_some() || ecosystem.is_some() {
                return Err("A package is named by purl, or by name and ecosystem.".to_owned());
            }
            return match (purl_of(&purl)?, version) {
                (About::Package { version: Some(_), .. }, Some(_)) => {
                    Err("The version is in the purl and beside it.".to_owned())
                }
                (About::Package { ecosystem, name, version: inner }, outer) => {
                    Ok(About::Package { ecosystem, name, version: inner.or(outer) })
                }
                (About::Commit, _) => Ok(About::Commit),
            };
        }
        match (name, ecosystem) {
            (Some(name), Some(ecosystem)) => Ok(About::Package { ecosystem, name, version }),
            _ => Err("A package is named by purl, or by name and ecosystem.".to_owned()),
        }
    }
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`.
fn purl_of(purl: &str) -> Result<About, String> {
    let fault = || format!("Invalid purl: {purl:?}.");
    let rest = purl.strip_prefix("pkg:").ok_or_else(fault)?.trim_start_matches('/');
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (path, version) = match rest.rsplit_once('@') {
        Some((path, version)) if !path.ends_with('/') => (path, Some(version)),
        _ => (rest, None),
    };
    let (kind, name) = path.split_once('/').ok_or_else(fault)?;
    let kind = kind.to_ascii_lowercase();
    let known = PURL_TYPES.iter().find(|(known, _, _)| *known == kind);
    let (_, ecosystem, between) = known.ok_or_else(fault)?;
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        (!text.is_empty()).then(|| text.into_owned())
    };
    let parts: Option<Vec<String>> = name.split('/').map(decoded).collect();
    let name = parts.ok_or_else(fault)?.join(between);
    let version = version.map(|version| decoded(version).ok_or_else(fault)).transpose()?;
    Ok(About::Package { ecosystem: (*ecosystem).to_owned(), name, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Question, String> {
        serde_json::from_str::<Query>(text).map_err(|error| error.to_string())?.read()
    }

    #[test]
    fn what_asks_nothing_is_refused() {
        for text in [
            "{}",
            "[]",
            r#"{"version": "1"}"#,
            r#"{"package": {}}"#,
            r#"{"package": {"name": "six"}}"#,
            r#"{"package": {"ecosystem": "PyPI"}}"#,
            r#"{"package": {"purl": "six"}}"#,
            r#"{"package": {"purl": "pkg:pypi"}}"#,
            r#"{"package": {"purl": "pkg:pypi/"}}"#,
            r#"{"package": {"purl": "pkg:unheard/of"}}"#,
            r#"{"package": {"purl": "pkg:pypi/six", "name": "six"}}"#,
            r#"{"package": {"purl": "pkg:pypi/six@1"}, "version": "1"}"#,
            r#"{"package": {"purl": "pkg:pypi/six@%ff"}}"#,
            r#"{"package": {"name": "six", "ecosystem": "PyPI"}, "page_token": "next"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn packages_are_named_in_two_ways() {
        let check = |text: &str, ecosystem: &str, name: &str, version: Option<&str>| {
            let about = About::Package {
                ecosystem: ecosystem.to_owned(),
                name: name.to_owned(),
                version: version.map(str::to_owned),
            };
            assert_eq!(read(text).map(|read| read.about), Ok(about), "{text}");
        };
        check(
            r#"{"package": {"name": "six", "ecosystem": "PyPI"}, "version": "1.0"}"#,
            "PyPI",
            "six",
            Some("1.0"),
        );
        check(r#"{"package": {"name": "six", "ecosystem": "PyPI"}}"#, "PyPI", "six", None);
        check(r#"{"package": {"purl": "pkg:pypi/six@1.0?a=b#c"}}"#, "PyPI", "six", Some("1.0"));
        check(r#"{"package": {"purl": "pkg:pypi/six"}, "version": "2"}"#, "PyPI", "six", Some("2"));
        check(r#"{"package": {"purl": "pkg:npm/%40a/b@1"}}"#, "npm", "@a/b", Some("1"));
        check(r#"{"package": {"purl": "pkg:maven/org.a/b"}}"#, "Maven", "org.a:b", None);
    }

    #[test]
    fn commits_and_pages_are_understood() {
        assert_eq!(
            read(r#"{"commit": "6879efc2c1596d11a6a6ad296f80063b558d5e0f"}"#),
            Ok(Question { about: About::Commit, from: 0 })
        );
        let next = r#"{"package": {"name": "a", "ecosystem": "PyPI"}, "page_token": "1000"}"#;
        assert_eq!(read(next).map(|read| read.from), Ok(1000));
        let first = r#"{"package": {"name": "a", "ecosystem": "PyPI"}, "page_token": ""}"#;
        assert_eq!(read(first).map(|read| read.from), Ok(0));
    }
}
