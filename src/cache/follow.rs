//! Follow-ups: what belongs to something that was just kept is fetched before anybody asks for it, so that it is there when upstream is not.
//!
//! A follow-up is a favour: it waits its turn, a failure is logged and forgotten, and whoever asks for the same thing meanwhile joins it.

use std::sync::Arc;

use crate::cache::artifact::{self, Want};
use crate::cache::failure::Failure;
use crate::cache::fill::Patience;
use crate::cache::found::Source;
use crate::cache::lookup::{Artifact, Demand, Document, Follow};
use crate::cache::{Cache, Parts};
use crate::types::CacheKey;

/// Starts fetching what is not kept yet.
pub(super) fn start(parts: &Arc<Parts>, follow: Vec<Follow>) {
    for item in follow {
        let stop = parts.stop.clone();
        let fetch = fetch(Arc::clone(parts), item);
        parts.tasks.spawn(async move { stop.run_until_cancelled(fetch).await });
    }
}

/// Boxed, because a document that is fetched here may have follow-ups of its own.
fn fetch(parts: Arc<Parts>, item: Follow) -> futures_util::future::BoxFuture<'static, ()> {
    Box::pin(async move {
        let turns = Arc::clone(&parts);
        let _turn = turns.follow_ups.acquire().await.expect("this semaphore is never closed");
        let key = item.key().clone();
        let outcome = match item {
            Follow::Document(document) => keep_document(parts, document).await,
            Follow::Artifact(artifact) => keep_artifact(&parts, &artifact).await,
        };
        if let Err(failure) = outcome {
            tracing::info!(cache.key = %key, error = %failure, "what belongs to something kept could not be kept with it");
        }
    })
}

async fn keep_document(parts: Arc<Parts>, mut document: Document) -> Result<(), Failure> {
    document.demand = Demand::AnyAge;
    let cache = Cache { parts: Arc::clone(&parts) };
    let got = cache.document(&document).await?;
    if got.trace.status.is_hit() {
        // A refresh would have named them; what is kept already may lack some still.
        start(&parts, document.keep.belongings(&got.loaded.parsed));
    }
    Ok(())
}

/// Waits until the artifact is whole: a transfer that nobody reads would be given up after a while.
async fn keep_artifact(parts: &Arc<Parts>, artifact: &Artifact) -> Result<(), Failure> {
    if artifact::is_kept(parts, artifact) {
        return Ok(());
    }
    let found = Cache { parts: Arc::clone(parts) }.artifact(artifact, Want::whole()).await?;
    if let Source::Fill(reader) = found.source {
        // How it ends is in the fill's own log; whoever asks next finds what there is.
        let _ = reader.opened(Patience::Digest).await;
    }
    Ok(())
}

impl Follow {
    fn key(&self) -> &CacheKey {
        match self {
            Self::Document(document) => &document.lookup.key,
            Self::Artifact(artifact) => &artifact.lookup.key,
        }
    }
}
