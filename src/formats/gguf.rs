//! GGUF: facts by name, a table of tensors, and their bytes, each at a multiple of an alignment.
//!
//! The facts are read where they lie, so that a vocabulary of a hundred thousand words costs nothing. Versions 2 and 3 are read, in both orders of bytes; the
//! first one is read by no loader any more. Left out: what the facts mean, but for the few that say how the file was made.

use std::collections::{BTreeMap, HashSet};

use super::Reading;

mod encoding;

pub use encoding::{encoding_name, file_type_name};

use encoding::encoding;

/// What every file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The longest header that is read. Real ones have a few MiB, for the vocabulary.
pub const MOST_HEADER_BYTES: u64 = 256 << 20;

/// Where tensors may begin if the file does not say otherwise.
const ALIGNMENT: u64 = 32;

/// The most sides of a tensor.
const MOST_SIDES: u32 = 4;

/// How deep arrays may lie within arrays. Loaders take none at all.
const MOST_DEPTH: u8 = 3;

/// What a file says of itself. Borrows from the bytes that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Header<'a> {
    pub version: u32,
    pub order: Order,
    /// In the order of the file.
    pub facts: Vec<(&'a str, Value<'a>)>,
    /// In the order of the file.
    pub tensors: Vec<Tensor<'a>>,
    /// Where offsets of tensors are counted from.
    pub data_at: u64,
}

/// The order of bytes in all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Array(Array<'a>),
}

/// Facts of one kind, where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    kind: u32,
    pub length: u64,
    bytes: &'a [u8],
    order: Order,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    pub name: &'a str,
    pub shape: Vec<u64>,
    /// How its numbers are written; see [`encoding_name`].
    pub encoding: u32,
    /// Counted from [`Header::data_at`].
    pub offset: u64,
}

/// Why a file is no GGUF file that all readers see alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file does not begin as GGUF files do")]
    NotGguf,
    #[error("version {0} is not read by anybody")]
    Version(u32),
    #[error("the header is longer than {MOST_HEADER_BYTES} bytes")]
    TooLong,
    #[error("the file ends within its header")]
    Truncated,
    #[error("a name or text is not UTF-8")]
    NotText,
    #[error("{0:?} has a value of the unknown kind {1}")]
    Kind(String, u32),
    #[error("{0:?} has arrays within arrays, too deep")]
    Deep(String),
    #[error("{0:?} is there twice")]
    Twice(String),
    #[error("the alignment {0} is none")]
    Alignment(u64),
    #[error("{name:?} has {sides} sides")]
    Sides { name: String, sides: u32 },
    #[error("{0:?} has a shape that cannot be written so")]
    Shape(String),
    #[error("{0:?} begins where no tensor may")]
    Misaligned(String),
    #[error("{name:?} overlaps {other:?}")]
    Overlap { name: String, other: String },
    #[error("{name:?} ends at byte {end} of a file of {found} bytes")]
    FileSize { name: String, end: u64, found: u64 },
}

/// Reads the header. `file_bytes` is the size of the whole file, where it is known; the ends of the tensors are compared with it.
///
/// How much is needed is not known before it was read: [`Reading::Needs`] asks for at least twice of what was given, so that all reading together takes
/// a few times as long as reading once.
pub fn read(prefix: &[u8], file_bytes: Option<u64>) -> Reading<Header<'_>, Fault> {
    let mut cursor = Cursor { bytes: prefix, at: 0, order: Order::Little, needed: 0 };
    match header(&mut cursor).and_then(|header| checked(header, file_bytes)) {
        Ok(header) => Reading::Read(header),
        Err(Stop::Fault(fault)) => Reading::Broken(fault),
        Err(Stop::Short) => wanted(prefix.len() as u64, cursor.needed, file_bytes),
    }
}

/// What to ask for when `given` bytes were too few, of which `needed` is known.
fn wanted<'a>(given: u64, needed: u64, file_bytes: Option<u64>) -> Reading<Header<'a>, Fault> {
    if needed > MOST_HEADER_BYTES {
        return Reading::Broken(Fault::TooLong);
    }
    if file_bytes.is_some_and(|found| needed > found) {
        return Reading::Broken(Fault::Truncated);
    }
    let generous = given.saturating_mul(2).clamp(64 << 10, MOST_HEADER_BYTES);
    Reading::Needs(needed.max(generous.min(file_bytes.unwrap_or(u64::MAX))))
}

