//! What a bundle says: the lines of its parts, its beginning and its end, as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::bundle::key::PublicKey;
use crate::store::{Entry, INLINE_LIMIT_BYTES, Stored};
use crate::types::{BlobId, CacheKey, Digest, Head, Presence, Timestamp};

/// The form that this program writes.
pub const FORMAT: u32 = 1;

/// The first member.
pub const BEGIN: &str = "bundle.json";
/// The last one.
pub const END: &str = "end.json";
/// What the name of a signature ends with, behind the name of what it is of.
pub const SIGNATURE: &str = ".sig";
/// What the name of a body begins with; its SHA-256 follows.
pub const BLOBS: &str = "blobs/sha256/";

/// The name of a part, counted from 1.
pub fn part_name(number: u64) -> String {
    format!("parts/{number:08}.jsonl")
}

/// `bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub format: u32,
    /// Another one for every bundle.
    pub id: String,
    pub created: Timestamp,
    /// The version of Larder that wrote it.
    pub larder: String,
    /// Whose signatures these are.
    #[serde(with = "as_text")]
    pub key: PublicKey,
    /// What it was made for, in words; empty: everything.
    pub what: Vec<String>,
}

/// `end.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub parts: u64,
    pub entries: u64,
    pub blobs: u64,
    pub bytes: u64,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    key: String,
    status: u16,
    /// Names and values; a value's bytes as the first 256 characters.
    headers: Vec<(String, String)>,
    body: Body,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    first_kept: Timestamp,
    validated: Timestamp,
    /// `None`: it cannot change.
    fresh_until: Option<Timestamp>,
    presence: Presence,
    digests: Vec<String>,
    /// Base64.
    note: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    None,
    /// Base64.
    Inline(String),
    Blob {
        sha256: String,
        bytes: u64,
    },
}

impl Record {
    /// The line of an entry.
    pub fn new(key: &CacheKey, entry: &Entry) -> Self {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().iter().copied().map(char::from).collect())
        };
        Self {
            key: key.as_str().to_owned(),
            status: entry.head.status.as_u16(),
            headers: entry.head.headers.iter().map(header).collect(),
            body: match &entry.body {
                Stored::None => Body::None,
                Stored::Inline(bytes) => Body::Inline(STANDARD.encode(bytes)),
                Stored::Blob { id, size } => Body::Blob { sha256: id.to_hex(), bytes: *size },
            },
            origin: entry.origin.as_deref().map(str::to_owned),
            first_kept: entry.first_kept,
            validated: entry.validated,
            fresh_until: (entry.fresh_until != Timestamp::NEVER).then_some(entry.fresh_until),
            presence: entry.presence,
            digests: entry.digests.iter().map(Digest::to_string).collect(),
            note: STANDARD.encode(&entry.note),
        }
    }

    /// What it says, checked. A small body is held to its digests here. `Err`: what is wrong with it.
    pub fn read(self) -> Result<(CacheKey, Entry), String> {
        let name = self.key.replace('\u{1f}', " ");
        let wrong = |what: &str| format!("the entry {name:?} has {what}");
        let key = CacheKey::from_encoded(&self.key).ok_or_else(|| wrong("a key that is none"))?;
        let mut head =
            Head::new(StatusCode::from_u16(self.status).map_err(|_| wrong("no status"))?);
        for (field, value) in self.headers {
            let bytes: Option<Vec<u8>> =
                value.chars().map(|letter| u8::try_from(letter).ok()).collect();
            let field: Option<HeaderName> = field.parse().ok();
            let value = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
            let (field, value) = field.zip(value).ok_or_else(|| wrong("a header that is none"))?;
            head.headers.append(field, value);
        }
        let decode = |text: &str| {
            STANDARD.decode(text).map(Bytes::from).map_err(|_| wrong("bytes that are none"))
        };
        let digests: Result<Vec<Digest>, _> =
            self.digests.iter().map(|digest| digest.parse()).collect();
        let digests = digests.map_err(|_| wrong("a digest that is none"))?;
        let body = match &self.body {
            Body::None => Stored::None,
            Body::Inline(text) => {
                let bytes = decode(text)?;
                if bytes.len() > INLINE_LIMIT_BYTES {
                    return Err(wrong("a body in its line that is too large for that"));
                }
                let is_right =
                    |digest: &Digest| super::import::digest_of(*digest, &[&bytes]) == *digest;
                if !digests.iter().all(is_right) {
                    return Err(wrong("a body that is not what its digests say"));
                }
                Stored::Inline(bytes)
            }
            Body::Blob { sha256, bytes } => {
                let mut id = [0; 32];
                hex::decode_to_slice(sha256, &mut id)
                    .map_err(|_| wrong("a blob without a name"))?;
                Stored::Blob { id: BlobId(id), size: *bytes }
            }
        };
        let entry = Entry {
            head,
            body,
            origin: self.origin.map(String::into_boxed_str),
            first_kept: self.first_kept,
            validated: self.validated,
            fresh_until: self.fresh_until.unwrap_or(Timestamp::NEVER),
            presence: self.presence,
            digests,
            note: decode(&self.note)?,
        };
        Ok((key, entry))
    }
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::PublicKey;

    pub(super) fn serialize<S: Serializer>(
        key: &PublicKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PublicKey, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use crate::types::Audience;

    #[test]
    fn entries_are_read_back() {
        let key = CacheKey::new("pypi/default", &Audience::Public, "page/six").variant("x");
        let mut odd = conformance::entry();
        odd.head
            .headers
            .append("x-odd", HeaderValue::from_bytes(b"caf\xe9").expect("a field value"));
        odd.head.headers.append("x-odd", HeaderValue::from_static("twice"));
        odd.presence = Presence::Gone { status: 404, since: Timestamp(9) };
        odd.digests.clear();
        let inline = Entry { body: Stored::Inline(Bytes::from_static(b"\0body")), ..odd.clone() };
        let blob = Entry {
            digests: vec![BlobId([1; 32]).digest()],
            ..conformance::entry_of(BlobId([7; 32]), 9)
        };
        for entry in [odd, inline, blob] {
            let line =
                serde_json::to_string(&Record::new(&key, &entry)).expect("it has a form in JSON");
            let read: Record = serde_json::from_str(&line).expect("it was just written");
            assert_eq!(read.read(), Ok((key.clone(), entry)), "{line}");
        }
    }

    #[test]
    fn a_small_body_is_held_to_its_digests() {
        let key = CacheKey::new("a", &Audience::Public, "x");
        let body = Bytes::from_static(b"body");
        let digests = vec![BlobId::of(b"other").digest()];
        let entry = Entry { body: Stored::Inline(body), digests, ..conformance::entry() };
        let fault = Record::new(&key, &entry).read().expect_err("it is another body");
        assert!(fault.contains("\"a p x\" has a body that is not what its digests say"), "{fault}");
    }
}
