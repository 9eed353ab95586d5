//! Tags: the only thing here that moves. A tag is a digest, when that was learnt, and which digests it was before.
//!
//! Registries are asked by `HEAD`, which none of them counts as a pull. Where that gives no digest, or is not offered, a `GET` follows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::cache::lookup::{Admission, Admit, Answer, Document, Follow, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::oci::admit::admission;
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::manifest::{self, digest_of, media_type};
use crate::ecosystem::oci::name::{self, Tag};
use crate::ecosystem::oci::naming::SCHEME;
use crate::ecosystem::oci::registry::Registry;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::past::{Dated, Unknown, last_up_to};
use crate::types::event::Kind;
use crate::types::{BlobId, Digest, Head, Timestamp, What};

/// Which manifest an answer is about.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What a tag stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub digest: Digest,
    /// What the registry said of the manifest, where it did.
    pub media_type: Option<String>,
    pub size: Option<u64>,
    /// What it stood for before, latest last, and since when.
    pub history: Vec<Move>,
    /// There were earlier moves, which were dropped.
    pub is_cut: bool,
}

/// Since when a tag stood for a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub digest: Digest,
    pub seen: Timestamp,
}

impl Dated for Move {
    fn from(&self) -> Timestamp {
        self.seen
    }
}

impl Pointer {
    /// What it stood for at an instant.
    pub fn as_of(&self, at: Timestamp) -> Result<Move, Unknown> {
        last_up_to(&self.history, self.is_cut, at).copied()
    }

    /// What it stood for before it stood for `digest` last.
    pub fn before(&self, digest: &Digest) -> Option<Digest> {
        let last = self.history.iter().rposition(|one| one.digest == *digest)?;
        let former = self.history[..last].last()?;
        Some(former.digest)
    }

    fn to_bytes(&self) -> Result<Bytes, String> {
        let row = Row {
            digest: self.digest.to_string(),
            media_type: self.media_type.clone(),
            size: self.size,
            history: self.history.iter().map(|one| (one.digest.to_string(), one.seen)).collect(),
            is_cut: self.is_cut,
        };
        postcard::to_stdvec(&row).map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Reads the kept form.
    pub fn read(kept: &Bytes) -> Result<Self, String> {
        let row = Row::read(kept).map_err(|error| error.to_string())?;
        let digest = |text: &str| name::digest(text).map_err(|error| error.to_string());
        let moves =
            row.history.iter().map(|(text, seen)| Ok(Move { digest: digest(text)?, seen: *seen }));
        Ok(Self {
            digest: digest(&row.digest)?,
            media_type: row.media_type,
            size: row.size,
            history: moves.collect::<Result<_, String>>()?,
            is_cut: row.is_cut,
        })
    }
}

/// The form on disk. Digests are texts there.
#[derive(Serialize, Deserialize)]
struct Row {
    digest: String,
    media_type: Option<String>,
    size: Option<u64>,
    history: Vec<(String, Timestamp)>,
    is_cut: bool,
}

/// The form before it told whether moves were dropped: it ends where that begins.
#[derive(Serialize, Deserialize)]
struct FormerRow {
    digest: String,
    media_type: Option<String>,
    size: Option<u64>,
    history: Vec<(String, Timestamp)>,
}

/// How many moves the former form kept.
const FORMER_MOVES: usize = 100;

impl Row {
    fn read(kept: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(kept).or_else(|_| {
            let FormerRow { digest, media_type, size, history } = postcard::from_bytes(kept)?;
            let is_cut = history.len() >= FORMER_MOVES;
            Ok(Self { digest, media_type, size, history, is_cut })
        })
    }
}

/// Keeps one tag.
#[derive(Debug)]
pub struct KeepTag {
    scope: Scope,
    /// What events are about; none are told of tags that only belong to others.
    subject: Option<String>,
    /// What to fetch of the image that it stands for.
    wish: Wish,
    methods: Methods,
}

#[derive(Debug)]
struct AdmitTag {
    registry: Arc<Registry>,
    fresh_for: Duration,
    methods: Methods,
}

/// How a tag is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Methods {
    HeadThenGet,
    /// For what is mostly not there.
    Head,
    Get,
}

impl Methods {
    fn is_head(self, origin: usize) -> bool {
        self != Self::Get && origin == 0
    }
}

/// A tag, for a reader.
pub fn document(scope: &Scope, tag: &Tag, wish: Wish) -> Document {
    asked(scope, tag, Methods::HeadThenGet, wish)
}

/// A tag that is looked for with an image, and is mostly not there.
pub fn companion(scope: &Scope, tag: &Tag, wish: Wish) -> Document {
    asked(scope, tag, Methods::Head, wish)
}

/// A tag by its manifest's own bytes, for a registry whose word on their digest is wrong.
pub fn by_bytes(scope: &Scope, tag: &Tag) -> Document {
    asked(scope, tag, Methods::Get, Wish::nothing())
}

