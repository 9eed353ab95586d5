//! The head of an HTTP response as a value: a status and its fields.

use http::{HeaderMap, HeaderName, StatusCode};

/// Status and header fields of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Head {
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new() }
    }

    /// The only value of a field as text; `None` when it is absent, given twice, or not visible ASCII.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        match values.next() {
            Some(_) => None,
            None => value.to_str().ok(),
        }
    }

    /// The announced length of the body, when it is one plain number (RFC 9110 section 8.6).
    pub fn content_length(&self) -> Option<u64> {
        let text = self.text(&http::header::CONTENT_LENGTH)?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }
}
