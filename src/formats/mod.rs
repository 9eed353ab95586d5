//! Readers of the files that models come in: what their first bytes say of the rest. Pure: bytes in, facts or a fault out.
//!
//! A reader is given the beginning of a file, as much as there is, and says whether that is enough ([`Reading`]). It believes nothing: every length, offset and name
//! is checked against the others and against the size of the file, memory grows with what was read and never with what a number claims, and whatever does
//! not add up is a fault with a name. Left out: the numbers in the tensors, and any judgement of what was found.

pub mod gguf;
pub mod safetensors;

/// What the beginning of a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T, F> {
    /// The beginning is too short: the first so many bytes of the file are needed, at least. More than were given, and never more than the file has.
    Needs(u64),
    Read(T),
    /// The file is not what it should be.
    Broken(F),
}

impl<T, F> Reading<T, F> {
    /// What was read, where it was.
    pub fn read(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Needs(_) | Self::Broken(_) => None,
        }
    }
}