fn asked(scope: &Scope, tag: &Tag, methods: Methods, wish: Wish) -> Document {
    let ask = |method| scope.manifest_request(method, tag.as_str());
    let (kind, origins) = match methods {
        Methods::HeadThenGet => ("tag", vec![ask(Method::HEAD), ask(Method::GET)]),
        Methods::Head => ("tag", vec![ask(Method::HEAD)]),
        Methods::Get => ("tag-by-bytes", vec![ask(Method::GET)]),
    };
    let Scope { registry, repository, .. } = scope;
    let subject = (methods == Methods::HeadThenGet)
        .then(|| format!("{SCHEME}:{}/{repository}:{tag}", registry.name));
    let admit = AdmitTag { registry: Arc::clone(registry), fresh_for: scope.fresh_for(), methods };
    let keep = KeepTag { scope: scope.clone(), subject, wish, methods };
    let name = format!("{}:{tag}", scope.name(kind));
    scope.document(&name, origins, Arc::new(admit), Arc::new(keep))
}

impl Admit for AdmitTag {
    fn admit(&self, index: usize, answer: &Answer<'_>) -> Admission {
        self.registry.budget.note(answer.head, answer.now);
        let by_head = self.methods.is_head(index);
        match answer.head.status {
            StatusCode::OK if by_head && content_digest(answer.head).is_none() => {
                return Admission::Absent;
            }
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if by_head => {
                return Admission::Absent;
            }
            _ => {}
        }
        let mut admission = admission(answer.head, self.fresh_for);
        let named = answer.head.headers.get(CONTENT_DIGEST);
        if let (Admission::Accept(accepted), Some(digest)) = (&mut admission, named) {
            // A 304 does not repeat it.
            accepted.headers.insert(CONTENT_DIGEST, digest.clone());
        }
        admission
    }
}

impl Keep for KeepTag {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Pointer::read(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let by_head = self.methods.is_head(fresh.origin);
        let digest = target(fresh, by_head)?;
        let previous = previous.and_then(|parsed| parsed.get::<Pointer>());
        let mut history = previous.map(|pointer| pointer.history.clone()).unwrap_or_default();
        if history.last().map(|last| last.digest) != Some(digest) {
            history.push(Move { digest, seen: fresh.now });
        }
        let excess = history.len().saturating_sub(self.scope.registry.history.max(1));
        history.drain(..excess);
        let was_cut = previous.is_some_and(|pointer| pointer.is_cut);
        let pointer = Pointer {
            digest,
            media_type: media_type(fresh.head),
            size: size(fresh, by_head),
            history,
            is_cut: was_cut || excess > 0,
        };
        let told = previous.and_then(|previous| self.moved(previous, &pointer));
        let kept = Kept::alone(pointer.to_bytes()?, Parsed::new(pointer));
        Ok(kept.telling(told.into_iter().collect()))
    }

    fn subject(&self) -> Option<String> {
        self.subject.clone()
    }

    fn belongings(&self, kept: &Parsed) -> Vec<Follow> {
        let (Some(pointer), Some(root)) = (kept.get::<Pointer>(), self.wish.of_root()) else {
            return Vec::new();
        };
        vec![root.follow(manifest::document(&self.scope, pointer.digest, root.wish))]
    }
}

impl KeepTag {
    /// That it stands for another manifest; some must not.
    fn moved(&self, before: &Pointer, after: &Pointer) -> Option<What> {
        let subject = self.subject.clone().filter(|_| before.digest != after.digest)?;
        let tag = subject.rsplit(':').next().unwrap_or_default();
        let Scope { registry, repository, .. } = &self.scope;
        let kind = match registry.is_immutable(repository.as_str(), tag) {
            true => Kind::Mutated,
            false => Kind::Moved,
        };
        let (before, after) = (before.digest.to_string(), after.digest.to_string());
        Some(What::new(kind, subject).before(before).after(after))
    }
}

/// The manifest that an answer names. Of a body, its own digest counts: too many registries say a wrong one.
fn target(fresh: &Fresh<'_>, by_head: bool) -> Result<Digest, String> {
    let named = content_digest(fresh.head);
    if by_head {
        return named.ok_or_else(|| "upstream names no digest".to_owned());
    }
    manifest::resembles(fresh.body)?;
    match named {
        Some(named) if digest_of(fresh.body, &named)? == named => Ok(named),
        _ => Ok(BlobId::of(fresh.body).digest()),
    }
}

/// The size of the manifest, where it can be believed: that of an encoded one is another.
fn size(fresh: &Fresh<'_>, by_head: bool) -> Option<u64> {
    if !by_head {
        return Some(fresh.body.len() as u64);
    }
    let is_encoded = fresh.head.headers.contains_key(header::CONTENT_ENCODING);
    fresh.head.content_length().filter(|size| *size > 0 && !is_encoded)
}

