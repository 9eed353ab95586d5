//! Where something came from and what became of it, in one answer: what is kept of it, what the ledger says of it, who pulled it. For administrators.
//!
//! By name it tells of a thing, its versions and parts; by digest of whatever was pulled with those bytes. Left out: what a model says of itself and its licence
//! (`models`).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::log::{self, is_about};
use super::{Call, Operation, Problem, Resource, json};
use crate::admin::Right;
use crate::keep::listing::Shown;
use crate::keep::{KeepError, Keeper, Sight};
use crate::server::Body;
use crate::trace::Recording;
use crate::trace::pulls::{Row, Wanted};
use crate::trace::record::Record;

/// Records and rows of one answer.
const MOST: usize = 1000;

/// The operation.
#[derive(Debug, Clone)]
pub struct Provenance {
    pub keeper: Keeper,
    pub recording: Recording,
}

/// All that is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    /// What is kept, each with the addresses, digests and times of its parts, and upstream's last word.
    pub things: Vec<Shown>,
    /// What happened, oldest first.
    pub events: Vec<Record>,
    /// Who pulled it, what was pulled last first.
    pub pulls: Vec<Row>,
}

/// What is asked about.
#[derive(Debug, Clone)]
enum About {
    Name(String),
    Digest(String),
}

impl About {
    fn of(call: &Call) -> Result<Self, Problem> {
        let text = |name: &str| call.query.get(name).filter(|text| !text.is_empty()).cloned();
        match (text("name"), text("digest")) {
            (Some(name), None) => Ok(Self::Name(name)),
            (None, Some(digest)) => Ok(Self::Digest(digest)),
            _ => Err(Problem::bad("say what it is about: `name` or `digest`, one of them")),
        }
    }
}

impl Provenance {
    async fn answer(self, about: About) -> Result<Known, Problem> {
        let things = match &about {
            About::Name(name) => match self.keeper.show(name.clone(), Sight::Everything).await {
                Ok(showing) => showing.things,
                // It may be gone, or refused, and have a history all the same.
                Err(KeepError::Nothing(_)) => Vec::new(),
                Err(error @ KeepError::Misnamed(_)) => return Err(Problem::bad(error.to_string())),
                Err(error) => return Err(failed(&error)),
            },
            About::Digest(_) => Vec::new(),
        };
        self.recording.pulls.write().await;
        let looking = tokio::task::spawn_blocking(move || self.recorded(&about));
        let recorded = looking.await;
        let (events, pulls) =
            recorded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        if things.is_empty() && events.is_empty() && pulls.is_empty() {
            return Err(Problem::absent("nothing is known of it"));
        }
        Ok(Known { things, events, pulls })
    }

    fn recorded(&self, about: &About) -> Result<(Vec<Record>, Vec<Row>), Problem> {
        let mut wanted = Wanted { limit: MOST, ..Wanted::default() };
        let view = self.recording.ledger.view();
        let events = match about {
            About::Name(name) => {
                wanted.name = Some(is_about);
                wanted.named.clone_from(name);
                log::last(&view, MOST, |record| is_about(&record.subject, name))
            }
            About::Digest(digest) => {
                wanted.digest = Some(digest.clone());
                let is_it = |text: &Option<String>| text.as_ref() == Some(digest);
                log::last(&view, MOST, |record| is_it(&record.before) || is_it(&record.after))
            }
        };
        let events = events.map_err(|error| failed(&error))?;
        let pulls = self.recording.pulls.rows(&wanted).map_err(|error| failed(&error))?;
        Ok((events, pulls))
    }
}

impl Resource for Provenance {
    fn operations(&self) -> Vec<Operation> {
        vec![Operation::new("provenance", Method::GET, "provenance", Right::Administrator)]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let provenance = self.clone();
        async move {
            let about = About::of(&call)?;
            Ok(json(&provenance.answer(about).await?))
        }
        .boxed()
    }
}

fn failed(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "provenance cannot be told");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
