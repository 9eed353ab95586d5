//! What Larder's own pages see of a request, and how they ask the mounts on behalf of whoever sent it.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};

use super::identity::{self, Arrival};
use super::{Pipeline, deliver, refusal};
use crate::server::{Body, Peer, RequestBody};

/// A request for one of Larder's own pages.
#[derive(Debug)]
pub struct Visit {
    /// Its method, target and fields; its body is beside it.
    pub request: Request<RequestBody>,
    /// The target's path without a token's prefix.
    pub path: String,
    /// The name of the access token that was shown.
    pub client: Option<String>,
    pub is_admin: bool,
    /// How the visitor sees the root of this server, without a trailing slash.
    pub base: String,
    pub visitor: Visitor,
}

/// Somebody on whose behalf the mounts can be asked: with his address, his token and his credential for upstream, and so with no more rights than he has.
#[derive(Clone)]
pub struct Visitor {
    pipeline: Arc<Pipeline>,
    peer: Peer,
    /// What says who he is.
    headers: HeaderMap,
    /// The token that stood in his path.
    prefix: String,
}

/// The fields that say who sent a request, and where to.
const IDENTITY: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::FORWARDED,
    header::HOST,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

impl Visit {
    pub(super) fn new(
        pipeline: &Arc<Pipeline>,
        request: &Request<RequestBody>,
        upload: RequestBody,
        arrival: &Arrival<'_>,
    ) -> Self {
        let mut own = Request::new(upload);
        *own.method_mut() = request.method().clone();
        *own.uri_mut() = request.uri().clone();
        *own.headers_mut() = request.headers().clone();
        Self {
            request: own,
            path: arrival.admitted.path.to_owned(),
            client: arrival.admitted.client.map(str::to_owned),
            is_admin: arrival.admitted.is_admin,
            base: pipeline.identity.base(request, arrival),
            visitor: Visitor::new(pipeline, request, arrival),
        }
    }
}

impl Visitor {
    fn new(
        pipeline: &Arc<Pipeline>,
        request: &Request<RequestBody>,
        arrival: &Arrival<'_>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        for name in IDENTITY {
            for value in request.headers().get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        // HTTP/2 has the host in the target.
        let authority = identity::authority(request).map(HeaderValue::from_str);
        if let Some(Ok(authority)) = authority {
            headers.insert(header::HOST, authority);
        }
        Self {
            pipeline: Arc::clone(pipeline),
            peer: arrival.peer.clone(),
            headers,
            prefix: arrival.admitted.prefix.to_owned(),
        }
    }

    /// What a mount answers him. `request` is for a path below the root, without a token's prefix; whom it is from is put in here. Larder's own pages are no
    /// mount: they do not ask themselves.
    pub fn ask(&self, mut request: Request<RequestBody>) -> BoxFuture<'static, Response<Body>> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let is_own = (self.pipeline.own.claims)(request.uri().path());
        let target = format!("{}{target}", self.prefix).parse::<Uri>();
        let (pipeline, peer) = (Arc::clone(&self.pipeline), self.peer.clone());
        let Some(target) = target.ok().filter(|_| !is_own) else {
            let detail = "This is no address of a mount.";
            return async move { deliver::finished(refusal(StatusCode::NOT_FOUND, detail)) }
                .boxed();
        };
        *request.uri_mut() = target;
        for name in IDENTITY {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.headers.clone());
        async move { deliver::finished(pipeline.answer(request, peer, None).await) }.boxed()
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("peer", &self.peer).finish_non_exhaustive()
    }
}
