//! Addresses of files below the mount: `files/HOST/PATH`, the upstream address behind a reversible prefix.
//!
//! The path stays as upstream writes it, so that clients read name and version from the last segment, append `.metadata` to it,
//! and can map a canonical address to ours by prefix. `HOST` is the plain host name for https on the usual port; `~PORT` is
//! appended for another port and `~http~` put before it for plain http, which no host name can contain. A segment `+NAME` after it names the project
//! where the file's name does not.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::ecosystem::pypi::name;

/// The first segment of every file address below the mount.
pub const FILES: &str = "files/";

const PLAIN_HTTP: &str = "~http~";

/// Characters of a host that need no escaping; brackets and colons of IPv6 addresses do.
const HOST: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A file address, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The upstream address, query included.
    pub url: Url,
    /// The project, where the address names it.
    pub project: Option<String>,
}

impl Address {
    /// Reads what follows [`FILES`]; `None` when it is no address.
    pub fn parse(rest: &str, query: Option<&str>) -> Option<Self> {
        let (host, mut path) = rest.split_once('/')?;
        let host = percent_decode_str(host).decode_utf8().ok()?;
        let (scheme, host) = match host.strip_prefix(PLAIN_HTTP) {
            Some(host) => ("http", host),
            None => ("https", host.as_ref()),
        };
        let authority = match host.rsplit_once('~') {
            Some((host, port)) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if authority.contains(['/', '@', '?', '#', '\\']) {
            return None;
        }
        let mut project = None;
        if let Some((marker, after)) = path.split_once('/')
            && let Some(name) = percent_decode_str(marker).decode_utf8().ok()?.strip_prefix('+')
            && name::is_valid(name)
        {
            project = Some(name::normalised(name).into_owned());
            path = after;
        }
        let mut url = Url::parse(&format!("{scheme}://{authority}/{path}")).ok()?;
        url.set_query(query);
        (!last_segment(url.path()).is_empty()).then_some(Self { url, project })
    }

    /// The last path segment, decoded.
    pub fn filename(&self) -> Cow<'_, str> {
        decoded(last_segment(self.url.path()))
    }
}

/// What follows [`FILES`] for the file at `url` (absolute, in the form that [`Url`] writes). `None` for an address without a path.
pub fn path_of(url: &str, project: &str) -> Option<String> {
    path_with(url, project, false)
}

/// Like [`path_of`], for what has no distribution file's name: the project is always named.
pub fn named_path_of(url: &str, project: &str) -> Option<String> {
    path_with(url, project, true)
}

fn path_with(url: &str, project: &str, always_named: bool) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let mut text = String::with_capacity(url.len() + 8);
    if scheme == "http" {
        text.push_str(PLAIN_HTTP);
    }
    text.extend(utf8_percent_encode(host, HOST));
    if let Some(port) = port {
        text.push('~');
        text.push_str(port);
    }
    text.push('/');
    if always_named || path.starts_with('+') || !names(path, project) {
        text.push('+');
        text.push_str(project);
        text.push('/');
    }
    text.push_str(path);
    Some(text)
}

/// Whether the last segment of a path tells the project.
fn names(path: &str, project: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    name::is_of(project, &decoded(last_segment(path)))
}

/// The identity of an upstream address in cache keys: what [`path_of`] writes, without marker.
pub fn key_of(url: &str) -> String {
    url.split_once("://").map_or_else(
        || url.to_owned(),
        |(scheme, rest)| match scheme {
            "http" => format!("{PLAIN_HTTP}{rest}"),
            _ => rest.to_owned(),
        },
    )
}

/// What follows [`FILES`] for the file, or for the metadata beside it, that has this identity in cache keys. `None`: its name does not tell its project.
pub fn path_of_key(key: &str, is_metadata: bool) -> Option<String> {
    let url = match key.strip_prefix(PLAIN_HTTP) {
        Some(rest) => format!("http://{rest}"),
        None => format!("https://{key}"),
    };
    let (path, query) =
        url.split_once('?').map_or((&*url, None), |(path, query)| (path, Some(query)));
    let project = name::splits(&decoded(last_segment(path))).into_iter().next()?.project;
    let mut text = path_of(path, &project)?;
    if is_metadata {
        text.push_str(".metadata");
    }
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    Some(text)
}

/// Whether two addresses differ at most in which characters are percent-encoded: pip re-encodes what it read.
pub fn same_place(one: &str, other: &str) -> bool {
    one == other || percent_decode_str(one).eq(percent_decode_str(other))
}

/// The last segment of an encoded path, still encoded.
pub fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Percent-decoded text; what is not UTF-8 stays encoded.
pub fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for rest in
            ["", "host", "host/", "a%40b/x.whl", "a%2fb/x.whl", "ho st/x", "host~port/x", "/x"]
        {
            assert_eq!(Address::parse(rest, None), None, "{rest}");
        }
    }

    #[test]
    fn addresses_go_both_ways() {
        let check = |url: &str, path: &str, project: Option<&str>| {
            assert_eq!(path_of(url, "six").as_deref(), Some(path), "{url}");
            let (rest, query) = path.split_once('?').map_or((path, None), |(a, b)| (a, Some(b)));
            let address = Address::parse(rest, query).expect("an address");
            assert_eq!((address.url.as_str(), address.project.as_deref()), (url, project));
        };
        check(
            "https://files.example/packages/aa/six-1.0.tar.gz",
            "files.example/packages/aa/six-1.0.tar.gz",
            None,
        );
        check(
            "https://files.example:8443/six-1.0.tar.gz",
            "files.example~8443/six-1.0.tar.gz",
            None,
        );
        check(
            "http://127.0.0.1:80/six-1.zip".replace(":80", "").as_str(),
            "~http~127.0.0.1/six-1.zip",
            None,
        );
        check("http://127.0.0.1:8081/six-1.zip", "~http~127.0.0.1~8081/six-1.zip", None);
        check(
            "https://[2001:db8::1]:8443/six-1.zip",
            "%5B2001%3Adb8%3A%3A1%5D~8443/six-1.zip",
            None,
        );
        check(
            "https://f.example/six-1.0%2Bcu118-py3-none-any.whl",
            "f.example/six-1.0%2Bcu118-py3-none-any.whl",
            None,
        );
        check(
            "https://f.example/six-1.0.tar.gz?sig=a%2Fb",
            "f.example/six-1.0.tar.gz?sig=a%2Fb",
            None,
        );
        check("https://f.example/d/odd.bin", "f.example/+six/d/odd.bin", Some("six"));
        check(
            "https://f.example/+f/six-1.0.tar.gz",
            "f.example/+six/+f/six-1.0.tar.gz",
            Some("six"),
        );
    }

    #[test]
    fn encoding_does_not_matter_for_what_an_address_means() {
        assert!(same_place("https://f.example/a%2Bb.whl", "https://f.example/a+b.whl"));
        assert!(!same_place("https://f.example/a%2Bb.whl", "https://f.example/a-b.whl"));
    }
}
