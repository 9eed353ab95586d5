//! `larder waive`: exceptions from rules, by way of a file that people review.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::lines::count;
use super::reach::Reach;
use super::{Outcome, Overrides, asking, on_loaded, why};
use crate::clock::Clock;
use crate::policy::waiver::{Waiver, What, parse_end, read};
use crate::policy::{self, Config, check};
use crate::rulings;

/// Ask for exceptions from rules, list them, check them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Waive {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  larder waive request 3f2a9c81d04b7e65
  larder waive request 3f2a9c81d04b7e65 --reason 'research only, ML-812' --expires 2027-02-01 >> waivers.toml
  larder waive list
  larder waive check waivers.toml            ends with 1 where something is to be mended

A waiver is for one rule and one digest or exact version; it says why, and it ends. It counts once it is in the file that `policy.waivers` names.";

#[derive(Debug, Subcommand)]
enum Command {
    Request(Request),
    List(List),
    Check(Check),
}

/// Print the entry for the file of waivers that would except what was refused.
#[derive(Debug, Args)]
struct Request {
    /// The decision's name, from a message or an address /-/why/ID
    id: String,
    /// Why this may be excepted
    #[arg(long)]
    reason: Option<String>,
    /// Who agreed
    #[arg(long)]
    approved_by: Option<String>,
    /// A date, at whose end it ends, or an instant
    #[arg(long)]
    expires: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

/// List the waivers of a file, and until when each holds.
#[derive(Debug, Args)]
struct List {
    /// The waivers [default: `policy.waivers` of the configuration]
    file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Find waivers that are wrong, have ended, end soon, or are for no rule.
#[derive(Debug, Args)]
struct Check {
    /// The waivers [default: `policy.waivers` of the configuration]
    file: Option<PathBuf>,
    /// What is to be mended, as a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// What is said where there is none, which is as good as an empty one.
const NO_FILE: &str =
    "there is no file of waivers: name one, or set `policy.waivers` in the configuration";

/// Something that cannot be done as asked.
#[derive(Debug, thiserror::Error)]
enum WaiveError {
    #[error("no rule that can be waived decided this")]
    NothingToWaive,
    #[error("{0:?} is neither a date such as 2027-02-01 nor an instant with its offset")]
    NoDate(String),
    #[error("{0}")]
    Faulty(String),
}

impl Waive {
    pub(super) fn run(self) -> ExitCode {
        match self.command {
            Command::Request(request) => request.run(),
            Command::List(list) => {
                on_loaded(list.overrides.clone(), |loaded| list.run(&loaded.config.policy))
            }
            Command::Check(check) => {
                on_loaded(check.overrides.clone(), |loaded| check.run(&loaded.config.policy))
            }
        }
    }
}

impl Request {
    fn run(self) -> ExitCode {
        asking(self.overrides.clone(), async move |reach: &Reach| {
            if let Some(expires) = self.expires.as_ref().filter(|text| parse_end(text).is_none()) {
                return Err(WaiveError::NoDate(expires.clone()).into());
            }
            let told = why::told(reach, &self.id).await?;
            let entry = told["waiver"].as_str().ok_or(WaiveError::NothingToWaive)?;
            put!("{}", self.filled(entry));
            Ok(ExitCode::SUCCESS)
        })
    }

    /// The entry with what was given on the command line.
    fn filled(&self, entry: &str) -> String {
        let line = |line: &str| match line.split(" = ").next() {
            Some("reason") if self.reason.is_some() => {
                format!("reason = {:?}", self.reason.as_deref().unwrap_or_default())
            }
            Some("approved_by") if self.approved_by.is_some() => {
                format!("approved_by = {:?}", self.approved_by.as_deref().unwrap_or_default())
            }
            Some("expires") if self.expires.is_some() => {
                format!("expires = {:?}", self.expires.as_deref().unwrap_or_default())
            }
            _ => line.to_owned(),
        };
        entry.lines().map(line).map(|line| line + "\n").collect()
    }
}

impl List {
    fn run(self, settings: &Config) -> Outcome {
        let Some(waivers) = waivers(self.file, settings)? else {
            match self.json {
                true => say!("[]"),
                false => say!("nothing to list: {NO_FILE}"),
            }
            return Ok(ExitCode::SUCCESS);
        };
        let now = Clock::system().now();
        let shown: Vec<serde_json::Value> = waivers
            .iter()
            .map(|waiver| {
                let Waiver { rule, what, reason, approved_by, expires, .. } = waiver;
                let (What::Digest(what) | What::Named(what)) = what;
                serde_json::json!({
                    "rule": rule, "what": what, "reason": reason, "approved_by": approved_by,
                    "expires": expires.to_rfc3339(), "holds": now < *expires,
                })
            })
            .collect();
        if self.json {
            say!("{}", serde_json::to_string_pretty(&shown)?);
            return Ok(ExitCode::SUCCESS);
        }
        for one in &shown {
            let word = |key: &str| one[key].as_str().unwrap_or_default();
            let holds = if one["holds"] == true { "until" } else { "ended" };
            let (rule, what) = (word("rule"), word("what"));
            say!("{rule}  {what}  {holds} {}  {}", word("expires"), word("reason"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Check {
    fn run(self, settings: &Config) -> Outcome {
        let Some(waivers) = waivers(self.file, settings)? else {
            match self.json {
                true => say!("[]"),
                false => say!("nothing to check: {NO_FILE}"),
            }
            return Ok(ExitCode::SUCCESS);
        };
        let policy = match &settings.file {
            Some(path) => {
                let faulty = |faults: Vec<policy::Fault>| WaiveError::Faulty(lines(&faults));
                Some(policy::file::read(&rulings::text(path)?).map_err(faulty)?)
            }
            None => None,
        };
        let found = check::waivers(&waivers, policy.as_ref(), Clock::system().now());
        if self.json {
            let told: Vec<String> = found.iter().map(ToString::to_string).collect();
            say!("{}", serde_json::to_string_pretty(&told)?);
        } else if found.is_empty() {
            say!("{}, nothing to mend", count(waivers.len(), "waiver"));
        } else {
            say!("{}", lines(&found));
        }
        Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The waivers of the file that is named, or configured. `None`: there is no such file.
fn waivers(
    file: Option<PathBuf>,
    settings: &Config,
) -> Result<Option<Vec<Waiver>>, Box<dyn std::error::Error>> {
    let Some(path) = file.or_else(|| settings.waivers.clone()) else { return Ok(None) };
    let faulty = |faults: Vec<policy::Fault>| {
        WaiveError::Faulty(format!("{}: {}", path.display(), lines(&faults)))
    };
    Ok(Some(read(&rulings::text(&path)?).map_err(faulty)?))
}

fn lines(faults: &[policy::Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
