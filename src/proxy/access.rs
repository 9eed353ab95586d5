//! Who may use this server.
//!
//! The rule is one sentence: a client is admitted when its address is in `access.networks` (or `access.open` is set) and, if any
//! `access.tokens` are configured, it shows one of them. A token comes as the password of Basic credentials (any user name), as Bearer
//! credentials, or, for clients that can send neither, as a path prefix `/-/t/TOKEN/`.
//!
//! Behind `access.trusted_proxies`, the client's address, scheme and host are what those proxies say in `X-Forwarded-For`, `-Proto` and
//! `-Host`; from everybody else these fields count for nothing. Left out: `Forwarded` (RFC 7239), which common proxies do not send, and who may read what
//! (that is `judge`'s).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{self, AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::ecosystem::Reply;
use crate::proxy::forwarded::is_forwarded;
use crate::server::Body;
use crate::types::Network;

mod settings;

use settings::read_token;
pub use settings::{AccessError, Config, TokenConfig};

/// What stands before a token in a path.
const PATH_PREFIX: &str = "/-/t/";

/// What the name of a client begins with that proved by a certificate who it is: `cert:ci.example`.
pub const CERTIFICATE: &str = "cert:";

/// Networks of grants that are told apart when answers are given again.
const MOST_GRANTED: usize = 13;

/// The lower bits of a [`Access::class`]; those above are for whoever tells clients apart by more.
pub const CLASS_BITS: u32 = 2 + MOST_GRANTED as u32;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The rule, ready to be applied.
pub struct Access {
    networks: Vec<Network>,
    open: bool,
    tokens: Vec<Token>,
    trusted_proxies: Vec<Network>,
    /// Names of certificates whose holders are administrators.
    certified_admins: Vec<String>,
    /// Networks that grants name: their clients may get other answers than others.
    granted: Vec<Network>,
    /// The host of `public_url`.
    own_host: Option<String>,
}

struct Token {
    name: String,
    digest: [u8; 32],
    is_admin: bool,
}

/// A request that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted<'a> {
    /// The name of the token that was shown, else that of the client's certificate.
    pub client: Option<&'a str>,
    /// The request's path without the token's prefix.
    pub path: &'a str,
    /// That prefix, `/-/t/TOKEN`, to be kept in links; empty when there was none. A secret.
    pub prefix: &'a str,
    /// May administrate: shows an administrator's token, or is on this machine itself and came through no proxy.
    pub is_admin: bool,
    /// `Authorization` held a token of ours, so it must not be sent on.
    pub authorization_used: bool,
    /// The client's address, behind trusted proxies too.
    pub address: IpAddr,
    /// What that address has to do with the answer ([`Access::class`]).
    pub class: Option<u64>,
    /// What trusted proxies say of the address that the client used.
    pub forwarded: Forwarded<'a>,
}

/// How the client addressed the outermost trusted proxy, as far as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forwarded<'a> {
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// Host and port; plain host characters only.
    pub host: Option<&'a str>,
}

/// A request that was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not from here: 403.
    Network(IpAddr),
    /// A trusted proxy says something that is no address: 403.
    Unidentified,
    /// No token, or none of ours: 401.
    Token,
}

