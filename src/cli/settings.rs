//! `larder config`: what is in effect.

use std::process::ExitCode;

use clap::Args;

use super::{Outcome, Overrides};
use crate::config::Loaded;

/// Print the effective configuration, and where each value came from.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Settings {
    /// As JSON: `settings`, and `sources` by the path of each setting
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder config
  larder config --config larder.toml      checks the file; every fault is told at once
  larder config --json | jq .settings.cache

A value is taken from, in rising order: the built-in defaults, the file, the environment (LARDER_SECTION__KEY), flags.";

impl Settings {
    pub(super) fn run(self, loaded: &Loaded) -> Outcome {
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&loaded.to_json())?),
            false => put!("{}", loaded.to_toml()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
