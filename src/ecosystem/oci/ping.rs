//! `GET /v2/`: clients ask whether this is a registry, and some of them here and nowhere else how it wants to be shown credentials.
//!
//! The answer is yes and that nothing is wanted, because the classic Docker engine would otherwise hand the credentials of its own hub to us, its
//! mirror. Clients that never answer a later challenge (those built on containers/image and go-containerregistry) are told of the
//! exchange at once: who has no credentials for this address gets a capability for what is public there, without a question to anybody.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::ecosystem::oci::{explain, token};
use crate::ecosystem::{Ask, Reply};
use crate::types::Signer;

/// How clients name themselves that learn of challenges from this answer alone.
const LEARN_HERE: [&str; 9] = [
    "buildah/",
    "containers/",
    "cosign/",
    "crane/",
    "cri-o/",
    "go-containerregistry",
    "libpod/",
    "oci-client",
    "skopeo/",
];

/// What the exchange is called where no registry is meant yet.
const SERVICE: &str = "larder";

pub fn answer(signer: &Signer, ask: &Ask) -> Reply {
    let version = HeaderValue::from_static("registry/2.0");
    if learns_here(&ask.headers) && ask.method == Method::GET && !token::is_ours(signer, ask) {
        let challenge = format!("Bearer realm=\"{}/-/token\",service=\"{SERVICE}\"", ask.base);
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            let message = "get a token first; for what is public it needs no credentials";
            let mut reply = explain::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
                .with(header::WWW_AUTHENTICATE, challenge);
            reply.headers.insert("docker-distribution-api-version", version);
            return reply;
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("docker-distribution-api-version", version);
    Reply { status: StatusCode::OK, headers, body: "{}".into(), phrase: None }
}

fn learns_here(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default().to_ascii_lowercase();
    LEARN_HERE.iter().any(|name| agent.starts_with(name) || agent.contains(&format!(" {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_name() {
        let check = |agent: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, agent.parse().expect("a field value"));
            assert_eq!(learns_here(&headers), expected, "{agent}");
        };
        check("skopeo/1.9.3", true);
        check("containers/5.23.1 (github.com/containers/image)", true);
        check("Buildah/1.28.2", true);
        check("crane/(devel) go-containerregistry/0.20", true);
        check("docker/20.10.24 go/go1.19 UpstreamClient(Docker-Client/28.2.2)", false);
        check("containerd/1.6.20", false);
        check("", false);
        assert!(!learns_here(&HeaderMap::new()));
    }
}
