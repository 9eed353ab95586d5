//! What rules look at of an image beside its name, found out as far as they do: what the image says of itself, what the one before it said, and who vouches for it.

use crate::ecosystem::Step;
use crate::ecosystem::oci::facts::{self, Image};
use crate::ecosystem::oci::pull::Pull;
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::signatures::{self, Signed};
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};
use crate::types::Digest;

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    image: Option<Image>,
    former: Former,
    signed: Option<Signed>,
}

/// What the image said that stood under the same tag before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Former {
    /// Nobody looks at that.
    #[default]
    Unasked,
    /// There was none, or it was not asked for by a name that moves.
    None,
    Unknown,
    Image(Image),
}

/// Whether anything of that is looked at, so that an image must be looked into.
pub fn is_needed(rules: &Ruleset) -> bool {
    facts::needs_image(rules) || signatures::is_needed(rules)
}

impl Known {
    /// Adds it to the facts of the image.
    pub fn add(&self, facts: &mut Facts<'_>) {
        if let Some(image) = &self.image {
            facts::add_image(facts, image);
        }
        match (&self.former, &self.image) {
            (Former::Unasked | Former::Unknown, _) => {}
            (Former::None, _) => facts.set(Fact::LicenceChanged, false),
            (Former::Image(former), image) => {
                let is_other = image.as_ref().map(|image| image.licences != former.licences);
                facts.set(Fact::LicenceChanged, is_other);
            }
        }
        if let Some(signed) = &self.signed {
            signed.add(facts);
        }
    }
}

impl Pull {
    /// Goes on with what rules look at of an image. `former` is what its tag stood for before, where it was asked for by one that has moved.
    pub(super) fn with_known(
        self,
        digest: Digest,
        former: Option<Digest>,
        reader: Reader,
        then: impl FnOnce(Self, Known) -> Step + Send + 'static,
    ) -> Step {
        let again = reader.clone();
        self.with_image(digest, reader, move |pull, image| {
            pull.with_signatures(digest, again.clone(), move |pull, signed| {
                pull.with_former(former, again, move |pull, former| {
                    then(pull, Known { image, former, signed })
                })
            })
        })
    }

    fn with_former(
        self,
        digest: Option<Digest>,
        reader: Reader,
        then: impl FnOnce(Self, Former) -> Step + Send + 'static,
    ) -> Step {
        if !self.ask.rules.needs(Ecosystem::Oci, Fact::LicenceChanged) {
            return then(self, Former::Unasked);
        }
        match digest {
            None => then(self, Former::None),
            Some(digest) => self.with_image(digest, reader, |pull, former| {
                then(pull, former.map_or(Former::Unknown, Former::Image))
            }),
        }
    }
}
