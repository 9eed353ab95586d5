//! Making images whole: what is fetched in the background so that an image survives its registry, not only the part somebody pulled.

use crate::cache::lookup::{Document, Follow};
use crate::ecosystem::oci::config::Completeness;
use crate::ecosystem::oci::name::Tag;
use crate::ecosystem::oci::readers::kept_only;
use crate::ecosystem::oci::scope::Scope;
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

    /// What to do with the manifest of a tag; `None`: it is left alone.
    pub fn of_root(self) -> Option<Children> {
        self.blobs().then_some(Children { wish: self, new_ones: self.what == Completeness::All })
    }

    /// What to do with the manifests of an index; `None`: those are left alone.
    pub fn of_children(self) -> Option<Children> {
        let goes_on = self.blobs() && self.depth < DEEPEST;
        let wish = Self { depth: self.depth + 1, ..self };
        goes_on.then_some(Children { wish, new_ones: self.what == Completeness::All })
    }

    /// Whether what refers to the manifest is to be fetched: of images as they are named, since signatures of each platform apart are rare and each
    /// look for them costs. Not what refers to that in turn: such a way has no end.
    pub fn companions(self) -> bool {
        self.what == Completeness::All && self.depth == 0 && !self.is_companion
    }
}

/// What is wished of the manifests below another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Children {
    pub wish: Wish,
    /// Whether those that nobody asked for are fetched, or only those completed that somebody did.
    new_ones: bool,
}

impl Children {
    pub fn follow(self, document: Document) -> Follow {
        Follow::Document(if self.new_ones { document } else { kept_only(document) })
    }
}

/// What refers to a manifest: its referrers, and the tags that are named after it.
pub fn companions(scope: &Scope, digest: &Digest) -> Vec<Follow> {
    let wish = Wish::companion();
    let listed = referrers::document(scope, digest, wish);
    let tags = companion_tags(digest);
    let tags = tags.iter().map(|name| tag::companion(scope, name, wish));
    [listed].into_iter().chain(tags).map(Follow::Document).collect()
}

/// The tags that are named after a manifest.
pub fn companion_tags(digest: &Digest) -> Vec<Tag> {
    let named = Tag::of_referrers(digest);
    COMPANION_TAGS.iter().map(|suffix| named.with_suffix(suffix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_end() {
        let mut wish = Wish::asked(Completeness::All);
        let mut depth = 0;
        while let Some(next) = wish.of_children() {
            assert!(next.new_ones);
            (wish, depth) = (next.wish, depth + 1);
        }
        assert_eq!(depth, DEEPEST);
        assert!(wish.blobs() && !wish.companions() && !Wish::companion().companions());
        assert!(Wish::asked(Completeness::All).companions());
        let asked = Wish::asked(Completeness::Asked);
        assert!(!asked.blobs() && asked.of_children().is_none() && !asked.companions());
        let platform = Wish::asked(Completeness::Platform);
        let known = platform.of_children().expect("those that somebody asked for");
        assert!(platform.blobs() && !known.new_ones);
    }
}
