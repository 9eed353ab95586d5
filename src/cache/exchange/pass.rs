//! What goes through: unsafe and unknown methods, and requests whose body may change their meaning. On the way back, what they changed is
//! invalidated (RFC 9111 section 4.4).

use std::sync::Arc;

use http::Method;
use url::Url;

use crate::cache::Parts;
use crate::cache::exchange::origin::Errand;
use crate::cache::exchange::question::Question;
use crate::cache::failure::Failure;
use crate::cache::found::Found;
use crate::cache::lookup::{Mode, target_name};
use crate::semantics::cache_status::Forward;
use crate::semantics::invalidation;
use crate::store::StoreError;
use crate::types::CacheKey;

/// Passes the request on and its answer back. What it made invalid is no longer served when this returns.
pub(super) async fn through(parts: &Arc<Parts>, question: &Question) -> Result<Found, Failure> {
    let sent = question.send_as_asked();
    let requested = Errand::new(parts, question, None, Forward::Method);
    let response = parts.upstream.send(sent.request.clone()).await?;
    let method = &question.request.method;
    for url in invalidation::targets(method, &question.request.url, &response.head) {
        forget(parts, question, &url).await?;
    }
    let answered = match *method {
        // Its answer may stand for the target's new state, so it counts as asked for after the invalidation.
        Method::POST => {
            Errand::new(parts, question, None, Forward::Method).arrived(&sent, response).await
        }
        _ => requested.passed(response, "method"),
    };
    answered.detach(parts)
}

/// By the book the responses go. In [`Mode::Keep`] they stay for worse days, and are confirmed before they are served.
async fn forget(parts: &Arc<Parts>, question: &Question, url: &Url) -> Result<(), StoreError> {
    let key = match *url == question.request.url {
        true => question.key.clone(),
        false => question.key.sibling(&target_name(url)),
    };
    match question.mode {
        Mode::ByTheBook => parts.exchanges.shelf.invalidate(parts.store.as_ref(), &key).await,
        Mode::Keep => expire(parts, &key).await,
    }
}

async fn expire(parts: &Arc<Parts>, key: &CacheKey) -> Result<(), StoreError> {
    let (shelf, store) = (&parts.exchanges.shelf, parts.store.as_ref());
    for kept in shelf.all(store, key)? {
        if kept.is_whole()
            && let Some(placed) = shelf.place(store, key, kept.expired(), shelf.ticket())?
        {
            shelf.write(store, &placed, Arc::clone(&placed.kept.entry)).await?;
        }
    }
    Ok(())
}
