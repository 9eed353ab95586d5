//! Safetensors: eight bytes that tell the length of a JSON header, the header, and the tensors without gaps.
//!
//! The format's own reader refuses what is checked here (a header that is too long, tensors that leave holes, overlap or end elsewhere than the file), but for
//! duplicate names, of which it takes the last one; here they are a fault, since two readers may see two models in one file. A type of number that is not known
//! here is no fault: new ones appear every year.

use std::collections::HashSet;
use std::collections::btree_map::{self, BTreeMap};
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Reading;

/// The longest header that readers take.
pub const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Where the header begins.
const HEADER_AT: u64 = 8;

/// The name in the header that is no tensor's.
const METADATA: &str = "__metadata__";

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// In the order of their bytes.
    pub tensors: Vec<Tensor>,
    /// Free text, such as `format: pt`.
    pub metadata: BTreeMap<String, String>,
    /// Where the first tensor begins.
    pub data_at: u64,
    /// Bytes of all tensors.
    pub data_bytes: u64,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Its first byte and the one behind its last, counted from [`Header::data_at`].
    pub begin: u64,
    pub end: u64,
}

/// The type of a tensor's numbers, as the format writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dtype(Box<str>);

/// Why a file is no safetensors file that all readers see alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file of {0} bytes has no room for the header that it announces")]
    NoRoom(u64),
    #[error(
        "the header is announced with {0} bytes, and {MOST_HEADER_BYTES} are the most that any reader takes"
    )]
    TooLong(u64),
    #[error("the header does not begin with a brace")]
    NoObject,
    #[error("the header is no JSON of tensors: {0}")]
    NotJson(String),
    #[error("{0:?} is named twice")]
    Twice(String),
    #[error("{0:?} has more numbers than can be counted")]
    Uncountable(String),
    #[error("{name:?} has {found} bytes, where its shape makes {expected}")]
    Size { name: String, expected: u64, found: u64 },
    #[error("{0:?} ends before it begins")]
    Backwards(String),
    #[error("{bytes} bytes before {name:?} belong to no tensor")]
    Hole { name: String, bytes: u64 },
    #[error("{name:?} overlaps {other:?}")]
    Overlap { name: String, other: String },
    #[error("the tensors end at byte {expected} of a file of {found} bytes")]
    FileSize { expected: u64, found: u64 },
}

/// Reads the header. `file_bytes` is the size of the whole file, where it is known; the end of the last tensor is compared with it.
pub fn read(prefix: &[u8], file_bytes: Option<u64>) -> Reading<Header, Fault> {
    if let Some(found) = file_bytes.filter(|found| *found < HEADER_AT) {
        return Reading::Broken(Fault::NoRoom(found));
    }
    let Some((length, rest)) = prefix.split_first_chunk::<8>() else {
        return Reading::Needs(HEADER_AT);
    };
    let length = u64::from_le_bytes(*length);
    if length > MOST_HEADER_BYTES {
        return Reading::Broken(Fault::TooLong(length));
    }
    let data_at = HEADER_AT + length;
    if let Some(found) = file_bytes.filter(|found| *found < data_at) {
        return Reading::Broken(Fault::NoRoom(found));
    }
    if rest.first().is_some_and(|first| *first != b'{') {
        return Reading::Broken(Fault::NoObject);
    }
    let text = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let Some(text) = text else { return Reading::Needs(data_at) };
    match header(text, data_at, file_bytes) {
        Ok(header) => Reading::Read(header),
        Err(fault) => Reading::Broken(fault),
    }
}

impl Header {
    /// How many numbers of each type there are. Packed weights are counted as they are stored.
    pub fn numbers(&self) -> BTreeMap<&Dtype, u64> {
        let mut numbers = BTreeMap::new();
        for tensor in &self.tensors {
            let sum = numbers.entry(&tensor.dtype).or_insert(0_u64);
            *sum = sum.saturating_add(tensor.numbers().unwrap_or(u64::MAX));
        }
        numbers
    }
}