impl<'a> Header<'a> {
    /// The fact of a name.
    pub fn fact(&self, name: &str) -> Option<Value<'a>> {
        self.facts.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    /// The text of a name.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.fact(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a name, where it is a whole one and not negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.fact(name)? {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The architecture, which begins the names of its own facts.
    pub fn architecture(&self) -> Option<&'a str> {
        self.text("general.architecture")
    }

    /// How most tensors are written, by the name that people know: `Q4_K_M`.
    pub fn file_type(&self) -> Option<&'static str> {
        file_type_name(self.number("general.file_type")?)
    }

    /// The longest text that the model was made for.
    pub fn context_length(&self) -> Option<u64> {
        self.number(&format!("{}.context_length", self.architecture()?))
    }

    /// Every text that loaders run as a template, with its name.
    pub fn chat_templates(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.facts.iter().filter_map(|(name, value)| match value {
            Value::Text(text) if name.starts_with("tokenizer.chat_template") => {
                Some((*name, *text))
            }
            _ => None,
        })
    }

    /// How many numbers there are in each encoding.
    pub fn numbers(&self) -> BTreeMap<u32, u64> {
        let mut numbers = BTreeMap::new();
        for tensor in &self.tensors {
            let sum = numbers.entry(tensor.encoding).or_insert(0_u64);
            *sum = sum.saturating_add(tensor.numbers().unwrap_or(u64::MAX));
        }
        numbers
    }
}

impl Tensor<'_> {
    /// The product of its shape; `None` beyond what 64 bits count.
    pub fn numbers(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side))
    }

    /// Its bytes; `Err` where its shape does not fit its encoding, `None` where that is not known here.
    fn bytes(&self) -> Result<Option<u64>, Fault> {
        let wrong = || Fault::Shape(self.name.to_owned());
        let numbers = self.numbers().ok_or_else(wrong)?;
        let Some((_, block, bytes)) = encoding(self.encoding) else { return Ok(None) };
        let row = self.shape.first().copied().unwrap_or(1);
        if row % block != 0 {
            return Err(wrong());
        }
        (numbers / block).checked_mul(bytes).map(Some).ok_or_else(wrong)
    }
}

impl<'a> Array<'a> {
    /// Its texts, where it is one of texts.
    pub fn texts(&self) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
        let mut cursor = Cursor { bytes: self.bytes, at: 0, order: self.order, needed: 0 };
        let texts = std::iter::from_fn(move || cursor.text().ok());
        (self.kind == TEXT).then_some(texts)
    }
}

/// Why reading stops.
enum Stop {
    /// There are not enough bytes; [`Cursor::needed`] says how many there should be.
    Short,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, Stop> {
    let given = cursor.bytes.len().min(MAGIC.len());
    if cursor.bytes[..given] != MAGIC[..given] {
        return Err(Fault::NotGguf.into());
    }
    cursor.take(4)?;
    let mut version = cursor.number_32()?;
    // A number that is enormous in one order is small in the other.
    if version.trailing_zeros() >= 16 && version != 0 {
        cursor.order = Order::Big;
        version = version.swap_bytes();
    }
    if !matches!(version, 2 | 3) {
        return Err(Fault::Version(version).into());
    }
    let tensors = cursor.number_64()?;
    let facts = cursor.number_64()?;
    let facts = read_facts(cursor, facts)?;
    let tensors = read_tensors(cursor, tensors)?;
    let mut header = Header { version, order: cursor.order, facts, tensors, data_at: 0 };
    header.data_at = cursor.at.next_multiple_of(alignment(&header)?);
    Ok(header)
}

fn alignment(header: &Header<'_>) -> Result<u64, Fault> {
    match header.fact("general.alignment") {
        None => Ok(ALIGNMENT),
        Some(Value::Unsigned(number)) if number.is_power_of_two() && number <= 1 << 20 => {
            Ok(number)
        }
        Some(Value::Unsigned(number)) => Err(Fault::Alignment(number)),
        Some(_) => Err(Fault::Alignment(0)),
    }
}

fn read_facts<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<(&'a str, Value<'a>)>, Stop> {
    // The vectors grow with what was read, whatever the count claims.
    let mut facts = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = cursor.text()?;
        if !seen.insert(name) {
            return Err(Fault::Twice(name.to_owned()).into());
        }
        let kind = cursor.number_32()?;
        facts.push((name, cursor.value(name, kind)?));
    }
    Ok(facts)
}

