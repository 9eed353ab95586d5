//! The binary: arguments, configuration, log, [`App`], exit code; nothing else.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use larder::app::{self, App};
use larder::banner;
use larder::clock::Clock;
use larder::config::{Config, Flags, Loaded, Sources};
use larder::import::source::Openness;
use larder::store::disk::Repair;
use larder::telemetry;
use larder::verify;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A caching proxy for machine-learning software: it keeps what passes through it, verifies it, and serves it again.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Overrides),
    /// Print the effective configuration, and where each value came from.
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(Overrides),
    /// Take over what was downloaded before, so that it is served without being downloaded again.
    #[command(subcommand)]
    Import(Import),
    /// Say what a running Larder keeps of an image, and what not.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// What to look at, such as oci:registry.example.org/team/app:1.0
        what: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Read everything that is kept again and compare it with its digests. Stop the server first.
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// Set aside what is damaged, so that it is fetched again when somebody asks for it
        #[arg(long)]
        repair: bool,
        /// Tell what was found as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Import {
    /// From the cache folder of a Hugging Face client, such as ~/.cache/huggingface/hub.
    #[command(after_help = IMPORT_EXAMPLES)]
    HfCache {
        /// The folder that holds models--ORG--NAME and the like
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Everything in it is open to all: do not ask the hub. Only for what anybody may read
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
}

/// What is taken from the command line before all else.
#[derive(Debug, Args)]
struct Overrides {
    /// Configuration in TOML [default: /etc/larder/larder.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8484; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

const SERVE_EXAMPLES: &str = "Examples:
  larder serve
  larder serve --listen 127.0.0.1:9000 --data-dir ./larder-data
  larder serve --config larder.toml
  LARDER_CACHE__MEMORY='256 MiB' larder serve

Ctrl-C or SIGTERM finishes what is under way; a second one ends at once.";

const CONFIG_EXAMPLES: &str = "Examples:
  larder config
  larder config --config larder.toml      checks the file; every fault is told at once

A value is taken from, in rising order: the built-in defaults, the file, the environment (LARDER_SECTION__KEY), flags.";

const IMPORT_EXAMPLES: &str = "Examples:
  larder import hf-cache ~/.cache/huggingface/hub
  larder import hf-cache /media/usb/hub --public      without asking the hub who may read what

Every file is checked against the digest that it is named by. Stop the server first: a data directory has one user at a time.";

const SHOW_EXAMPLES: &str = "Examples:
  larder show oci:registry.example.org/team/app:1.0
  larder show oci:alpine:latest           the default registry
  larder show --listen 127.0.0.1:9000 oci:alpine:latest

It asks the Larder that the configuration describes: at `public_url`, or at the first address of `listen`.";

const VERIFY_HELP: &str = "Examples:
  larder verify
  larder verify --repair --json --data-dir /var/lib/larder

A running server reads everything again by itself, slowly ([store] scrub_rate): what it finds is in /-/api/v1/status and /-/metrics.

Exit codes: 0 all of it is right, 1 something is damaged (set aside with --repair), 2 it could not be looked at.";

const EXIT_CODES: &str =
    "Exit codes: 0 ended as told, 1 failed while running, 2 wrong arguments or configuration.";

/// Wrong arguments or configuration; clap ends with the same code.
const USAGE: u8 = 2;

/// `verify` could not look; not the same as having found something.
const CANNOT_LOOK: u8 = 2;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(overrides) => load(overrides, |loaded| match serve(loaded.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        }),
        Command::Config(overrides) => load(overrides, |loaded| {
            print!("{}", loaded.to_toml());
            ExitCode::SUCCESS
        }),
        Command::Import(Import::HfCache { folder, public, overrides }) => {
            load(overrides, |loaded| match import(loaded.config, &folder, public) {
                Ok(code) => code,
                Err(error) => fail(error.as_ref()),
            })
        }
        Command::Show { what, overrides } => {
            load(overrides, |loaded| match show(&loaded.config, &what) {
                Ok(text) => {
                    print!("{text}");
                    ExitCode::SUCCESS
                }
                Err(error) => fail(error.as_ref()),
            })
        }
        Command::Verify { repair, json, overrides } => load(overrides, |loaded| {
            let repair = if repair { Repair::Yes } else { Repair::No };
            let form = if json { verify::Form::Json } else { verify::Form::Text };
            match verify::verify(&loaded.config, repair) {
                Ok(report) => {
                    print!("{}", verify::told(&report, form));
                    if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
                }
                Err(error) => {
                    fail(&error);
                    ExitCode::from(CANNOT_LOOK)
                }
            }
        }),
        Command::Version => {
            println!("larder {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Reads the configuration and goes on with it, or tells every fault.
fn load(overrides: Overrides, go_on: impl FnOnce(Loaded) -> ExitCode) -> ExitCode {
    let flags = Flags { listen: overrides.listen, data_dir: overrides.data_dir };
    match Loaded::read(&Sources::of_process(overrides.config, flags)) {
        Ok(loaded) => go_on(loaded),
        Err(faults) => {
            eprintln!("larder: {faults}");
            ExitCode::from(USAGE)
        }
    }
}

/// Runs until a signal has ended it and everything under way is finished, or until a second signal.
fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    telemetry::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let app = App::build(config.clone(), Clock::system())?;
        print!("{}", banner::banner(&config, &app.addresses()));
        let stop = CancellationToken::new();
        tokio::select! {
            () = app.run(stop.clone()) => Ok(()),
            broken_off = second_signal(stop) => Err(broken_off),
        }
    });
    // Blocking work that is still under way after the drain is not waited for: what it wrote is durable or is not acknowledged.
    runtime.shutdown_background();
    served
}

/// Takes a client's cache folder over and tells what came of it. Anything refused is a failure, although the rest was taken.
fn import(config: Config, folder: &Path, public: bool) -> Result<ExitCode, Box<dyn Error>> {
    telemetry::start(&config.log)?;
    let openness = if public { Openness::Declared } else { Openness::Asked };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(app::import(config, Clock::system(), folder, openness))?;
    println!("{report}");
    Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the Larder that runs.
fn show(config: &Config, what: &str) -> Result<String, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(larder::show::show(config, what))?)
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

/// Tells an error and what caused it, one line.
fn fail(error: &dyn Error) -> ExitCode {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    eprintln!("larder: {message}");
    ExitCode::FAILURE
}
