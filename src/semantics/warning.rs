//! The `Warning` field: what a client's user should know of an answer that is given all the same.
//!
//! RFC 9111 (section 5.5) took the field back, but no other says such a thing, and the OCI distribution specification (Warnings) has its clients print
//! it in one form alone: the code 299, `-` for the agent, and no date. Every answer of Larder's has that form.

use http::{HeaderMap, HeaderValue, header};

/// The longest text that a field carries, in characters.
const MOST_CHARACTERS: usize = 1000;

/// Adds a warning to the fields of an answer. What cannot stand in a field is left out of the text.
pub fn warn(headers: &mut HeaderMap, text: &str) {
    let plain = text.chars().filter(|c| c.is_ascii() && !c.is_control());
    let quoted: String = plain.take(MOST_CHARACTERS).collect();
    let value = format!("299 - \"{}\"", quoted.replace(['"', '\\'], "'"));
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.append(header::WARNING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_cannot_break_out_of_its_field() {
        let check = |text: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            warn(&mut headers, text);
            assert_eq!(headers[header::WARNING], expected);
        };
        check("gone upstream", "299 - \"gone upstream\"");
        check("a \"b\"\r\nX: \\y", "299 - \"a 'b'X: 'y\"");
        check("é", "299 - \"\"");
        check(&"x".repeat(5000), &format!("299 - \"{}\"", "x".repeat(MOST_CHARACTERS)));
    }
}
