//! The answers that the server gives itself, and their words. Left out: everything that a handler refuses.

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use super::Body;

/// Why a request is not handed to the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BareLineFeed,
    MalformedRequestLine,
    MalformedField,
    FoldedField,
    ControlCharacter,
    LengthWithEncoding,
    RepeatedLength,
    MalformedLength,
    UnknownEncoding,
    MalformedMethod,
    MalformedTarget,
    Fragment,
    Backslash,
    DotSegment,
    MissingHost,
    RepeatedHost,
    MalformedHost,
    OtherHost,
    UnservedMethod,
    SlowHead,
    LongTarget,
    LargeHead,
    ManyFields,
    Panicked,
    Full,
    OutOfMemory,
}

impl Refusal {
    const ALL: [Self; 26] = [
        Self::BareLineFeed,
        Self::MalformedRequestLine,
        Self::MalformedField,
        Self::FoldedField,
        Self::ControlCharacter,
        Self::LengthWithEncoding,
        Self::RepeatedLength,
        Self::MalformedLength,
        Self::UnknownEncoding,
        Self::MalformedMethod,
        Self::MalformedTarget,
        Self::Fragment,
        Self::Backslash,
        Self::DotSegment,
        Self::MissingHost,
        Self::RepeatedHost,
        Self::MalformedHost,
        Self::OtherHost,
        Self::UnservedMethod,
        Self::SlowHead,
        Self::LongTarget,
        Self::LargeHead,
        Self::ManyFields,
        Self::Panicked,
        Self::Full,
        Self::OutOfMemory,
    ];

    /// A number for [`Refusal::from_number`].
    pub(crate) const fn number(self) -> usize {
        self as usize
    }

    pub(crate) fn from_number(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::UnservedMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::LargeHead | Self::ManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Full | Self::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What was wrong and what to do, for the client and for the log.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => {
                "a line of the head ends in a bare line feed; end lines with CR LF"
            }
            Self::MalformedRequestLine => {
                "the request line is not METHOD SP TARGET SP HTTP/1.1; single spaces part it"
            }
            Self::MalformedField => "a header line is not NAME: VALUE",
            Self::FoldedField => "a header line is folded; put each field on one line",
            Self::ControlCharacter => "a header value holds a control character",
            Self::LengthWithEncoding => {
                "both Content-Length and Transfer-Encoding are given; send one of them"
            }
            Self::RepeatedLength => "Content-Length is given more than once; send it once",
            Self::MalformedLength => "Content-Length is not a plain decimal number",
            Self::UnknownEncoding => {
                "Transfer-Encoding is not exactly one \"chunked\" in HTTP/1.1; nothing else is understood"
            }
            Self::MalformedMethod => "the method is not a token in upper case",
            Self::MalformedTarget => {
                "the target is not a path, an http(s) address or, for OPTIONS, *; percent-encode what is not ASCII"
            }
            Self::Fragment => {
                "the target holds a fragment; leave out # and what follows, or write %23"
            }
            Self::Backslash => "the target holds a backslash; write / or %5C",
            Self::DotSegment => "the path holds a . or .. segment; resolve it before asking",
            Self::MissingHost => "Host is missing; HTTP/1.1 and HTTP/2 require it",
            Self::RepeatedHost => "Host is given more than once; send it once",
            Self::MalformedHost => "Host is not NAME or NAME:PORT",
            Self::OtherHost => "Host and the target's own address name different hosts",
            Self::UnservedMethod => "this server is no tunnel and does not echo requests",
            Self::SlowHead => "the head took too long to arrive",
            Self::LongTarget => "the request line is too long",
            Self::LargeHead => "the head is too large; send fewer or shorter fields",
            Self::ManyFields => "the head has too many fields; send fewer",
            Self::Panicked => "an internal error; the server's log has the particulars",
            Self::Full => "too many connections; try again in a few seconds",
            Self::OutOfMemory => "memory is short; try again in a few seconds",
        }
    }

    /// The whole answer. It asks for the connection to be closed where what follows on it cannot be trusted or is not wanted;
    /// HTTP/2 has no such field, and hyper takes it out there.
    pub(crate) fn response(self) -> Response<Body> {
        let status = self.status();
        let text = format!("{status}: {}.\n", self.reason());
        let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        match self {
            Self::Full | Self::OutOfMemory => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::UnservedMethod => {
                let served = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";
                headers.insert(ALLOW, HeaderValue::from_static(served));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_refusals_match() {
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.number(), number, "{refusal:?} is out of order in ALL");
            assert_eq!(Refusal::from_number(number), Some(refusal));
        }
        assert_eq!(Refusal::from_number(Refusal::ALL.len()), None);
    }
}
