//! `larder provenance`: where something came from, what became of it, who has it.

use std::process::ExitCode;

use clap::Args;

use super::reach::Reach;
use super::{Outcome, Overrides, log, pulls, show};
use crate::admin::api::provenance::Known;

/// Tell where something came from, under which licence, what became of it since, and who pulled it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Provenance {
    /// A name, as in hf:org/model@main or pypi:six==1.17.0, or a digest
    what: String,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder provenance pypi:six==1.17.0
  larder provenance hf:org/model --json
  larder provenance sha256:0123...                  who has this very file, and under which name";

impl Provenance {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let named = if pulls::is_digest(&self.what) { "digest" } else { "name" };
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair(named, &self.what);
            let known: Known = reach.get(&format!("provenance?{}", query.finish())).await?;
            if self.json {
                say!("{}", serde_json::to_string_pretty(&known)?);
                return Ok(ExitCode::SUCCESS);
            }
            for thing in &known.things {
                say!("kept: {}", thing.item.name);
                say!("  upstream: {}", show::upstream(&thing.upstream));
                let (id, licence) = (&thing.upstream.identity, &thing.upstream.licence);
                for (what, said) in [("upstream id", id), ("licence", licence)] {
                    said.iter().for_each(|said| say!("  {what}: {said}"));
                }
                for part in thing.parts.iter().filter(|part| part.kept) {
                    let text = |text: &Option<String>| text.clone().unwrap_or_default();
                    let line = format!(
                        "  {}  {}  kept {}  confirmed {}  {}  {}",
                        part.name,
                        text(&part.digest),
                        text(&part.first_kept),
                        text(&part.validated),
                        text(&part.presence),
                        text(&part.origin),
                    );
                    say!("{}", line.trim_end());
                }
            }
            say!("what happened:");
            known.events.iter().for_each(|record| say!("  {}", log::told(record)));
            say!("who pulled it:");
            known.pulls.iter().for_each(|row| say!("  {}", pulls::told(row)));
            Ok(ExitCode::SUCCESS)
        }
    }
}
