//! `larder pin` and `larder unpin`: what no eviction takes.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides, lines};
use crate::keep::pins::{Pinned, Pins};

/// Protect what is kept from eviction and removal, or list what is protected.
#[derive(Debug, Args)]
#[command(after_help = PIN_EXAMPLES)]
pub(super) struct Pin {
    /// What to protect, such as hf:org/model@main; nothing: list what is protected
    what: Vec<String>,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

/// End the protection of what was pinned, but for what another pin protects as well.
#[derive(Debug, Args)]
#[command(after_help = UNPIN_EXAMPLES)]
pub(super) struct Unpin {
    /// What to protect no longer
    #[arg(required = true)]
    what: Vec<String>,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const PIN_EXAMPLES: &str = "Examples:
  larder pin hf:org/model@v1.0            its list of files, and the files that are kept
  larder pin pypi:torch==2.3.0            its files, and the project's page
  larder pin oci:registry.example.org/team/app:1.0
  larder pin                              what is pinned

A pin is of the commit or digest that a name leads to now. What is not kept is not protected: fetch it first. Files that come later are protected by the next `larder gc`.";

const UNPIN_EXAMPLES: &str = "Examples:
  larder unpin hf:org/model@v1.0
  larder unpin pypi:torch==2.3.0 oci:registry.example.org/team/app:1.0";

impl Pin {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if self.what.is_empty() {
                let pins: Pins = reach.get("pins").await?;
                match self.json {
                    true => say!("{}", serde_json::to_string_pretty(&pins)?),
                    false => put!("{}", list(&pins)),
                }
                return Ok(ExitCode::SUCCESS);
            }
            change(reach, Method::PUT, &self.what, self.json).await
        }
    }
}

impl Unpin {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| change(reach, Method::DELETE, &self.what, self.json).await
    }
}

async fn change(reach: &Reach, method: Method, names: &[String], json: bool) -> Outcome {
    let word = if method == Method::PUT { "pinned" } else { "unpinned" };
    let mut all = Vec::new();
    for name in names {
        let pinned: Pinned = reach.call(method.clone(), &Reach::named("pins", name)).await?;
        match json {
            true => all.push(pinned),
            false => put!("{}", text(&pinned, word)),
        }
    }
    if json {
        say!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(pinned: &Pinned, word: &str) -> String {
    let line = |item: &crate::keep::listing::Item| {
        let missing = match (word, item.files - item.kept_files.min(item.files)) {
            ("unpinned", _) | (_, 0) => String::new(),
            (_, 1) => "; 1 file is not kept and not protected".to_owned(),
            (_, missing) => format!("; {missing} files are not kept and not protected"),
        };
        let files = lines::part(item.kept_files, item.files);
        format!("{word} {}: {files} files, {}{missing}\n", item.name, lines::size(item.kept_bytes))
    };
    match pinned.things.is_empty() {
        true => format!("{word}: {}\n", lines::count(pinned.entries, "entry")),
        false => pinned.things.iter().map(line).collect(),
    }
}

fn list(pins: &Pins) -> String {
    let row = |pin: &crate::keep::pins::Pin| {
        let by = pin.by.clone().unwrap_or_else(|| "-".to_owned());
        vec![pin.name.clone(), lines::day(Some(&pin.since)), by, pin.identity.clone()]
    };
    let rows: Vec<Vec<String>> = pins.pins.iter().map(row).collect();
    lines::table(&["PINNED", "SINCE", "BY", "IS"], &rows)
}
