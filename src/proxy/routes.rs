//! Which mount answers: by host, then by the longest path prefix.

use std::fmt;
use std::sync::Arc;

use crate::ecosystem::Ecosystem;

/// Where Larder's own pages are. A mount that needs an address that no origin can have takes one here by a route of its own.
const OWN_PREFIX: &str = "/-/";

/// One way into a mount.
#[derive(Debug, Clone)]
pub struct Route {
    pub host: HostMatch,
    /// With slashes at both ends.
    pub prefix: String,
    /// What the prefix stands for below the mount: empty, or ending in a slash.
    pub relative: String,
    pub mount: Arc<dyn Ecosystem>,
}

/// Which hosts a route is for. Ordered from the most specific.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMatch {
    /// This host, lower case, without port.
    Named(String),
    /// Any host whose first label is this one: clients that are given one address derive others from it in this way
    /// (`datasets-server.` before the hub's host).
    Label(String),
    Any,
}

/// A place where every mount of one kind is, each below its own name: an address there that names none is nobody else's, whatever shorter route fits.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// What one of its mounts is called: `Python index`.
    pub kind: &'static str,
    /// With slashes at both ends.
    pub prefix: &'static str,
    /// Whether a path below a name that no mount has is meant for one of this kind.
    pub claims: fn(&str) -> bool,
}

/// All routes, the most specific first.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
    families: Vec<Family>,
}

/// A route that fits, and the path below its mount.
#[derive(Debug)]
pub struct Match<'a> {
    pub route: &'a Route,
    pub path: String,
}

impl Match<'_> {
    /// Whether the path is the mount's own, and none of Larder's pages: a host of its own has a root of its own.
    pub fn has_claimed(&self, path: &str) -> bool {
        let has_own_root = path == "/" && self.route.host != HostMatch::Any;
        has_own_root || self.route.prefix.starts_with(OWN_PREFIX)
    }
}

/// Why no mount answers, in words for who asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Vacant {
    #[error("Nothing is served at this address; /-/ says what is.")]
    Nothing,
    #[error("There is no {kind} {name:?} here; {}.", known(.others))]
    Unknown { kind: &'static str, name: String, others: Vec<String> },
    #[error("The name is missing: a {kind} is at {prefix}NAME/; {}.", known(.others))]
    Unnamed { kind: &'static str, prefix: &'static str, others: Vec<String> },
}

/// Two routes that cannot be told apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} both claim {address}")]
pub struct RouteConflict {
    pub address: String,
    pub first: String,
    pub second: String,
}

impl Route {
    /// A path prefix that stands for `relative` below the mount.
    pub fn below(prefix: String, relative: &str, mount: &Arc<dyn Ecosystem>) -> Self {
        Self {
            host: HostMatch::Any,
            prefix,
            relative: relative.to_owned(),
            mount: Arc::clone(mount),
        }
    }

    /// A host of its own, with the mount's paths at the root.
    pub fn at_root_of(host: &str, mount: &Arc<dyn Ecosystem>) -> Self {
        Self {
            host: HostMatch::Named(host.to_ascii_lowercase()),
            prefix: "/".to_owned(),
            relative: String::new(),
            mount: Arc::clone(mount),
        }
    }

    /// Every host with this first label, with `relative` of the mount's paths at the root.
    pub fn at_label(label: &str, relative: &str, mount: &Arc<dyn Ecosystem>) -> Self {
        Self {
            host: HostMatch::Label(label.to_ascii_lowercase()),
            prefix: "/".to_owned(),
            relative: relative.to_owned(),
            mount: Arc::clone(mount),
        }
    }
}

impl HostMatch {
    /// `host` is in lower case, without port.
    fn fits(&self, host: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Named(name) => host == Some(name),
            Self::Label(label) => host
                .and_then(|host| host.strip_prefix(label.as_str()))
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Label(label) => write!(f, "{label}.*"),
            Self::Any => Ok(()),
        }
    }
}

