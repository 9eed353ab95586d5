//! Which registry and repository an address means. Three ways of saying it are in use at once, and no client can be told to use another.
//!
//! `?ns=` names the registry beside the path (containerd and what is built on it). A first segment that is a declared registry names it in the path
//! (podman, skopeo, crane, helm). A bare path means the default registry (the mirror setting of classic engines). Only declared registries are
//! ever meant: this is no open proxy.

use std::sync::Arc;

use crate::ecosystem::oci::config::Settings;
use crate::ecosystem::oci::name::Repository;
use crate::ecosystem::oci::registry::{Reader, Registry};
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::past::AT;

/// A repository, found.
#[derive(Debug, Clone)]
pub struct Place {
    pub registry: Arc<Registry>,
    pub repository: Repository,
    /// The name as the client wrote it: what its token's scope and its links must say.
    pub written: String,
    /// The registry's name as the client gave it beside the path; to be echoed.
    pub namespace: Option<String>,
}

impl Place {
    /// The repository as `reader` may read it.
    pub fn scope(&self, reader: &Reader) -> Scope {
        Scope {
            registry: Arc::clone(&self.registry),
            repository: self.repository.clone(),
            reader: reader.clone(),
        }
    }
}

/// Why an address means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    #[error(
        "the registry {0:?} is not declared here; whoever runs this server can add it to `oci.registries`"
    )]
    Undeclared(String),
    #[error(
        "{0:?} is no name of a repository: lower-case letters and digits, parted by dots, dashes, underscores and slashes, 255 \
         characters at most"
    )]
    BadName(String),
}

/// How an address says which registry is meant, beside its path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'a> {
    /// The entrance belongs to this registry.
    pub entrance: Option<&'a str>,
    /// `ns=`.
    pub namespace: Option<&'a str>,
}

/// The instant of the past that a name begins with, as it is written, and what follows: `at-2026-03-01/library/alpine`, `at-prod/hub.example/library/alpine`. The grammar
/// of names has no better sign for it. A date is told by its looks; before any other name, a declared registry must follow, since there may be
/// repositories of such names.
pub fn instant_in<'a>(settings: &Settings, written: &'a str) -> Option<(&'a str, &'a str)> {
    let (instant, rest) = written.strip_prefix(AT)?.split_once('/')?;
    let first = rest.split_once('/').map_or(rest, |(first, _)| first);
    let is_date = instant.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    (is_date || settings.registry(first).is_some()).then_some((instant, rest))
}

/// Finds what `written` means.
pub fn find(settings: &Settings, written: &str, hints: Hints<'_>) -> Result<Place, Misplaced> {
    let named = instant_in(settings, written).map_or(written, |(_, rest)| rest);
    Ok(Place { written: written.to_owned(), ..of_today(settings, named, hints)? })
}

fn of_today(settings: &Settings, written: &str, hints: Hints<'_>) -> Result<Place, Misplaced> {
    let (first, rest) = written.split_once('/').unwrap_or((written, ""));
    let by_namespace = hints.namespace.and_then(|name| settings.registry(name));
    let by_entrance = hints.entrance.and_then(|name| settings.registry(name));
    let named = by_namespace.or(by_entrance);
    let (registry, name) = match (named, settings.registry(first)) {
        // A client that was given the registry's name in a mirror's path and puts it into the image's name as well means it once.
        (Some(named), Some(first)) if Arc::ptr_eq(named, first) && !rest.is_empty() => {
            (named, rest)
        }
        (Some(named), _) => (named, written),
        (None, Some(first)) if !rest.is_empty() => (first, rest),
        (None, _) => match hints.namespace.or_else(|| undeclared_host(written)) {
            Some(undeclared) => return Err(Misplaced::Undeclared(shortened(undeclared))),
            None => (&settings.default, written),
        },
    };
    let full = match &registry.namespace {
        Some(namespace) if !name.contains('/') => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    };
    let repository =
        Repository::parse(&full).ok_or_else(|| Misplaced::BadName(shortened(written)))?;
    Ok(Place {
        registry: Arc::clone(registry),
        repository,
        written: written.to_owned(),
        namespace: by_namespace.and(hints.namespace).map(str::to_owned),
    })
}

