//! How a head is written in a record: short, because the index holds one for every artifact.
//!
//! A varint of the status, then each field: one byte naming the field, one byte naming its value, and what that leaves open.
//!
//! - Name: its place in [`NAMES`] plus one; or 0, a varint of the length, and the name.
//! - Value: its place in [`VALUES`] plus [`FIRST_VALUE`]; or [`LITERAL`], a varint of the length, and the bytes; or [`DATE`] and a varint of
//!   the seconds since the epoch; or [`QUOTED_HEX`], a byte of length, and the bytes that the quoted hexadecimal digits say; or
//!   [`NUMBER`] and a varint.
//!
//! The lists are part of the disk format: they are appended to, never reordered. A field is coded only if decoding gives the same bytes.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header};

use crate::types::{Head, Timestamp};

const LITERAL: u8 = 0;
const DATE: u8 = 1;
const QUOTED_HEX: u8 = 2;
const NUMBER: u8 = 3;
const FIRST_VALUE: u8 = 16;

static NAMES: [HeaderName; 40] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::VARY,
    header::DATE,
    header::EXPIRES,
    header::AGE,
    header::LINK,
    header::LOCATION,
    header::ACCEPT_RANGES,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::STRICT_TRANSPORT_SECURITY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    header::CONTENT_SECURITY_POLICY,
    header::REFERRER_POLICY,
    header::SERVER,
    header::VIA,
    header::WARNING,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::PRAGMA,
    header::ALLOW,
    header::CACHE_STATUS,
    header::CDN_CACHE_CONTROL,
    header::ALT_SVC,
    header::TRAILER,
    header::REFRESH,
];

static VALUES: [&str; 38] = [
    "application/octet-stream",
    "application/json",
    "text/html",
    "text/html; charset=utf-8",
    "text/html; charset=UTF-8",
    "text/plain",
    "text/plain; charset=utf-8",
    "text/plain; charset=UTF-8",
    "application/json; charset=utf-8",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/xml",
    "binary/octet-stream",
    "gzip",
    "br",
    "zstd",
    "identity",
    "bytes",
    "none",
    "*",
    "accept",
    "Accept",
    "accept-encoding",
    "Accept-Encoding",
    "nosniff",
    "deny",
    "DENY",
    "no-cache",
    "no-store",
    "public",
    "private",
    "immutable",
    "max-age=0",
    "public, max-age=31536000, immutable",
    "max-age=31536000, immutable",
    "max-age=365000000, immutable, public",
];

/// The coded form of a head.
pub(crate) fn encode(head: &Head) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    put_varint(&mut out, u64::from(head.status.as_u16()));
    for (name, value) in &head.headers {
        put_name(&mut out, name);
        put_value(&mut out, value);
    }
    out
}

/// Reads a coded head; `None` when it is damaged.
pub(crate) fn decode(mut coded: &[u8]) -> Option<Head> {
    let status = u16::try_from(take_varint(&mut coded)?).ok()?;
    let mut head = Head::new(StatusCode::from_u16(status).ok()?);
    head.headers = HeaderMap::with_capacity(8);
    while !coded.is_empty() {
        let name = take_name(&mut coded)?;
        let value = take_value(&mut coded)?;
        head.headers.try_append(name, value).ok()?;
    }
    Some(head)
}

fn put_name(out: &mut Vec<u8>, name: &HeaderName) {
    match NAMES.iter().position(|known| known == name).and_then(|place| u8::try_from(place).ok()) {
        Some(place) => out.push(place + 1),
        None => {
            out.push(0);
            put_bytes(out, name.as_str().as_bytes());
        }
    }
}

fn take_name(coded: &mut &[u8]) -> Option<HeaderName> {
    match take_byte(coded)?.checked_sub(1) {
        Some(place) => NAMES.get(usize::from(place)).cloned(),
        None => HeaderName::from_bytes(take_bytes(coded)?).ok(),
    }
}

fn put_value(out: &mut Vec<u8>, value: &HeaderValue) {
    if let Some(place) = VALUES.iter().position(|known| value == known) {
        out.push(FIRST_VALUE + u8::try_from(place).expect("the list is short"));
    } else if let Some(seconds) = as_date(value) {
        out.push(DATE);
        put_varint(out, seconds);
    } else if let Some(raw) = as_quoted_hex(value) {
        out.extend([QUOTED_HEX, u8::try_from(raw.len()).expect("it was found to be short")]);
        out.extend(raw);
    } else if let Some(number) = as_number(value) {
        out.push(NUMBER);
        put_varint(out, number);
    } else {
        out.push(LITERAL);
        put_bytes(out, value.as_bytes());
    }
}

