//! Files that the hub does not give as one body, put together from chunks as its own clients do.
//!
//! The hub's plain way refuses the largest files. Its chunk server does not: a token for the commit, a reconstruction of the next stretch of
//! the file, a range of a xorb for each of its terms. Larder asks for a stretch at a time, so that neither token nor addresses grow old.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use url::Url;

use crate::cache::lookup::{Assemble, Assembly, Decode, Page, Piece};
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::xet::chunks::Decoder;
use crate::types::Secret;
use crate::upstream::request::{Credentials, Origin, OriginRequest};

/// How much of a file one reconstruction describes.
const STRETCH_BYTES: u64 = 1 << 30;

/// A file on the hub's chunk server.
#[derive(Debug)]
pub struct Native {
    pub reach: Reach,
    /// Below the hub's root: `api/models/org/name/xet-read-token/COMMIT`.
    pub token_path: String,
    pub hash: String,
    pub size: u64,
}

/// What the token's answer says.
#[derive(Deserialize)]
struct Token {
    #[serde(rename = "casUrl")]
    server: String,
    #[serde(rename = "accessToken")]
    token: Secret,
}

/// A reconstruction in either form.
#[derive(Deserialize)]
struct Told {
    #[serde(default, rename = "offset_into_first_range")]
    offset: u64,
    terms: Vec<Term>,
    #[serde(default, rename = "fetch_info")]
    first: HashMap<String, Vec<FirstFetch>>,
    #[serde(default, rename = "xorbs")]
    second: HashMap<String, Vec<SecondFetch>>,
}

#[derive(Deserialize)]
struct Term {
    hash: String,
    unpacked_length: u64,
    range: Bounds,
}

#[derive(Deserialize)]
struct FirstFetch {
    range: Bounds,
    url: String,
    url_range: Bounds,
}

#[derive(Deserialize)]
struct SecondFetch {
    url: String,
    ranges: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    chunks: Bounds,
    bytes: Bounds,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
struct Bounds {
    start: u64,
    end: u64,
}

impl Assemble for Native {
    fn length(&self) -> u64 {
        self.size
    }

    fn next(&self, at: u64, answers: &[Page]) -> Result<Assembly, String> {
        match answers {
            [] => {
                let request = self.reach.get(&self.token_path);
                request.map(ask).ok_or_else(|| "the hub may not be asked".to_owned())
            }
            [token] => self.describe("v2", &read::<Token>(token)?, at),
            [token, second] if is_unknown(second) => {
                self.describe("v1", &read::<Token>(token)?, at)
            }
            [.., told] => self.pieces(&read::<Told>(told)?).map(Assembly::Pieces),
        }
    }
}

impl Native {
    /// Asks the chunk server for the stretch from `at` on.
    fn describe(&self, version: &str, token: &Token, at: u64) -> Result<Assembly, String> {
        let hub = &self.reach.settings.origin;
        let server = token.server.trim_end_matches('/');
        let url = Url::parse(&format!("{server}/{version}/reconstructions/{}", self.hash));
        let url = url.map_err(|error| format!("the chunk server's address: {error}"))?;
        if !hub.allows(&url) {
            return Err(format!("the hub leads to {server}, which is not declared for it"));
        }
        // The token goes to the chunk server alone: it is an origin of its own.
        let base = Url::parse(&format!("{server}/")).map_err(|error| error.to_string())?;
        let credentials = Some(Credentials::Bearer(token.token.clone()));
        let origin = Arc::new(Origin { base, credentials, ..Origin::clone(hub) });
        let mut request = OriginRequest::get(&origin, url);
        let last = (at + STRETCH_BYTES).min(self.size) - 1;
        insert_range(&mut request, at, last);
        Ok(ask(request))
    }

