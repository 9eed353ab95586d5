//! Documents in the form that a client reads, memoised under every input that shaped them.
//!
//! A page of thousands of files costs far more to render and compress than to send, so both are done once per
//! (document version, representation, standing) and dropped by age of use. What time alone changes carries the instant at which it does.

use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache as Memory;
use std::io::Write;

use crate::cache::Cache;
use crate::cache::document::Got;
use crate::cache::found::{Found, Source};
use crate::ecosystem::{Render, Rendered, Standing, View};
use crate::rulings::Rulings;
use crate::types::{BlobId, ByteSize, CacheKey, Head, Presence, Timestamp};

/// Bodies below this size are not worth compressing.
const SMALLEST_COMPRESSED_BYTES: usize = 512;

/// Rendered forms of hot documents.
#[derive(Debug)]
pub(crate) struct Renderings {
    memory: Memory<Form, Arc<Page>>,
    rulings: Rulings,
}

/// Everything that shapes a rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Form {
    key: CacheKey,
    version: u64,
    variant: String,
    coding: Coding,
    offline: bool,
    presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Coding {
    Identity,
    Gzip,
}

/// A rendered body with its head.
#[derive(Debug)]
struct Page {
    head: Head,
    body: Bytes,
    valid_until: Option<Timestamp>,
}

impl Renderings {
    pub(crate) fn new(memory: ByteSize, rulings: Rulings) -> Self {
        Self {
            rulings,
            memory: Memory::builder()
                .max_capacity(memory.bytes())
                .weigher(|form: &Form, page: &Arc<Page>| {
                    let bytes =
                        page.body.len() + form.key.as_str().len() + form.variant.len() + 1024;
                    u32::try_from(bytes).unwrap_or(u32::MAX)
                })
                .build(),
        }
    }

    /// The form of `got` that `render` and the client's `Accept-Encoding` ask for.
    pub(crate) async fn get(
        &self,
        cache: &Cache,
        key: &CacheKey,
        got: Got,
        render: Arc<dyn Render>,
        request: &HeaderMap,
        now: Timestamp,
    ) -> Found {
        let form = Form {
            key: key.clone(),
            version: got.loaded.version,
            variant: render.variant(),
            coding: Coding::accepted(request),
            offline: got.offline,
            presence: got.loaded.entry.presence,
        };
        let page = match self.memory.get(&form) {
            Some(page) if page.valid_until.is_none_or(|until| now < until) => page,
            _ => self.make(cache.clone(), form, &got, render, now).await,
        };
        Found {
            head: page.head.clone(),
            source: Source::Memory(page.body.clone()),
            trace: got.trace,
        }
    }

    async fn make(
        &self,
        cache: Cache,
        form: Form,
        got: &Got,
        render: Arc<dyn Render>,
        now: Timestamp,
    ) -> Arc<Page> {
        let (loaded, standing, coding) = (Arc::clone(&got.loaded), standing(got), form.coding);
        let rulings = self.rulings.clone();
        let work = move || {
            let note = |judged| rulings.note(&judged);
            let is_kept = |key: &CacheKey| cache.is_kept(key);
            let view =
                View { document: &loaded.parsed, standing, now, is_kept: &is_kept, note: &note };
            page(render.render(&view), coding)
        };
        let page = match tokio::task::spawn_blocking(work).await {
            Ok(page) => Arc::new(page),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        self.memory.insert(form, Arc::clone(&page));
        page
    }
}

/// How what was got stands to upstream, in the adapter's terms.
pub(crate) fn standing(got: &Got) -> Standing {
    let entry = &got.loaded.entry;
    Standing {
        validated: entry.validated,
        fresh_until: entry.fresh_until,
        presence: entry.presence,
        offline: got.offline,
    }
}

/// Compresses a rendering and names it by a strong entity tag over the bytes that are sent. One that has a name of its own is exact bytes, and
/// stays what it is.
fn page(rendered: Rendered, coding: Coding) -> Page {
    let Rendered { reply, valid_until } = rendered;
    let mut head = Head { status: reply.status, headers: reply.headers };
    if head.headers.contains_key(header::ETAG) {
        return Page { head, body: reply.body, valid_until };
    }
    let body = match coding {
        Coding::Gzip if reply.body.len() >= SMALLEST_COMPRESSED_BYTES => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip(&reply.body)
        }
        _ => reply.body,
    };
    let tag = format!("\"{}\"", &BlobId::of(&body).to_hex()[..32]);
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes are a field value");
    head.headers.insert(header::ETAG, tag);
    Page { head, body, valid_until }
}

fn gzip(bytes: &Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(5));
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail").into()
}

impl Coding {
    /// Gzip when the client lists it with a weight above 0, by name or by `*` (RFC 9110 section 12.5.3).
    fn accepted(request: &HeaderMap) -> Self {
        let mut by_name = None;
        let mut by_star = None;
        let values = request.get_all(header::ACCEPT_ENCODING).iter();
        for item in values.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','))
        {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let wanted = !parameters.split_once('=').is_some_and(|(_, weight)| {
                weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
            });
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => by_name = Some(wanted),
                "*" => by_star = Some(wanted),
                _ => {}
            }
        }
        match by_name.or(by_star) {
            Some(true) => Self::Gzip,
            _ => Self::Identity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_wants_it() {
        let check = |value: Option<&str>, expected| {
            let mut request = HeaderMap::new();
            if let Some(value) = value {
                request.insert(header::ACCEPT_ENCODING, value.parse().expect("a field value"));
            }
            assert_eq!(Coding::accepted(&request), expected, "{value:?}");
        };
        check(None, Coding::Identity);
        check(Some("gzip, deflate"), Coding::Gzip);
        check(Some("GZIP;q=0.5"), Coding::Gzip);
        check(Some("*"), Coding::Gzip);
        check(Some("gzip;q=0, *"), Coding::Identity);
        check(Some("identity"), Coding::Identity);
        check(Some("br, zstd"), Coding::Identity);
    }
}
