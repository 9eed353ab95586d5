//! What a request's head must look like to be let in: RFC 9110, 9112 and 9113 at their strictest.
//!
//! A cache must refuse whatever two parties can read in two ways; hyper, bound to serve everybody, lets much of it through. Pure.
//! [`HeadScan`] reads raw HTTP/1 heads line by line as they arrive, so that a dripping client costs no more than a fast one;
//! [`check_request`] judges HTTP/2 requests, whose framing h2 has checked.
//!
//! Let through on purpose: bytes above 0x7F in field values (opaque by RFC 9110 section 5.5, and found in real `User-Agent` fields), a
//! body on any method, empty lines before a request line (RFC 9112 section 2.2). Left out: chunk framing, because a request
//! with chunks is the last on its connection (see `inspect`); what hides behind percent-encoding, which is for whoever decodes it.

use std::ops::Range;

use http::{Request, Version, header};
use memchr::{memchr, memchr_iter};

use super::refusal::Refusal;

/// Bounds of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    pub(crate) fields: usize,
}

/// A complete and faultless head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) body: Framing,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Nothing,
    Length(u64),
    Chunks,
}

/// The reading of one head, to be continued when more of it has arrived.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    /// Start of the line that is not complete yet.
    line: usize,
    /// Up to here, no line feed is left to be found.
    searched: usize,
    fields: usize,
    is_http_10: bool,
    target: Option<Range<usize>>,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    /// Reads on. `bytes` holds the head from its first byte on, and whatever came after it; each call must bring what the last one had and more.
    /// `None`: the head is not complete.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<Head>, Refusal> {
        let window = &bytes[..bytes.len().min(limits.bytes)];
        let from = self.searched;
        for feed in memchr_iter(b'\n', &window[from..]) {
            let end = from + feed;
            let line = self.line..end;
            (self.line, self.searched) = (end + 1, end + 1);
            let Some((b'\r', text)) = window[line.clone()].split_last() else {
                return Err(Refusal::BareLineFeed);
            };
            if !text.is_empty() {
                self.read_line(window, line.start..end - 1, limits)?;
            } else if let Some(target) = self.target.clone() {
                let body = self.finish(window, target)?;
                return Ok(Some(Head { length: end + 1, body }));
            }
        }
        self.searched = window.len();
        match &self.target {
            _ if window.len() < limits.bytes => Ok(None),
            Some(_) => Err(Refusal::LargeHead),
            None => Err(Refusal::LongTarget),
        }
    }

    fn read_line(
        &mut self,
        bytes: &[u8],
        line: Range<usize>,
        limits: HeadLimits,
    ) -> Result<(), Refusal> {
        if self.target.is_none() {
            return self.read_request_line(bytes, line);
        }
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(Refusal::ManyFields);
        }
        self.read_field(bytes, line)
    }

    fn read_request_line(&mut self, bytes: &[u8], line: Range<usize>) -> Result<(), Refusal> {
        let text = &bytes[line.clone()];
        let method_end = memchr(b' ', text).ok_or(Refusal::MalformedRequestLine)?;
        let rest = &text[method_end + 1..];
        let target_end = memchr(b' ', rest).ok_or(Refusal::MalformedRequestLine)?;
        self.is_http_10 = match &rest[target_end + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refusal::MalformedRequestLine),
        };
        let method = &text[..method_end];
        check_method(method)?;
        check_target(method, &rest[..target_end])?;
        let start = line.start + method_end + 1;
        self.target = Some(start..start + target_end);
        Ok(())
    }

    fn read_field(&mut self, bytes: &[u8], line: Range<usize>) -> Result<(), Refusal> {
        let text = &bytes[line.clone()];
        if matches!(text[0], b' ' | b'\t') {
            return Err(Refusal::FoldedField);
        }
        let colon = memchr(b':', text).ok_or(Refusal::MalformedField)?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(Refusal::MalformedField);
        }
        // Folded rather than searched, so that it compiles to a few vector instructions.
        if value.iter().fold(false, |found, &byte| found | (is_control(byte) & (byte != b'\t'))) {
            return Err(Refusal::ControlCharacter);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                check_host(value.trim_ascii())?;
                let end = line.start + text.trim_ascii_end().len();
                match self.host.replace(end - value.trim_ascii().len()..end) {
                    Some(_) => Err(Refusal::RepeatedHost),
                    None => Ok(()),
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value.trim_ascii()).ok_or(Refusal::MalformedLength)?;
                match self.length.replace(length) {
                    Some(_) => Err(Refusal::RepeatedLength),
                    None => Ok(()),
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if !is_chunked || self.chunked || self.is_http_10 {
                    return Err(Refusal::UnknownEncoding);
                }
                self.chunked = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What only the whole head shows.
    fn finish(&self, bytes: &[u8], target: Range<usize>) -> Result<Framing, Refusal> {
        let host = self.host.clone().map(|range| &bytes[range]);
        if host.is_none() && !self.is_http_10 {
            return Err(Refusal::MissingHost);
        }
        if let (Some((scheme, authority)), Some(host)) = (absolute_form(&bytes[target]), host) {
            same_host(scheme, authority, host)?;
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::LengthWithEncoding),
            (None, true) => Ok(Framing::Chunks),
            (None | Some(0), false) => Ok(Framing::Nothing),
            (Some(length), false) => Ok(Framing::Length(length)),
        }
    }
}