/// A first segment that can only be a host: names of such a kind are never looked for in the default registry, so that no private name gets there.
fn undeclared_host(written: &str) -> Option<&str> {
    let (first, _) = written.split_once('/')?;
    let is_host = first.contains(['.', ':']) || first == "localhost";
    is_host.then_some(first)
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::oci::config::Config;
    use crate::types::Secret;

    fn settings() -> Settings {
        let text = "default = \"hub.example\"\n[registries.\"hub.example\"]\nupstream = \"https://registry.hub.example\"\n\
             namespace = \"library\"\naliases = [\"index.hub.example\"]\n[registries.\"other.example\"]\nupstream = \"https://other.example\"\n";
        let config: Config = toml::from_str(text).expect("settings");
        let resolved = config.resolve(|_| Ok(Secret::new("s")));
        resolved.expect("good settings").expect("registries")
    }

    #[test]
    fn all_three_ways_lead_to_the_same_place() {
        let settings = settings();
        let check = |written: &str, hints: Hints<'_>, expected: Result<&str, &str>| {
            let found = find(&settings, written, hints)
                .map(|place| format!("{} {}", place.registry.name, place.repository));
            let found = found.as_ref().map(String::as_str).map_err(ToString::to_string);
            match (found, expected) {
                (Err(fault), Err(part)) => assert!(fault.contains(part), "{written}: {fault}"),
                (found, expected) => {
                    assert_eq!(found, expected.map_err(str::to_owned), "{written}");
                }
            }
        };
        let none = Hints::default();
        let ns = |name| Hints { namespace: Some(name), entrance: None };
        let at = |name| Hints { namespace: None, entrance: Some(name) };
        check("alpine", none, Ok("hub.example library/alpine"));
        check("org/tool", none, Ok("hub.example org/tool"));
        check("hub.example/alpine", none, Ok("hub.example library/alpine"));
        check("index.hub.example/a/b", none, Ok("hub.example a/b"));
        check("other.example/alpine", none, Ok("other.example alpine"));
        check("library/alpine", ns("hub.example"), Ok("hub.example library/alpine"));
        check("org/tool", ns("other.example"), Ok("other.example org/tool"));
        check("other.example/org/tool", ns("other.example"), Ok("other.example org/tool"));
        check("other.example/tool", ns("cache.corp"), Ok("other.example tool"));
        check("org/tool", at("other.example"), Ok("other.example org/tool"));
        check("tool", ns("evil.example"), Err("not declared"));
        check("evil.example/tool", none, Err("not declared"));
        check("localhost/tool", none, Err("not declared"));
        check("at-2026-03-01/alpine", none, Ok("hub.example library/alpine"));
        check("at-2026-03-01/other.example/a/b", none, Ok("other.example a/b"));
        check("at-20260301t120000z/org/tool", none, Ok("hub.example org/tool"));
        check("at-prod/other.example/alpine", none, Ok("other.example alpine"));
        check("at-prod/org/tool", none, Ok("hub.example at-prod/org/tool"));
        check("at-2026-03-01/library/alpine", ns("hub.example"), Ok("hub.example library/alpine"));
        check("at-2026-03-01", none, Ok("hub.example library/at-2026-03-01"));
        check("at-2026-03-01/evil.example/tool", none, Err("not declared"));
        check("Alpine", none, Err("no name of a repository"));
        check("other.example/Org/x", none, Err("no name of a repository"));
        check("a//b", none, Err("no name of a repository"));
        check("other.example/", none, Err("not declared"));
    }

    #[test]
    fn only_a_namespace_that_counts_is_echoed() {
        let settings = settings();
        let echoed = |ns| {
            let hints = Hints { namespace: Some(ns), entrance: None };
            find(&settings, "other.example/tool", hints).expect("a place").namespace
        };
        assert_eq!(echoed("other.example").as_deref(), Some("other.example"));
        assert_eq!(echoed("cache.corp"), None);
    }
}
