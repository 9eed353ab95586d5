//! What clients of Xet do: a read token, the reconstruction of a file block by block, the ranges that hold its chunks.

use http::Method;
use serde_json::Value;

use super::{Outcome, Session, Wanted, succeeded, text};

impl Session {
    pub(super) async fn whole_of_xet(
        &self,
        wanted: &Wanted,
        sha: &str,
        hash: &str,
        size: u64,
    ) -> Outcome<Vec<u8>> {
        let (plural, id) = (wanted.kind.plural(), &wanted.id);
        let path = format!("/api/{plural}/{id}/xet-read-token/{sha}");
        let (told, headers) = self.json(&path).await?;
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let missing = || format!("{path}: Xet headers have not been correctly set by the server");
        let (cas, token) = (
            field("x-xet-cas-url").ok_or_else(missing)?,
            field("x-xet-access-token").ok_or_else(missing)?,
        );
        field("x-xet-token-expiration")
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(missing)?;
        if (told["casUrl"].as_str(), told["accessToken"].as_str()) != (Some(cas), Some(token)) {
            return Err(format!("{path}: body and head differ"));
        }
        told["exp"].as_u64().ok_or_else(missing)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < size {
            let before = bytes.len();
            self.block(cas, token, hash, &mut bytes).await?;
            if bytes.len() == before {
                return Err(format!("{hash}: no bytes behind {before}"));
            }
        }
        if bytes.len() as u64 != size {
            return Err(format!("{hash}: {} bytes instead of {size}", bytes.len()));
        }
        Ok(bytes)
    }

    /// The next block of a file: its reconstruction, then each term of it.
    async fn block(&self, cas: &str, token: &str, hash: &str, bytes: &mut Vec<u8>) -> Outcome<()> {
        const BLOCK: usize = 1 << 20;
        let start = bytes.len();
        let range = format!("bytes={start}-{}", start + BLOCK - 1);
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str()), ("range", range.as_str())];
        let url = |version: &str| format!("{cas}/{version}/reconstructions/{hash}");
        let mut reply = self.ask(Method::GET, &url("v2"), &fields, "").await?;
        if matches!(reply.status.as_u16(), 404 | 501) {
            reply = self.ask(Method::GET, &url("v1"), &fields, "").await?;
        }
        succeeded(&reply, &url("v2"))?;
        let told = reply.json();
        let skipped = told["offset_into_first_range"].as_u64().ok_or("no offset")? as usize;
        let mut plain = Vec::new();
        for term in told["terms"].as_array().ok_or("no terms")? {
            let part = self.term(&told, term).await?;
            plain.extend_from_slice(&part);
        }
        let plain = plain.get(skipped..).ok_or("an offset beyond the first range")?;
        bytes.extend_from_slice(&plain[..plain.len().min(BLOCK)]);
        Ok(())
    }

    /// One term: chunks of a xorb in a row, by a range of its signed address, without credentials.
    async fn term(&self, told: &Value, term: &Value) -> Outcome<Vec<u8>> {
        let xorb = text(&term["hash"], "hash")?;
        let (first, end) = (&term["range"]["start"], &term["range"]["end"]);
        let holds = |chunks: &Value| {
            chunks["start"].as_u64() <= first.as_u64() && chunks["end"].as_u64() >= end.as_u64()
        };
        let second = told["xorbs"][xorb].as_array().into_iter().flatten().flat_map(|fetch| {
            let ranges = fetch["ranges"].as_array().cloned().unwrap_or_default();
            ranges.into_iter().map(|range| {
                (fetch["url"].clone(), range["chunks"].clone(), range["bytes"].clone())
            })
        });
        let first_version = told["fetch_info"][xorb].as_array().into_iter().flatten();
        let first_version = first_version.map(|fetch| {
            (fetch["url"].clone(), fetch["range"].clone(), fetch["url_range"].clone())
        });
        let (url, chunks, place) = second
            .chain(first_version)
            .find(|(_, chunks, _)| holds(chunks))
            .ok_or_else(|| format!("{xorb}: not to be fetched"))?;
        let url = text(&url, "url")?;
        let range = format!("bytes={}-{}", place["start"], place["end"]);
        let reply = self.ask(Method::GET, url, &[("range", &range)], "").await?;
        if reply.status != 206 {
            return Err(format!("{url} {range}: {}", reply.status));
        }
        let skipped = first.as_u64().unwrap_or(0) - chunks["start"].as_u64().unwrap_or(0);
        let count = end.as_u64().unwrap_or(0) - first.as_u64().unwrap_or(0);
        let plain = unframed(&reply.body)?;
        let plain: Vec<u8> =
            plain.into_iter().skip(skipped as usize).take(count as usize).flatten().collect();
        if Some(plain.len() as u64) != term["unpacked_length"].as_u64() {
            return Err(format!("{xorb}: {} bytes in {term}", plain.len()));
        }
        Ok(plain)
    }
}

/// Chunks of a xorb, each without its header. They are refused where the real client refuses them.
fn unframed(mut framed: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    const LARGEST: usize = 128 << 10;
    let mut chunks = Vec::new();
    while !framed.is_empty() {
        let [0, a, b, c, 0, d, e, f, rest @ ..] = framed else {
            return Err("a chunk's header is not one".to_owned());
        };
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        if [a, b, c] != [d, e, f] || length > LARGEST || length > rest.len() || length == 0 {
            return Err(format!("a chunk of {length} bytes"));
        }
        let (chunk, rest) = rest.split_at(length);
        chunks.push(chunk.to_vec());
        framed = rest;
    }
    Ok(chunks)
}
