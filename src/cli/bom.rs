//! `larder bom`: a bill of materials, of models, of what a lock names, or of both; or of what was pulled in a stretch of time.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::reach::Reach;
use super::{Outcome, Overrides, misused, passport};
use crate::bom::{self, Item, ItemFile};
use crate::clock::Clock;
use crate::collect::LockedFile;
use crate::collect::lock::{Lock, Locked};
use crate::passport::Passport;

/// Write a bill of materials in CycloneDX 1.6: models, packages and images with their digests and licences; or of what was pulled in a stretch of time.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bom {
    /// Models, such as hf:org/model@main
    models: Vec<String>,
    /// Everything that a lock of `larder lock` names
    #[arg(long, value_name = "FILE")]
    lock: Vec<PathBuf>,
    /// Everything that was pulled since then: a date, an instant of RFC 3339, or how long ago (30d)
    #[arg(long, value_name = "TIME", conflicts_with_all = ["models", "lock", "at", "fetch"])]
    since: Option<String>,
    /// Everything that was pulled before that; now by default
    #[arg(long, value_name = "TIME", conflicts_with_all = ["models", "lock", "at", "fetch"])]
    until: Option<String>,
    /// Of what was pulled, only what this client did: the name of an access token, or a network
    #[arg(long, value_name = "NAME", conflicts_with_all = ["models", "lock"])]
    client: Option<String>,
    /// Where to write it; standard output by default
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The time that the bill bears, in RFC 3339, for bills that are the same whenever they are made; now by default
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Ask the hub for what is small and not kept
    #[arg(long)]
    fetch: bool,
    /// The bill is JSON in any case
    #[arg(long, hide = true)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder bom hf:org/model@main
  larder bom --lock larder.lock -o bom.json
  larder bom --at 2026-11-23T00:00:00Z hf:org/model@main hf:org/other@v1
  larder bom --since 2026-10-01 --until 2026-11-01 -o october.json
  larder bom --since 30d --client ci

Of models that a lock names, and of which something is kept, the bill has all that `larder show` has; of the rest, names and digests.
The same models give the same bill, but for its time.
Of what was pulled, the bill has one component for each release, commit and image, with those of its files that were pulled; for administrators.
How far back pulls are recorded, the configuration says: `trace.pulls` and `trace.pulls_for`.

Exit codes: 0 it was written, 1 something could not be had, 2 wrong arguments or configuration.";

/// What cannot be made a bill of.
#[derive(Debug, thiserror::Error)]
enum BomError {
    #[error("name a model, such as hf:org/model@main, a lock with --lock, or a time with --since")]
    Nothing,
    #[error("{0:?} is no time: write one as 2026-11-23T00:00:00Z")]
    Time(String),
    #[error("{0:?} is no model: a bill is made of hf:ORG/NAME@REVISION, or of a lock (--lock)")]
    NoModel(String),
    #[error("{} cannot be used", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("{} is no lock of `larder lock`: {}", .0.display(), .1)]
    Lock(PathBuf, String),
}

impl Bom {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if self.since.is_some() || self.until.is_some() {
                return self.pulled(reach).await;
            }
            if self.models.is_empty() && self.lock.is_empty() {
                return Ok(misused(&BomError::Nothing));
            }
            let now = match &self.at {
                None => Clock::system().now(),
                Some(text) => match crate::types::Timestamp::from_text(text) {
                    Some(time) => time,
                    None => return Ok(misused(&BomError::Time(text.clone()))),
                },
            };
            let mut passports: Vec<Passport> = Vec::new();
            for what in &self.models {
                if !what.starts_with("hf:") {
                    return Ok(misused(&BomError::NoModel(what.clone())));
                }
                passports.push(passport::get(reach, what, self.fetch).await?);
            }
            let mut items: Vec<Item> = Vec::new();
            for path in &self.lock {
                for item in read(path)? {
                    let known = match item.model() {
                        Some((id, commit)) => {
                            let what = format!("{id}@{commit}");
                            passport::get(reach, &what, self.fetch).await.ok()
                        }
                        None => None,
                    };
                    match known {
                        Some(passport) => passports.push(passport),
                        None => items.push(item),
                    }
                }
            }
            self.write(&serde_json::to_string_pretty(&bom::bill(&passports, &items, now))?)
        }
    }

    /// The bill of what was pulled, which the server makes of its record.
    async fn pulled(&self, reach: &Reach) -> Outcome {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let given = [("since", &self.since), ("until", &self.until), ("client", &self.client)];
        for (name, value) in given {
            value.iter().for_each(|value| {
                query.append_pair(name, value);
            });
        }
        let bill: Value = reach.get(&format!("bom?{}", query.finish())).await?;
        let told = |name: &str| {
            let properties = bill["metadata"]["properties"].as_array()?;
            let one = properties.iter().find(|one| one["name"] == format!("larder:pulled:{name}"));
            one?["value"].as_str()
        };
        if self.since.is_some() && told("since") == told("recorded-since") {
            let since = told("since").unwrap_or_default();
            eprintln!("larder: pulls are recorded since {since}: the bill begins there");
        }
        self.write(&serde_json::to_string_pretty(&bill)?)
    }

    fn write(&self, bill: &str) -> Outcome {
        match &self.output {
            Some(path) => fs::write(path, format!("{bill}\n"))
                .map_err(|error| BomError::File(path.clone(), error))?,
            None => std::io::stdout().write_all(format!("{bill}\n").as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> Result<Vec<Item>, Box<dyn std::error::Error>> {
    let text = fs::read_to_string(path).map_err(|error| BomError::File(path.to_owned(), error))?;
    let lock = Lock::read(&text).map_err(|fault| BomError::Lock(path.to_owned(), fault))?;
    let item = |Locked { exact, files, .. }: Locked| {
        let file = |LockedFile { name, digest, size }| ItemFile { name, digest, size };
        Item::read(&exact.to_string(), files.into_iter().map(file).collect())
    };
    Ok(lock.locked.into_iter().map(item).collect::<Result<_, _>>()?)
}
