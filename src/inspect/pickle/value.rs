//! What is known of the values on a pickle's stack and in its memo: only what tells what is imported and called.

use std::collections::HashMap;

/// A value as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Value {
    /// A plain value: a number, a list, nothing.
    #[default]
    Opaque,
    /// What a call made, or what comes from outside.
    Made,
    /// A text that could name something.
    Text(u32),
    /// Something imported: its module and its name.
    Global(u32, u32),
    /// Something imported whose name does not stand in the pickle.
    Unresolved,
    /// Bytes that were looked into as the file that they are.
    Seen,
    /// A tuple of such bytes alone.
    OfSeen,
    /// Nothing, as a value.
    Empty,
    Int(i64),
    /// Values whose content may say how long an array is: places in [`Arrays`](super::array::Arrays).
    Tuple(u32),
    EmptyTuple,
    State(u32),
    Dtype(u32),
    /// The class of the placeholders of joblib's arrays, and one of them.
    WrapperClass,
    Wrapper(u32),
    /// Imported under a name that is harmless wherever it is found, from a module that most likely does not exist.
    Absent,
}

/// The longest text that can name something: longer ones import nothing.
const MOST_NAME_BYTES: usize = 256;

/// Texts are remembered up to this many bytes for a whole pickle. What comes later names nothing any more, and what it would have named counts as
/// unresolved.
const MOST_TEXT_BYTES: usize = 16 << 20;

/// Places in the memo, and on the stack, at most.
pub(super) const MOST_PLACES: usize = 4 << 20;

/// The texts of a pickle, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    known: HashMap<Box<str>, u32>,
    all: Vec<Box<str>>,
    bytes: usize,
}

impl Texts {
    /// A text's value.
    pub(super) fn value(&mut self, bytes: &[u8]) -> Value {
        if bytes.len() > MOST_NAME_BYTES {
            return Value::Opaque;
        }
        std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| self.number(text))
            .map_or(Value::Opaque, Value::Text)
    }

    /// The number of a text; `None` when there is no room for it.
    pub(super) fn number(&mut self, text: &str) -> Option<u32> {
        if let Some(known) = self.known.get(text) {
            return Some(*known);
        }
        self.bytes += 2 * text.len() + 64;
        if self.bytes > MOST_TEXT_BYTES {
            return None;
        }
        let number = u32::try_from(self.all.len()).ok()?;
        self.known.insert(text.into(), number);
        self.all.push(text.into());
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> &str {
        self.all.get(number as usize).map_or("", |text| text)
    }
}

/// What was remembered under a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    places: HashMap<u64, Value, foldhash::fast::RandomState>,
}

impl Memo {
    pub(super) fn get(&self, place: u64) -> Option<Value> {
        self.places.get(&place).copied()
    }

    /// How many places are taken: the number of the next one that has none of its own.
    pub(super) fn count(&self) -> u64 {
        self.places.len() as u64
    }

    /// False when there is no room.
    pub(super) fn put(&mut self, place: u64, value: Value) -> bool {
        if self.places.len() >= MOST_PLACES && !self.places.contains_key(&place) {
            return false;
        }
        self.places.insert(place, value);
        true
    }
}