impl Access {
    /// Reads the tokens. All that is wrong is told at once.
    pub fn new(config: &Config) -> Result<Self, Vec<AccessError>> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut errors = Vec::new();
        for token in &config.tokens {
            let is_known = tokens.iter().any(|other| other.name == token.name);
            // `*` stands for everybody in grants, and what reads as a network for that.
            let is_taken = token.name == "*" || token.name.parse::<Network>().is_ok();
            if token.name.is_empty() || is_taken || is_certificate(&token.name) || is_known {
                errors.push(AccessError::Name { name: token.name.clone() });
                continue;
            }
            match read_token(token) {
                Ok(text) => tokens.push(Token {
                    name: token.name.clone(),
                    digest: digest(&text),
                    is_admin: config.admins.contains(&token.name),
                }),
                Err(error) => errors.push(error),
            }
        }
        let is_token = |name: &String| {
            is_certificate(name) || config.tokens.iter().any(|token| token.name == *name)
        };
        let nobody = config.admins.iter().filter(|name| !is_token(name));
        errors.extend(nobody.map(|name| AccessError::Admin { name: name.clone() }));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            networks: config.networks.clone(),
            open: config.open,
            tokens,
            trusted_proxies: config.trusted_proxies.clone(),
            certified_admins: config
                .admins
                .iter()
                .filter(|name| is_certificate(name))
                .cloned()
                .collect(),
            granted: Vec::new(),
            own_host: None,
        })
    }

    /// The same where grants name these networks, and clients know this server by `public_url`.
    #[must_use]
    pub fn among(self, granted: Vec<Network>, public_url: Option<&str>) -> Self {
        let url = public_url.and_then(|url| url::Url::parse(url).ok());
        let own_host = url.and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        Self { granted, own_host, ..self }
    }

    /// Applies the rule to a request: who sent it, its fields, its path.
    pub fn admit<'a>(
        &'a self,
        peer: IpAddr,
        headers: &'a HeaderMap,
        path: &'a str,
    ) -> Result<Admitted<'a>, Refused> {
        self.admit_certified(peer, None, headers, path)
    }

    /// As [`Access::admit`], for a client that may have proved by a certificate who it is. That stands in for a token.
    pub fn admit_certified<'a>(
        &'a self,
        peer: IpAddr,
        certificate: Option<&'a str>,
        headers: &'a HeaderMap,
        path: &'a str,
    ) -> Result<Admitted<'a>, Refused> {
        let peer = peer.to_canonical();
        let address = self.client_address(peer, headers)?;
        if !self.open && !covers(&self.networks, address) {
            return Err(Refused::Network(address));
        }
        let forwarded = match covers(&self.trusted_proxies, peer) {
            true => forwarded(headers),
            false => Forwarded::default(),
        };
        let is_here = peer.is_loopback() && address.is_loopback() && !is_forwarded(headers);
        let is_certified_admin = |name| self.certified_admins.iter().any(|admin| admin == name);
        let mut admitted = Admitted {
            client: certificate,
            path,
            prefix: "",
            is_admin: is_here && self.is_meant(headers)
                || certificate.is_some_and(is_certified_admin),
            authorization_used: false,
            address,
            class: self.class(address),
            forwarded,
        };
        if self.tokens.is_empty() {
            return Ok(admitted);
        }
        // Looked at even when the path has a token: ours must never be taken for one that is meant for upstream.
        let by_authorization = authorization(headers).and_then(|token| self.token(&token));
        admitted.authorization_used = by_authorization.is_some();
        let shown = match split_token(path) {
            None => by_authorization,
            Some((prefix, token, rest)) => {
                (admitted.prefix, admitted.path) = (prefix, rest);
                self.token(&percent_decode_str(token).collect::<Vec<u8>>())
            }
        };
        let token = match shown {
            Some(token) => token,
            None if certificate.is_some() && admitted.prefix.is_empty() => return Ok(admitted),
            None => return Err(Refused::Token),
        };
        admitted.client = Some(&token.name);
        admitted.is_admin |= token.is_admin;
        Ok(admitted)
    }

    /// What a peer's address has to do with the answers that it gets: peers of the same class are admitted, and their words taken, alike.
    /// `None`: it has to be looked at each time.
    pub fn class(&self, peer: IpAddr) -> Option<u64> {
        let peer = peer.to_canonical();
        if self.granted.len() > MOST_GRANTED {
            return None;
        }
        let is_within = self.open || covers(&self.networks, peer);
        let granted = self.granted.iter().map(|network| network.contains(peer));
        let all = [is_within, covers(&self.trusted_proxies, peer)].into_iter().chain(granted);
        Some(all.fold(0, |class, is_so| class << 1 | u64::from(is_so)))
    }

    /// Whether a request on this machine was addressed to this machine. A page of another site can have its own name lead here, and then asks with the right
    /// of whoever sits in front of the browser; it cannot have it lead here by an address.
    fn is_meant(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else { return true };
        let Ok(host) = host.to_str() else { return false };
        let host = host.to_ascii_lowercase();
        if host.parse::<SocketAddr>().is_ok() {
            return true;
        }
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let is_address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        name == "localhost"
            || is_address(&host)
            || is_address(name)
            || self.own_host.as_deref() == Some(name)
    }

    /// The last address on the way here that is not a trusted proxy's.
    fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Refused> {
        let mut address = peer;
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let hops = value.to_str().map_err(|_| Refused::Unidentified);
            for hop in hops.into_iter().flat_map(|hops| hops.rsplit(',')) {
                if !covers(&self.trusted_proxies, address) {
                    return Ok(address);
                }
                address = parse_hop(hop.trim()).ok_or(Refused::Unidentified)?;
            }
        }
        Ok(address)
    }

    /// A token of ours, found in a time that tells nothing of how much of one was right.
    fn token(&self, presented: &[u8]) -> Option<&Token> {
        let presented = digest(presented);
        let nobody = u32::MAX;
        let mut found = nobody;
        for (index, token) in (0..nobody).zip(&self.tokens) {
            let is_it: Choice = token.digest.ct_eq(&presented);
            found = u32::conditional_select(&found, &index, is_it);
        }
        self.tokens.get(found as usize)
    }
}

