//! Planning in rounds: what a plan must see first is got for it, until it knows what to serve.
//!
//! Left out: what is planned, which is the adapters'.

use futures_util::future::join_all;
use http::StatusCode;

use super::words::explained;
use super::{Pipeline, Planned, Seen, is_settled, judge, only_if_cached, rendering, upload};
use crate::cache::document::Got;
use crate::cache::failure::Failure;
use crate::cache::lookup::{Demand, Document};
use crate::ecosystem::{Ask, Ecosystem, Held, MOST_ROUNDS, Reply, Step};
use crate::server::RequestBody;
use crate::types::CacheKey;

impl Pipeline {
    /// Plans in rounds: each gets the documents that the adapter named and lets it go on.
    pub(super) async fn plan(
        &self,
        mount: &dyn Ecosystem,
        ask: &Ask,
        seen: &mut Seen,
        upload: &mut Option<RequestBody>,
    ) -> Result<Planned, Reply> {
        let mut step = mount.plan(ask);
        for _ in 0..MOST_ROUNDS {
            match step {
                Step::Reply(reply) => return Ok(Planned::Reply(reply)),
                Step::Serve(plan) => return Ok(Planned::Serve(plan)),
                Step::Refuse(subject) => return Ok(Planned::Refuse(subject)),
                Step::Need { mut documents, then } => {
                    if only_if_cached(ask) {
                        let lookups = documents.iter_mut().map(|document| &mut document.lookup);
                        lookups.for_each(|lookup| lookup.origins.clear());
                    }
                    let got = documents.iter().map(|document| self.cache.document(document));
                    let got = join_all(got).await;
                    let keys = documents.iter().map(demanded);
                    let held = got.iter().map(held).collect();
                    let is_hit =
                        |got: &Result<Got, _>| got.as_ref().is_ok_and(|got| is_settled(&got.trace));
                    seen.settled &= got.iter().all(is_hit);
                    let got = keys.zip(got).filter_map(|(key, got)| Some((key, got.ok()?)));
                    seen.documents.extend(got);
                    step = then(held);
                }
                Step::Names { under, after, limit, then } => {
                    seen.settled = false;
                    let names = self.cache.names(&under, after.as_ref(), limit);
                    step = then(names.map_err(|failure| explained(mount, ask, &failure))?);
                }
                Step::Inspect { mut artifact, then } => {
                    if only_if_cached(ask) {
                        artifact.lookup.origins.clear();
                    }
                    artifact.is_excepted |= judge::is_excepted(ask, &artifact);
                    let found = self.cache.inspected(&artifact).await;
                    step = then(found.map_err(|failure| explained(mount, ask, &failure))?);
                }
                Step::NeedBody { limit_bytes, then } => {
                    seen.settled = false;
                    step = then(upload::collected(upload.take(), limit_bytes).await?);
                }
            }
        }
        tracing::error!(mount = mount.id(), path = %ask.path, "a plan asked for documents too often");
        Err(Reply::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Larder could not decide how to answer",
            "This is a fault of Larder's; its log has more.",
        ))
    }
}

/// What names a document among those that planning has got.
pub(super) fn demanded(document: &Document) -> (CacheKey, Demand) {
    (document.lookup.key.clone(), document.demand)
}

/// What an adapter sees of a document.
fn held(got: &Result<Got, Failure>) -> Result<Held, Failure> {
    let got = got.as_ref().map_err(Failure::clone)?;
    Ok(Held {
        parsed: got.loaded.parsed.clone(),
        version: got.loaded.version,
        standing: rendering::standing(got),
    })
}
