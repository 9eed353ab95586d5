//! One request: the checks that HTTP/1 and HTTP/2 share, the handler, and what the server adds to its answer.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;

use super::access_log::{Exchange, Followed, Metrics, mask_secrets};
use super::body::RequestBody;
use super::drain::Activity;
use super::echo::{Audience, Echoes};
use super::inspect::refusal_of;
use super::limits::Admission;
use super::memory::Memory;
use super::refusal::Refusal;
use super::sendfile::Outbox;
use super::strict::check_request;
use super::{Body, Handler, Peer};

/// What the exchanges on one connection share.
pub(crate) struct Session {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) peer: Peer,
    pub(crate) activity: Activity,
    pub(crate) memory: Arc<Memory>,
    pub(crate) admission: Admission,
    pub(crate) body_timeout: Duration,
    /// Where the kernel can send files by itself.
    pub(crate) outbox: Option<Outbox>,
    pub(crate) echoes: Arc<Echoes>,
    /// Whom answers on this connection are for, if such ones may be given again.
    pub(crate) audience: Option<Audience>,
    /// The head that hyper got last, if it came alone.
    pub(crate) head: Mutex<Option<Bytes>>,
}

impl Session {
    /// Answers one request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Followed>, Infallible> {
        let asked = self.asked(&request);
        let method = request.method().clone();
        let mut exchange = Exchange::begin(Arc::clone(&self), method, request.uri().clone());
        let is_last = is_last_on_connection(&request);
        let answered = match self.refusal(&request) {
            Some(refusal) => Err(refusal),
            None => match self.memory.admit() {
                Some(right) => {
                    exchange.hold(right);
                    self.hand_over(request, exchange.target()).await
                }
                None => Err(Refusal::OutOfMemory),
            },
        };
        let mut response = answered.unwrap_or_else(|refusal| {
            exchange.refuse(refusal);
            refusal.response()
        });
        if is_last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.keep(asked, &mut response);
        Ok(exchange.follow(response))
    }

    pub(crate) fn last_head(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, request: &Request<Incoming>) -> Option<Refusal> {
        match self.admission {
            Admission::TurnedAway => Some(Refusal::Full),
            Admission::Admitted => refusal_of(request).or_else(|| check_request(request).err()),
        }
    }

    async fn hand_over(
        &self,
        request: Request<Incoming>,
        target: &Uri,
    ) -> Result<Response<Body>, Refusal> {
        let body = |body| RequestBody::new(body, self.body_timeout, Arc::clone(&self.memory));
        let request = in_origin_form(request).map(body);
        let handled = async { self.handler.handle(request, self.peer.clone()).await };
        AssertUnwindSafe(handled).catch_unwind().await.map_err(|panic| {
            let path = mask_secrets(target.path());
            let panic = panic_message(&*panic);
            tracing::error!(http.path = %path, panic, "the handler panicked");
            Refusal::Panicked
        })
    }
}

/// Whether nothing after this request on its connection may be taken for a request: chunks are not followed by `inspect`.
fn is_last_on_connection<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_2 && request.headers().contains_key(TRANSFER_ENCODING)
}

/// Gives every request the same form, with `Host` telling the authority.
fn in_origin_form<B>(mut request: Request<B>) -> Request<B> {
    let Some(authority) = request.uri().authority() else { return request };
    // An authority is a field value: its characters are a part of what is allowed there.
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
    let root = || PathAndQuery::from_static("/");
    let target = request.uri().path_and_query().cloned().unwrap_or_else(root);
    *request.uri_mut() = Uri::from(target);
    request
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
