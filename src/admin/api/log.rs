//! The ledger over the API: records, the whole of it as JSON lines, checkpoints and proofs.
//!
//! Records are for administrators, since they tell who was refused what. Checkpoints are for everybody: they tell nothing, and the more people keep one, the
//! better. Left out: what a ledger is (`trace::ledger`).

use std::ops::{ControlFlow, Range};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::clock::Clock;
use crate::server::{Body, BodyError};
use crate::trace::ledger::{Ledger, View};
use crate::trace::record::{self, Record};
use crate::types::Timestamp;
use crate::types::event::{Kind, UnknownKind};

/// Records of one answer, unless more are asked for, and at most.
const SOME: u64 = 100;
const MOST: u64 = 10_000;

/// Bytes of an export that are sent as one.
const PIECE_BYTES: usize = 256 << 10;

/// Records stand in the order in which they were written down, which is that of their times but for moments; by so much at most.
const DISORDER: std::time::Duration = std::time::Duration::from_secs(3600);

/// The ledger's operations.
#[derive(Debug, Clone)]
pub struct Log {
    ledger: Ledger,
    clock: Clock,
}

/// Records, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Records {
    pub records: Vec<Record>,
    /// The index behind the last record that was looked at: ask for what comes `from` there next.
    pub next: u64,
}

/// A state of the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    pub size: u64,
    /// The signed note.
    pub checkpoint: String,
    /// The key that it is signed by.
    pub key: String,
    /// The roots of full segments, in base64.
    pub segments: Vec<String>,
}

/// That a state begins with an earlier one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Consistency {
    pub from: u64,
    pub path: Vec<String>,
    pub checkpoint: String,
    pub key: String,
}

/// What records somebody wants to see.
#[derive(Debug, Clone, Default)]
struct Wanted {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    kinds: Vec<Kind>,
    subject: Option<String>,
    mount: Option<String>,
    /// From this index on; without it the last ones.
    from: Option<u64>,
    limit: usize,
}

impl Log {
    pub const fn new(ledger: Ledger, clock: Clock) -> Self {
        Self { ledger, clock }
    }

    fn answer(&self, call: &Call) -> Result<Response<Body>, Problem> {
        let view = self.ledger.view();
        match call.operation {
            "log" => {
                let wanted = Wanted::of(call, self.clock.now())?;
                Ok(json(&wanted.look(&view).map_err(unreadable)?))
            }
            "logCheckpoint" => Ok(json(&state(&view)?)),
            "logProof" => {
                let index = call.captures.first().and_then(|text| text.parse().ok());
                let index =
                    index.ok_or_else(|| Problem::bad("the index of a record is a number"))?;
                let proof = view.prove(index).map_err(unreadable)?;
                proof.map(|proof| json(&proof)).ok_or_else(|| {
                    Problem::absent(format!("there are {} records, counted from 0", view.size()))
                })
            }
            "logConsistency" => {
                let from = call.number("from", 0)?;
                let path = view.prove_consistency(from).map_err(unreadable)?;
                let path = path.ok_or_else(|| {
                    Problem::absent(format!(
                        "there were never {from} records, there are {}",
                        view.size()
                    ))
                })?;
                Ok(json(&Consistency {
                    from,
                    path: path.iter().map(|hash| STANDARD.encode(hash)).collect(),
                    checkpoint: view.checkpoint().to_owned(),
                    key: view.key().to_string(),
                }))
            }
            _ => Ok(export(view, call.number("from", 0)?..call.number("to", u64::MAX)?)),
        }
    }
}

