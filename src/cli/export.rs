//! `larder export`: writes a bundle of what is kept, for sites without any upstream.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::TryStreamExt;
use http::{HeaderMap, Method};
use indicatif::{ProgressBar, ProgressStyle};

use super::reach::Reach;
use super::wanted::Wanted;
use super::{Outcome, Overrides, lines, misused};
use crate::admin::api;
use crate::bundle::resource::{Order, Signer};

/// Write a signed bundle of what is kept, which `larder import` takes in elsewhere.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    wanted: Wanted,
    /// What a lock file names; the same as giving the file
    #[arg(long, value_name = "FILE")]
    lock: Vec<String>,
    /// Everything that is kept
    #[arg(long, conflicts_with_all = ["what", "lock"])]
    all: bool,
    /// Where to write it; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// For whom it may be: what anybody may read, or also what Larder's own credentials opened
    #[arg(long, value_enum, default_value_t = Audience::Public)]
    audience: Audience,
    /// Go on without what is not kept
    #[arg(long)]
    partial: bool,
    /// Print the key that vouches for the bundles of this Larder, and nothing else
    #[arg(long)]
    key: bool,
    /// Tell what was written, or the key, as JSON; beside a bundle on standard output it goes to standard error
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

/// For whom what is taken along may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Audience {
    Public,
    Service,
}

const EXAMPLES: &str = "Examples:
  larder export larder.toml -o site.tar
  larder export --lock uv.lock --platform linux/amd64 -o wheels.tar
  larder export --all | ssh site larder import - --trust office.key
  larder export --key > office.key                    what --trust takes there

A bundle is a tar: bodies by their digest, and signed lists of what they are. It holds whatever it takes to answer for what is named without an upstream.

Exit codes: 0 it is written, 1 it is not, 2 wrong arguments.";

impl Export {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if self.key {
                let signer: Signer = reach.get("bundle/key").await?;
                match self.json {
                    true => say!("{}", serde_json::json!({ "key": signer.key })),
                    false => say!("{}", signer.key),
                }
                return Ok(ExitCode::SUCCESS);
            }
            let mut wanted = self.wanted.clone();
            wanted.what.extend(self.lock.iter().cloned());
            let (wants, left_out) = match self.all {
                true => Default::default(),
                false => match wanted.read() {
                    Ok(read) => read,
                    Err(fault) => return Ok(misused(&fault)),
                },
            };
            if let (Some(first), false) = (left_out.first(), self.partial) {
                let fault = format!("{}: {}; --partial leaves it out", first.what, first.reason);
                return Err(fault.into());
            }
            if !self.all && wants.is_empty() {
                return Err("the lists name nothing".into());
            }
            let order =
                Order { wants, service: self.audience == Audience::Service, partial: self.partial };
            let bytes = self.write(reach, &order).await?;
            let told =
                serde_json::json!({ "output": self.output.display().to_string(), "bytes": bytes });
            match (self.json, self.is_piped()) {
                (true, false) => say!("{told}"),
                (true, true) => eprintln!("{told}"),
                (false, _) => eprintln!("{} written", lines::size(bytes)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }

    fn is_piped(&self) -> bool {
        self.output == Path::new("-")
    }

    async fn write(&self, reach: &Reach, order: &Order) -> Result<u64, Box<dyn std::error::Error>> {
        let is_piped = self.is_piped();
        if is_piped && io::stdout().is_terminal() {
            return Err(
                "a bundle is nothing for a terminal: name a file with --output, or pipe it on"
                    .into(),
            );
        }
        let body = Bytes::from(serde_json::to_vec(order)?);
        let address = format!("{}bundle/export", api::PREFIX.trim_start_matches('/'));
        let response = reach.send(Method::POST, &address, HeaderMap::new(), body).await?;
        if !response.status().is_success() {
            Reach::accepted(response).await?;
            return Err("the answer is no bundle".into());
        }
        // Only a whole bundle gets its name.
        let half = self.output.with_added_extension("part");
        let mut file: Box<dyn Write> = match is_piped {
            true => Box::new(io::stdout().lock()),
            false => Box::new(File::create(&half)?),
        };
        let bar = match io::stderr().is_terminal() {
            true => ProgressBar::no_length().with_style(progress()),
            false => ProgressBar::hidden(),
        };
        let mut chunks = Reach::chunks(response);
        let mut bytes = 0;
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk)?;
            bytes += chunk.len() as u64;
            bar.set_position(bytes);
        }
        file.flush()?;
        drop(file);
        bar.finish_and_clear();
        if !is_piped {
            File::open(&half)?.sync_all()?;
            fs::rename(&half, &self.output)?;
        }
        Ok(bytes)
    }
}

/// How long a bundle becomes nobody knows before its end.
fn progress() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {bytes} written, {binary_bytes_per_sec}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner())
}