impl Routes {
    /// Every mount once, in the order of their names.
    pub fn mounts(&self) -> Vec<Arc<dyn Ecosystem>> {
        let mut mounts: Vec<Arc<dyn Ecosystem>> =
            self.routes.iter().map(|route| Arc::clone(&route.mount)).collect();
        mounts.sort_by(|one, other| one.id().cmp(other.id()));
        mounts.dedup_by(|one, other| one.id() == other.id());
        mounts
    }

    /// Sorts the routes; fails when two claim the same host and prefix.
    pub fn new(mut routes: Vec<Route>) -> Result<Self, RouteConflict> {
        routes.sort_by(|a, b| {
            (&a.host, b.prefix.len(), &a.prefix).cmp(&(&b.host, a.prefix.len(), &b.prefix))
        });
        for pair in routes.windows(2) {
            if pair[0].host == pair[1].host && pair[0].prefix == pair[1].prefix {
                return Err(RouteConflict {
                    address: format!("{}{}", pair[0].host, pair[0].prefix),
                    first: pair[0].mount.id().to_owned(),
                    second: pair[1].mount.id().to_owned(),
                });
            }
        }
        Ok(Self { routes, families: Vec::new() })
    }

    /// The same where these places are for mounts of their kinds alone.
    #[must_use]
    pub fn with_families(self, families: &[Family]) -> Self {
        Self { families: families.to_vec(), ..self }
    }

    /// Finds the mount of a request. `host` is without port; a prefix also fits without its last slash.
    pub fn find(&self, host: Option<&str>, path: &str) -> Result<Match<'_>, Vacant> {
        let host = host.map(str::to_ascii_lowercase);
        let found = self.routes.iter().find_map(|route| {
            if !route.host.fits(host.as_deref()) {
                return None;
            }
            let rest = match path.strip_prefix(route.prefix.as_str()) {
                Some(rest) => rest,
                None if path == route.prefix.trim_end_matches('/') => {
                    let path = route.relative.trim_end_matches('/').to_owned();
                    return Some(Match { route, path });
                }
                None => return None,
            };
            Some(Match { route, path: format!("{}{rest}", route.relative) })
        });
        let unknown = match &found {
            Some(Match { route, .. }) if route.host != HostMatch::Any => None,
            Some(Match { route, .. }) => self.unknown(path, route.prefix.len()),
            None => self.unknown(path, 0),
        };
        match unknown {
            Some(unknown) => Err(unknown),
            None => found.ok_or(Vacant::Nothing),
        }
    }

    /// What to say of a path that names a mount which there is not, or none where one must be named. `found` is the length of the prefix that fits it.
    fn unknown(&self, path: &str, found: usize) -> Option<Vacant> {
        self.families.iter().filter(|family| found <= family.prefix.len()).find_map(|family| {
            let Family { kind, prefix, claims } = *family;
            let is_bare = path == prefix.trim_end_matches('/');
            let below = if is_bare { "" } else { path.strip_prefix(prefix)? };
            let (name, rest) = below.split_once('/').unwrap_or((below, ""));
            claims(rest).then(|| match name {
                "" => Vacant::Unnamed { kind, prefix, others: self.names(family) },
                name => Vacant::Unknown { kind, name: name.to_owned(), others: self.names(family) },
            })
        })
    }

    /// The names of a family's mounts.
    fn names(&self, family: &Family) -> Vec<String> {
        let everywhere = self.routes.iter().filter(|route| route.host == HostMatch::Any);
        let names = everywhere.filter_map(|route| route.prefix.strip_prefix(family.prefix));
        let names = names.map(|name| name.trim_end_matches('/')).filter(|name| !name.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }
}

