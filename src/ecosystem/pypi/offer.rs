//! What one answer of an upstream says: a project page as parsed, before it is merged into what is known.

use url::Url;

use crate::ecosystem::pypi::page::{Attributes, Extra, Hashes, Status};
use crate::ecosystem::pypi::{links, parse_html, parse_json};

/// A page as upstream gives it now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// As upstream spells it; HTML pages do not reliably name their project.
    pub name: Option<String>,
    pub api_minor: u32,
    pub serial: Option<Box<str>>,
    pub versions: Vec<Box<str>>,
    pub status: Option<Status>,
    pub extra: Vec<Extra>,
    pub files: Vec<Offered>,
}

/// One file on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    pub filename: Box<str>,
    /// Absolute, without fragment.
    pub url: Box<str>,
    pub hashes: Hashes,
    pub size: Option<u64>,
    pub upload_time: Option<Box<str>>,
    pub attributes: Attributes,
}

/// Reads a page by its first character, whatever type it was sent under: static mirrors serve JSON as `application/json` or `text/plain`.
/// `url` is the final address, which relative links are resolved against.
pub fn read(body: &[u8], url: &Url) -> Result<Offer, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the page is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.bytes().next() {
        Some(b'{') => parse_json::page(text, url),
        Some(b'<') => parse_html::page(text, url),
        Some(_) => Err("the page is neither JSON nor HTML".to_owned()),
        None => Err("the page is empty".to_owned()),
    }
}

/// Reads `1.4` and answers 4. Another major version must not be interpreted (PEP 629).
pub fn api_minor(version: &str) -> Result<u32, String> {
    let text = version.trim();
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (major.parse::<u32>(), minor.parse::<u32>()) {
        (Ok(1), Ok(minor)) => Ok(minor),
        (Ok(_), Ok(_)) => Err(format!(
            "upstream speaks version {version} of the index API; this server reads version 1"
        )),
        _ => Err(format!("upstream names {version:?} as its API version")),
    }
}

/// The absolute form of a file's address and the digest that its fragment names; `None` for what is no http address of a file.
pub fn resolve(base: &Url, href: &str) -> Option<(Url, Option<(String, String)>)> {
    let mut url = base.join(href.trim()).ok()?;
    if !matches!(url.scheme(), "http" | "https") || links::last_segment(url.path()).is_empty() {
        return None;
    }
    let digest = url.fragment().and_then(|fragment| {
        let (name, value) = fragment.split('&').find_map(|part| part.split_once('='))?;
        let hexadecimal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| (name.to_owned(), value.to_owned()))
    });
    url.set_fragment(None);
    // Credentials in a link would be a page's way to make us send some: the address must stand without them.
    let plain = url.username().is_empty() && url.password().is_none();
    plain.then_some((url, digest))
}

/// Whether a file may be listed under this name: one path segment, nothing that could break out of a header or a line.
pub fn is_filename(name: &str) -> bool {
    let hostile = |c: char| c.is_control() || matches!(c, '/' | '\\' | '"');
    !name.is_empty() && name.len() <= 1024 && name != "." && name != ".." && !name.contains(hostile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_page_is_refused() {
        let url = Url::parse("https://index.example/simple/six/").expect("an address");
        for body in [
            &b""[..],
            b"  \n",
            b"Not found",
            b"\xff\xfe<\0",
            b"{",
            b"[]",
            b"{\"message\": \"sign in\"}",
        ] {
            assert!(read(body, &url).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn other_major_versions_are_refused() {
        for (version, minor) in [
            ("1.0", Some(0)),
            ("1.9", Some(9)),
            ("1", Some(0)),
            ("2.0", None),
            ("0.1", None),
            ("one", None),
        ] {
            assert_eq!(api_minor(version).ok(), minor, "{version}");
        }
    }

    #[test]
    fn links_are_resolved_and_hostile_ones_left_out() {
        let base = Url::parse("https://index.example/simple/six/").expect("an address");
        let check = |href: &str, expected: Option<&str>| {
            let found = resolve(&base, href).map(|(url, _)| url.to_string());
            assert_eq!(found.as_deref(), expected, "{href}");
        };
        check(
            "../../packages/six-1.tar.gz#sha256=00",
            Some("https://index.example/packages/six-1.tar.gz"),
        );
        check("/p/six-1.tar.gz", Some("https://index.example/p/six-1.tar.gz"));
        check("//files.example/six%2B1.zip", Some("https://files.example/six%2B1.zip"));
        check("https://u:p@files.example/six-1.zip", None);
        check("javascript:alert(1)", None);
        check("file:///etc/passwd", None);
        check("../", None);
    }
}