impl Tensor {
    /// The product of its shape; `None` beyond what 64 bits count.
    pub fn numbers(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side))
    }
}

impl Dtype {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bits of one number; `None` for a type that is not known here.
    pub fn bits(&self) -> Option<u64> {
        match self.as_str() {
            "F4" => Some(4),
            "F6_E2M3" | "F6_E3M2" => Some(6),
            "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
            | "F8_E5M2FNUZ" => Some(8),
            "U16" | "I16" | "F16" | "BF16" => Some(16),
            "U32" | "I32" | "F32" => Some(32),
            "U64" | "I64" | "F64" | "C64" => Some(64),
            _ => None,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The header's JSON, before its tensors were compared with each other.
#[derive(Debug, Default)]
struct Listed {
    tensors: Vec<Tensor>,
    metadata: BTreeMap<String, String>,
    twice: Option<String>,
}

fn header(text: &[u8], data_at: u64, file_bytes: Option<u64>) -> Result<Header, Fault> {
    if text.is_empty() {
        return Err(Fault::NoObject);
    }
    let listed: Listed =
        serde_json::from_slice(text).map_err(|error| Fault::NotJson(error.to_string()))?;
    if let Some(name) = listed.twice {
        return Err(Fault::Twice(name));
    }
    let Listed { mut tensors, metadata, .. } = listed;
    tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
    let mut end = 0;
    let mut previous = "";
    for tensor in &tensors {
        check_size(tensor)?;
        if tensor.begin < end {
            let other = previous.to_owned();
            return Err(Fault::Overlap { name: tensor.name.clone(), other });
        }
        if tensor.begin > end {
            let bytes = tensor.begin - end;
            return Err(Fault::Hole { name: tensor.name.clone(), bytes });
        }
        end = tensor.end;
        previous = &tensor.name;
    }
    let expected = data_at.saturating_add(end);
    match file_bytes.filter(|found| *found != expected) {
        Some(found) => Err(Fault::FileSize { expected, found }),
        None => Ok(Header { tensors, metadata, data_at, data_bytes: end }),
    }
}

fn check_size(tensor: &Tensor) -> Result<(), Fault> {
    let name = || tensor.name.clone();
    let found = tensor.end.checked_sub(tensor.begin).ok_or_else(|| Fault::Backwards(name()))?;
    let numbers = tensor.numbers().ok_or_else(|| Fault::Uncountable(name()))?;
    let Some(bits) = tensor.dtype.bits() else { return Ok(()) };
    let bits = numbers.checked_mul(bits).ok_or_else(|| Fault::Uncountable(name()))?;
    let expected = bits.div_ceil(8);
    match found == expected {
        true => Ok(()),
        false => Err(Fault::Size { name: name(), expected, found }),
    }
}

/// An entry of the header. Unknown fields are left alone, duplicate ones are refused.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: Box<str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                // The rest is read all the same, so that what is no JSON at all is told as that.
                map.next_value::<IgnoredAny>()?;
                listed.twice.get_or_insert(name);
            } else if name == METADATA {
                let (texts, twice) = map.next_value_seed(Texts)?;
                listed.metadata = texts;
                listed.twice = listed.twice.or(twice);
            } else {
                let Entry { dtype, shape, data_offsets: (begin, end) } = map.next_value()?;
                listed.tensors.push(Tensor { name, dtype: Dtype(dtype), shape, begin, end });
            }
        }
        Ok(listed)
    }
}

/// Reads the free texts, and the first name among them that is there twice.
struct Texts;

