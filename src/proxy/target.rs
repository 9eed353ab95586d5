//! Request targets: which paths are taken at all.
//!
//! A path is kept percent-encoded as the client wrote it; this file only decides that every reader of it, however it decodes, sees the same
//! segments. Left out: what the segments mean.

use percent_encoding::percent_decode_str;

/// Longest path and query taken, in bytes.
pub const LONGEST_BYTES: usize = 8 << 10;

/// Why a target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the address is longer than {LONGEST_BYTES} bytes")]
    TooLong,
    #[error("the address has a broken percent-encoding")]
    BrokenEncoding,
    #[error("the address is not UTF-8 once decoded")]
    NotUtf8,
    #[error("the address holds a control character or a backslash")]
    ForbiddenCharacter,
    #[error("the address holds a segment `.` or `..`")]
    DotSegment,
}

/// Checks a path that starts with a slash, and the query behind it.
pub fn check(path: &str, query: Option<&str>) -> Result<(), TargetError> {
    if path.len() + query.map_or(0, str::len) > LONGEST_BYTES {
        return Err(TargetError::TooLong);
    }
    check_encoding(path)?;
    if !path.contains(['%', '\\', '.']) && !path.bytes().any(|byte| byte.is_ascii_control()) {
        return Ok(());
    }
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| TargetError::NotUtf8)?;
    if decoded.chars().any(|character| character.is_control() || character == '\\') {
        return Err(TargetError::ForbiddenCharacter);
    }
    match decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
        true => Err(TargetError::DotSegment),
        false => Ok(()),
    }
}

/// Every `%` is followed by two hexadecimal digits; anything else is read differently by different parsers.
fn check_encoding(path: &str) -> Result<(), TargetError> {
    let bytes = path.as_bytes();
    let whole = memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
    });
    if whole { Ok(()) } else { Err(TargetError::BrokenEncoding) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused() {
        use TargetError::{BrokenEncoding, DotSegment, ForbiddenCharacter, NotUtf8, TooLong};
        let expect = |path: &str, expected: Result<(), TargetError>| {
            assert_eq!(check(path, None), expected, "{path}");
        };
        for fine in
            ["/simple/six/", "/a%2Fb", "/a..b/.c/d.", "/%E2%82%AC", "/a%252e%252e/b", "/x+y@z~"]
        {
            expect(fine, Ok(()));
        }
        for dots in ["/../x", "/a/..", "/a/./b", "/%2e%2e/x", "/a/.%2E/b", "/a/..%2fb", "/%2e/x"] {
            expect(dots, Err(DotSegment));
        }
        for hidden in ["/a%00b", "/a%0d%0ab", "/a\\b", "/a%5cb", "/a%7f"] {
            expect(hidden, Err(ForbiddenCharacter));
        }
        for broken in ["/a%", "/a%2", "/a%zz", "/%%20"] {
            expect(broken, Err(BrokenEncoding));
        }
        for bytes in ["/a%ff", "/a%c0%ae%c0%ae/b"] {
            expect(bytes, Err(NotUtf8));
        }
        expect(&format!("/{}", "a".repeat(LONGEST_BYTES)), Err(TooLong));
    }
}