/// Judges a request that came over HTTP/2; on HTTP/1, [`HeadScan`] has done it.
pub(crate) fn check_request<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.version() < Version::HTTP_2 {
        return Ok(());
    }
    let method = request.method().as_str().as_bytes();
    check_method(method)?;
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    check_target(method, target.as_bytes())?;
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::RepeatedHost);
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (None, None) => Err(Refusal::MissingHost),
        (None, Some(host)) => check_host(host.as_bytes()),
        (Some(authority), None) => check_host(authority),
        (Some(authority), Some(host)) => {
            let scheme = request.uri().scheme_str().unwrap_or("http");
            check_host(authority)?;
            same_host(scheme.as_bytes(), authority, host.as_bytes())
        }
    }
}

fn check_method(method: &[u8]) -> Result<(), Refusal> {
    let well_formed = |&byte: &u8| is_token(byte) && !byte.is_ascii_lowercase();
    match method {
        b"GET" | b"HEAD" | b"POST" => Ok(()),
        b"CONNECT" | b"TRACE" => Err(Refusal::UnservedMethod),
        [] => Err(Refusal::MalformedMethod),
        other if other.iter().all(well_formed) => Ok(()),
        _ => Err(Refusal::MalformedMethod),
    }
}

/// Checks a target in any form but the authority form, which only CONNECT uses.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    for &byte in target {
        match byte {
            b'#' => return Err(Refusal::Fragment),
            b'\\' => return Err(Refusal::Backslash),
            b'<' | b'>' | b'`' => return Err(Refusal::MalformedTarget),
            0x21..=0x7E => {}
            _ => return Err(Refusal::MalformedTarget),
        }
    }
    let path_and_query = match target {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => return Ok(()),
        _ => {
            let (scheme, authority) = absolute_form(target).ok_or(Refusal::MalformedTarget)?;
            check_host(authority)?;
            &target[scheme.len() + 3 + authority.len()..]
        }
    };
    let path_end = memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    if has_dot_segment(&path_and_query[..path_end]) {
        return Err(Refusal::DotSegment);
    }
    Ok(())
}

/// A segment that a reader may take for a step to elsewhere (RFC 3986 section 5.2.4).
fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

/// Scheme and authority of a target in absolute form with a scheme of ours.
fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', target)?;
    let scheme = &target[..colon];
    let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    let rest = target[colon..].strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    is_http.then(|| (scheme, &rest[..end]))
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2) with names as DNS and real registries have them: no user, no percent-encoding, no empty name.
fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let (name, port) = split_port(host);
    let name_fits = match name {
        [b'[', inner @ .., b']'] => {
            inner.contains(&b':')
                && inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        name => {
            !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    let port_fits = port.is_none_or(|port| {
        (1..=5).contains(&port.len())
            && port.iter().all(u8::is_ascii_digit)
            && parse_length(port).is_some_and(|port| port <= 65_535)
    });
    if name_fits && port_fits { Ok(()) } else { Err(Refusal::MalformedHost) }
}

fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_brackets = memchr(b']', host).map_or(0, |bracket| bracket + 1);
    match memchr(b':', &host[after_brackets..]) {
        Some(colon) => (&host[..after_brackets + colon], Some(&host[after_brackets + colon + 1..])),
        None => (host, None),
    }
}

/// Whether two well-formed hosts are the same one: case and the scheme's own port aside.
fn same_host(scheme: &[u8], authority: &[u8], host: &[u8]) -> Result<(), Refusal> {
    let own_port: &[u8] = if scheme.eq_ignore_ascii_case(b"https") { b"443" } else { b"80" };
    let (name, port) = split_port(authority);
    let (other_name, other_port) = split_port(host);
    let same = name.eq_ignore_ascii_case(other_name)
        && port.unwrap_or(own_port) == other_port.unwrap_or(own_port);
    if same { Ok(()) } else { Err(Refusal::OtherHost) }
}

/// A plain decimal number that fits 63 bits (RFC 9110 section 8.6): no sign, no list, no space within.
fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })?;
    (number <= u64::MAX >> 1).then_some(number)
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            let symbol = matches!(
                byte as u8,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
            table[byte] = symbol || (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        table
    };
    TOKEN[byte as usize]
}

const fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7F
}
