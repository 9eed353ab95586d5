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

use crate::ecosystem::{Reply, TOKEN_PREFIX};
use crate::proxy::forwarded::is_forwarded;
use crate::server::Body;
use crate::types::Network;

mod settings;

use settings::read_token;
pub use settings::{AccessError, Config, TokenConfig};

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
    let after = path.strip_prefix(TOKEN_PREFIX)?;
    let end = after.find('/').unwrap_or(after.len());
    let (prefix, rest) = path.split_at(TOKEN_PREFIX.len() + end);
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
mod tests;
