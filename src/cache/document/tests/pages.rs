//! Documents that come in pages, and those that bring others with them.

use super::*;
use crate::cache::lookup::{Artifact, Follow, Nature, Page};

/// Reads a document whose pages name the next one after `>`, and which refers to a document of its own.
#[derive(Debug)]
struct Paged(Vec<Follow>);

impl Keep for Paged {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Text.read(kept)
    }

    fn next_page(&self, page: &Page) -> Option<Url> {
        let text = std::str::from_utf8(&page.body).ok()?;
        text.split_once('>').and_then(|(_, next)| page.url.join(next).ok())
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let pages = [fresh.body].into_iter().chain(fresh.rest.iter().map(|page| &page.body));
        let texts: Vec<_> = pages.map(|body| String::from_utf8_lossy(body).into_owned()).collect();
        Ok(Kept { follow: self.0.clone(), ..Text::kept(texts.join("|")) })
    }
}

pub(super) fn paged(follow: Vec<Follow>) -> Document {
    Document { keep: Arc::new(Paged(follow)), ..document() }
}

#[tokio::test]
async fn pages_are_merged_as_one_answer() {
    let bench = Bench::new();
    bench.serve("a>?2");
    bench.upstream.always("http://first.example/doc?2", Reply::file("b>?3", "\"2\""));
    bench.upstream.always("http://first.example/doc?3", Reply::file("c", "\"3\""));
    assert_eq!(bench.told(&paged(Vec::new())).await.0, "a>?2|b>?3|c");
}

#[tokio::test]
async fn a_page_that_fails_fails_the_whole() {
    let bench = Bench::new();
    bench.serve("a");
    assert_eq!(bench.told(&paged(Vec::new())).await.0, "a");
    bench.pass(601);
    bench.serve("b>?2");
    bench.upstream.always("http://first.example/doc?2", Reply::new(StatusCode::BAD_GATEWAY));
    assert_eq!(bench.told(&paged(Vec::new())).await.0, "a", "what was kept is served on");

    let cold = Bench::new();
    cold.serve("b>?2");
    cold.upstream.always("http://first.example/doc?2", Reply::new(StatusCode::NOT_FOUND));
    let failure = cold.get(&paged(Vec::new())).await.expect_err("half a document is none");
    assert!(matches!(failure, Failure::BadAnswer(_)), "{failure}");
}

#[tokio::test]
async fn pages_that_never_end_are_refused_by_size() {
    let bench = Bench::new();
    bench.serve("a>?");
    bench.upstream.always("http://first.example/doc?", Reply::file("a>?", "\"2\""));
    assert!(matches!(bench.get(&paged(Vec::new())).await, Err(Failure::BadAnswer(_))));
}

#[tokio::test]
async fn what_belongs_to_a_document_is_kept_with_it() {
    let bench = Bench::new();
    bench.serve("a");
    bench.upstream.always(SECOND, Reply::file("b", "\"b\""));
    let file = "http://third.example/file";
    bench.upstream.always(file, Reply::file(vec![7; 300 << 10], "\"f\""));
    let mut other = document();
    other.lookup.key = CacheKey::new("test", &Audience::Public, "other");
    other.lookup.origins = vec![origin_request(SECOND)];
    let artifact = Artifact {
        lookup: Lookup {
            key: CacheKey::new("test", &Audience::Public, "file"),
            origins: vec![origin_request(file)],
            admit: Arc::new(ByStatus),
            stale: Stale::Always,
        },
        digests: Vec::new(),
        size: None,
        nature: Nature::Data,
        is_excepted: false,
        subject: None,
    };
    let follow = vec![Follow::Document(other.clone()), Follow::Artifact(artifact.clone())];
    bench.told(&paged(follow)).await;
    bench.settle().await;
    assert!(bench.cache.is_kept(&other.lookup.key));
    assert!(bench.cache.is_kept(&artifact.lookup.key));
}
