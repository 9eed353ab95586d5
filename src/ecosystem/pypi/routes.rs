//! What a path below the mount stands for.

use crate::ecosystem::pypi::links;

/// A path, read.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `simple/`.
    Root,
    /// `simple/NAME/`, decoded but not checked; `slash`: written with its last slash.
    Project {
        name: String,
        slash: Slash,
    },
    /// `files/HOST/PATH`: what follows `files/`, still encoded.
    File {
        rest: &'a str,
    },
    /// `pypi/NAME/json` and `pypi/NAME/VERSION/json`.
    Legacy {
        name: String,
        version: Option<String>,
        slash: Slash,
    },
    /// A path that only lacks its last slash.
    Unfinished {
        location: &'static str,
    },
    Unknown,
}

/// Whether a path ends in a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slash {
    Present,
    Missing,
}

/// Reads a path below the mount, without its leading slash.
pub fn route(path: &str) -> Route<'_> {
    if let Some(rest) = path.strip_prefix(links::FILES) {
        return Route::File { rest };
    }
    let (trimmed, slash) = match path.strip_suffix('/') {
        Some(trimmed) => (trimmed, Slash::Present),
        None => (path, Slash::Missing),
    };
    let segments: Vec<&str> = trimmed.split('/').collect();
    let text = |segment: &str| links::decoded(segment).into_owned();
    match (segments.as_slice(), slash) {
        (["simple"], Slash::Present) => Route::Root,
        (["simple"], Slash::Missing) => Route::Unfinished { location: "simple/" },
        (["simple", name], slash) => Route::Project { name: text(name), slash },
        (["pypi", name, "json"], slash) => Route::Legacy { name: text(name), version: None, slash },
        (["pypi", name, version, "json"], slash) => {
            Route::Legacy { name: text(name), version: Some(text(version)), slash }
        }
        _ => Route::Unknown,
    }
}

/// Whether a path below a name is one of an index, be there an index of that name or not: `/pypi/NAME/json` is none.
pub fn is_below_index(path: &str) -> bool {
    path.is_empty() || route(path) != Route::Unknown
}

/// One way into an index from the server's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// With slashes at both ends. The longest that fits wins.
    pub prefix: String,
    /// What it stands for below the mount: empty, or ending in a slash.
    pub relative: &'static str,
}

/// The name of the index that is also served where clients look for the public one.
pub const DEFAULT: &str = "default";

/// The ways into the index `name`. The default one also answers `/simple/` and, for names that are no index's, `/pypi/NAME/json`.
pub fn entrances(name: &str) -> Vec<Entrance> {
    let own = Entrance { prefix: format!("/pypi/{name}/"), relative: "" };
    if name != DEFAULT {
        return vec![own];
    }
    let entrance = |prefix: &str, relative| Entrance { prefix: prefix.to_owned(), relative };
    vec![own, entrance("/simple/", "simple/"), entrance("/pypi/", "pypi/")]
}

/// The mount's root as an address path, whichever entrance was taken: shared entrances lead to the index's own.
pub fn root_of(prefix: &str, name: &str) -> String {
    match prefix {
        "/simple/" | "/pypi/" => format!("/pypi/{name}/"),
        own => own.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let project = |name: &str, slash| Route::Project { name: name.to_owned(), slash };
        let legacy = |name: &str, version: Option<&str>, slash| Route::Legacy {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            slash,
        };
        for (path, expected) in [
            ("", Route::Unknown),
            ("simple", Route::Unfinished { location: "simple/" }),
            ("simple/", Route::Root),
            ("simple//", project("", Slash::Present)),
            ("simple/six/", project("six", Slash::Present)),
            ("simple/Foo%2EBar", project("Foo.Bar", Slash::Missing)),
            ("simple/six/json", Route::Unknown),
            ("six/json", Route::Unknown),
            ("files/h.example/six-1.zip", Route::File { rest: "h.example/six-1.zip" }),
            ("pypi/six/json", legacy("six", None, Slash::Missing)),
            ("pypi/six/1.0/json/", legacy("six", Some("1.0"), Slash::Present)),
            ("pypi/six/1.0/extra/json", Route::Unknown),
            ("legacy/", Route::Unknown),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn the_default_index_has_the_usual_addresses_too() {
        let prefixes = |name| {
            entrances(name).into_iter().map(|one| (one.prefix, one.relative)).collect::<Vec<_>>()
        };
        assert_eq!(prefixes("main"), [("/pypi/main/".to_owned(), "")]);
        assert_eq!(prefixes("default").len(), 3);
        assert_eq!(root_of("/simple/", "default"), "/pypi/default/");
        assert_eq!(root_of("/", "main"), "/");
    }
}
