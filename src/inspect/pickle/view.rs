//! What other readers see in a pickle that holds arrays of joblib's.
//!
//! To joblib the bytes behind a placeholder are numbers. To those that know nothing of placeholders they are instructions, and releases of joblib before 1.2,
//! which know nothing of the padding, end the array some bytes too soon. An honest file ends such readings within a few bytes, most often at once, since
//! the first of them is no instruction. As long as one goes on, it is followed beside the first: from the same stack and memo, and in doubt about everything.

use super::instruction::is_instruction;
use super::{Pickle, Stance};
use crate::inspect::notes::Notes;
use crate::inspect::report::Kind;
use crate::inspect::tap::{Flow, Tap};

/// Readings beside the first.
#[derive(Debug, Default)]
pub(super) struct Views {
    /// They begin with the byte that comes next.
    coming: Vec<Pickle>,
    going: Vec<(Tap, Pickle)>,
    /// Whether readers of either kind have had their first chance to differ; there is no second one.
    met_array: bool,
    met_padding: bool,
}

impl Views {
    pub(super) fn is_empty(&self) -> bool {
        self.coming.is_empty() && self.going.is_empty()
    }

    /// Those that have come begin.
    pub(super) fn begin(&mut self) {
        self.going.extend(self.coming.drain(..).map(|pickle| (Tap::default(), pickle)));
    }

    /// Reads on in all of them.
    pub(super) fn feed(&mut self, bytes: &[u8], notes: &mut Notes) {
        self.going.retain_mut(|(tap, pickle)| tap.feed(bytes, pickle, notes) == Flow::Drained);
    }
}

impl Pickle {
    /// The same, read by somebody else from here on.
    fn other(&self, notes: &mut Notes) -> Self {
        notes.spend((self.stack.len() + self.marks.len()) as u64 + self.memo.count());
        Self {
            stack: self.stack.clone(),
            marks: self.marks.clone(),
            memo: self.memo.clone(),
            texts: self.texts.clone(),
            arrays: self.arrays.clone(),
            ..Self::new(Stance::Doubt, self.at)
        }
    }

    /// An array follows, and `next` is its first byte. Who knows no arrays goes on with the placeholder on the stack.
    pub(super) fn fork_at_array(&mut self, next: Option<u8>, notes: &mut Notes) {
        if !std::mem::replace(&mut self.views.met_array, true) && next.is_some_and(is_instruction) {
            let other = self.other(notes);
            self.views.coming.push(other);
        }
    }

    /// The padding of an array is known. Who does not count it goes on that much before the array's end.
    pub(super) fn meets_padding(&mut self) -> bool {
        !std::mem::replace(&mut self.views.met_padding, true)
    }

    pub(super) fn fork_at_tail(&mut self, next: u8, notes: &mut Notes) {
        if is_instruction(next) {
            let other = self.other(notes);
            self.views.coming.push(other);
        }
    }

    /// Somebody reads on as far as this one does, and sees something else.
    pub(super) fn differs(&self, notes: &mut Notes) {
        let what = "the pickle holds arrays that older readers, or others than joblib, take for instructions";
        notes.find(Kind::Ambiguous, self.at, what.to_owned());
    }
}
