//! Finding somebody on whose behalf a thing may be read: everybody first, then Larder's own account, then the client's.
//!
//! What is kept for any of them is looked at first; upstream is asked for one after the other. A refusal leads to the next; so does an outage, since
//! something may be kept for the next one; the most telling failure is what the client hears in the end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cache::failure::Failure;
use crate::cache::lookup::Document;
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::{Held, Step};
use crate::types::{Audience, Presence};

/// The document that is wanted, for a reader.
pub type DocumentOf = Arc<dyn Fn(&Reader) -> Document + Send + Sync>;

/// How planning goes on with what was found.
pub type Then = Box<dyn FnOnce(Result<Readable, Failure>) -> Step + Send>;

/// Something that may be read, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Readable {
    pub reader: Reader,
    pub held: Held,
}

/// Whether what is kept for anybody will do, or upstream is to be asked in the readers' order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// For what does not change: whoever it is kept for.
    Kept,
    /// For what does: only a client's own, which is confirmed all the time.
    Own,
}

/// Finds the first reader who may read `document`.
pub fn find(readers: Vec<Reader>, first: First, document: DocumentOf, then: Then) -> Step {
    let looked_at: Vec<Reader> = match first {
        First::Kept => readers.clone(),
        First::Own => readers.iter().filter(|reader| is_client(reader)).cloned().collect(),
    };
    if looked_at.is_empty() {
        return ask(Search {
            readers: readers.into(),
            document,
            then,
            worst: None,
            withdrawn: None,
        });
    }
    let documents = looked_at.iter().map(|reader| kept_only(document(reader))).collect();
    Step::Need {
        documents,
        then: Box::new(move |held| {
            let found = looked_at.into_iter().zip(held).find_map(|(reader, held)| {
                let held = held.ok().filter(|held| !is_withdrawn(held))?;
                Some(Readable { reader, held })
            });
            match found {
                Some(found) => then(Ok(found)),
                None => {
                    let readers = readers.into();
                    ask(Search { readers, document, then, worst: None, withdrawn: None })
                }
            }
        }),
    }
}

/// A document as far as it is kept.
pub fn kept_only(mut document: Document) -> Document {
    document.lookup.origins.clear();
    document
}

struct Search {
    readers: VecDeque<Reader>,
    document: DocumentOf,
    then: Then,
    /// The failure to tell when nothing is found.
    worst: Option<Failure>,
    /// What upstream gave everybody once and refuses now.
    withdrawn: Option<Readable>,
}

fn ask(mut search: Search) -> Step {
    let Some(reader) = search.readers.pop_front() else {
        let outcome = match (search.withdrawn, search.worst) {
            (Some(withdrawn), _) => Ok(withdrawn),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::NotKept),
        };
        return (search.then)(outcome);
    };
    let documents = vec![(search.document)(&reader)];
    Step::Need {
        documents,
        then: Box::new(move |held| {
            match held.into_iter().next().unwrap_or(Err(Failure::NotKept)) {
                Ok(held) if is_withdrawn(&held) => {
                    search.withdrawn.get_or_insert(Readable { reader, held });
                }
                Ok(held) => return (search.then)(Ok(Readable { reader, held })),
                Err(failure) => search.note(failure),
            }
            ask(search)
        }),
    }
}

impl Search {
    fn note(&mut self, failure: Failure) {
        match &self.worst {
            Some(worst) if weight(worst) >= weight(&failure) => {}
            _ => self.worst = Some(failure),
        }
    }
}

/// What says more than what: an outage leaves everything open, a refusal says that there may be something, absence that there is nothing.
const fn weight(failure: &Failure) -> u8 {
    match failure {
        Failure::Absent => 0,
        Failure::NotKept => 1,
        Failure::Refused { .. } => 2,
        Failure::Unreachable(_)
        | Failure::Unavailable { .. }
        | Failure::BadAnswer(_)
        | Failure::Unsafe { .. }
        | Failure::Unjudged
        | Failure::Store(_) => 3,
    }
}

fn is_client(reader: &Reader) -> bool {
    matches!(reader.audience, Audience::Credential(_))
}

fn is_withdrawn(held: &Held) -> bool {
    matches!(held.standing.presence, Presence::Withdrawn { .. })
}
