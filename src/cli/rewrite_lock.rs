//! `larder rewrite-lock`: points the addresses of lock files at Larder, and back.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Outcome, Overrides, misused};
use crate::banner;
use crate::collect::rewrite::{Direction, Map, rewrite};
use crate::config::Config;
use crate::ecosystem::pypi::config::UpstreamEntry;

/// Point the addresses of uv.lock, poetry.lock, pylock.toml or requirements.txt at Larder, or back. Nothing else of the file changes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RewriteLock {
    /// The files; each is replaced as a whole
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The address of the Larder that they shall point at [default: that of the configuration]
    #[arg(long, value_name = "URL", conflicts_with = "back")]
    to: Option<String>,
    /// Point them at the indexes themselves again
    #[arg(long)]
    back: bool,
    /// The address of the Larder that they point at now [default: that of the configuration]
    #[arg(long, value_name = "URL", requires = "back")]
    from: Option<String>,
    /// Tell what was changed as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder rewrite-lock uv.lock
  larder rewrite-lock uv.lock --to https://larder.example
  larder rewrite-lock uv.lock --back --from https://larder.example

What goes there and back is the same text again: an address that would come back otherwise is left. Only the indexes of the configuration are known.";

/// A file that cannot be rewritten.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
struct Unfit {
    file: PathBuf,
    fault: String,
}

impl RewriteLock {
    pub(super) fn run(self, config: &Config) -> Outcome {
        let named = self.to.as_deref().or(self.from.as_deref());
        let root = named.map_or_else(|| banner::root(config, &config.listen), str::to_owned);
        let map = Map { larder: root.trim_end_matches('/').to_owned(), indexes: indexes(config) };
        let direction = if self.back { Direction::Back } else { Direction::ToLarder };
        let mut told = Vec::new();
        for file in &self.files {
            let unfit = |fault: String| Unfit { file: file.clone(), fault };
            let read = fs::read_to_string(file).map_err(|error| unfit(error.to_string()));
            let name = file.to_string_lossy();
            let rewritten = read.and_then(|text| {
                let rewritten = rewrite(&map, direction, &name, &text).map_err(unfit)?;
                Ok((text, rewritten))
            });
            let (text, rewritten) = match rewritten {
                Ok(rewritten) => rewritten,
                Err(fault) => return Ok(misused(&fault)),
            };
            if rewritten.text != text {
                let half = file.with_added_extension("part");
                fs::write(&half, &rewritten.text)?;
                fs::set_permissions(&half, fs::metadata(file)?.permissions())?;
                fs::rename(&half, file)?;
            }
            if !self.json {
                for address in &rewritten.unknown {
                    eprintln!("left: {name}: {address}: no index of this Larder stands for it");
                }
                say!("{name}: {} addresses changed", rewritten.replaced);
            }
            told.push(
                json!({ "file": name, "replaced": rewritten.replaced, "left": rewritten.unknown }),
            );
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&told)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The indexes of the configuration, each with the addresses of its upstreams.
fn indexes(config: &Config) -> Vec<(String, String)> {
    let indexes = config.pypi.indexes.iter();
    let addresses = indexes.flat_map(|(name, index)| {
        let entries = index.upstream.iter().chain(&index.upstreams);
        entries.map(move |UpstreamEntry(upstream)| (name.clone(), upstream.url.clone()))
    });
    addresses.collect()
}
