//! Making images whole: what is fetched in the background so that an image survives its registry, not only the part somebody pulled.

use std::sync::Arc;

use crate::cache::lookup::{Document, Follow};
use crate::ecosystem::oci::config::Completeness;
use crate::ecosystem::oci::name::{Repository, Tag};
use crate::ecosystem::oci::registry::{Reader, Registry};
use crate::ecosystem::oci::{referrers, tag};
use crate::types::Digest;

/// How deep indexes of indexes are followed. Digests cannot form a circle, but they can form a long way.
const DEEPEST: u8 = 4;

/// Suffixes of the tags under which signatures, attestations and bills of materials were filed before there were referrers.
const COMPANION_TAGS: [&str; 3] = ["sig", "att", "sbom"];

/// What is to be fetched with a manifest that is being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    what: Completeness,
    depth: u8,
    /// Whether it is an image of its own, or something that belongs to one.
    is_companion: bool,
}

impl Wish {
    /// For a manifest that a client asked for.
    pub const fn asked(what: Completeness) -> Self {
        Self { what, depth: 0, is_companion: false }
    }

    /// For what is looked at, and fetched by whoever looks.
    pub const fn nothing() -> Self {
        Self::asked(Completeness::Asked)
    }

    /// For what refers to an image.
    pub const fn companion() -> Self {
        Self { what: Completeness::All, depth: 0, is_companion: true }
    }

    /// Whether configuration and layers are to be fetched.
    pub fn blobs(self) -> bool {
        self.what >= Completeness::Platform
    }

    /// What to fetch with the manifests of an index; `None`: those are left alone.
    pub fn of_children(self) -> Option<Self> {
        let goes_on = self.what == Completeness::All && self.depth < DEEPEST;
        goes_on.then_some(Self { depth: self.depth + 1, ..self })
    }

    /// Whether what refers to the manifest is to be fetched. Not what refers to that in turn: such a way has no end.
    pub fn companions(self) -> bool {
        self.what == Completeness::All && !self.is_companion
    }
}

/// What refers to a manifest: its referrers, and the tags that are named after it.
pub fn companions(
    registry: &Arc<Registry>,
    repository: &Repository,
    digest: &Digest,
    reader: &Reader,
) -> Vec<Follow> {
    let wish = Wish::companion();
    let listed = referrers::document(registry, repository, digest, reader, wish);
    let named = Tag::of_referrers(digest);
    let tags = COMPANION_TAGS.iter().map(|suffix| -> Document {
        tag::document(registry, repository, &named.with_suffix(suffix), reader, wish)
    });
    [listed].into_iter().chain(tags).map(Follow::Document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_end() {
        let mut wish = Wish::asked(Completeness::All);
        let mut depth = 0;
        while let Some(next) = wish.of_children() {
            (wish, depth) = (next, depth + 1);
        }
        assert_eq!(depth, DEEPEST);
        assert!(wish.blobs() && wish.companions() && !Wish::companion().companions());
        let asked = Wish::asked(Completeness::Asked);
        assert!(!asked.blobs() && asked.of_children().is_none() && !asked.companions());
        let platform = Wish::asked(Completeness::Platform);
        assert!(platform.blobs() && platform.of_children().is_none());
    }
}