/// Whether a name is that of a client certificate.
pub fn is_certificate(name: &str) -> bool {
    name.starts_with(CERTIFICATE)
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.tokens.iter().map(|token| &token.name).collect();
        f.debug_struct("Access")
            .field("networks", &self.networks)
            .field("tokens", &names)
            .finish_non_exhaustive()
    }
}

impl Refused {
    /// What the client is told.
    pub fn into_response(self) -> Response<Body> {
        let (status, detail) = match self {
            Self::Network(address) => (
                StatusCode::FORBIDDEN,
                format!("Your address, {address}, is in none of the networks that may use this server (access.networks)."),
            ),
            Self::Unidentified => (
                StatusCode::FORBIDDEN,
                "The proxy in front of this server gives no usable client address in X-Forwarded-For.".to_owned(),
            ),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "This server asks for an access token: as the password of Basic credentials, as Bearer credentials, or as a path prefix \
                 /-/t/TOKEN/."
                    .to_owned(),
            ),
        };
        let title = status.canonical_reason().unwrap_or("Refused");
        let mut reply = Reply::problem(status, title, &detail);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"larder\"");
            reply = reply.with(WWW_AUTHENTICATE, challenge);
        }
        let body = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body(reply.body));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}

/// Refuses to listen where other machines could connect while none is admitted: that is never what was meant, and who
/// wants to let everybody in has to say so.
pub fn guard_listen(addresses: &[SocketAddr], config: &Config) -> Result<(), AccessError> {
    if config.open || !config.networks.iter().all(|network| network.is_loopback()) {
        return Ok(());
    }
    let beyond = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    beyond.map_or(Ok(()), |&address| Err(AccessError::Listener { address }))
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn covers(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The secret in the only `Authorization`, if it is of a kind that can hold one of ours.
fn authorization(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, credentials) = value.to_str().ok()?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(credentials).ok()?;
    let colon = memchr::memchr(b':', &pair)?;
    Some(pair[colon + 1..].to_vec())
}

/// Prefix, token and the path that follows, where there is a token.
fn split_token(path: &str) -> Option<(&str, &str, &str)> {
    let after = path.strip_prefix(PATH_PREFIX)?;
    let end = after.find('/').unwrap_or(after.len());
    let (prefix, rest) = path.split_at(PATH_PREFIX.len() + end);
    Some((prefix, &after[..end], if rest.is_empty() { "/" } else { rest }))
}

fn forwarded(headers: &HeaderMap) -> Forwarded<'_> {
    let last = |name: &HeaderName| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim)
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    Forwarded {
        scheme: match last(&FORWARDED_PROTO) {
            Some("https") => Some("https"),
            Some("http") => Some("http"),
            _ => None,
        },
        host: last(&FORWARDED_HOST).filter(|host| !host.is_empty() && host.bytes().all(plain)),
    }
}