    /// The pieces of a stretch. Terms that follow each other in what one address gives are one piece, so that nothing is fetched twice.
    fn pieces(&self, told: &Told) -> Result<Vec<Piece>, String> {
        let mut skip_bytes = told.offset;
        let mut pieces: Vec<Piece> = Vec::with_capacity(told.terms.len());
        let mut last: Option<(Fetch<'_>, u64)> = None;
        for term in &told.terms {
            let fetch = told
                .fetch(term)
                .ok_or_else(|| format!("the reconstruction does not say where {} is", term.hash))?;
            let left = term.unpacked_length.saturating_sub(skip_bytes);
            if left == 0 || fetch.bytes.end < fetch.bytes.start {
                return Err("the reconstruction has an empty term".to_owned());
            }
            match pieces.last_mut() {
                Some(piece) if last == Some((fetch, term.range.start)) => piece.bytes += left,
                _ => {
                    let request = self.request(&fetch)?;
                    let decoder = Box::new(Decoder::behind(term.range.start - fetch.chunks.start));
                    pieces.push(Piece { request, decoder, skip_bytes, bytes: left });
                }
            }
            last = Some((fetch, term.range.end));
            skip_bytes = 0;
        }
        Ok(pieces)
    }

    fn request(&self, fetch: &Fetch<'_>) -> Result<OriginRequest, String> {
        let hub = &self.reach.settings.origin;
        let url =
            Url::parse(fetch.url).map_err(|error| format!("an address of chunks: {error}"))?;
        if !hub.allows(&url) {
            let host = url.host_str().unwrap_or_default();
            return Err(format!("the chunks are at {host}, which is not declared for the hub"));
        }
        let mut request = OriginRequest::get(hub, url);
        insert_range(&mut request, fetch.bytes.start, fetch.bytes.end);
        Ok(request)
    }
}

/// Chunks that one request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fetch<'a> {
    url: &'a str,
    chunks: Bounds,
    bytes: Bounds,
}

impl Told {
    /// The request that brings the chunks of a term.
    fn fetch(&self, term: &Term) -> Option<Fetch<'_>> {
        let first = self.first.get(&term.hash).into_iter().flatten().map(|fetch| Fetch {
            url: &fetch.url,
            chunks: fetch.range,
            bytes: fetch.url_range,
        });
        let second = self.second.get(&term.hash).into_iter().flatten().flat_map(|fetch| {
            let whole = |range: &Descriptor| (range.chunks, range.bytes);
            let ranges = fetch.ranges.iter().map(whole);
            ranges.map(|(chunks, bytes)| Fetch { url: &fetch.url, chunks, bytes })
        });
        second.chain(first).find(|fetch| {
            fetch.chunks.start <= term.range.start && term.range.end <= fetch.chunks.end
        })
    }
}

impl Decode for Decoder {
    fn push(&mut self, arrived: &[u8]) -> Result<Vec<Bytes>, String> {
        self.decode(arrived)
    }
}

fn ask(mut request: OriginRequest) -> Assembly {
    let identity = HeaderValue::from_static("identity");
    request.headers.insert(header::ACCEPT_ENCODING, identity);
    Assembly::Ask(Box::new(request))
}

fn insert_range(request: &mut OriginRequest, first: u64, last: u64) {
    let range = HeaderValue::try_from(format!("bytes={first}-{last}"));
    request.headers.insert(header::RANGE, range.expect("digits are a field value"));
}

