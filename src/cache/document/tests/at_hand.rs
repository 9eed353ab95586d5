//! Documents that are readings of an artifact.

use super::pages::paged;
use super::*;
use crate::cache::lookup::{Artifact, Follow, Nature};

const FILE: &str = "http://third.example/file";

/// Reads an artifact's bytes as text.
#[derive(Debug)]
struct TextOf(CacheKey);

impl Keep for TextOf {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Text.read(kept)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        Text.merge(previous, fresh)
    }

    fn bytes_of(&self) -> Option<CacheKey> {
        Some(self.0.clone())
    }

    fn absent(&self, _: &Parsed, _: Timestamp) -> Option<Kept> {
        None
    }
}

fn reading(artifact: &str, origins: Vec<OriginRequest>) -> Document {
    let key = |name: &str| CacheKey::new("test", &Audience::Public, name);
    let mut document = document();
    document.lookup = Lookup { key: key("reading"), origins, ..document.lookup };
    document.keep = Arc::new(TextOf(key(artifact)));
    document
}

#[tokio::test]
async fn what_is_kept_is_read_without_asking_anybody() {
    for origins in [Vec::new(), vec![origin_request(SECOND)]] {
        let bench = Bench::new();
        bench.serve("a");
        bench.upstream.always(FILE, Reply::file("the file", "\"f\""));
        let is_empty = origins.is_empty();
        let nowhere = bench.get(&reading("file", Vec::new())).await;
        assert!(matches!(nowhere, Err(Failure::NotKept)), "{nowhere:?}");
        let lookup = Lookup {
            key: CacheKey::new("test", &Audience::Public, "file"),
            origins: vec![origin_request(FILE)],
            admit: Arc::new(ByStatus),
            stale: Stale::Always,
        };
        let artifact = Artifact {
            lookup,
            digests: Vec::new(),
            size: None,
            nature: Nature::Data,
            is_excepted: false,
            subject: None,
        };
        bench.told(&paged(vec![Follow::Artifact(artifact)])).await;
        bench.settle().await;
        let (text, _) = bench.told(&reading("file", origins)).await;
        assert_eq!((text.as_str(), bench.upstream.count(SECOND)), ("the file", 0), "{is_empty}");
        let bench = bench.restarted().await;
        assert_eq!(bench.told(&reading("file", Vec::new())).await.0, "the file");
    }
}
