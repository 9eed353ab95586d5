//! `larder import`: takes over what was downloaded before.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Outcome, Overrides};
use crate::clock::Clock;
use crate::config::Config;
use crate::import::source::Openness;
use crate::{app, telemetry};

/// Take over what was downloaded before, so that it is served without being downloaded again.
#[derive(Debug, Subcommand)]
pub(super) enum Import {
    HfCache(HfCache),
}

/// From the cache folder of a Hugging Face client, such as ~/.cache/huggingface/hub.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HfCache {
    /// The folder that holds models--ORG--NAME and the like
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Everything in it is open to all: do not ask the hub. Only for what anybody may read
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder import hf-cache ~/.cache/huggingface/hub
  larder import hf-cache /media/usb/hub --public      without asking the hub who may read what

Every file is checked against the digest that it is named by. Stop the server first: a data directory has one user at a time.";

impl HfCache {
    /// Takes the folder over and tells what came of it. Anything refused is a failure, although the rest was taken.
    pub(super) fn run(self, config: Config) -> Outcome {
        telemetry::start(&config.log)?;
        let openness = if self.public { Openness::Declared } else { Openness::Asked };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let imported = app::import(config, Clock::system(), &self.folder, openness);
        let report = runtime.block_on(imported)?;
        println!("{report}");
        Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