/// Whether the server knows only the first form.
fn is_unknown(answer: &Page) -> bool {
    matches!(answer.head.status, StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED)
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Page) -> Result<T, String> {
    if !answer.head.status.is_success() {
        return Err(format!("the way to the chunks was answered {}", answer.head.status));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the way to the chunks cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::ecosystem::huggingface::config::Config;
    use crate::types::Head;

    fn native() -> Native {
        let config = Config {
            upstream: "http://hub.example".to_owned(),
            hosts: vec!["cas.example".to_owned(), "cdn.example".to_owned()],
            ..Config::default()
        };
        let settings = config.resolve(|_| Ok(Secret::new(""))).expect("right settings");
        Native {
            reach: Reach::public(&Arc::new(settings)),
            token_path: "api/models/o/m/xet-read-token/main".to_owned(),
            hash: "ab".repeat(32),
            size: 3 << 30,
        }
    }

    fn page(status: u16, body: &str) -> Page {
        let status = StatusCode::from_u16(status).expect("a status");
        Page {
            url: Url::parse("http://hub.example/x").expect("an address"),
            head: Head { status, headers: HeaderMap::new() },
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn token(server: &str) -> Page {
        page(200, &format!(r#"{{"casUrl":"{server}","accessToken":"xet","exp":1}}"#))
    }

    fn asked(assembly: Result<Assembly, String>) -> (String, String) {
        match assembly {
            Ok(Assembly::Ask(request)) => {
                let range = request.headers.get(header::RANGE).map(|range| range.to_str());
                (request.url.to_string(), range.and_then(Result::ok).unwrap_or_default().to_owned())
            }
            other => panic!("no question: {other:?}"),
        }
    }

    const TOLD: &str = r#"{"offset_into_first_range":5,"terms":[
        {"hash":"aa","unpacked_length":100,"range":{"start":2,"end":4}},
        {"hash":"aa","unpacked_length":50,"range":{"start":4,"end":5}},
        {"hash":"bb","unpacked_length":7,"range":{"start":0,"end":1}},
        {"hash":"aa","unpacked_length":100,"range":{"start":2,"end":4}}],
        "xorbs":{"aa":[{"url":"http://cdn.example/aa?s=1","ranges":[{"chunks":{"start":0,"end":5},"bytes":{"start":0,"end":99}}]}],
        "bb":[{"url":"http://cdn.example/bb","ranges":[{"chunks":{"start":0,"end":1},"bytes":{"start":9,"end":19}}]}]}}"#;

    #[test]
    fn the_way_leads_over_token_and_reconstruction_to_pieces() {
        let native = native();
        let (url, _) = asked(native.next(0, &[]));
        assert_eq!(url, "http://hub.example/api/models/o/m/xet-read-token/main");
        let token = || token("http://cas.example");
        let hash = &native.hash;
        let (url, range) = asked(native.next(7, &[token()]));
        assert_eq!(url, format!("http://cas.example/v2/reconstructions/{hash}"));
        assert_eq!(range, format!("bytes=7-{}", 6 + (1 << 30)));
        let (url, range) = asked(native.next(native.size - 1, &[token(), page(404, "")]));
        assert_eq!(url, format!("http://cas.example/v1/reconstructions/{hash}"));
        assert_eq!(range, format!("bytes={0}-{0}", native.size - 1));
        let Ok(Assembly::Pieces(pieces)) = native.next(7, &[token(), page(200, TOLD)]) else {
            panic!("no pieces");
        };
        let told: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.request.url.as_str(), piece.skip_bytes, piece.bytes))
            .collect();
        let expected = [
            ("http://cdn.example/aa?s=1", 5, 145),
            ("http://cdn.example/bb", 0, 7),
            ("http://cdn.example/aa?s=1", 0, 100),
        ];
        assert_eq!(told, expected);
        assert_eq!(pieces[1].request.headers[header::RANGE], "bytes=9-19");
        assert!(pieces[0].request.credentials.is_none());
    }

    #[test]
    fn what_leads_elsewhere_or_makes_no_sense_is_refused() {
        let native = native();
        let right = || token("http://cas.example");
        let elsewhere = TOLD.replace("cdn.example", "evil.example");
        let nowhere = TOLD.replace("\"bb\":[", "\"cc\":[");
        for answers in [
            vec![token("http://evil.example")],
            vec![page(401, "{}")],
            vec![page(200, "<html>")],
            vec![right(), page(503, "")],
            vec![right(), page(200, "{}")],
            vec![right(), page(200, &elsewhere)],
            vec![right(), page(200, &nowhere)],
            vec![right(), page(404, ""), page(404, "")],
        ] {
            assert!(native.next(0, &answers).is_err(), "{answers:?}");
        }
    }
}
