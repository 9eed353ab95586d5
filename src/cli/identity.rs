//! `larder identity`: which repository a hub's name stands for here, and letting another one take it over.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides};
use crate::identity::{Acceptance, Told, ToldIdentity};

/// Show which repository a hub's name stands for, and let another one take it over.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Identity {
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
    /// Say which repository a name stands for, and whether another one has it now.
    Show {
        /// Such as hf:org/model or hf:datasets/org/name
        name: String,
    },
    /// Let the repository that has the name on the hub now take it over.
    Accept {
        name: String,
        /// Its number, as `show` tells it; the one that is told now by default
        id: Option<String>,
    },
}

const EXAMPLES: &str = "Examples:
  larder identity show hf:org/model
  larder identity accept hf:org/model 6a01c3d2e4f5061728394a5b

When a repository is deleted and somebody else takes its name, Larder goes on serving what it kept and does not take the new one for the old. Look at the new one first, then
accept it by its number. `identity = \"follow\"` in [huggingface] accepts every one.";

/// There is nobody to accept.
#[derive(Debug, thiserror::Error)]
#[error("no other repository was seen under the name of {0}")]
struct NoStranger(String);

impl Identity {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let (Action::Show { name } | Action::Accept { name, .. }) = &self.action;
            let operation = Reach::named("identities", name);
            let told: Told = match &self.action {
                Action::Show { .. } => reach.get(&operation).await?,
                Action::Accept { id, .. } => {
                    let accept = match id {
                        Some(id) => id.clone(),
                        None => {
                            let told: Told = reach.get(&operation).await?;
                            told.stranger.ok_or_else(|| NoStranger(name.clone()))?.id
                        }
                    };
                    reach.put(Method::PUT, &operation, &Acceptance { accept }).await?
                }
            };
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&told)?),
                false => put!("{}", text(&told)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn text(told: &Told) -> String {
    let of = |one: &ToldIdentity| {
        let made = one.created.as_ref().map_or_else(String::new, |at| format!(", made {at}"));
        let seen = one.seen.as_ref().map_or_else(String::new, |at| format!(", first seen {at}"));
        format!("{}{made}{seen}", one.id)
    };
    let known = told.identity.as_ref().map_or_else(|| "not known".to_owned(), of);
    let mut text = format!("{}\n  stands for  {known}\n", told.repository);
    if let Some(stranger) = &told.stranger {
        let word = if told.accepted { "accepted" } else { "kept out" };
        text.push_str(&format!("  {word}    {}\n", of(stranger)));
    }
    text
}
