//! `larder import`: takes in a bundle, or over what a client downloaded before.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};
use futures_util::StreamExt;
use futures_util::stream;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};

use super::export::Audience;
use super::reach::Reach;
use super::{Outcome, Overrides, lines, misused};
use crate::admin::api;
use crate::bundle::import::Report;
use crate::bundle::key::PublicKey;
use crate::clock::Clock;
use crate::config::Config;
use crate::import::source::Openness;
use crate::upstream::request::UploadStream;
use crate::{app, telemetry};

/// Take in a bundle that `larder export` wrote elsewhere, or over what a client downloaded before.
#[derive(Debug, Args)]
#[command(after_help = BUNDLE_EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Import {
    #[command(subcommand)]
    pub(super) source: Option<Source>,
    #[command(flatten)]
    pub(super) bundle: Bundle,
}

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    HfCache(HfCache),
}

/// A bundle.
#[derive(Debug, Args)]
pub(super) struct Bundle {
    /// The bundle; - is standard input
    #[arg(value_name = "BUNDLE")]
    file: Option<PathBuf>,
    /// A file with keys of Larders whose bundles are believed, beside those of the configuration ([bundle] trust)
    #[arg(long, value_name = "KEYFILE")]
    trust: Vec<PathBuf>,
    /// For whom what is taken in may be: what anybody may read, or also what the other Larder's own credentials opened
    #[arg(long, value_enum, default_value_t = Audience::Public)]
    audience: Audience,
    /// Tell what came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const BUNDLE_EXAMPLES: &str = "Examples:
  larder import site.tar --trust office.key
  ssh office larder export --all | larder import - --trust office.key
  larder import hf-cache ~/.cache/huggingface/hub

Nothing of a bundle is believed before its signature is right, and nothing is filed before its bytes are what their digest says. What is kept already and
as new stays. An import that was interrupted goes on when it is run again.

Exit codes: 0 all of it is kept, 1 something was refused or the bundle is not whole, 2 wrong arguments.";

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
    /// Tell what came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder import hf-cache ~/.cache/huggingface/hub
  larder import hf-cache /media/usb/hub --public      without asking the hub who may read what

Every file is checked against the digest that it is named by. Stop the server first: a data directory has one user at a time.";

/// What is read of a file at once.
const CHUNK_BYTES: usize = 1 << 20;

impl HfCache {
    /// Takes the folder over and tells what came of it. Anything refused is a failure, although the rest was taken.
    pub(super) fn run(self, config: Config) -> Outcome {
        telemetry::start(&config.log)?;
        let openness = if self.public { Openness::Declared } else { Openness::Asked };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let imported = app::import(config, Clock::system(), &self.folder, openness);
        let report = runtime.block_on(imported)?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&report)?),
            false => say!("{report}"),
        }
        Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Arguments that lead nowhere.
#[derive(Debug, thiserror::Error)]
enum Misused {
    #[error("say which bundle: a file, or - for standard input; or `hf-cache DIR`")]
    Unnamed,
    #[error("{}: {fault}", file.display())]
    File { file: PathBuf, fault: String },
}

/// A bundle that is about to be sent.
struct Opened {
    source: Box<dyn Read + Send>,
    length: Option<u64>,
    /// Those that `--trust` names.
    keys: Vec<PublicKey>,
}

impl Bundle {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let Opened { source, length, keys } = match self.open() {
                Ok(opened) => opened,
                Err(fault) => return Ok(misused(&fault)),
            };
            let bar = bar(length);
            let report = self.send(reach, watched(source, bar.clone()), &keys).await;
            bar.finish_and_clear();
            let report = report?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&report)?),
                false => put!("{}", text(&report)),
            }
            Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }

    fn open(&self) -> Result<Opened, Misused> {
        let wrong = |file: &Path, fault: &dyn std::fmt::Display| Misused::File {
            file: file.to_owned(),
            fault: fault.to_string(),
        };
        let mut keys = Vec::new();
        for file in &self.trust {
            let text = std::fs::read_to_string(file).map_err(|error| wrong(file, &error))?;
            keys.extend(PublicKey::read_all(&text).map_err(|error| wrong(file, &error))?);
        }
        let name = self.file.as_deref().ok_or(Misused::Unnamed)?;
        if name == Path::new("-") {
            return Ok(Opened { source: Box::new(io::stdin()), length: None, keys });
        }
        let file = File::open(name).map_err(|error| wrong(name, &error))?;
        let length = file.metadata().ok().map(|metadata| metadata.len());
        Ok(Opened { source: Box::new(file), length, keys })
    }

    async fn send(
        &self,
        reach: &Reach,
        source: UploadStream,
        keys: &[PublicKey],
    ) -> Result<Report, Box<dyn std::error::Error>> {
        let keys: Vec<String> = keys.iter().map(PublicKey::to_string).collect();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("trust", &keys.join(","));
        if self.audience == Audience::Service {
            query.append_pair("audience", "service");
        }
        let prefix = api::PREFIX.trim_start_matches('/');
        let address = format!("{prefix}bundle/import?{}", query.finish());
        let answer = reach.upload(Method::POST, &address, source).await?;
        Ok(serde_json::from_slice(&Reach::accepted(answer).await?)?)
    }
}

/// A file as it is read. Reading it does not keep anything else waiting.
fn watched(source: Box<dyn Read + Send>, bar: ProgressBar) -> UploadStream {
    let chunks = stream::try_unfold(source, move |mut source| {
        let bar = bar.clone();
        async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; CHUNK_BYTES];
                let length = source.read(&mut chunk)?;
                chunk.truncate(length);
                Ok::<_, io::Error>((Bytes::from(chunk), source))
            });
            let (chunk, source) = read.await.map_err(io::Error::other)??;
            bar.inc(chunk.len() as u64);
            Ok((!chunk.is_empty()).then_some((chunk, source)))
        }
    });
    chunks.boxed()
}

fn bar(length: Option<u64>) -> ProgressBar {
    match (io::stderr().is_terminal(), length) {
        (false, _) => ProgressBar::hidden(),
        (true, None) => ProgressBar::no_length(),
        (true, Some(length)) => {
            let bar = ProgressBar::new(length);
            let style = "{bytes} of {total_bytes} {wide_bar} {binary_bytes_per_sec} {eta}";
            match ProgressStyle::with_template(style) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        }
    }
}

fn text(report: &Report) -> String {
    let Report { new, kept, blobs, bytes, withheld, unmounted, refused, .. } = report;
    let mut text = String::new();
    for fault in refused {
        text.push_str(&format!("refused: {fault}\n"));
    }
    if *unmounted > 0 {
        text.push_str(&format!(
            "left out: {} of mounts that this Larder does not have\n",
            lines::count(*unmounted, "entry")
        ));
    }
    if *withheld > 0 {
        text.push_str(&format!(
            "left out: {} not open to everybody (--audience service takes them)\n",
            lines::count(*withheld, "entry")
        ));
    }
    let size = lines::size(*bytes);
    text.push_str(&format!(
        "{} filed, {kept} kept before; {} of {size} came; {} refused\n",
        lines::count(*new, "entry"),
        lines::count(*blobs, "file"),
        refused.len()
    ));
    text
}
