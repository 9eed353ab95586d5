//! What hyper's errors mean.

use std::error::Error;
use std::io;

use hyper_util::client::legacy;

use super::connect::ConnectError;
use super::redirect::{forbidden, host_of};
use super::{OriginRequest, UpstreamError};

/// Why no head came.
pub fn of_request(request: &OriginRequest, error: &legacy::Error) -> UpstreamError {
    let host = host_of(&request.url);
    if let Some(connect) = find::<ConnectError>(error) {
        return of_connect(request, host, connect);
    }
    let detail = innermost(error);
    let unparsed = find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse);
    if unparsed || find::<h2::Error>(error).is_some_and(is_against_protocol) {
        UpstreamError::Malformed { host, detail }
    } else {
        UpstreamError::Broken { host, detail }
    }
}

/// Why a body ended early.
pub fn of_body(host: &str, error: &hyper::Error) -> UpstreamError {
    let detail = innermost(error);
    UpstreamError::Broken { host: host.to_owned(), detail }
}

/// Whether the client's own upload failed, which says nothing about the host.
pub fn is_upload(error: &legacy::Error) -> bool {
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_user)
}

fn of_connect(request: &OriginRequest, host: String, error: &ConnectError) -> UpstreamError {
    match error {
        ConnectError::Dns => UpstreamError::Dns { host },
        ConnectError::Refused => UpstreamError::Refused { host },
        ConnectError::TimedOut => UpstreamError::TimedOut { host, stage: "connect" },
        ConnectError::Forbidden => forbidden(request, &request.url),
        ConnectError::Tls(detail) => UpstreamError::Tls { host, detail: detail.clone() },
        ConnectError::Broken(detail) => UpstreamError::Broken { host, detail: detail.clone() },
        ConnectError::Proxy { proxy, cause } => {
            let cause = Box::new(of_connect(request, proxy.clone(), cause));
            UpstreamError::Proxy { host, cause }
        }
    }
}

/// Whether we, not the host, ended the stream for what came: fields beyond the limit, pseudo-fields out of place.
fn is_against_protocol(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR)
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The cause at the bottom: the one that says what happened.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let last = chain(error).last().unwrap_or(error);
    match last.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::ConnectionReset => "reset".to_owned(),
        _ => last.to_string(),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
