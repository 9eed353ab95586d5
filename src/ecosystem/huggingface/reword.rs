//! Steps whose replies are looked at once more before they are given: worded for another kind of client than the hub's own.

use crate::ecosystem::{Reply, Step};

/// Words a step's reply, now or after further rounds.
pub fn replies(step: Step, then: fn(Reply) -> Reply) -> Step {
    match step {
        Step::Reply(reply) => Step::Reply(then(reply)),
        Step::Need { documents, then: on } => {
            Step::Need { documents, then: Box::new(move |held| replies(on(held), then)) }
        }
        Step::NeedBody { limit_bytes, then: on } => {
            Step::NeedBody { limit_bytes, then: Box::new(move |body| replies(on(body), then)) }
        }
        Step::Inspect { artifact, then: on } => {
            Step::Inspect { artifact, then: Box::new(move |found| replies(on(found), then)) }
        }
        Step::Names { under, after, limit, then: on } => {
            let then = Box::new(move |names| replies(on(names), then));
            Step::Names { under, after, limit, then }
        }
        Step::Serve(_) | Step::Refuse(_) => step,
    }
}
