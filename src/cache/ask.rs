//! Asking the origins of a lookup, in order, until one has it.

use http::{StatusCode, header};

use crate::cache::Parts;
use crate::cache::assemble;
use crate::cache::failure::Failure;
use crate::cache::fill::as_whole;
use crate::cache::lookup::{Accepted, Admission, Answer, Lookup};
use crate::types::Head;
use crate::upstream::{OriginRequest, OriginResponse};

/// An answer that was accepted.
pub(crate) struct Answered {
    pub(crate) response: OriginResponse,
    pub(crate) accepted: Accepted,
    /// The request that it answers, as it was sent.
    pub(crate) request: OriginRequest,
}

/// Asks the lookup's origins in order; `prepare` completes each request. Absence leads to the next origin; anything else that
/// is not an acceptance ends the search, so that an outage never falls through to a less trusted upstream.
pub(crate) async fn ask(
    parts: &Parts,
    lookup: &Lookup,
    prepare: impl Fn(&mut OriginRequest) + Send + Sync,
) -> Result<Answered, Failure> {
    if lookup.origins.is_empty() {
        return Err(Failure::NotKept);
    }
    for (index, origin) in lookup.origins.iter().enumerate() {
        let mut request = origin.clone();
        prepare(&mut request);
        let response = send(parts, &mut request).await?;
        let whole = match response.head.status {
            StatusCode::PARTIAL_CONTENT => &as_whole(&response.head),
            _ => &response.head,
        };
        let answer = Answer { hops: &response.hops, head: whole, now: parts.clock.now() };
        match lookup.admit.admit(index, &answer) {
            Admission::Accept(accepted) => return Ok(Answered { response, accepted, request }),
            Admission::Pieces(accepted, how) => {
                let response = assemble::open(parts, how, &request, response);
                return Ok(Answered { response, accepted, request });
            }
            Admission::Absent => {}
            Admission::Refused => {
                return Err(Failure::Refused { status: response.head.status.as_u16() });
            }
            Admission::Fail { reason } => return Err(failed(&response.head, reason)),
        }
    }
    Err(Failure::Absent)
}

/// Sends a request; a range that no longer exists (416) is dropped and the whole asked for.
async fn send(parts: &Parts, request: &mut OriginRequest) -> Result<OriginResponse, Failure> {
    let response = parts.upstream.send(request.clone()).await?;
    if response.head.status == StatusCode::RANGE_NOT_SATISFIABLE
        && request.headers.remove(header::RANGE).is_some()
    {
        request.headers.remove(header::IF_RANGE);
        return Ok(parts.upstream.send(request.clone()).await?);
    }
    Ok(response)
}

fn failed(head: &Head, reason: String) -> Failure {
    let status = head.status;
    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Failure::BadAnswer(reason);
    }
    let retry_after_secs = head.text(&header::RETRY_AFTER).and_then(|text| text.parse().ok());
    Failure::Unavailable { status: status.as_u16(), retry_after_secs }
}
