//! `larder why`: why something was decided as it was.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::reach::Reach;
use super::{Outcome, Overrides, misused};

/// Explain a decision: who spoke, the facts that it rested on, and how to ask for an exception.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Why {
    /// The decision's name, from a message, a log or an address /-/why/ID
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder why 3f2a9c81d04b7e65
  larder why http://larder.example:8484/-/why/3f2a9c81d04b7e65
  larder why 3f2a9c81d04b7e65 --json";

/// A text that names no decision.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no decision: they are named by 16 hexadecimal digits")]
struct NoId(String);

impl Why {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if plain(&self.id).is_empty() {
                return Ok(misused(&NoId(self.id.clone())));
            }
            let told = told(reach, &self.id).await?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&told)?),
                false => put!("{}", text(&told)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What the API says of a decision, whose whole address will do.
pub(super) async fn told(reach: &Reach, id: &str) -> Result<Value, super::reach::ReachError> {
    reach.get(&format!("why/{}", plain(id))).await
}

/// The digits of a decision's name.
fn plain(id: &str) -> String {
    let id = id.rsplit('/').next().unwrap_or(id);
    id.chars().filter(char::is_ascii_hexdigit).collect()
}

fn text(told: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!(
        "{}: {} ({}, {})",
        word(&told["subject"]),
        word(&told["verdict"]),
        word(&told["point"]),
        word(&told["decided"])
    )];
    for voice in told["fired"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  rule {}: {} ({}): {}",
            word(&voice["rule"]),
            word(&voice["verdict"]),
            word(&voice["effect"]),
            word(&voice["reason"])
        ));
    }
    lines.push("it rested on".to_owned());
    for (name, value) in told["facts"].as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines.push(format!("  {name}: {value}"));
    }
    if let Some(digest) = told["digest"].as_str() {
        lines.push(format!("  digest: {digest}"));
    }
    if told["waiver"].is_string() {
        lines.push(format!("`larder waive request {}` asks for an exception", word(&told["id"])));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_told_in_lines() {
        let told = serde_json::json!({
            "id": "00", "subject": "pypi:six==1.0", "verdict": "hold", "point": "content", "decided": "then",
            "fired": [{ "rule": "r", "verdict": "hold", "effect": "enforced", "reason": "because" }],
            "facts": { "name": "six", "size": 7 }, "waiver": "x",
        });
        let text = text(&told);
        for line in [
            "pypi:six==1.0: hold (content, then)",
            "  rule r: hold (enforced): because",
            "  size: 7",
        ] {
            assert!(text.lines().any(|one| one == line), "{text}");
        }
    }
}
