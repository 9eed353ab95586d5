//! What the hub says when it gives nothing: a status, a code that clients act on, a message for people.
//!
//! Words are kept as facts, and told on as they were: a code that the hub did not give is never made up, since clients remember some of them.

use bytes::Bytes;
use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::ecosystem::huggingface::repository::Revision;
use crate::types::Head;

/// The code that clients act on.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// The message that clients show.
pub const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// The code of a file that a commit does not have.
pub const ENTRY_NOT_FOUND: &str = "EntryNotFound";

/// The longest message that is kept.
const MOST_CHARACTERS: usize = 600;

/// A refusal of the hub's, or its word that something is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub status: u16,
    pub code: Option<String>,
    pub message: Option<String>,
}

impl Word {
    /// Reads an answer that is no success.
    pub fn of(head: &Head, body: &Bytes) -> Self {
        let field = |name| head.text(&name).map(plain).filter(|text| !text.is_empty());
        let told = || {
            let json: serde_json::Value = serde_json::from_slice(body).ok()?;
            json.get("error")?.as_str().map(plain)
        };
        Self {
            status: head.status.as_u16(),
            code: field(ERROR_CODE),
            message: field(ERROR_MESSAGE).or_else(told),
        }
    }

    /// Whether it says that there is no such thing; the hub says the same of what is not to be seen.
    pub fn is_absence(&self) -> bool {
        matches!(self.status, 404 | 410) || self.code.as_deref() == Some("RepoNotFound")
    }

    /// What the hub tells strangers of a repository that is not theirs to see, existing or not.
    pub fn not_found() -> Self {
        Self::known(401, "RepoNotFound", "Repository not found")
    }

    /// What the hub tells who has no access to a gated repository's files.
    pub fn gated() -> Self {
        Self::known(
            401,
            "GatedRepo",
            "Access to this repository is restricted. You must have access to it and be authenticated to access its files.",
        )
    }

    /// What the hub tells of a repository that its staff closed.
    pub fn disabled() -> Self {
        let message = Some("Access to this resource is disabled.".to_owned());
        Self { status: 403, code: None, message }
    }

    /// A name that another repository has taken, while nobody has accepted that one.
    pub fn taken(id: &str) -> Self {
        let message = format!(
            "Another repository ({id}) has this name on the hub than the one that Larder knows by it. What was kept of that one is served; the other \
             is not, until an administrator accepts it: larder identity accept."
        );
        Self { status: 403, code: None, message: Some(message) }
    }

    /// A repository whose document names no such revision.
    pub fn no_revision(revision: &Revision) -> Self {
        Self::known(
            404,
            "RevisionNotFound",
            &format!("Invalid rev id: {}", plain(revision.as_str())),
        )
    }

    fn known(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: Some(code.to_owned()), message: Some(message.to_owned()) }
    }
}

/// A text that can stand in a header field.
fn plain(text: &str) -> String {
    let visible = |letter: char| if (' '..='~').contains(&letter) { letter } else { ' ' };
    text.chars().take(MOST_CHARACTERS).map(visible).collect::<String>().trim().to_owned()
}
