//! Reconstructions: which chunks of which xorbs make up a file, and where to fetch them. Made from the file's digest and size alone.
//!
//! Both forms that clients ask for are here: `/v2` names each xorb's address once, `/v1` (which clients fall back to) names it per range.

use std::collections::BTreeMap;
use std::ops::Range;

use http::HeaderMap;
use serde::Serialize;

use crate::ecosystem::huggingface::xet::layout::{Layout, Run, xorb_name};
use crate::semantics::range::{self, Selection};
use crate::types::Digest;

/// Which form of the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// A file to be described.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub digest: &'a Digest,
    pub size: u64,
}

/// The part of a file of `size` bytes that a request is about. `None` when it begins past the end, which is how clients find it.
pub fn wanted(headers: &HeaderMap, size: u64) -> Option<Range<u64>> {
    match range::select(range::parse(headers).as_deref(), size) {
        Selection::Whole | Selection::Several(_) => Some(0..size),
        Selection::Single(part) => Some(part),
        Selection::Unsatisfiable => None,
    }
}

/// The answer, as JSON. `address` gives the address of the xorb with an index.
pub fn json(
    version: Version,
    file: File<'_>,
    range: Range<u64>,
    address: impl Fn(u64) -> String,
) -> Vec<u8> {
    let runs: Vec<Run> = Layout { size: file.size }.runs(range.clone()).collect();
    let offset = runs.first().map_or(0, |run| range.start - run.content.start);
    let named = runs.iter().map(|run| (xorb_name(file.digest, run.xorb), run));
    let terms = named.clone().map(|(hash, run)| Term {
        hash,
        unpacked_length: run.content.end - run.content.start,
        range: Bounds::half_open(&run.chunks),
    });
    let terms: Vec<Term> = terms.collect();
    let written = match version {
        Version::V1 => {
            let fetch = named.map(|(hash, run)| {
                let range = Bounds::half_open(&run.chunks);
                let url_range = Bounds::inclusive(&run.bytes);
                (hash, [Fetch { range, url: address(run.xorb), url_range }])
            });
            serde_json::to_vec(&Reconstruction1 {
                offset_into_first_range: offset,
                terms,
                fetch_info: fetch.collect(),
            })
        }
        Version::V2 => {
            let xorbs = named.map(|(hash, run)| {
                let chunks = Bounds::half_open(&run.chunks);
                let ranges = [Descriptor { chunks, bytes: Bounds::inclusive(&run.bytes) }];
                (hash, [Xorb { url: address(run.xorb), ranges }])
            });
            serde_json::to_vec(&Reconstruction2 {
                offset_into_first_range: offset,
                terms,
                xorbs: xorbs.collect(),
            })
        }
    };
    written.expect("numbers and text have a form in JSON")
}

#[derive(Serialize)]
struct Reconstruction1 {
    offset_into_first_range: u64,
    terms: Vec<Term>,
    fetch_info: BTreeMap<String, [Fetch; 1]>,
}

#[derive(Serialize)]
struct Reconstruction2 {
    offset_into_first_range: u64,
    terms: Vec<Term>,
    xorbs: BTreeMap<String, [Xorb; 1]>,
}

/// A run of chunks, in the order of the file.
#[derive(Serialize)]
struct Term {
    hash: String,
    unpacked_length: u64,
    range: Bounds,
}

#[derive(Serialize)]
struct Fetch {
    range: Bounds,
    url: String,
    url_range: Bounds,
}

#[derive(Serialize)]
struct Xorb {
    url: String,
    ranges: [Descriptor; 1],
}

#[derive(Serialize)]
struct Descriptor {
    chunks: Bounds,
    bytes: Bounds,
}

/// Chunks are counted half-open, bytes with the last one included.
#[derive(Serialize)]
struct Bounds {
    start: u64,
    end: u64,
}

impl Bounds {
    const fn half_open(range: &Range<u64>) -> Self {
        Self { start: range.start, end: range.end }
    }

    const fn inclusive(range: &Range<u64>) -> Self {
        Self { start: range.start, end: range.end - 1 }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};
    use serde_json::{Value, json};

    use super::*;
    use crate::types::Algorithm;

    fn written(version: Version, size: u64, range: Range<u64>) -> Value {
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("32 bytes");
        let file = File { digest: &digest, size };
        let bytes = json(version, file, range, |index| format!("http://larder.example/{index}"));
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn both_forms_tell_the_same() {
        let digest = Digest::new(Algorithm::Sha256, &[7; 32]).expect("32 bytes");
        let name = xorb_name(&digest, 0);
        let terms =
            json!([{"hash": name, "unpacked_length": 34_465, "range": {"start": 1, "end": 2}}]);
        let second = written(Version::V2, 100_001, 65_540..100_000);
        assert_eq!(second["offset_into_first_range"], 4);
        assert_eq!(second["terms"], terms);
        let ranges =
            json!([{"chunks": {"start": 1, "end": 2}, "bytes": {"start": 65_544, "end": 100_016}}]);
        let xorb = json!([{"url": "http://larder.example/0", "ranges": ranges}]);
        assert_eq!(second["xorbs"], json!({ name.clone(): xorb }));
        let first = written(Version::V1, 100_001, 65_540..100_000);
        assert_eq!(first["terms"], terms);
        let fetch = json!([{
            "range": {"start": 1, "end": 2},
            "url": "http://larder.example/0",
            "url_range": {"start": 65_544, "end": 100_016},
        }]);
        assert_eq!(first["fetch_info"], json!({ name: fetch }));
    }

    #[test]
    fn an_empty_file_needs_nothing() {
        let empty = written(Version::V2, 0, 0..0);
        assert_eq!(empty, json!({"offset_into_first_range": 0, "terms": [], "xorbs": {}}));
    }

    #[test]
    fn ranges_are_clamped_and_end_past_the_end() {
        let check = |value: Option<&'static str>, expected: Option<Range<u64>>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::RANGE, HeaderValue::from_static(value));
            }
            assert_eq!(wanted(&headers, 100), expected, "{value:?}");
        };
        check(None, Some(0..100));
        check(Some("bytes=10-19"), Some(10..20));
        check(Some("bytes=10-268435455"), Some(10..100));
        check(Some("bytes=100-200"), None);
        check(Some("bytes=1-2,5-6"), Some(0..100));
        check(Some("nonsense"), Some(0..100));
    }
}
