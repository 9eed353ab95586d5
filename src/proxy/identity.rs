//! What a request says of its sender and of the address it was sent to.
//!
//! Left out: whether the client is let in (`access`).

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderValue, Request, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};

use crate::ecosystem::{Ask, ClientCredential};
use crate::policy::Ruleset;
use crate::proxy::access::Admitted;
use crate::proxy::past::Address;
use crate::proxy::routes::Match;
use crate::server::{Peer, RequestBody};
use crate::types::{Secret, Timestamp};
use crate::upstream::request::OutgoingBody;

/// Reads identities; holds what they are read with.
#[derive(Debug)]
pub(crate) struct Identity {
    /// How the outside sees the root of this server, without a trailing slash; else the request's own host counts.
    public_url: Option<String>,
    /// Keys the names of client credentials, so that a stored name tells nothing of the credential.
    secret: [u8; 32],
}

/// Where a request came in, beside its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) admitted: &'a Admitted<'a>,
    pub(crate) address: &'a Address<'a>,
    pub(crate) now: Timestamp,
}

impl Identity {
    pub(crate) const fn new(public_url: Option<String>, secret: [u8; 32]) -> Self {
        Self { public_url, secret }
    }

    /// The request as its mount sees it.
    pub(crate) fn ask<B>(
        &self,
        request: &Request<B>,
        arrival: &Arrival<'_>,
        found: &Match<'_>,
        rules: Arc<Ruleset>,
    ) -> Ask {
        let headers = request.headers();
        let authorization = match arrival.admitted.authorization_used {
            true => None,
            false => headers.get(header::AUTHORIZATION),
        };
        Ask {
            method: request.method().clone(),
            path: found.path.clone(),
            query: request.uri().query().map(str::to_owned),
            headers: headers.clone(),
            prefix: found.route.prefix.clone(),
            base: self.base(request, arrival),
            credential: authorization.and_then(|value| self.credential(value)),
            client: arrival.admitted.client.map(str::to_owned),
            address: arrival.admitted.address,
            now: arrival.now,
            rules,
            as_of: None,
        }
    }

    /// How the client sees our root, the path prefixes of a token and of an instant included: what absolute links start with.
    pub(crate) fn base<B>(&self, request: &Request<B>, arrival: &Arrival<'_>) -> String {
        let prefix = match (&self.public_url, arrival.address) {
            // The name that is told for us is not the one that the client said the instant with.
            (Some(_), Address { prefix: "", instant: Some(instant), .. }) => {
                format!("{}/@{instant}", arrival.admitted.prefix)
            }
            (_, address) => format!("{}{}", arrival.admitted.prefix, address.prefix),
        };
        if let Some(public) = &self.public_url {
            return format!("{public}{prefix}");
        }
        let own_scheme = if arrival.peer.tls { "https" } else { "http" };
        let forwarded = arrival.admitted.forwarded;
        let scheme = forwarded.scheme.unwrap_or(own_scheme);
        match forwarded.host.or_else(|| authority(request)) {
            Some(authority) => format!("{scheme}://{authority}{prefix}"),
            None => format!("{scheme}://{}{prefix}", arrival.peer.local),
        }
    }

    fn credential(&self, value: &HeaderValue) -> Option<ClientCredential> {
        let text = value.to_str().ok()?;
        let keyed = Sha256::new().chain_update(self.secret).chain_update(text).finalize();
        let (id, _) = keyed.split_first_chunk().expect("a SHA-256 has 32 bytes");
        Some(ClientCredential { id: *id, verbatim: Secret::new(text) })
    }
}

/// The host that a request is for, without its port.
pub(crate) fn host<B>(request: &Request<B>) -> Option<&str> {
    let authority = authority(request)?;
    let end = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    Some(&authority[..end])
}

/// Host and port as the client wrote them: the target's authority (HTTP/2, absolute form), else `Host`. Only plain host
/// characters count, since this ends up in links.
pub(crate) fn authority<B>(request: &Request<B>) -> Option<&str> {
    let text = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST)?.to_str().ok()?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (!text.is_empty() && text.bytes().all(plain)).then_some(text)
}

/// A client's body on its way to an origin.
pub(crate) fn upload(body: RequestBody) -> OutgoingBody {
    if body.is_end_stream() {
        return OutgoingBody::Empty;
    }
    let chunks = body.into_data_stream();
    OutgoingBody::stream(chunks.map(|chunk| chunk.map_err(std::io::Error::other)).boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_without_their_port() {
        let check = |text: &str, expected: Option<&str>| {
            let request =
                Request::builder().uri("/x").header("host", text).body(()).expect("a request");
            assert_eq!(host(&request), expected, "{text}");
        };
        check("h.test", Some("h.test"));
        check("h.test:8484", Some("h.test"));
        check("127.0.0.1:80", Some("127.0.0.1"));
        check("[::1]:80", Some("[::1]"));
        check("h.test/evil", None);
        check("<script>", None);
        check("", None);
        let absolute = Request::builder().uri("http://a.test:1/x").body(()).expect("a request");
        assert_eq!(host(&absolute), Some("a.test"));
    }

    #[test]
    fn credentials_are_named_by_a_keyed_hash() {
        let value = HeaderValue::from_static("Basic dTpw");
        let name = |secret| {
            let identity = Identity::new(None, [secret; 32]);
            identity.credential(&value).expect("visible ASCII").id
        };
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
    }
}