fn take_value(coded: &mut &[u8]) -> Option<HeaderValue> {
    match take_byte(coded)? {
        LITERAL => HeaderValue::from_bytes(take_bytes(coded)?).ok(),
        DATE => {
            let date = Timestamp::from_secs(take_varint(coded)?).to_http_date();
            HeaderValue::from_maybe_shared(bytes::Bytes::from(date)).ok()
        }
        QUOTED_HEX => {
            let length = usize::from(take_byte(coded)?);
            let digits = hex::encode(coded.split_off(..length)?);
            HeaderValue::from_str(&format!("\"{digits}\"")).ok()
        }
        NUMBER => Some(take_varint(coded)?.into()),
        place => VALUES
            .get(usize::from(place.checked_sub(FIRST_VALUE)?))
            .map(|value| HeaderValue::from_static(value)),
    }
}

fn as_date(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.ends_with(" GMT"))?;
    let date = Timestamp::from_http_date(text)?;
    (date.to_http_date() == text).then(|| date.secs())
}

fn as_quoted_hex(value: &HeaderValue) -> Option<Vec<u8>> {
    let digits = value.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() > 128 || !digits.iter().all(plain) {
        return None;
    }
    hex::decode(digits).ok()
}

fn as_number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(coded: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(coded)?).ok()?;
    coded.split_off(..length)
}

fn take_byte(coded: &mut &[u8]) -> Option<u8> {
    coded.split_off_first().copied()
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(coded: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take_byte(coded)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &'static [u8])]) -> Head {
        let mut head = Head::new(StatusCode::OK);
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value).expect("a field value");
            head.headers.append(HeaderName::from_static(name), value);
        }
        head
    }

    fn check(fields: &[(&'static str, &'static [u8])], longest: usize) {
        let head = head(fields);
        let coded = encode(&head);
        assert_eq!(decode(&coded).as_ref(), Some(&head), "{head:?}");
        assert!(coded.len() <= longest, "{} bytes for {head:?}", coded.len());
    }

    #[test]
    fn common_fields_are_short() {
        check(&[], 2);
        check(&[("content-type", b"application/octet-stream")], 4);
        check(&[("last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT")], 9);
        check(&[("etag", b"\"5d41402abc4b2a76b9719d911017c592\"")], 21);
        check(&[("content-length", b"18446744073709551615")], 14);
    }

    #[test]
    fn what_only_looks_common_comes_back_as_it_was() {
        for value in [
            &b"Sunday, 06-Nov-94 08:49:37 GMT"[..],
            b"Sun, 06 Nov 1994 08:49:37 GMT ",
            b"Mon, 06 Nov 1994 08:49:37 GMT",
            b"\"5D41\"",
            b"\"5d4\"",
            b"\"\"",
            b"\"",
            b"5d41",
            b"W/\"5d41\"",
            b"007",
            b"+7",
            b"18446744073709551616",
            b"",
            b"caf\xe9",
            b"APPLICATION/json",
        ] {
            check(&[("x-some", value), ("etag", value)], 80);
        }
        check(&[("vary", b"accept"), ("vary", b"origin"), ("x-a", b"1"), ("vary", b"x")], 32);
    }

    #[test]
    fn lists_have_no_doubles_and_room() {
        for (place, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..place].contains(name), "{name}");
        }
        for (place, value) in VALUES.iter().enumerate() {
            assert!(!VALUES[..place].contains(value), "{value}");
        }
        assert!(NAMES.len() < 255 && VALUES.len() <= 255 - usize::from(FIRST_VALUE));
    }

    #[test]
    fn damage_is_noticed_or_harmless() {
        let coded = encode(&head(&[("etag", b"\"5d41\""), ("x-some", b"value"), ("age", b"9")]));
        for cut in 0..coded.len() {
            let _ = decode(&coded[..cut]);
        }
        for broken in
            [&[][..], &[0], &[0xff; 11], &[200, 1, 1], &[200, 1, 99, 0, 0], &[200, 1, 1, 9]]
        {
            assert_eq!(decode(broken), None, "{broken:?}");
        }
    }
}
