//! What is counted on the way out.

use std::time::Duration;

use http::StatusCode;
use metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::quota::{self, Quota};
use super::{OriginResponse, UpstreamError};
use crate::types::Head;

const REQUESTS: &str = "larder_upstream_requests_total";
const BYTES: &str = "larder_upstream_bytes_total";
const SECONDS: &str = "larder_upstream_seconds";
const QUOTA: &str = "larder_upstream_quota_remaining";
const CIRCUIT_OPEN: &str = "larder_upstream_circuit_open";

/// Tells the recorder what the numbers mean.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests to an origin by outcome, with all their attempts.");
    describe_counter!(BYTES, Unit::Bytes, "Body bytes that came from an origin.");
    describe_histogram!(SECONDS, Unit::Seconds, "From sending a request to its final head.");
    describe_gauge!(QUOTA, "Requests that a host said it would still answer, by its quota's name.");
    describe_gauge!(CIRCUIT_OPEN, "1 while a host is left alone after failures, else 0.");
}

/// Counts a request and what came of it.
pub fn request(origin: &str, elapsed: Duration, outcome: Result<&OriginResponse, &UpstreamError>) {
    let label = outcome.map_or_else(kind, |response| class(response.head.status));
    counter!(REQUESTS, "origin" => origin.to_owned(), "outcome" => label).increment(1);
    if outcome.is_ok() {
        histogram!(SECONDS, "origin" => origin.to_owned()).record(elapsed);
    }
}

/// The counter of an origin's body bytes.
pub fn bytes(origin: &str) -> Counter {
    counter!(BYTES, "origin" => origin.to_owned())
}

/// Notes what a host says is left of its quotas.
pub fn quotas(host: &str, head: &Head) {
    for Quota { name, remaining, .. } in quota::quotas(head) {
        gauge!(QUOTA, "host" => host.to_owned(), "quota" => name).set(remaining as f64);
    }
}

/// Notes that a host is left alone.
pub fn circuit_opened(host: &str) {
    gauge!(CIRCUIT_OPEN, "host" => host.to_owned()).set(1.0);
}

/// Notes that a host is asked again.
pub fn circuit_closed(host: &str) {
    gauge!(CIRCUIT_OPEN, "host" => host.to_owned()).set(0.0);
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

const fn kind(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Dns { .. } => "dns",
        UpstreamError::NotAsked { .. } => "not-asked",
        UpstreamError::Refused { .. } => "refused",
        UpstreamError::Proxy { .. } => "proxy",
        UpstreamError::Tls { .. } => "tls",
        UpstreamError::TimedOut { .. } => "timed-out",
        UpstreamError::Broken { .. } => "broken",
        UpstreamError::Malformed { .. } => "malformed",
        UpstreamError::CircuitOpen { .. } => "circuit-open",
        UpstreamError::RedirectLoop { .. } => "redirect-loop",
        UpstreamError::ForbiddenAddress { .. } => "forbidden-address",
        UpstreamError::Overloaded { .. } => "overloaded",
    }
}
