//! NumPy's arrays: a header, and numbers; or, where the header says that the array holds objects, a pickle.

use super::notes::Notes;
use super::report::Kind;
use super::tap::{Machine, Step};

/// Longest header that is read. NumPy itself refuses longer ones than ten thousand letters unless it is told otherwise.
const MOST_HEADER: usize = 1 << 20;

/// Reads the header.
#[derive(Debug, Default)]
pub(super) struct Npy {
    /// Whether a pickle follows the header.
    pub(super) holds_objects: bool,
}

impl Machine for Npy {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let Some(head) = input.get(..12) else { return Step::Need(12) };
        let (start, length) = match head[6] {
            1 => (10, usize::from(u16::from_le_bytes([head[8], head[9]]))),
            _ => (12, u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize),
        };
        if length > MOST_HEADER {
            notes.find(Kind::Unparsable, 0, "the array's header is too long".to_owned());
            return Step::Done(start);
        }
        let Some(header) = input.get(start..start + length) else {
            return Step::Need(start + length);
        };
        self.holds_objects = holds_objects(header);
        Step::Done(start + length)
    }
}

/// Whether a header names objects among the types: a text that is `O` behind a mark of the order of bytes, whatever follows it.
fn holds_objects(header: &[u8]) -> bool {
    let quoted = header.split(|byte| matches!(byte, b'\'' | b'"'));
    // Every other piece stands between quotes; to look at all of them costs nothing and misses none.
    quoted.into_iter().any(|piece| {
        let piece = piece.trim_ascii();
        let name = piece.strip_prefix(b"|").or_else(|| piece.strip_prefix(b"<")).unwrap_or(piece);
        let name = name.strip_prefix(b">").or_else(|| name.strip_prefix(b"=")).unwrap_or(name);
        name == b"O" || name == b"object" || name == b"O8" || name == b"O4" || name.contains(&b'\\')
    })
}
