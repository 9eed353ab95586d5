//! `larder serve`: serves until told to stop.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Overrides};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::{banner, telemetry};

/// Serve until told to stop.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder serve
  larder serve --listen 127.0.0.1:9000 --data-dir ./larder-data
  larder serve --config larder.toml
  LARDER_CACHE__MEMORY='256 MiB' larder serve

Ctrl-C or SIGTERM finishes what is under way; a second one ends at once.";

/// Runs until a signal has ended it and everything under way is finished, or until a second signal.
pub(super) fn run(config: Config) -> Outcome {
    telemetry::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let app = App::build(config.clone(), Clock::system())?;
        // Nobody has to read it for the server to serve.
        let _ = io::stdout().write_all(banner::banner(&config, &app.addresses()).as_bytes());
        let stop = CancellationToken::new();
        tokio::select! {
            () = app.run(stop.clone()) => Ok(ExitCode::SUCCESS),
            broken_off = second_signal(stop) => Err(broken_off),
        }
    });
    // Blocking work that is still under way after the drain is not waited for: what it wrote is durable or is not acknowledged.
    runtime.shutdown_background();
    served
}

/// Cancels `stop` at the first signal; says at the second that the end cannot wait.
async fn second_signal(stop: CancellationToken) -> Box<dyn Error> {
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => return error.into(),
    };
    for last in [false, true] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !last {
            tracing::info!("finishing what is under way; a second signal ends at once");
            stop.cancel();
        }
    }
    "ended by a second signal before everything was finished".into()
}
