//! Tags, and lists of tags and of referrers, as of an instant of the past: looked up in what is remembered, with the rights of today.

use crate::cache::lookup::{Demand, Document};
use crate::ecosystem::oci::explain;
use crate::ecosystem::oci::known::Known;
use crate::ecosystem::oci::pull::Pull;
use crate::ecosystem::oci::readers::kept_only;
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::tagged::Tagged;
use crate::ecosystem::past::{Basis, Past};
use crate::ecosystem::{Standing, Step};
use crate::policy::Verdict;
use crate::types::{Audience, Presence, Timestamp};

/// A tag's document for who asks about the past: as it is kept. What a client's own credential opens is asked for as ever, since its right to it must be confirmed.
pub fn remembered(document: Document, reader: &Reader) -> Document {
    match reader.audience {
        Audience::Public | Audience::Service => {
            kept_only(Document { demand: Demand::AnyAge, ..document })
        }
        Audience::Credential(_) => document,
    }
}

impl Pull {
    /// Goes on from a tag to what it stood for at an instant: that, or nothing. What the policy holds against the tag today it holds against it at any
    /// date.
    pub(super) fn pointed_then(self, mut tagged: Tagged, at: Timestamp) -> Step {
        let then = match tagged.pointer.as_of(at) {
            Ok(then) => then,
            Err(unknown) => {
                let name = format!("{}:{}", self.place.written, tagged.tag);
                return Step::Reply(explain::unknown_then(&self.ask, &name, unknown));
            }
        };
        tagged.past = Some(Past { at, basis: Basis::Observed { seen: then.seen } });
        if self.subject(&tagged, &Known::default()).verdict < Verdict::Hide {
            tagged.standing = standing(tagged.standing, at);
        }
        tagged.pointer.digest = then.digest;
        let document = self.manifest_document(then.digest, &tagged.reader);
        self.serve_tagged(tagged, then.digest, document)
    }
}

/// How a tag stood to its registry: what happened to it later had not happened.
fn standing(today: Standing, at: Timestamp) -> Standing {
    let presence = match today.presence {
        Presence::Gone { since, .. } | Presence::Withdrawn { since, .. } if since > at => {
            Presence::Present
        }
        presence => presence,
    };
    Standing { presence, offline: false, ..today }
}
