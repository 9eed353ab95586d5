//! `larder check`: what would fail if every upstream vanished now.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::reach::Reach;
use super::wanted::Wanted;
use super::{Outcome, Overrides, lines, misused};
use crate::bundle::resource::{self, Readiness};

/// Say what of a list could not be had if every upstream vanished now. Nobody is asked for anything.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    #[command(flatten)]
    wanted: Wanted,
    /// Tell what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder check uv.lock
  larder check larder.toml --platform linux/amd64
  larder check hf:org/model@main pypi:six==1.17.0 oci:alpine:3 --json

Exit codes: 0 all of it is kept, 1 something is missing, 2 wrong arguments.";

impl Check {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let (wants, left_out) = match self.wanted.read() {
                Ok(read) => read,
                Err(fault) => return Ok(misused(&fault)),
            };
            let asked = resource::Wanted { wants };
            let mut readiness: Readiness = reach.put(Method::POST, "check", &asked).await?;
            readiness.missing.extend(left_out);
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&readiness)?),
                false => put!("{}", text(&readiness)),
            }
            Ok(if readiness.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn text(readiness: &Readiness) -> String {
    let Readiness { ready, bytes, missing, notes } = readiness;
    let mut text = String::new();
    for note in notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for one in missing {
        text.push_str(&format!("missing: {}: {}\n", one.what, one.reason));
    }
    let size = lines::size(*bytes);
    text.push_str(&match missing.len() {
        0 => format!("ready: {ready} ({size})\n"),
        count => format!("ready: {ready} ({size}), missing: {count}\n"),
    });
    text
}
