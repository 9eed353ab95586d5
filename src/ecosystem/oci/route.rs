//! What an address stands for. Pure reading: which registry and repository are meant is settled by [`super::place`].

use percent_encoding::percent_decode_str;

/// A path below the mount, read. Names are decoded and not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `v2/`: clients ask whether this is a registry at all.
    Ping,
    /// `v2/_catalog`.
    Catalog,
    /// `v2/NAME/KIND/REFERENCE`.
    Of {
        name: String,
        what: What,
    },
    /// `token`: a client's credentials for a capability.
    Token,
    /// `show/IMAGE`: what is kept of it.
    Show(String),
    Unknown,
}

/// What of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Manifest(String),
    Blob(String),
    Tags,
    Referrers(String),
}

/// The registry that an address names before everything else: `at/REGISTRY/v2/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    pub registry: Option<String>,
    pub route: Route,
}

/// What the mount's own paths begin with where an entrance belongs to one registry.
pub const AT: &str = "at/";

/// Reads a path below the mount, without its leading slash.
pub fn read(path: &str) -> Addressed {
    let (registry, path) = match path.strip_prefix(AT).and_then(|rest| rest.split_once('/')) {
        Some((registry, rest)) => (Some(decoded(registry)), rest),
        None => (None, path),
    };
    Addressed { registry, route: route(path) }
}

fn route(path: &str) -> Route {
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(image) = path.strip_prefix("show/") {
        return Route::Show(decoded(image));
    }
    let mut segments: Vec<String> = path.split('/').map(decoded).collect();
    match segments.first().map(String::as_str) {
        Some("token") if segments.len() == 1 => return Route::Token,
        Some("v2") => segments.remove(0),
        _ => return Route::Unknown,
    };
    match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Route::Ping,
        ["_catalog"] => Route::Catalog,
        [name @ .., "manifests", reference] => of(name, What::Manifest((*reference).to_owned())),
        [name @ .., "blobs", digest] => of(name, What::Blob((*digest).to_owned())),
        [name @ .., "referrers", digest] => of(name, What::Referrers((*digest).to_owned())),
        [name @ .., "tags", "list"] => of(name, What::Tags),
        _ => Route::Unknown,
    }
}

fn of(name: &[&str], what: What) -> Route {
    match name {
        [] => Route::Unknown,
        name => Route::Of { name: name.join("/"), what },
    }
}

/// The values of a query's parameters of one name, decoded as forms are.
pub fn parameters<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The first value of a query's parameter.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    parameters(query, name).next()
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        let of = |name: &str, what| Route::Of { name: name.to_owned(), what };
        for (path, expected) in [
            ("v2", Route::Ping),
            ("v2/", Route::Ping),
            ("v2/_catalog", Route::Catalog),
            ("v2/a/manifests/1", of("a", What::Manifest("1".to_owned()))),
            ("v2/a/b/manifests/sha256%3Aff", of("a/b", What::Manifest("sha256:ff".to_owned()))),
            ("v2/manifests/manifests/x", of("manifests", What::Manifest("x".to_owned()))),
            ("v2/a/blobs/x", of("a", What::Blob("x".to_owned()))),
            ("v2/a/tags/list", of("a", What::Tags)),
            ("v2/a/tags/tags/list", of("a/tags", What::Tags)),
            ("v2/a/referrers/x", of("a", What::Referrers("x".to_owned()))),
            ("v2/a/blobs/uploads/", of("a", What::Blob("uploads".to_owned()))),
            ("v2/manifests/x", Route::Unknown),
            ("v2/a", Route::Unknown),
            ("v1/search", Route::Unknown),
            ("token", Route::Token),
            ("show/a/b%3A1", Route::Show("a/b:1".to_owned())),
        ] {
            assert_eq!(read(path), Addressed { registry: None, route: expected }, "{path}");
        }
        let at = read("at/hub.example/v2/a/tags/list");
        assert_eq!(at.registry.as_deref(), Some("hub.example"));
        assert_eq!(at.route, of("a", What::Tags));
    }

    #[test]
    fn parameters_are_read_as_forms_are() {
        let query = Some("ns=a%2Fb&scope=x&scope=y+z&n");
        assert_eq!(parameter(query, "ns").as_deref(), Some("a/b"));
        assert_eq!(parameters(query, "scope").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(parameter(query, "n").as_deref(), Some(""));
        assert_eq!(parameter(query, "last"), None);
        assert_eq!(parameter(None, "ns"), None);
    }
}
