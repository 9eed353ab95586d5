//! Xet's service: reconstructions of files from ranges of xorbs, and the xorbs themselves, framed as on the wire.
//!
//! Hashes are made up, as no client checks them. The layout is deliberately not the one that Larder makes up for its own clients: chunks of 48 KiB, 500 to a xorb,
//! seven to a term, and in compressed xorbs each third chunk as it is, as an LZ4 frame, and as one of regrouped bytes.

use std::io::Write as _;
use std::ops::Range;

use http::header;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::repository::{File, Storage};
use super::{Asked, cdn, read};
use crate::support::origin::Answer;

const CHUNK: u64 = 48 << 10;
const HEADER: u64 = 8;
const CHUNKS_OF_XORB: u64 = 500;
const CHUNKS_OF_TERM: u64 = 7;
/// Plain bytes of a full xorb.
const XORB: u64 = CHUNK * CHUNKS_OF_XORB;

/// The token for one repository at one commit: who holds it may have what is in that commit.
pub fn token(asked: &Asked<'_>, plural: &str, id: &str, sha: &str) -> (String, u64) {
    let expires = asked.shelf.now() + asked.switches().link_seconds;
    (format!("xet_{}_{expires}", seal(plural, id, sha, expires)), expires)
}

fn seal(plural: &str, id: &str, sha: &str, expires: u64) -> String {
    hex::encode(&Sha256::digest(format!("secret of Xet {plural} {id} {sha} {expires}"))[..16])
}

/// The file of that Xet hash that the token opens.
fn opened<'a>(asked: &Asked<'a>, hash: &str) -> Result<&'a File, u16> {
    let token = asked.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let sealed =
        token.and_then(|token| token.strip_prefix("xet_")?.split_once('_')).ok_or(401_u16)?;
    let expires: u64 = sealed.1.parse().map_err(|_| 401_u16)?;
    if expires <= asked.shelf.now() {
        return Err(401);
    }
    for repository in asked.state.repositories.values() {
        let plural = repository.kind.plural();
        let commit = repository
            .commits
            .iter()
            .find(|commit| seal(plural, &repository.id, &commit.sha, expires) == sealed.0);
        let Some(commit) = commit else { continue };
        let file =
            commit.files.values().find(|file| file.xet == hash && file.storage == Storage::Xet);
        return file.map(AsRef::as_ref).ok_or(404);
    }
    Err(401)
}

pub fn answer(asked: &Asked<'_>) -> Answer {
    let (version, hash) = match asked.segments.as_slice() {
        [version @ ("v1" | "v2"), "reconstructions", hash] => (*version, *hash),
        ["v1", "telemetry"] => return Answer::new(200),
        _ => return Answer::new(404),
    };
    if version == "v2" && asked.switches().first_xet_only {
        return Answer::new(404);
    }
    let file = match opened(asked, hash) {
        Ok(file) => file,
        Err(status) => return Answer::new(status),
    };
    let Some((first, end)) = window(asked, file.size) else { return Answer::new(416) };
    let terms = terms(asked, file, first, end);
    Answer::ok("application/json", reconstruction(asked, &terms, version, first).to_string())
}

/// The bytes that are asked for; `None` beyond the end.
fn window(asked: &Asked<'_>, size: u64) -> Option<(u64, u64)> {
    let Some(range) = asked.header(header::RANGE) else { return Some((0, size)) };
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = last.parse::<u64>().map_or(size, |last| (last + 1).min(size));
    (first < end).then_some((first, end))
}

/// Chunks of one xorb, in a row.
struct Term {
    xorb: String,
    first: u64,
    end: u64,
    plain: u64,
    /// Offsets in the xorb as it is sent, the last one included.
    bytes: (u64, u64),
}

/// Terms of the chunks that hold these bytes: several of one xorb, as in a file that shares parts with others.
fn terms(asked: &Asked<'_>, file: &File, first: u64, end: u64) -> Vec<Term> {
    let mut terms = Vec::new();
    let (mut chunk, last) = (first / CHUNK, end.div_ceil(CHUNK));
    while chunk < last {
        let number = chunk / CHUNKS_OF_XORB;
        let until = last.min((number + 1) * CHUNKS_OF_XORB).min(chunk + CHUNKS_OF_TERM);
        let plain = (until * CHUNK).min(file.size) - chunk * CHUNK;
        let (from, to) = (chunk % CHUNKS_OF_XORB, until - number * CHUNKS_OF_XORB);
        terms.push(Term {
            xorb: xorb_hash(file, number),
            first: from,
            end: to,
            plain,
            bytes: place(asked, file, number, from, to),
        });
        chunk = until;
    }
    terms
}