fn read_tensors<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<Tensor<'a>>, Stop> {
    let mut tensors = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = cursor.text()?;
        if !seen.insert(name) {
            return Err(Fault::Twice(name.to_owned()).into());
        }
        let sides = cursor.number_32()?;
        if sides > MOST_SIDES {
            return Err(Fault::Sides { name: name.to_owned(), sides }.into());
        }
        let shape = (0..sides).map(|_| cursor.number_64()).collect::<Result<_, _>>()?;
        let encoding = cursor.number_32()?;
        let offset = cursor.number_64()?;
        tensors.push(Tensor { name, shape, encoding, offset });
    }
    Ok(tensors)
}

/// Compares the tensors with each other and with the size of the file.
fn checked<'a>(header: Header<'a>, file_bytes: Option<u64>) -> Result<Header<'a>, Stop> {
    let alignment = alignment(&header)?;
    let mut places: Vec<&Tensor<'_>> = header.tensors.iter().collect();
    places.sort_by_key(|tensor| tensor.offset);
    let mut before: Option<(&str, u64)> = None;
    for tensor in places {
        let name = || tensor.name.to_owned();
        if tensor.offset % alignment != 0 {
            return Err(Fault::Misaligned(name()).into());
        }
        if let Some((other, end)) = before
            && tensor.offset < end
        {
            return Err(Fault::Overlap { name: name(), other: other.to_owned() }.into());
        }
        // Of an encoding that is not known, the tensor has one byte at least, unless it is empty.
        let least = u64::from(tensor.numbers() != Some(0));
        let bytes = tensor.bytes()?.unwrap_or(least);
        let end = tensor.offset.checked_add(bytes).ok_or_else(|| Fault::Shape(name()))?;
        let end_in_file = header.data_at.checked_add(end).ok_or_else(|| Fault::Shape(name()))?;
        if let Some(found) = file_bytes.filter(|found| *found < end_in_file) {
            return Err(Fault::FileSize { name: name(), end: end_in_file, found }.into());
        }
        before = Some((tensor.name, end));
    }
    Ok(header)
}

/// The kinds of values.
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a value whose kind has a fixed size.
const fn fixed(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | BOOL => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A place in the bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: u64,
    order: Order,
    /// Where the last thing that was wanted ends.
    needed: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Stop> {
        let end = self.at.saturating_add(count);
        self.needed = end;
        let range = usize::try_from(self.at).ok().zip(usize::try_from(end).ok());
        let taken = range.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(Stop::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut bytes: [u8; N] = self.take(N as u64)?.try_into().map_err(|_| Stop::Short)?;
        if self.order == Order::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn number_32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn number_64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<&'a str, Stop> {
        let length = self.number_64()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| Fault::NotText.into())
    }

    fn value(&mut self, name: &str, kind: u32) -> Result<Value<'a>, Stop> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.number_32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            BOOL => Value::Bool(self.array::<1>()? != [0]),
            TEXT => Value::Text(self.text()?),
            ARRAY => {
                let kind = self.number_32()?;
                let length = self.number_64()?;
                let start = self.at;
                self.skip(name, kind, length, 0)?;
                let range = usize::try_from(start).ok().zip(usize::try_from(self.at).ok());
                let bytes = range.and_then(|(start, end)| self.bytes.get(start..end));
                Value::Array(Array { kind, length, bytes: bytes.unwrap_or(&[]), order: self.order })
            }
            10 => Value::Unsigned(self.number_64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(Fault::Kind(name.to_owned(), other).into()),
        })
    }

    /// Goes past so many values of a kind. Each has at least a byte, so that this takes no longer than there are bytes.
    fn skip(&mut self, name: &str, kind: u32, count: u64, depth: u8) -> Result<(), Stop> {
        if let Some(each) = fixed(kind) {
            return self.take(count.saturating_mul(each)).map(|_| ());
        }
        match kind {
            TEXT => (0..count).try_for_each(|_| self.text().map(|_| ())),
            ARRAY if depth < MOST_DEPTH => (0..count).try_for_each(|_| {
                let kind = self.number_32()?;
                let length = self.number_64()?;
                self.skip(name, kind, length, depth + 1)
            }),
            ARRAY => Err(Fault::Deep(name.to_owned()).into()),
            other => Err(Fault::Kind(name.to_owned(), other).into()),
        }
    }
}

#[cfg(test)]
mod tests;
