//! Steps whose replies are looked at once more before they are given: worded for another kind of client, or followed by another attempt.

use crate::ecosystem::{Reply, Step};

/// Does with a step's replies, now or after further rounds, what `then` says.
pub fn replies(step: Step, then: impl FnOnce(Reply) -> Step + Send + 'static) -> Step {
    match step {
        Step::Reply(reply) => then(reply),
        Step::Need { documents, then: on } => {
            Step::Need { documents, then: Box::new(move |held| replies(on(held), then)) }
        }
        Step::NeedBody { limit_bytes, then: on } => {
            Step::NeedBody { limit_bytes, then: Box::new(move |body| replies(on(body), then)) }
        }
        Step::Names { under, after, limit, then: on } => {
            let then = Box::new(move |names| replies(on(names), then));
            Step::Names { under, after, limit, then }
        }
        Step::Serve(plan) => Step::Serve(plan),
    }
}
