//! `larder show`: asks the Larder that runs by the same configuration what it keeps. A process of its own could not look: the data belong to one at a time.

use std::sync::Arc;

use futures_util::TryStreamExt;
use http::StatusCode;
use url::Url;

use crate::banner;
use crate::config::Config;
use crate::ecosystem::oci;
use crate::upstream::{
    Client, ConfigError, Origin, OriginRequest, Redirects, Upstream, UpstreamError,
};

/// The largest answer that is shown.
const LIMIT_BYTES: usize = 1 << 20;

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error(
        "{0:?} names nothing that can be shown: write oci:NAME:TAG, as in oci:registry.example.org/team/app:1.0"
    )]
    What(String),
    #[error("{0:?} is no address of a running Larder: set `public_url`, or a port to listen on")]
    Address(String),
    #[error("no connection can be made")]
    Client(#[from] ConfigError),
    #[error("no Larder answers at {address}")]
    Unreachable { address: String, source: UpstreamError },
    #[error("{}", .0.trim_end())]
    Refused(String),
}

/// What the running Larder says of `what`, as text for people.
pub async fn show(config: &Config, what: &str) -> Result<String, ShowError> {
    let image = what.strip_prefix("oci:").filter(|image| !image.is_empty());
    let image = image.ok_or_else(|| ShowError::What(what.to_owned()))?;
    let root = banner::root(config, &config.listen);
    let base = Url::parse(&format!("{root}/")).map_err(|_| ShowError::Address(root.clone()))?;
    let mut url = base.clone();
    url.set_path(&format!("{}{image}", oci::SHOWN_AT));
    let origin = Origin {
        id: "larder".into(),
        base,
        hosts: Vec::new(),
        credentials: None,
        allow_private: true,
    };
    let mut request = OriginRequest::get(&Arc::new(origin), url);
    request.redirects = Redirects::Pass;
    let client = Client::new(config.upstream.clone())?;
    let unreachable = |source| ShowError::Unreachable { address: root.clone(), source };
    let mut response = client.send(request).await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.body.try_next().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > LIMIT_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    match response.head.status {
        StatusCode::OK => Ok(text),
        status => Err(ShowError::Refused(reason(&text).unwrap_or_else(|| status.to_string()))),
    }
}

/// The message of an error as registries write it, or of a problem.
fn reason(text: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let message = json["errors"][0]["message"].as_str().or_else(|| json["detail"].as_str())?;
    Some(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_found_in_both_kinds_of_errors() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(reason(text).as_deref(), expected, "{text}");
        };
        check(r#"{"errors":[{"code":"X","message":"why"}]}"#, Some("why"));
        check(r#"{"title":"T","detail":"why"}"#, Some("why"));
        check("<html>", None);
    }
}
