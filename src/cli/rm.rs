//! `larder rm`: removes what is kept.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides, lines};
use crate::keep::removal::Removed;

/// Remove what is kept of a model, a package or an image. What others share stays.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rm {
    /// What to remove, such as hf:org/model@main, pypi:six==1.17.0, oci:registry.example.org/team/app:1.0
    #[arg(required = true)]
    what: Vec<String>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Also what is pinned
    #[arg(long)]
    force: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder rm hf:org/model@v1.0             one revision; files that other revisions have stay
  larder rm hf:org/model                  all revisions, and what is known of the model
  larder rm --dry-run pypi:torch==2.3.0
  larder rm oci:registry.example.org/team/app:1.0
  larder rm 'oci:alpine:*'                all tags; without a tag it means :latest

Of a thing with several names, a branch or tag goes alone; its commit or digest takes all. What was removed is fetched again when somebody asks for it.";

impl Rm {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let mut all = Vec::new();
            for what in &self.what {
                let address = Reach::named("entries", what);
                let address = format!("{address}?dry_run={}&force={}", self.dry_run, self.force);
                let removed: Removed = reach.call(Method::DELETE, &address).await?;
                match self.json {
                    true => all.push(removed),
                    // One by one: a later one may fail.
                    false => put!("{}", text(&removed)),
                }
            }
            if self.json {
                say!("{}", serde_json::to_string_pretty(&all)?);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn text(removed: &Removed) -> String {
    let word = if removed.dry_run { "would remove" } else { "removed" };
    let shared = match removed.shared {
        0 => String::new(),
        1 => "; 1 entry stays because others share it".to_owned(),
        count => format!("; {count} entries stay because others share them"),
    };
    format!(
        "{word} {}: {}, {} freed{shared}\n",
        removed.names.join(", "),
        lines::count(removed.entries, "entry"),
        lines::size(removed.bytes)
    )
}
