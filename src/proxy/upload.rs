//! A request's body, read whole within a limit. Left out: bodies that pass through, which are never collected.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::ecosystem::Reply;
use crate::server::{Crowded, RequestBody, Stalled};

/// A request's body, whole.
pub(super) async fn collected(
    upload: Option<RequestBody>,
    limit_bytes: usize,
) -> Result<Bytes, Reply> {
    let Some(upload) = upload else { return Ok(Bytes::new()) };
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let whole = Limited::new(upload.to_be_gathered(), limit_bytes).collect().await;
    match whole {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("This address takes bodies of at most {limit_bytes} bytes.");
            Err(Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, "Too large", &detail))
        }
        Err(error) if error.is::<Crowded>() => {
            let reply = Reply::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "Out of memory",
                "Memory is short; try again in a few seconds.",
            );
            Err(reply.with(header::RETRY_AFTER, HeaderValue::from_static("5")))
        }
        Err(error) if error.is::<Stalled>() => {
            let detail = format!("The request's body did not come: {error}.");
            Err(Reply::problem(StatusCode::REQUEST_TIMEOUT, "Too slow", &detail))
        }
        Err(error) => {
            let detail = format!("The request's body could not be read: {error}.");
            Err(Reply::problem(StatusCode::BAD_REQUEST, "Bad request", &detail))
        }
    }
}
