//! Whose a name is, over the API: which repository a hub's name stands for here, and letting another one take it over.
//!
//! What is kept of a repository remembers the hub's number for it ([`huggingface::identity`]). A stranger under the same name is kept out until an administrator
//! accepts it here, by its number, so that nobody else is let in than who was looked at.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::admin::Right;
use crate::admin::api::{Call, Operation, Problem, Resource, json};
use crate::cache::Cache;
use crate::cache::failure::Failure;
use crate::cache::lookup::Document;
use crate::ecosystem::huggingface;
use crate::ecosystem::huggingface::identity::{self, Standing};
use crate::ecosystem::huggingface::repository::{Repository, RepositoryType};
use crate::server::Body;
use crate::types::Timestamp;

/// The largest request.
const LIMIT_BYTES: usize = 4 << 10;

/// The identities behind the hub's names.
#[derive(Clone)]
pub struct Identities {
    cache: Cache,
    /// The hub's settings, where there is one.
    settings: Option<Arc<huggingface::Settings>>,
}

/// What is known of a name. Fields are added, never renamed or taken away, while the API is `v1`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// `models/org/name`.
    pub repository: String,
    /// The repository that the name stands for; `null` where the hub never told.
    pub identity: Option<ToldIdentity>,
    /// Another one that has the name on the hub now, and is not taken for the first.
    pub stranger: Option<ToldIdentity>,
    /// Whether the stranger was accepted and takes over with the next question to the hub.
    pub accepted: bool,
}

/// A repository by the hub's number for it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ToldIdentity {
    pub id: String,
    /// When it was made, by the hub's word.
    pub created: Option<String>,
    /// When it was first seen; told of strangers.
    pub seen: Option<String>,
}

/// Lets a stranger in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Its number, as it was told.
    pub accept: String,
}

impl Identities {
    pub const fn new(cache: Cache, settings: Option<Arc<huggingface::Settings>>) -> Self {
        Self { cache, settings }
    }

    async fn answer(self, call: Call) -> Result<Response<Body>, Problem> {
        let name = call.captures.first().map(String::as_str).unwrap_or_default();
        let repository = repository(name).ok_or_else(|| {
            let detail =
                format!("{name:?} names no repository: write org/name, or datasets/org/name");
            Problem::bad(detail)
        })?;
        if call.operation == "acceptIdentity" {
            let Acceptance { accept } = Call::json(call.body, LIMIT_BYTES).await?;
            self.accept(&repository, &accept).await?;
        }
        let named = repository.web_path();
        let absent = || Problem::absent(format!("nothing is kept of hf:{named}"));
        let standing = self.standing(&repository).await?.ok_or_else(absent)?;
        Ok(json(&Told::of(&repository, standing)))
    }

    fn documents(&self, repository: &Repository) -> Vec<Document> {
        let settings = self.settings.as_ref();
        settings.map_or_else(Vec::new, |settings| identity::documents(settings, repository))
    }

    /// The first that is known of a name, and with a stranger if there is one.
    async fn standing(&self, repository: &Repository) -> Result<Option<Standing>, Problem> {
        let mut found = None;
        for document in self.documents(repository) {
            let standing = match self.cache.document(&document).await {
                Ok(got) => identity::standing(&got.loaded.parsed),
                Err(Failure::NotKept | Failure::Absent) => None,
                Err(failure) => return Err(failed(&failure)),
            };
            match standing {
                Some(standing) if standing.stranger.is_some() => return Ok(Some(standing)),
                standing => found = found.or(standing),
            }
        }
        Ok(found)
    }

    async fn accept(&self, repository: &Repository, id: &str) -> Result<(), Problem> {
        let mut is_let_in = false;
        for document in self.documents(repository) {
            let id = id.to_owned();
            let edit = Arc::new(move |parsed: &_| identity::accepting(parsed, &id));
            is_let_in |= self.cache.amend(&document, edit).await.map_err(|error| failed(&error))?;
        }
        match is_let_in {
            true => {
                tracing::info!(repository = %repository, identity = id, "a repository may take over a name");
                Ok(())
            }
            false => {
                let detail =
                    format!("no repository {id:?} was seen under the name of {repository}");
                Err(Problem::new(StatusCode::CONFLICT, detail))
            }
        }
    }
}

impl Resource for Identities {
    fn operations(&self) -> Vec<Operation> {
        let one = "identities/{name...}";
        vec![
            Operation::new("showIdentity", Method::GET, one, Right::Client),
            Operation::new("acceptIdentity", Method::PUT, one, Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        self.clone().answer(call).boxed()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities")
    }
}

impl Told {
    fn of(repository: &Repository, standing: Standing) -> Self {
        let Standing { identity, stranger, is_accepted } = standing;
        let told = |identity: identity::Identity, seen: Option<Timestamp>| ToldIdentity {
            id: identity.id,
            created: identity.created.map(Timestamp::to_rfc3339),
            seen: seen.map(Timestamp::to_rfc3339),
        };
        Self {
            repository: repository.to_string(),
            identity: identity.map(|identity| told(identity, None)),
            stranger: stranger.map(|stranger| told(stranger.identity, Some(stranger.seen))),
            accepted: is_accepted,
        }
    }
}

/// Reads `hf:org/name`, `models/org/name`, `datasets/org/name`, `org/name`.
fn repository(name: &str) -> Option<Repository> {
    let name = name.strip_prefix("hf:").unwrap_or(name);
    let of_type = name
        .split_once('/')
        .and_then(|(kind, id)| Repository::parse(RepositoryType::parse(kind)?, id));
    of_type.or_else(|| Repository::parse(RepositoryType::Models, name))
}

fn failed(failure: &Failure) -> Problem {
    tracing::error!(error = %failure, "what is kept of a repository could not be read or changed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_in_several_ways() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(repository(name).map(|one| one.to_string()).as_deref(), expected, "{name}");
        };
        check("org/m", Some("models/org/m"));
        check("hf:org/m", Some("models/org/m"));
        check("hf:datasets/org/d", Some("datasets/org/d"));
        check("models/org/m", Some("models/org/m"));
        check("gpt2", Some("models/gpt2"));
        check("a/b/c/d", None);
    }
}