/// The manifest that an answer's head names.
pub fn content_digest(head: &Head) -> Option<Digest> {
    name::digest(head.text(&CONTENT_DIGEST)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::oci::config::Config;
    use crate::ecosystem::oci::name::Repository;
    use crate::ecosystem::oci::registry::Reader;
    use crate::types::Secret;

    fn registry() -> Arc<Registry> {
        let text = "default = \"hub.example\"\n[registries.\"hub.example\"]\nupstream = \"https://r.hub.example\"";
        let config: Config = toml::from_str(text).expect("settings");
        let resolved = config.resolve(|_| Ok(Secret::new("s")));
        resolved.expect("good settings").expect("a registry").default
    }

    fn head(status: u16, digest: Option<&str>) -> Head {
        let mut head = Head::new(StatusCode::from_u16(status).expect("a status"));
        if let Some(digest) = digest {
            head.headers.insert(CONTENT_DIGEST, digest.parse().expect("a field value"));
        }
        head
    }

    #[test]
    fn a_head_without_a_digest_leads_to_a_get() {
        let admit = AdmitTag {
            registry: registry(),
            fresh_for: Duration::ZERO,
            methods: Methods::HeadThenGet,
        };
        let hex = "a".repeat(64);
        let check = |index, head: &Head, expected: &str| {
            let answer = Answer { hops: &[], head, now: Timestamp(1) };
            let admission = format!("{:?}", admit.admit(index, &answer));
            assert!(admission.starts_with(expected), "{index} {head:?}: {admission}");
        };
        let good = format!("sha256:{hex}");
        check(0, &head(200, Some(&good)), "Accept");
        check(0, &head(200, Some("sha256:12")), "Absent");
        check(0, &head(200, None), "Absent");
        check(0, &head(405, None), "Absent");
        check(1, &head(405, None), "Fail");
        check(1, &head(200, None), "Accept");
        check(0, &head(404, None), "Absent");
        check(0, &head(401, None), "Refused");
        check(0, &head(429, None), "Fail");
    }

    const BODY: &str = "{\"schemaVersion\":2}";

    #[test]
    fn moves_are_remembered_and_a_body_counts_more_than_its_name() {
        let repository = Repository::parse("a").expect("a name");
        let scope = Scope { registry: registry(), repository, reader: Reader::public() };
        let keep = KeepTag {
            scope,
            subject: Some("oci:hub.example/a:1".to_owned()),
            wish: Wish::nothing(),
            methods: Methods::HeadThenGet,
        };
        let url = url::Url::parse("https://r.hub.example/v2/a/manifests/1").expect("an address");
        let mut previous: Option<Parsed> = None;
        let mut moves = Vec::new();
        let mut hear = |origin, digest: Option<&str>, body: &'static str, now| {
            let (head, body) = (head(200, digest), Bytes::from_static(body.as_bytes()));
            let fresh = Fresh { origin, url: &url, head: &head, body: &body, rest: &[], now };
            let kept = keep.merge(previous.as_ref(), &fresh).expect("a good answer");
            moves.extend(kept.events.iter().map(|what| (what.kind, now)));
            let read = keep.read(&kept.bytes).expect("it reads");
            assert_eq!(read.get::<Pointer>(), kept.parsed.get::<Pointer>());
            previous = Some(read.clone());
            read.get::<Pointer>().cloned().expect("a tag")
        };
        let first = format!("sha256:{}", "a".repeat(64));
        let pointer = hear(0, Some(&first), "", Timestamp(1));
        assert_eq!((pointer.digest.to_string(), pointer.history.len()), (first.clone(), 1));
        assert_eq!(hear(0, Some(&first), "", Timestamp(2)).history.len(), 1);
        let lied = hear(1, Some(&first), BODY, Timestamp(3));
        assert_eq!(lied.digest, BlobId::of(BODY.as_bytes()).digest());
        assert_eq!(lied.history.iter().map(|one| one.seen.0).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(lied.size, Some(BODY.len() as u64));
        assert_eq!(moves, [(Kind::Moved, Timestamp(3))]);
        let then = |at| lied.as_of(Timestamp(at)).map(|one| one.digest.to_string());
        assert_eq!((then(2), then(0)), (Ok(first), Err(Unknown::SeenSince(Timestamp(1)))));
        assert_eq!(then(3), Ok(lied.digest.to_string()));
    }

    #[test]
    fn tags_that_were_kept_in_the_former_form_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let former = |moves: usize| FormerRow {
            digest: digest.clone(),
            media_type: None,
            size: Some(7),
            history: vec![(digest.clone(), Timestamp(5)); moves],
        };
        let read = |moves| {
            let kept = postcard::to_stdvec(&former(moves)).expect("a row");
            Pointer::read(&kept.into()).expect("it reads")
        };
        let pointer = read(1);
        assert_eq!((pointer.size, pointer.history.len(), pointer.is_cut), (Some(7), 1, false));
        assert!(read(FORMER_MOVES).is_cut);
        let cut = Pointer { is_cut: true, ..pointer };
        let again = Pointer::read(&cut.to_bytes().expect("a row")).expect("it reads");
        assert_eq!(again, cut);
        assert_eq!(again.as_of(Timestamp(4)), Err(Unknown::CutBefore(Timestamp(5))));
    }
}