impl<'de> DeserializeSeed<'de> for Texts {
    type Value = (BTreeMap<String, String>, Option<String>);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = (BTreeMap<String, String>, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeMap::new();
        let mut twice = None;
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            match texts.entry(name) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(text);
                }
                btree_map::Entry::Occupied(place) => {
                    twice.get_or_insert_with(|| place.key().clone());
                }
            }
        }
        Ok((texts, twice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}   "#;

    #[test]
    fn a_header_is_read_from_the_bytes_that_it_needs() {
        let bytes = file(TWO, 22);
        let size = Some(bytes.len() as u64);
        let whole = 8 + TWO.len() as u64;
        assert_eq!(read(&[], size), Reading::Needs(8));
        assert_eq!(read(&bytes[..7], size), Reading::Needs(8));
        assert_eq!(read(&bytes[..8], size), Reading::Needs(whole));
        assert_eq!(read(&bytes[..bytes.len() - 23], size), Reading::Needs(whole));
        let header = read(&bytes[..bytes.len() - 22], size).read().expect("a header");
        assert_eq!(read(&bytes, None).read().as_ref(), Some(&header));
        let names: Vec<&str> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((header.data_at, header.data_bytes), (whole, 22));
        assert_eq!(header.metadata["format"], "pt");
        let numbers: Vec<_> =
            header.numbers().into_iter().map(|(dtype, count)| (dtype.as_str(), count)).collect();
        assert_eq!(numbers, [("BF16", 3), ("F32", 4)]);
    }

    #[test]
    fn what_does_not_add_up_is_told() {
        let check = |header: &str, data: usize, expected: &str| {
            let bytes = file(header, data);
            match read(&bytes, Some(bytes.len() as u64)) {
                Reading::Broken(fault) => {
                    assert!(fault.to_string().contains(expected), "{header}: {fault}");
                }
                other => panic!("{header}: {other:?}"),
            }
        };
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        check("", 0, "begin with a brace");
        check("[]", 0, "begin with a brace");
        check(" {}", 0, "begin with a brace");
        check("{", 0, "no JSON");
        check("{} x", 0, "no JSON");
        check(r#"{"a":1}"#, 0, "no JSON");
        check(r#"{"__metadata__":{"a":1}}"#, 0, "no JSON");
        check(r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0, r#""a" is named twice"#);
        check(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "named twice");
        let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
        check(twice, 2, r#""a" is named twice"#);
        check(&one("F32", "[2]", "[0,7]"), 7, "7 bytes, where its shape makes 8");
        check(&one("F4", "[3]", "[0,1]"), 1, "1 bytes, where its shape makes 2");
        check(&one("U8", "[4294967296,4294967296]", "[0,1]"), 1, "than can be counted");
        check(&one("F64", "[1152921504606846976]", "[0,1]"), 1, "than can be counted");
        check(&one("U8", "[1]", "[1,0]"), 1, "ends before it begins");
        check(&one("U8", "[-1]", "[0,1]"), 1, "no JSON");
        check(&one("U8", "[1]", "[1,2]"), 2, "1 bytes before");
        check(&one("U8", "[1]", "[0,1]"), 2, "a file of");
        check(&one("U8", "[1]", "[0,1]"), 0, "a file of");
        let overlap = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
        check(overlap, 3, r#""b" overlaps "a""#);
        let hidden = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"I8"}}"#;
        check(hidden, 1, "duplicate field");
    }

    #[test]
    fn lengths_are_not_believed() {
        let announced = |length: u64| length.to_le_bytes().to_vec();
        assert_eq!(read(&announced(u64::MAX), None), Reading::Broken(Fault::TooLong(u64::MAX)));
        assert_eq!(read(&announced(99), Some(50)), Reading::Broken(Fault::NoRoom(50)));
        assert_eq!(read(&[1, 2], Some(2)), Reading::Broken(Fault::NoRoom(2)));
        assert_eq!(read(&announced(99), None), Reading::Needs(107));
    }

    #[test]
    fn unknown_numbers_and_empty_tensors_are_no_fault() {
        let check = |header: &str, data: usize| {
            let bytes = file(header, data);
            assert!(read(&bytes, Some(bytes.len() as u64)).read().is_some(), "{header}");
        };
        check("{}", 0);
        check(r#"{"a":{"dtype":"F3_NEW","shape":[9],"data_offsets":[0,4]}}"#, 4);
        check(
            r#"{"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#,
            1,
        );
        check(r#"{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2],"extra":[1]}}"#, 2);
    }
}