/// An address, with or without a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const CI: &str = "s3cret-of-ci";
    const DESK: &str = "s3cret/of+desk=";

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    }

    fn access(configure: impl FnOnce(&mut Config)) -> Access {
        let mut config = Config::default();
        configure(&mut config);
        Access::new(&config).expect("sound settings")
    }

    fn with_tokens(configure: impl FnOnce(&mut Config)) -> Access {
        let directory = tempfile::tempdir().expect("a directory");
        let token = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("{text}\n")).expect("a file");
            TokenConfig { name: name.to_owned(), file: Some(path), env: None }
        };
        access(|config| {
            config.tokens = vec![token("ci", CI), token("desk", DESK)];
            configure(config);
        })
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        HeaderMap::from_iter(fields.iter().map(field))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    #[test]
    fn only_this_machine_is_admitted_by_default() {
        let access = access(|_| {});
        for (peer, admitted) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("fe80::1", false),
        ] {
            let headers = headers(&[("x-forwarded-for", "127.0.0.1")]);
            let got = access.admit(ip(peer), &headers, "/simple/").is_ok();
            assert_eq!(got, admitted, "{peer}");
        }
    }

    #[test]
    fn a_token_is_needed_beside_the_network_and_comes_in_three_ways() {
        let access = with_tokens(|config| config.networks = networks(&["192.0.2.0/24"]));
        let inside = ip("192.0.2.9");
        let check = |authorization: &str,
                     path: &str,
                     expected: Result<(&str, &str, &str, bool), Refused>| {
            let headers = headers(&[("authorization", authorization)]);
            let got = access.admit(inside, &headers, path).map(|admitted| {
                (
                    admitted.client.unwrap_or(""),
                    admitted.path,
                    admitted.prefix,
                    admitted.authorization_used,
                )
            });
            assert_eq!(got, expected, "{authorization} {path}");
        };
        let refused = Err(Refused::Token);
        check("", "/a", refused);
        check("Basic", "/a", refused);
        check("Basic !!!", "/a", refused);
        check(&format!("Basic {}", BASE64_STANDARD.encode(CI)), "/a", refused);
        check(&basic(CI, ""), "/a", refused);
        check(&basic("u", "s3cret-of-c"), "/a", refused);
        check(&basic("u", &format!("{CI}x")), "/a", refused);
        check(&format!("Token {CI}"), "/a", refused);
        check("Bearer other", "/a", refused);
        check("", "/-/t/wrong/a", refused);
        check(&basic("u", CI), "/-/t/wrong/a", refused);
        check("", "/-/t/", refused);
        check("", &format!("/x/-/t/{CI}/a"), refused);

        check(&basic("anybody", CI), "/a", Ok(("ci", "/a", "", true)));
        check(&basic("", DESK), "/a", Ok(("desk", "/a", "", true)));
        check(&format!("bearer {DESK}"), "/a", Ok(("desk", "/a", "", true)));
        check("", &format!("/-/t/{CI}/a/b"), Ok(("ci", "/a/b", "/-/t/s3cret-of-ci", false)));
        check("", &format!("/-/t/{CI}"), Ok(("ci", "/", "/-/t/s3cret-of-ci", false)));
        check("", "/-/t/s3cret%2Fof+desk=/a", Ok(("desk", "/a", "/-/t/s3cret%2Fof+desk=", false)));
        check(
            "Bearer upstream",
            &format!("/-/t/{CI}/a"),
            Ok(("ci", "/a", "/-/t/s3cret-of-ci", false)),
        );
        check(
            &basic("u", DESK),
            &format!("/-/t/{CI}/a"),
            Ok(("ci", "/a", "/-/t/s3cret-of-ci", true)),
        );

        let right = headers(&[("authorization", &basic("u", CI))]);
        let outside = ip("198.51.100.1");
        assert_eq!(access.admit(outside, &right, "/a"), Err(Refused::Network(outside)));
        let mut twice = right;
        twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
        assert_eq!(access.admit(inside, &twice, "/a"), Err(Refused::Token));
    }

    #[test]
    fn an_open_server_still_asks_for_its_tokens() {
        let headers = HeaderMap::new();
        let open = access(|config| config.open = true);
        assert!(open.admit(ip("192.0.2.1"), &headers, "/a").is_ok());
        let open = with_tokens(|config| config.open = true);
        assert_eq!(open.admit(ip("192.0.2.1"), &headers, "/a"), Err(Refused::Token));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let access = access(|config| {
            config.networks = networks(&["192.0.2.0/24"]);
            config.trusted_proxies = networks(&["127.0.0.1", "198.51.100.0/24"]);
        });
        let check = |peer: &str, forwarded: &str, expected: Result<&str, Refused>| {
            let headers =
                headers(&[("x-forwarded-for", forwarded), ("x-forwarded-proto", "https")]);
            let got = access.admit(ip(peer), &headers, "/a").map(|admitted| admitted.address);
            assert_eq!(got, expected.map(ip), "{peer} {forwarded}");
        };
        let outside = |address: &str| Err(Refused::Network(ip(address)));
        check("127.0.0.1", "192.0.2.7", Ok("192.0.2.7"));
        check("127.0.0.1", "192.0.2.7:4711", Ok("192.0.2.7"));
        check("127.0.0.1", "203.0.113.1, 192.0.2.7,198.51.100.1", Ok("192.0.2.7"));
        check("127.0.0.1", "192.0.2.7, 203.0.113.1", outside("203.0.113.1"));
        check("127.0.0.1", "[2001:db8::1]:80", outside("2001:db8::1"));
        check("127.0.0.1", "198.51.100.1", outside("198.51.100.1"));
        check("127.0.0.1", "192.0.2.7, unknown", Err(Refused::Unidentified));
        check("127.0.0.1", "", Err(Refused::Unidentified));
        check("203.0.113.1", "192.0.2.7", outside("203.0.113.1"));
        check("192.0.2.1", "203.0.113.1", Ok("192.0.2.1"));
        let none = HeaderMap::new();
        let peer = ip("127.0.0.1");
        assert_eq!(access.admit(peer, &none, "/a"), Err(Refused::Network(peer)));
    }

    #[test]
    fn scheme_and_host_are_taken_from_trusted_proxies_alone() {
        let access = access(|config| {
            config.open = true;
            config.trusted_proxies = networks(&["127.0.0.1"]);
        });
        let check =
            |peer: &str, proto: &str, host: &str, expected: (Option<&str>, Option<&str>)| {
                let fields = [("x-forwarded-proto", proto), ("x-forwarded-host", host)];
                let headers = headers(&fields);
                let forwarded = access.admit(ip(peer), &headers, "/").expect("open").forwarded;
                assert_eq!((forwarded.scheme, forwarded.host), expected, "{peer} {proto} {host}");
            };
        check(
            "127.0.0.1",
            "https",
            "cache.example:8443",
            (Some("https"), Some("cache.example:8443")),
        );
        check(
            "127.0.0.1",
            "http, https",
            "evil.example, cache.example",
            (Some("https"), Some("cache.example")),
        );
        check("127.0.0.1", "gopher", "a/b", (None, None));
        check("127.0.0.1", "", "\"><script>", (None, None));
        check("192.0.2.1", "https", "cache.example", (None, None));
    }

    #[test]
    fn all_that_is_wrong_with_tokens_is_told_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            Some(path)
        };
        let good = file("good", "x");
        let token = |name: &str, file: Option<PathBuf>, env: Option<&str>| TokenConfig {
            name: name.to_owned(),
            file,
            env: env.map(str::to_owned),
        };
        let config = Config {
            tokens: vec![
                token("a", good.clone(), None),
                token("a", good.clone(), None),
                token("", good.clone(), None),
                token("*", good.clone(), None),
                token("10.0.0.1", good.clone(), None),
                token("cert:a", good.clone(), None),
                token("b", None, None),
                token("c", good, Some("HOME")),
                token("d", file("empty", " \n"), None),
                token("e", file("two", "two words"), None),
                token("f", Some(directory.path().join("absent")), None),
                token("g", None, Some("LARDER_TEST_NEVER_SET")),
            ],
            admins: vec!["nobody".to_owned()],
            ..Config::default()
        };
        let errors = Access::new(&config).expect_err("twelve faults");
        let kinds: Vec<_> = errors
            .iter()
            .map(|error| match error {
                AccessError::Name { .. } => "name",
                AccessError::Source { .. } => "source",
                AccessError::Token { .. } => "token",
                AccessError::File { .. } => "file",
                AccessError::Variable { .. } => "variable",
                AccessError::Admin { .. } => "admin",
                AccessError::Listener { .. } => "listener",
            })
            .collect();
        let expected = [
            "name", "name", "name", "name", "name", "source", "source", "token", "token", "file",
            "variable", "admin",
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn administrators_come_from_here_or_show_a_token() {
        let open = Config { open: true, ..Config::default() };
        let check = |peer: &str, field: Option<&'static str>, expected: bool| {
            let access = Access::new(&open).expect("no tokens");
            let mut headers = HeaderMap::new();
            if let Some(name) = field {
                headers.insert(name, HeaderValue::from_static("127.0.0.1"));
            }
            let peer = peer.parse().expect("an address");
            let admitted = access.admit(peer, &headers, "/").expect("everybody is let in");
            assert_eq!(admitted.is_admin, expected, "{peer} {field:?}");
        };
        check("127.0.0.1", None, true);
        check("::1", None, true);
        check("192.0.2.1", None, false);
        check("192.0.2.1", Some("x-forwarded-for"), false);
        for field in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "forwarded",
            "via",
            "x-real-ip",
        ] {
            check("127.0.0.1", Some(field), false);
        }
    }

    /// A page of another site that has its own name lead to this machine is answered as anybody is, and not as an administrator.
    #[test]
    fn a_name_that_was_led_here_makes_no_administrator() {
        let access = Access::new(&Config::default()).expect("no tokens");
        let access = access.among(Vec::new(), Some("https://Cache.example:8443/x"));
        let here = ip("127.0.0.1");
        let check = |host: &'static str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            let admitted = access.admit(here, &headers, "/").expect("this machine");
            assert_eq!(admitted.is_admin, expected, "{host}");
        };
        for host in
            ["127.0.0.1", "127.0.0.1:8484", "[::1]:8484", "[::1]", "localhost:8484", "LOCALHOST"]
        {
            check(host, true);
        }
        check("cache.example:8443", true);
        for host in [
            "evil.example",
            "evil.example:8484",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "cache.example.evil.example",
            "",
            "a@127.0.0.1",
            "127.0.0.1:x:1",
        ] {
            check(host, false);
        }
        assert!(access.admit(here, &HeaderMap::new(), "/").expect("this machine").is_admin);
    }

    #[test]
    fn a_certificate_stands_in_for_a_token_and_never_for_an_administrators_name() {
        let access = with_tokens(|config| {
            config.open = true;
            config.admins = vec!["cert:boss.example".to_owned()];
        });
        let none = HeaderMap::new();
        let far = ip("192.0.2.1");
        let check = |certificate: Option<&'static str>,
                     path: &'static str,
                     expected: Option<(&str, bool)>| {
            let admitted = access.admit_certified(far, certificate, &none, path);
            let told = admitted.ok().map(|one| (one.client.unwrap_or(""), one.is_admin));
            assert_eq!(told, expected, "{certificate:?} {path}");
        };
        check(None, "/a", None);
        check(Some("cert:ci.example"), "/a", Some(("cert:ci.example", false)));
        check(Some("cert:boss.example"), "/a", Some(("cert:boss.example", true)));
        check(Some("cert:boss"), "/a", Some(("cert:boss", false)));
        // Whoever shows a token that is none of ours meant something by it.
        check(Some("cert:ci.example"), "/-/t/wrong/a", None);
    }

    #[test]
    fn grants_by_network_part_those_who_may_get_each_others_answers() {
        let network = |text: &str| text.parse::<Network>().expect("a network");
        let access = Access::new(&Config { open: true, ..Config::default() }).expect("no tokens");
        let access = access.among(vec![network("10.1.0.0/16"), network("10.1.2.0/24")], None);
        let class = |address: &str| access.class(ip(address));
        assert_eq!(class("10.1.0.1"), class("10.1.255.1"));
        assert_eq!(class("10.2.0.1"), class("192.0.2.1"));
        let all = [class("10.2.0.1"), class("10.1.0.1"), class("10.1.2.1")];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{all:?}");
        let many = (0..=MOST_GRANTED).map(|at| network(&format!("10.{at}.0.0/16"))).collect();
        assert_eq!(access.among(many, None).class(ip("10.1.0.1")), None);
    }

    #[test]
    fn a_listener_for_others_needs_somebody_to_let_in() {
        let check = |address: &str, configure: fn(&mut Config), is_guarded: bool| {
            let mut config = Config::default();
            configure(&mut config);
            let addresses = ["127.0.0.1:1", address].map(|text| text.parse().expect("an address"));
            assert_eq!(guard_listen(&addresses, &config).is_err(), is_guarded, "{address}");
        };
        for address in ["0.0.0.0:8484", "[::]:8484", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            check(address, |_| {}, true);
            check(address, |config| config.networks.clear(), true);
            check(address, |config| config.open = true, false);
            check(
                address,
                |config| config.networks.push("192.0.2.0/24".parse().expect("one")),
                false,
            );
        }
        check("[::1]:8484", |_| {}, false);
        check("127.0.0.2:8484", |config| config.networks.clear(), false);
    }

    #[test]
    fn tokens_are_not_printed_and_refusals_say_what_to_do() {
        let access = with_tokens(|_| {});
        assert!(!format!("{access:?}").contains("s3cret"));
        let response = Refused::Token.into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Basic realm=\"larder\"");
        assert_eq!(Refused::Unidentified.into_response().status(), StatusCode::FORBIDDEN);
    }
}
