//! Somebody who answers requests as Larder's mounts do: one that runs elsewhere, or one in this process.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyStream;
use url::Url;

use crate::server::{Body, Handler, Peer, RequestBody};

/// The largest answer that is read as a whole.
const LIMIT_BYTES: usize = 256 << 20;

/// Answers requests.
pub trait Door: Send + Sync {
    /// The address of the root, with a slash at its end.
    fn base(&self) -> &Url;

    /// Asks for an address below the root, without a leading slash. Any status is an answer.
    fn ask(
        &self,
        method: Method,
        address: String,
        headers: HeaderMap,
    ) -> BoxFuture<'_, Result<Response<Body>, DoorError>>;
}

/// The door of a Larder in this process, which has no listener. Whoever asks is on this machine.
pub struct Indoors {
    handler: Arc<dyn Handler>,
    base: Url,
}

impl Indoors {
    /// `base` is how its clients see its root, with a slash at its end.
    pub const fn new(handler: Arc<dyn Handler>, base: Url) -> Self {
        Self { handler, base }
    }
}

impl Door for Indoors {
    fn base(&self) -> &Url {
        &self.base
    }

    fn ask(
        &self,
        method: Method,
        address: String,
        headers: HeaderMap,
    ) -> BoxFuture<'_, Result<Response<Body>, DoorError>> {
        let request = request(&self.base, method, &address, headers);
        async move {
            let here = SocketAddr::from(([127, 0, 0, 1], 0));
            let peer = Peer { address: here, local: here, tls: false, certificate: None };
            Ok(self.handler.handle(request?, peer).await)
        }
        .boxed()
    }
}

/// A request as a server would hand it on.
fn request(
    base: &Url,
    method: Method,
    address: &str,
    headers: HeaderMap,
) -> Result<Request<RequestBody>, DoorError> {
    let wrong = || DoorError::Failed(format!("{address:?} is no address"));
    let url = base.join(address).map_err(|_| wrong())?;
    let mut request = Request::new(Bytes::new().into());
    *request.method_mut() = method;
    *request.uri_mut() =
        url[url::Position::BeforePath..url::Position::AfterQuery].parse().map_err(|_| wrong())?;
    *request.headers_mut() = headers;
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    request.headers_mut().insert(header::HOST, authority.parse().map_err(|_| wrong())?);
    Ok(request)
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why something was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// Policy or rights: asking again does not help.
    #[error("{0}")]
    Refused(String),
    /// It is not there: upstream has no such thing, or nothing is kept and nobody may be asked.
    #[error("{0}")]
    Missing(String),
    /// An outage, a broken answer, a fault.
    #[error("{0}")]
    Failed(String),
    /// It is there, and it is not what was locked.
    #[error("{0}")]
    Mismatch(String),
}

impl dyn Door + '_ {
    /// A whole, small answer with status 200.
    pub async fn read(
        &self,
        address: &str,
        accept: Option<&'static str>,
    ) -> Result<Answer, DoorError> {
        let response = self.ask(Method::GET, address.to_owned(), fields(accept)).await?;
        let status = response.status();
        let (head, body) = response.into_parts();
        let body = whole(body).await?;
        let answer = Answer { status, headers: head.headers, body };
        if status == StatusCode::OK { Ok(answer) } else { Err(answer.fault()) }
    }

    /// The address below the root that a link on a page at `from` leads to. `None`: it leads elsewhere.
    pub fn below(&self, from: &str, link: &str) -> Option<String> {
        let mut url = self.base().join(from).ok()?.join(link).ok()?;
        url.set_fragment(None);
        url.as_str().strip_prefix(self.base().as_str()).map(str::to_owned)
    }
}

impl Answer {
    /// A field's value, if it is there and is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether upstream was asked for it just now.
    pub fn is_fetched(&self) -> bool {
        self.text("cache-status").is_some_and(|status| status.contains("fwd=uri-miss"))
    }

    /// What an answer that grants nothing says.
    pub fn fault(&self) -> DoorError {
        let said = self.text("x-error-message").map(str::to_owned).or_else(|| reason(&self.body));
        let said = said.unwrap_or_else(|| self.status.to_string());
        match self.status.as_u16() {
            401 | 403 | 451 => DoorError::Refused(said),
            404 | 410 | 504 => DoorError::Missing(said),
            _ => DoorError::Failed(said),
        }
    }
}

/// The fields of a request that wants one kind of answer.
pub fn fields(accept: Option<&'static str>) -> HeaderMap {
    let named = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
    HeaderMap::from_iter::<Option<(HeaderName, HeaderValue)>>(named)
}

/// A body of a bounded size, whole.
pub async fn whole(body: Body) -> Result<Bytes, DoorError> {
    let mut frames = BodyStream::new(body);
    let mut whole = BytesMut::new();
    let broken = |error: crate::server::BodyError| {
        DoorError::Failed(format!("the answer broke off: {error}"))
    };
    while let Some(frame) = frames.try_next().await.map_err(broken)? {
        let Ok(chunk) = frame.into_data() else { continue };
        if whole.len() + chunk.len() > LIMIT_BYTES {
            return Err(DoorError::Failed(format!(
                "the answer is longer than {LIMIT_BYTES} bytes"
            )));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The message of an error as registries, the hub or problem details write it.
fn reason(text: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let said = [&json["errors"][0]["message"], &json["detail"], &json["error"], &json["title"]];
    said.into_iter().find_map(|said| said.as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_say_what_the_answer_says() {
        let check =
            |status: u16, header: Option<&'static str>, body: &'static str, expected: DoorError| {
                let mut headers = HeaderMap::new();
                if let Some(header) = header {
                    headers.insert("x-error-message", HeaderValue::from_static(header));
                }
                let status = StatusCode::from_u16(status).expect("a status");
                assert_eq!(Answer { status, headers, body: body.into() }.fault(), expected);
            };
        check(403, Some("not yours"), "", DoorError::Refused("not yours".into()));
        check(
            404,
            None,
            r#"{"errors":[{"message":"unknown"}]}"#,
            DoorError::Missing("unknown".into()),
        );
        check(504, None, r#"{"detail":"not kept"}"#, DoorError::Missing("not kept".into()));
        check(503, None, "<html>", DoorError::Failed("503 Service Unavailable".into()));
    }
}
