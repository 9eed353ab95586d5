//! The list of a repository's tags: all of upstream's pages as one document, cut into pages of the client's size.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use url::Url;

use crate::cache::lookup::{Document, Fresh, Keep, Kept, Page, Parsed};
use crate::ecosystem::listed::Listed;
use crate::ecosystem::oci::admit::AdmitDocument;
use crate::ecosystem::oci::name::Tag;
use crate::ecosystem::oci::registry::Registry;
use crate::ecosystem::oci::route;
use crate::ecosystem::oci::scope::Scope;
use crate::types::Timestamp;

/// The largest list, all pages together.
const LIMIT_BYTES: u64 = 64 << 20;

/// Tags asked for at once.
const PAGE: u32 = 1000;

/// Tags in one answer to a client that names no number; as many as that come in one page from registries, too.
const MOST_AT_ONCE: usize = 10_000;

/// Begins the kept form: a number of tags that no list has, in the form that lists had before they were remembered.
const REMEMBERED: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 1];

/// All tags, and those that there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub Listed<String>);

/// Which part of a list a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub most: usize,
    pub after: Option<String>,
}

#[derive(Debug)]
struct KeepTags(Arc<Registry>);

#[derive(Deserialize)]
struct Json {
    tags: Option<Vec<String>>,
}

/// The tags of a repository, for a reader.
pub fn document(scope: &Scope) -> Document {
    let mut request = scope.request(Method::GET, "tags/list");
    request.url.query_pairs_mut().append_pair("n", &PAGE.to_string());
    let admit = AdmitDocument::of(scope, scope.registry.tag_ttl);
    let keep = Arc::new(KeepTags(Arc::clone(&scope.registry)));
    let document = scope.document(&scope.name("tags"), vec![request], admit, keep);
    Document { limit_bytes: LIMIT_BYTES, ..document }
}

impl Part {
    /// Reads `n` and `last`. A number that is none counts as not given, as registries have it.
    pub fn of(query: Option<&str>) -> Self {
        let most = route::parameter(query, "n").and_then(|text| text.parse().ok());
        let after = route::parameter(query, "last").filter(|text| !text.is_empty());
        Self { most: most.unwrap_or(MOST_AT_ONCE).min(MOST_AT_ONCE), after }
    }

    /// The part of a sorted list, and whether more follows.
    pub fn select<'a>(&self, all: &'a [String]) -> (&'a [String], bool) {
        let start = match &self.after {
            Some(after) => all.partition_point(|one| one <= after),
            None => 0,
        };
        let end = start.saturating_add(self.most).min(all.len());
        (&all[start..end], end < all.len() && self.most > 0)
    }
}

/// Where the next page of an answer is: `Link: <...>; rel="next"`, on the registry's own host.
pub fn next_page(registry: &Registry, page: &Page) -> Option<Url> {
    let next = page.url.join(next_link(&page.head.headers)?).ok()?;
    (registry.origin.owns(&next) && next != page.url).then_some(next)
}

fn next_link(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        });
        is_next.then_some(target)
    })
}

impl Tags {
    /// Those at an instant, or now; in order.
    pub fn sorted(&self, at: Option<Timestamp>) -> Vec<String> {
        let mut all: Vec<String> = match at {
            Some(at) => self.0.at(at).cloned().collect(),
            None => self.0.now().cloned().collect(),
        };
        all.sort_unstable();
        all
    }

    fn read(kept: &[u8]) -> Result<Self, postcard::Error> {
        match kept.strip_prefix(REMEMBERED) {
            Some(rest) => postcard::from_bytes(rest).map(Self),
            None => postcard::from_bytes(kept).map(|all| Self(Listed::undated(all))),
        }
    }

    fn to_bytes(&self) -> Result<Bytes, postcard::Error> {
        postcard::to_extend(&self.0, REMEMBERED.to_vec()).map(Bytes::from)
    }
}

impl Keep for KeepTags {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Tags::read(kept).map(Parsed::new).map_err(|error| error.to_string())
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let mut all = tags(fresh.body)?;
        for page in fresh.rest {
            all.extend(tags(&page.body)?);
        }
        all.retain(|tag| Tag::parse(tag).is_some());
        all.sort_unstable();
        all.dedup();
        let previous = previous.and_then(|parsed| parsed.get::<Tags>()).map(|Tags(all)| all);
        let tags = Tags(Listed::succeed(previous, all, fresh.now, self.0.history));
        let bytes = tags.to_bytes().map_err(|error| error.to_string())?;
        Ok(Kept::alone(bytes, Parsed::new(tags)))
    }

    fn next_page(&self, page: &Page) -> Option<Url> {
        next_page(&self.0, page)
    }
}

/// The tags of one page. Registries write `null` where there are none.
fn tags(body: &Bytes) -> Result<Vec<String>, String> {
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| format!("upstream's list of tags cannot be read: {error}"))?;
    Ok(json.tags.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other() {
        let all: Vec<String> = ["1", "2", "a", "b"].map(str::to_owned).to_vec();
        let check = |query: &str, expected: &[&str], more: bool| {
            let part = Part::of(Some(query));
            assert_eq!(
                part.select(&all),
                (&expected.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..], more),
                "{query}"
            );
        };
        check("", &["1", "2", "a", "b"], false);
        check("n=2", &["1", "2"], true);
        check("n=2&last=2", &["a", "b"], false);
        check("n=2&last=15", &["2", "a"], true);
        check("n=0", &[], false);
        check("last=z", &[], false);
        check("n=99999999999999999999", &["1", "2", "a", "b"], false);
        check("n=-1", &["1", "2", "a", "b"], false);
    }

    #[test]
    fn the_next_page_is_read_from_links() {
        let check = |links: &[&'static str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for link in links {
                headers.append(header::LINK, http::HeaderValue::from_static(link));
            }
            assert_eq!(next_link(&headers), expected, "{links:?}");
        };
        check(&["</v2/a/tags/list?n=2&last=b>; rel=\"next\""], Some("/v2/a/tags/list?n=2&last=b"));
        check(&["<x>; rel=prev, <y>; Rel=next"], Some("y"));
        check(&["<x>; rel=prev", "<y>; rel=next"], Some("y"));
        check(&["<x>"], None);
        check(&["x; rel=next"], None);
        check(&[], None);
    }

    #[test]
    fn lists_of_both_forms_are_read() {
        let all = vec!["b".to_owned(), "a".to_owned()];
        let former = postcard::to_stdvec(&all).expect("texts");
        let read = Tags::read(&former).expect("the former form");
        assert_eq!(read, Tags(Listed::undated(all.clone())));
        let seen = Tags(Listed::succeed(Some(&read.0), all, Timestamp(7), 10));
        let kept = seen.to_bytes().expect("texts");
        assert_eq!(Tags::read(&kept), Ok(seen.clone()));
        assert_eq!(seen.sorted(Some(Timestamp(7))), ["a", "b"]);
    }

    #[test]
    fn lists_are_sorted_and_cleaned() {
        assert_eq!(tags(&Bytes::from_static(b"{\"tags\":null}")), Ok(Vec::new()));
        assert!(tags(&Bytes::from_static(b"<html>")).is_err());
    }
}