fn known(names: &[String]) -> String {
    match names {
        [] => "there is none at all".to_owned(),
        [one] => format!("there is {one:?}"),
        several => {
            let quoted: Vec<String> = several.iter().map(|name| format!("{name:?}")).collect();
            format!("there are {}", quoted.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::failure::Failure;
    use crate::ecosystem::{Ask, Reply, Step};

    #[derive(Debug)]
    struct Named(&'static str);

    impl Ecosystem for Named {
        fn id(&self) -> &str {
            self.0
        }

        fn plan(&self, _: &Ask) -> Step {
            unreachable!("routes are found without planning")
        }

        fn explain(&self, _: &Ask, _: &Failure) -> Reply {
            unreachable!("routes are found without failing")
        }
    }

    fn route(host: Option<&str>, prefix: &str, relative: &str, id: &'static str) -> Route {
        Route {
            host: host.map_or(HostMatch::Any, |host| match host.strip_suffix(".*") {
                Some(label) => HostMatch::Label(label.to_owned()),
                None => HostMatch::Named(host.to_owned()),
            }),
            prefix: prefix.to_owned(),
            relative: relative.to_owned(),
            mount: Arc::new(Named(id)),
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = Routes::new(vec![
            route(None, "/", "", "root"),
            route(None, "/a/", "x/", "a"),
            route(None, "/a/b/", "", "b"),
            route(Some("h.test"), "/", "", "host"),
            route(Some("h.*"), "/", "y/", "label"),
        ])
        .expect("no conflict");
        let check = |host, path, expected: (&str, &str)| {
            let found = routes.find(host, path).expect("a route");
            assert_eq!((found.route.mount.id(), found.path.as_str()), expected, "{host:?} {path}");
        };
        check(None, "/a/b/c", ("b", "c"));
        check(None, "/a/c/", ("a", "x/c/"));
        check(None, "/a", ("a", "x"));
        check(None, "/ab", ("root", "ab"));
        check(Some("H.test"), "/a/b", ("host", "a/b"));
        check(Some("other"), "/a/b/", ("b", ""));
        check(Some("h.other"), "/a/b", ("label", "y/a/b"));
        check(Some("hh.other"), "/a/b", ("b", ""));
    }

    /// A mistyped name was taken for something of the mount at the root, which was asked for it.
    #[test]
    fn a_name_that_no_mount_has_is_told_with_those_there_are() {
        let family = |kind, prefix, claims| Family { kind, prefix, claims };
        let routes = Routes::new(vec![
            route(None, "/", "", "root"),
            route(Some("h.test"), "/", "", "host"),
            route(None, "/a/", "a/", "one"),
            route(None, "/a/one/", "", "one"),
            route(None, "/a/two/", "", "two"),
        ])
        .expect("no conflict")
        .with_families(&[
            family("index", "/a/", |rest| rest.starts_with("simple/")),
            family("place", "/b/", |_| true),
        ]);
        let check = |host, path, expected: Result<(&str, &str), &str>| {
            let found = routes.find(host, path);
            let found = found.as_ref().map(|found| (found.route.mount.id(), found.path.as_str()));
            let found = found.map_err(ToString::to_string);
            assert_eq!(found, expected.map_err(str::to_owned), "{host:?} {path}");
        };
        let unknown = "There is no index \"three\" here; there are \"one\", \"two\".";
        check(None, "/a/three/simple/six/", Err(unknown));
        check(None, "/a/two/simple/six/", Ok(("two", "simple/six/")));
        check(None, "/a/three/json", Ok(("one", "a/three/json")));
        check(None, "/b/c", Err("There is no place \"c\" here; there is none at all."));
        check(Some("h.test"), "/b/c", Ok(("host", "b/c")));
        for bare in ["/b", "/b/"] {
            let unnamed = "The name is missing: a place is at /b/NAME/; there is none at all.";
            check(None, bare, Err(unnamed));
            check(Some("h.test"), bare, Ok(("host", &bare[1..])));
        }
    }

    #[test]
    fn two_mounts_on_one_address_are_a_conflict() {
        let conflict =
            Routes::new(vec![route(None, "/a/", "", "one"), route(None, "/a/", "", "two")]);
        assert!(conflict.is_err_and(|error| error.address == "/a/"));
    }
}