/// Where chunks of a xorb are in it as it is sent. Computed unless they are compressed, so that a vast file takes no longer than any other.
fn place(asked: &Asked<'_>, file: &File, number: u64, from: u64, to: u64) -> (u64, u64) {
    if asked.switches().compressed_xorbs {
        let sent = |until: u64| sent_chunks(asked, file, number, 0..until).len() as u64;
        return (sent(from), sent(to) - 1);
    }
    let start = from * (CHUNK + HEADER);
    let plain = (number * XORB + to * CHUNK).min(file.size) - number * XORB - from * CHUNK;
    (start, start + plain + (to - from) * HEADER - 1)
}

fn xorb_hash(file: &File, number: u64) -> String {
    hex::encode(Sha256::digest(format!("xorb {} {number}", file.xet)))
}

fn reconstruction(asked: &Asked<'_>, terms: &[Term], version: &str, first: u64) -> Value {
    let rows: Vec<Value> = terms
        .iter()
        .map(|term| {
            json!({
                "hash": term.xorb, "unpacked_length": term.plain,
                "range": { "start": term.first, "end": term.end },
            })
        })
        .collect();
    let mut fetches = serde_json::Map::new();
    for term in terms {
        let path = format!("/xorbs/default/{}", term.xorb);
        let url = format!("{}{}", asked.shelf.hosts().cdn, cdn::signed(asked, &path));
        let (chunks, bytes) = (
            json!({ "start": term.first, "end": term.end }),
            json!({ "start": term.bytes.0, "end": term.bytes.1 }),
        );
        let fetch = match version {
            "v1" => json!({ "range": chunks, "url": url, "url_range": bytes }),
            _ => json!({ "url": url, "ranges": [{ "chunks": chunks, "bytes": bytes }] }),
        };
        let list = fetches.entry(term.xorb.clone()).or_insert_with(|| json!([]));
        list.as_array_mut().expect("it was made as one").push(fetch);
    }
    let name = if version == "v1" { "fetch_info" } else { "xorbs" };
    json!({ "offset_into_first_range": first % CHUNK, "terms": rows, name: fetches })
}

/// A range of a xorb, without which none is given.
pub fn xorb(asked: &Asked<'_>, hash: &str) -> Answer {
    let numbered =
        |file: &File| (0..file.size.div_ceil(XORB)).find(|number| xorb_hash(file, *number) == hash);
    let Some(file) = cdn::find(asked, |file| numbered(file).is_some()) else {
        return Answer::new(404);
    };
    let number = numbered(file).unwrap_or_default();
    let chunks = (file.size - number * XORB).min(XORB).div_ceil(CHUNK);
    let sent = sent_chunks(asked, file, number, 0..chunks);
    Answer::ok("application/octet-stream", sent).ranged(asked.headers)
}

/// Chunks of a xorb as they are sent: version 0, three bytes of length as sent, the scheme, three bytes of plain length, the bytes.
fn sent_chunks(asked: &Asked<'_>, file: &File, number: u64, chunks: Range<u64>) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in chunks {
        let offset = number * XORB + chunk * CHUNK;
        let length = CHUNK.min(file.size - offset) as usize;
        let plain = read(&file.content, offset, length);
        let scheme = if asked.switches().compressed_xorbs { chunk % 3 } else { 0 };
        let packed = match scheme {
            0 => plain.to_vec(),
            1 => lz4(&plain),
            _ => lz4(&regrouped(&plain)),
        };
        sent.push(0);
        sent.extend_from_slice(&(packed.len() as u32).to_le_bytes()[..3]);
        sent.push(scheme as u8);
        sent.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        sent.extend_from_slice(&packed);
    }
    sent
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("memory can be written");
    encoder.finish().expect("the frame can be closed")
}

/// Every fourth byte together, which is how numbers of four bytes compress well.
fn regrouped(plain: &[u8]) -> Vec<u8> {
    (0..4).flat_map(|first| plain.iter().skip(first).step_by(4).copied()).collect()
}
