//! `larder snapshot`: names for instants of the past, under which clients are answered as of then.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides};
use crate::admin::api::{SnapshotWish, ToldSnapshot};

/// Name instants of the past: at /@NAME/... clients are answered as of then.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Snapshot {
    #[command(subcommand)]
    action: Action,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name an instant; a name that is taken stays what it is.
    Create {
        /// Lower-case letters, digits, single dashes and dots between them; a letter first
        name: String,
        /// A date, which means its end (UTC), or a time such as 2026-03-01T12:00:00Z; now by default
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// List all names.
    Ls,
    /// Forget a name. What was kept stays, and so do answers at its date.
    Rm { name: String },
}

const EXAMPLES: &str = "Examples:
  larder snapshot create release-26.3               names this instant
  larder snapshot create audit --at 2026-03-01      names the end of that day
  larder snapshot ls --json
  larder snapshot rm audit

Clients use a name, or a date itself, as the first segment of the path, or in an image's name:
  pip install --index-url http://HOST/@release-26.3/simple/ six
  HF_ENDPOINT=http://HOST/@2026-03-01 hf download org/model
  skopeo inspect docker://HOST/at-release-26.3/registry.example.org/team/app:1.0

A snapshot keeps nothing from eviction: it is a name. Larder answers from what it saw up to then, and says so where it saw nothing.";

impl Snapshot {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let of = |name: &str| Reach::named("snapshots", name);
            let told = match &self.action {
                Action::Ls => reach.get::<Vec<ToldSnapshot>>("snapshots").await?,
                Action::Create { name, at } => {
                    let wish = SnapshotWish { at: at.clone() };
                    vec![reach.put(Method::PUT, &of(name), &wish).await?]
                }
                Action::Rm { name } => vec![reach.put(Method::DELETE, &of(name), &()).await?],
            };
            match (self.json, &self.action) {
                (true, Action::Ls) => say!("{}", serde_json::to_string_pretty(&told)?),
                (true, _) => say!("{}", serde_json::to_string_pretty(&told.first())?),
                (false, _) => told.iter().for_each(|one| say!("{}  {}", one.at, one.name)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
