//! `larder pulls`: who pulled what, and when.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::reach::Reach;
use super::{Outcome, Overrides, lines, misused};
use crate::admin::api::pulls::Rows;
use crate::trace::pulls::Row;

/// Tell who pulled what, and when.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pulls {
    /// What was pulled, as in hf:org/model or pypi:six==1.17.0, or a digest; its versions and parts are meant, too [default: everything]
    what: Option<String>,
    /// Only by this client: the name of an access token, or a network
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only what was pulled since then: a date, an instant of RFC 3339, or how long ago (7d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was first pulled before that
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Most rows that are told
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder pulls hf:org/model
  larder pulls sha256:0123...                       who has this very file
  larder pulls --client ci --since 30d --json

Clients are told apart as [trace] clients says: by access token, by network, or not at all.";

/// What is no name of anything: nothing would ever be found by it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} names nothing: write hf:NAME, pypi:NAME, oci:NAME or a digest; * stands for anything"
)]
struct NoName(String);

impl Pulls {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if let Some(what) = self.what.as_deref().filter(|what| !is_name(what)) {
                return Ok(misused(&NoName(what.to_owned())));
            }
            let Rows { pulls } = reach.get(&self.address()).await?;
            for row in &pulls {
                match self.json {
                    true => say!("{}", serde_json::to_string(row)?),
                    false => say!("{}", told(row)),
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }

    fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let is_digest = self.what.as_deref().is_some_and(is_digest);
        let given = [
            (if is_digest { "digest" } else { "name" }, &self.what),
            ("client", &self.client),
            ("since", &self.since),
            ("until", &self.until),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("limit", &self.limit.to_string());
        format!("pulls?{}", query.finish())
    }
}

/// Whether something could be found by a text.
fn is_name(text: &str) -> bool {
    text.contains([':', '*'])
}

/// Whether a text is a digest, and no name.
pub(super) fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with("sha") && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// A row as a line for people.
pub(super) fn told(row: &Row) -> String {
    let Row { name, digest, client, first: _, last, pulls, bytes, .. } = row;
    let last = last.get(..19).unwrap_or(last).replace('T', " ");
    let client = if client.is_empty() { "-" } else { client };
    let mut line = format!("{last}  {client:<16}  {pulls:>7} x {bytes:>12} bytes  {name}");
    if let Some(digest) = digest {
        let _ = write!(line, "  {digest}");
    }
    lines::plain(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line() {
        let row = Row {
            mount: "pypi/default".to_owned(),
            name: "pypi:six==1.0/six.whl".to_owned(),
            digest: Some("sha256:00".to_owned()),
            client: String::new(),
            first: "2026-03-01T12:00:00.000Z".to_owned(),
            last: "2026-03-01T13:00:00.000Z".to_owned(),
            pulls: 3,
            bytes: 21,
            licence: None,
            is_manifest: false,
        };
        assert_eq!(
            told(&row),
            "2026-03-01 13:00:00  -                       3 x           21 bytes  pypi:six==1.0/six.whl  sha256:00"
        );
    }
}