impl Resource for Log {
    fn operations(&self) -> Vec<Operation> {
        let get = |id, path, needs| Operation::new(id, Method::GET, path, needs);
        vec![
            get("log", "log", Right::Administrator),
            get("logExport", "log/export", Right::Administrator),
            get("logCheckpoint", "log/checkpoint", Right::Client),
            get("logConsistency", "log/consistency", Right::Client),
            get("logProof", "log/{index}/proof", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let log = self.clone();
        async move {
            let answered = tokio::task::spawn_blocking(move || log.answer(&call)).await;
            answered.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }
        .boxed()
    }
}

fn state(view: &View) -> Result<State, Problem> {
    let segments = view.segment_roots().map_err(unreadable)?;
    Ok(State {
        size: view.size(),
        checkpoint: view.checkpoint().to_owned(),
        key: view.key().to_string(),
        segments: segments.iter().map(|root| STANDARD.encode(root)).collect(),
    })
}

fn unreadable(error: std::io::Error) -> Problem {
    tracing::error!(%error, "the ledger cannot be read");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the ledger cannot be read: {error}"))
}

impl Wanted {
    fn of(call: &Call, now: Timestamp) -> Result<Self, Problem> {
        let text = |name: &str| call.query.get(name).filter(|text| !text.is_empty());
        let instant = |name: &str| {
            let read = text(name).map(|text| record::instant(text, now));
            read.transpose().map_err(|error| Problem::bad(format!("`{name}`: {error}")))
        };
        let kinds = text("kind").map(|text| text.split(',').map(|kind| kind.trim().parse()));
        let kinds: Result<Vec<Kind>, UnknownKind> = kinds.into_iter().flatten().collect();
        let from = text("from").map(|_| call.number("from", 0)).transpose()?;
        Ok(Self {
            since: instant("since")?,
            until: instant("until")?,
            kinds: kinds.map_err(|error| Problem::bad(error.to_string()))?,
            subject: text("subject").cloned(),
            mount: text("mount").cloned(),
            from,
            limit: call.number("limit", SOME)?.min(MOST) as usize,
        })
    }

    fn look(&self, view: &View) -> std::io::Result<Records> {
        let mut records = Vec::new();
        let mut next = self.from.unwrap_or_else(|| view.size()).min(view.size());
        let mut take = |index: u64, line: &[u8]| {
            if records.len() == self.limit {
                return ControlFlow::Break(());
            }
            if self.from.is_some() {
                next = index + 1;
            }
            // What cannot be read is for an audit to tell of.
            let Ok(record) = serde_json::from_slice::<Record>(line) else {
                return ControlFlow::Continue(());
            };
            let happened = record.happened();
            let is_before = |since: Timestamp| happened.plus(DISORDER) < since;
            if self.from.is_none() && self.since.is_some_and(is_before) {
                return ControlFlow::Break(());
            }
            if self.fits(&record, happened) {
                records.push(record);
            }
            ControlFlow::Continue(())
        };
        match self.from {
            Some(from) => view.lines(from..u64::MAX, &mut take)?,
            None => {
                view.lines_backwards(&mut take)?;
                records.reverse();
            }
        }
        Ok(Records { records, next })
    }

    fn fits(&self, record: &Record, happened: Timestamp) -> bool {
        self.since.is_none_or(|since| happened >= since)
            && self.until.is_none_or(|until| happened < until)
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && self.mount.as_ref().is_none_or(|mount| record.mount == *mount)
            && self.subject.as_ref().is_none_or(|subject| is_about(&record.subject, subject))
    }
}

/// The last records that fit, oldest first.
pub(super) fn last(
    view: &View,
    limit: usize,
    fits: impl Fn(&Record) -> bool,
) -> std::io::Result<Vec<Record>> {
    let mut records = Vec::new();
    view.lines_backwards(&mut |_, line| {
        if let Ok(record) = serde_json::from_slice::<Record>(line)
            && fits(&record)
        {
            records.push(record);
        }
        if records.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    records.reverse();
    Ok(records)
}

/// Whether something is what a text names, or a part or version of it. A `*` stands for anything.
pub(super) fn is_about(subject: &str, text: &str) -> bool {
    let Some((first, rest)) = text.split_once('*') else {
        let rest = subject.strip_prefix(text);
        return rest.is_some_and(|rest| {
            rest.is_empty() || text.ends_with(':') || rest.starts_with(['@', '=', ':', '/'])
        });
    };
    let Some(mut left) = subject.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        let found = match pieces.peek() {
            Some(_) => left.find(piece).map(|at| &left[at + piece.len()..]),
            None => left.strip_suffix(piece).map(|_| ""),
        };
        let Some(after) = found else { return false };
        left = after;
    }
    true
}

/// Lines as they were hashed, streamed.
fn export(view: View, range: Range<u64>) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, BodyError>>(2);
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut send = |_: u64, line: &[u8]| {
            piece.extend_from_slice(line);
            piece.push(b'\n');
            if piece.len() < PIECE_BYTES {
                return ControlFlow::Continue(());
            }
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES));
            match sender.blocking_send(Ok(full.into())) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let sent = view.lines(range, &mut send);
        // Whoever has left misses nothing.
        let _ = sender.blocking_send(sent.map(|()| piece.into()).map_err(Into::into));
    });
    let pieces = futures_util::stream::unfold(receiver, async |mut receiver| {
        let piece = receiver.recv().await?;
        Some((piece.map(Frame::data), receiver))
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let kind = HeaderValue::from_static("application/jsonl; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_by_what_they_are_about() {
        let check = |subject: &str, text: &str, expected: bool| {
            assert_eq!(is_about(subject, text), expected, "{subject} {text}");
        };
        check("pypi:six==1.17.0", "pypi:six", true);
        check("pypi:six==1.17.0", "pypi:six==1.17.0", true);
        check("pypi:sixty", "pypi:six", false);
        check("pypi:six", "pypi:", true);
        check("hf:org/model@main", "hf:org/model", true);
        check("hf:org/model@main", "hf:org", true);
        check("hf:org/model@main", "hf:o*@main", true);
        check("hf:org/model@main", "*model*", true);
        check("hf:org/model@main", "*@v1", false);
        check("hf:org/model@main", "hf:*x*", false);
        check("oci:hub.example/a:3", "oci:hub.example/a", true);
        check("aba", "ab*ba", false);
    }
}
