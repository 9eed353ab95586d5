//! Who may see what, and the taxonomy of errors by which clients tell one refusal from another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;

use super::repository::{Commit, Kind, Repository};
use super::{Asked, decoded};
use crate::support::origin::Answer;

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader<'a> {
    Anonymous,
    User(&'a str),
    /// A credential that is nobody's.
    Unknown,
}

/// What a request wants of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its information and the list of its files, which a gate does not close.
    Look,
    /// Bytes.
    Read,
}

/// Where in a path a repository is named.
pub struct Place {
    pub kind: Kind,
    pub id: String,
    pub before: String,
    pub after: String,
}

impl Place {
    /// The repository that `segments` begin with, when one of `verbs` (or nothing) follows it; a verb as second segment wins, so that `gpt2/refs`
    /// is what is asked of `gpt2`. The segments behind the repository come along.
    pub fn find<'s, 'a>(
        kind: Kind,
        before: &str,
        segments: &'s [&'a str],
        verbs: &[&str],
    ) -> Option<(Self, &'s [&'a str])> {
        let words = match segments {
            [] | [""] => return None,
            [_] => 1,
            [_, verb, ..] if verbs.contains(verb) => 1,
            [_, _] => 2,
            [_, _, verb, ..] if verbs.contains(verb) => 2,
            _ => return None,
        };
        let (id, rest) = segments.split_at(words);
        let slash = if rest.is_empty() { "" } else { "/" };
        let place = Self {
            kind,
            id: decoded(&id.join("/")),
            before: before.to_owned(),
            after: format!("{slash}{}", rest.join("/")),
        };
        Some((place, rest))
    }
}

/// Whose request it is: `Bearer` everywhere, `Basic` with the token as its password where git asks.
pub fn reader<'a>(asked: &Asked<'a>) -> Reader<'a> {
    let Some(value) = asked.header(header::AUTHORIZATION) else { return Reader::Anonymous };
    let token = match value.split_once(' ') {
        Some(("Bearer", token)) => Some(token.to_owned()),
        Some(("Basic", text)) => basic_password(text),
        _ => None,
    };
    let user = token.and_then(|token| asked.state.users.get(&token));
    user.map_or(Reader::Unknown, |user| Reader::User(user))
}

fn basic_password(text: &str) -> Option<String> {
    let pair = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// The repository at `place` as far as the one who asks may have it for this purpose.
pub fn open<'a>(
    asked: &Asked<'a>,
    place: &Place,
    purpose: Purpose,
) -> Result<&'a Repository, Answer> {
    let reader = reader(asked);
    if reader == Reader::Unknown {
        return Err(unauthenticated(asked));
    }
    let key = (place.kind, place.id.clone());
    if let Some(new) = asked.state.renamed.get(&key) {
        let query = asked.raw_query.map(|query| format!("?{query}")).unwrap_or_default();
        let location = format!("{}{new}{}{query}", place.before, place.after);
        let text = format!("Temporary Redirect. Redirecting to {location}");
        let answer = Answer::new(307).with("content-type", "text/plain; charset=utf-8");
        return Err(answer.with("location", &location).of(text));
    }
    let visible = |repository: &&Repository| match (&repository.private_to, reader) {
        (None, _) => true,
        (Some(users), Reader::User(user)) => users.contains(user),
        (Some(_), _) => false,
    };
    let Some(repository) = asked.state.repositories.get(&key).filter(visible) else {
        return Err(no_repository(asked, reader));
    };
    if repository.disabled {
        return Err(problem(asked, 403, None, "Access to this resource is disabled."));
    }
    match (&repository.gated_to, reader, purpose) {
        (None, ..) | (Some(_), _, Purpose::Look) => Ok(repository),
        (Some(users), Reader::User(user), _) if users.contains(user) => Ok(repository),
        (Some(_), Reader::User(_), _) => Err(gated(asked, 403, &repository.id)),
        (Some(_), ..) => Err(gated(asked, 401, &repository.id)),
    }
}

/// The commit that a revision names, still encoded.
pub fn revision<'a>(
    asked: &Asked<'_>,
    repository: &'a Repository,
    revision: &str,
) -> Result<&'a Commit, Answer> {
    let name = decoded(revision);
    let unknown =
        || problem(asked, 404, Some("RevisionNotFound"), &format!("Invalid rev id: {name}"));
    repository.revision(&name).ok_or_else(unknown)
}

/// A path that a commit does not have. Clients remember it for ever by the commit.
pub fn no_entry(asked: &Asked<'_>, commit: &Commit) -> Answer {
    problem(asked, 404, Some("EntryNotFound"), "Entry not found").with("x-repo-commit", &commit.sha)
}

/// Deleted, private and never there look alike; the status depends on whether somebody is asking.
fn no_repository(asked: &Asked<'_>, reader: Reader<'_>) -> Answer {
    match reader {
        Reader::User(_) => problem(asked, 404, Some("RepoNotFound"), "Repository not found"),
        _ => problem(asked, 401, Some("RepoNotFound"), "Invalid username or password.")
            .with("www-authenticate", REALM),
    }
}

const REALM: &str = "Bearer realm=\"Authentication required\", charset=\"UTF-8\"";

/// Without a code, as the real one's.
pub fn unauthenticated(asked: &Asked<'_>) -> Answer {
    problem(asked, 401, None, "Invalid credentials in Authorization header")
        .with("www-authenticate", REALM)
}

fn gated(asked: &Asked<'_>, status: u16, id: &str) -> Answer {
    let text = match status {
        401 => format!(
            "Access to model {id} is restricted. You must have access to it and be authenticated to access it. Please log in."
        ),
        _ => format!(
            "Access to model {id} is restricted and you are not in the authorized list. Ask for access on its page."
        ),
    };
    problem(asked, status, Some("GatedRepo"), &text)
}

/// An error: JSON where the API is asked, text elsewhere, the same in the head for clients that read no bodies.
pub fn problem(asked: &Asked<'_>, status: u16, code: Option<&str>, message: &str) -> Answer {
    let answer = match asked.segments.first() {
        Some(&"api") => Answer::new(status)
            .with("content-type", "application/json; charset=utf-8")
            .of(serde_json::json!({ "error": message }).to_string()),
        _ => Answer::new(status)
            .with("content-type", "text/plain; charset=utf-8")
            .of(message.to_owned()),
    };
    let answer = match code {
        Some(code) => answer.with("x-error-code", code),
        None => answer,
    };
    answer.with("x-error-message", message)
}
