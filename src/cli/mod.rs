//! The command line: arguments in, an exit code out. A file for each command.
//!
//! Commands that ask or change what is kept go by [`reach`]: to the Larder that runs by the same configuration, over its API, or to one within this process
//! where none runs. Every command has `--help` with examples; those whose answer is data have `--json`. Left out: what any command means, which is the API's.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use http::StatusCode;

use crate::app::AppError;
use crate::config::{Config, Loaded};

#[macro_use]
mod out;
mod advisories;
mod bom;
mod check;
mod diff;
mod export;
mod fills;
mod gc;
mod identity;
mod import;
mod lines;
mod lock;
mod log;
mod ls;
mod overrides;
mod passport;
mod pin;
mod policy;
mod provenance;
mod pull;
mod pulls;
pub mod reach;
mod rewrite_lock;
mod rm;
mod serve;
mod settings;
mod show;
mod snapshot;
mod verify;
mod waive;
mod wanted;
mod why;

use overrides::Overrides;
use reach::ReachError;

/// Wrong arguments or configuration; clap ends with the same code.
const USAGE: u8 = 2;

/// A caching proxy for machine-learning software: it keeps what passes through it, verifies it, and serves it again.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Config(settings::Settings),
    Pull(pull::Pull),
    Check(check::Check),
    Lock(lock::LockFiles),
    RewriteLock(rewrite_lock::RewriteLock),
    Export(export::Export),
    Import(import::Import),
    Ls(ls::Ls),
    Show(show::Show),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Rm(rm::Rm),
    Gc(gc::Gc),
    Fills(fills::Fills),
    Verify(verify::Verify),
    Log(log::Log),
    Pulls(pulls::Pulls),
    Provenance(provenance::Provenance),
    Snapshot(snapshot::Snapshot),
    Identity(identity::Identity),
    Diff(diff::Diff),
    Bom(bom::Bom),
    Policy(policy::Policy),
    Why(why::Why),
    Waive(waive::Waive),
    Advisories(advisories::Show),
    /// Print the version.
    Version,
}

const EXIT_CODES: &str =
    "Exit codes: 0 ended as told, 1 failed while running, 2 wrong arguments or configuration.";

/// What a command comes to, or why it failed.
type Outcome = Result<ExitCode, Box<dyn Error>>;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(serve) => on_loaded(serve.overrides, |loaded| serve::run(loaded.config)),
        Command::Config(settings) => {
            on_loaded(settings.overrides.clone(), |loaded| settings.run(&loaded))
        }
        Command::Check(check) => asking(check.overrides.clone(), check.run()),
        Command::Advisories(show) => asking(show.overrides.clone(), show.run()),
        Command::Bom(bom) => asking(bom.overrides.clone(), bom.run()),
        Command::Diff(diff) => asking(diff.overrides.clone(), diff.run()),
        Command::Identity(identity) => asking(identity.overrides.clone(), identity.run()),
        Command::Export(export) => asking(export.overrides.clone(), export.run()),
        Command::Import(import::Import {
            source: Some(import::Source::HfCache(import)), ..
        }) => {
            let overrides = import.overrides.clone();
            on_loaded(overrides, |loaded| import.run(loaded.config))
        }
        Command::Import(import::Import { source: None, bundle }) => {
            asking(bundle.overrides.clone(), bundle.run())
        }
        Command::Lock(lock) => asking(lock.overrides.clone(), lock.run()),
        Command::RewriteLock(rewrite) => {
            let overrides = rewrite.overrides.clone();
            on_loaded(overrides, |loaded| rewrite.run(&loaded.config))
        }
        Command::Log(log) => log.run(),
        Command::Fills(fills) => asking(fills.overrides.clone(), fills.run()),
        Command::Gc(gc) => asking(gc.overrides.clone(), gc.run()),
        Command::Ls(ls) => asking(ls.overrides.clone(), ls.run()),
        Command::Pin(pin) => asking(pin.overrides.clone(), pin.run()),
        Command::Pull(pull) => asking(pull.overrides.clone(), pull.run()),
        Command::Rm(rm) => asking(rm.overrides.clone(), rm.run()),
        Command::Provenance(provenance) => asking(provenance.overrides.clone(), provenance.run()),
        Command::Pulls(pulls) => asking(pulls.overrides.clone(), pulls.run()),
        Command::Show(show) => asking(show.overrides.clone(), show.run()),
        Command::Snapshot(snapshot) => asking(snapshot.overrides.clone(), snapshot.run()),
        Command::Unpin(unpin) => asking(unpin.overrides.clone(), unpin.run()),
        Command::Verify(verify) => {
            let overrides = verify.overrides.clone();
            on_loaded(overrides, |loaded| verify.run(loaded.config))
        }
        Command::Policy(policy) => policy.run(),
        Command::Waive(waive) => waive.run(),
        Command::Why(why) => asking(why.overrides.clone(), why.run()),
        Command::Version => {
            say!("larder {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Reads the configuration and goes on with it, or tells every fault.
fn on_loaded(overrides: Overrides, go_on: impl FnOnce(Loaded) -> Outcome) -> ExitCode {
    match overrides.load() {
        Ok(loaded) => go_on(loaded).unwrap_or_else(|error| fail(error.as_ref())),
        Err(faults) => {
            eprintln!("larder: {faults}");
            ExitCode::from(USAGE)
        }
    }
}

/// Goes on with a [`reach::Reach`], and ends it, whatever came of it.
fn asking(overrides: Overrides, command: impl AsyncFnOnce(&reach::Reach) -> Outcome) -> ExitCode {
    on_loaded(overrides, |loaded| {
        let config: Config = loaded.config;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let reach = reach::Reach::find(config).await?;
            let outcome = command(&reach).await;
            reach.close().await;
            outcome
        })
    })
}

/// Ends a command that needs no configuration.
fn ended(outcome: Outcome) -> ExitCode {
    outcome.unwrap_or_else(|error| fail(error.as_ref()))
}

/// Tells what is wrong with the arguments, or with a file that they name.
fn misused(error: &(dyn Error + 'static)) -> ExitCode {
    fail(error);
    ExitCode::from(USAGE)
}

/// Tells an error and what caused it, one line.
fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    if error
        .downcast_ref()
        .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::from(out::CUT_OFF);
    }
    eprintln!("larder: {}", reach::chained(error));
    match is_to_be_mended(error) {
        true => ExitCode::from(USAGE),
        false => ExitCode::FAILURE,
    }
}

/// Whether an argument or the configuration is at fault, so that doing the same again comes to the same.
fn is_to_be_mended(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref() {
        // A name that nobody understands is an argument like another.
        Some(ReachError::Refused { status, .. }) => *status == StatusCode::BAD_REQUEST,
        Some(ReachError::Closed { source, .. }) => source.is_of_settings(),
        _ => error.downcast_ref().is_some_and(AppError::is_of_settings),
    }
}
