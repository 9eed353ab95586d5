//! `larder policy`: looks rules over before they are in force, and tries them on what happened.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::{HeaderMap, Method};

use super::lines::count;
use super::reach::Reach;
use super::{Outcome, Overrides, asking, on_loaded};
use crate::admin::api;
use crate::clock::Clock;
use crate::licence::Licence;
use crate::policy::file::{PolicyFile, keys_of};
use crate::policy::{self, Config, Ecosystem, Fact, Fault, Point, Ruleset, fixture};
use crate::rulings;
use crate::rulings::replay::{Change, Report};

/// Check a policy file, test it, and try it on what happened.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Policy {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  larder policy check                        the files that the configuration names
  larder policy check draft.toml
  larder policy test cases.toml --policy draft.toml
  larder policy replay draft.toml --since 30d
  larder policy facts                        what rules can look at, and where

`check` and `test` end with 1 where something is to be mended.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(Check),
    Test(Test),
    Replay(Replay),
    /// List what rules can look at, the keys of conditions on it, its type in `when`, and where it can be known.
    Facts {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Find typos, rules that never hold, unknown licences, and waivers that are of no use.
#[derive(Debug, Args)]
struct Check {
    /// The policy [default: `policy.file` of the configuration]
    file: Option<PathBuf>,
    /// The waivers [default: `policy.waivers` of the configuration]
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Run cases against a policy: facts, and the verdict that they must lead to.
#[derive(Debug, Args)]
#[command(after_help = TEST_EXAMPLE)]
struct Test {
    /// The cases
    #[arg(required = true)]
    cases: Vec<PathBuf>,
    /// The policy [default: `policy.file` of the configuration]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

const TEST_EXAMPLE: &str = "A case:
  [[case]]
  name = \"young releases wait\"
  on = \"pypi\"                              # pypi, hf, oci
  at = \"content\"                           # listing, metadata, content
  facts = { name = \"six\", version = \"1.0\", release_age = \"2 days\" }
  expect = \"hold\"
  rule = \"cool-down\"                       # optional";

/// Tell what a draft would have done to what was recorded.
#[derive(Debug, Args)]
struct Replay {
    /// The draft [default: `policy.file` of the configuration]
    file: Option<PathBuf>,
    /// How far back, such as 30d
    #[arg(long, default_value = "30d", value_parser = span)]
    since: std::time::Duration,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// No file, and none configured.
#[derive(Debug, thiserror::Error)]
#[error("there is no policy file: name one, or set `policy.file` in the configuration")]
struct NoFile;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

fn span(text: &str) -> Result<std::time::Duration, String> {
    policy::words::parse_span(text).ok_or_else(|| "a span such as 30d or 12h".to_owned())
}

impl Policy {
    pub(super) fn run(self) -> ExitCode {
        match self.command {
            Command::Check(check) => {
                on_loaded(check.overrides.clone(), |loaded| check.run(&loaded.config.policy))
            }
            Command::Test(test) => {
                on_loaded(test.overrides.clone(), |loaded| test.run(&loaded.config.policy))
            }
            Command::Replay(replay) => replay.run(),
            Command::Facts { json } => super::ended(facts(json)),
        }
    }
}

impl Check {
    fn run(self, settings: &Config) -> Outcome {
        let file = self.file.clone().or_else(|| settings.file.clone());
        let waivers = match (&self.file, self.waivers.clone()) {
            (_, Some(waivers)) => Some(waivers),
            (None, None) => settings.waivers.clone(),
            (Some(_), None) => None,
        };
        if file.is_none() && waivers.is_none() {
            // A configuration without rules of one's own is a good one.
            match self.json {
                true => say!("[]"),
                false => say!("nothing to check: {NoFile}"),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (read, mut found) = match &file {
            Some(file) => {
                let (read, mut found) = read(file);
                let odd = read.as_ref().map(|read| policy::check::rules(read, &is_licence));
                found.extend(odd.iter().flatten().map(|one| told(file, one)));
                (read, found)
            }
            None => (Some(PolicyFile::default()), Vec::new()),
        };
        if let Some(waivers) = waivers {
            let now = Clock::system().now();
            match rulings::text(&waivers).map(|text| policy::waiver::read(&text)) {
                Ok(Ok(all)) => {
                    let odd = policy::check::waivers(&all, read.as_ref(), now);
                    found.extend(odd.iter().map(|one| told(&waivers, one)));
                }
                Ok(Err(faults)) => found.extend(faults.iter().map(|one| told(&waivers, one))),
                Err(unreadable) => found.push(unreadable.to_string()),
            }
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&found)?);
        } else if found.is_empty() {
            let rules = read.map_or(0, |read| read.rules.len());
            say!("{}, nothing to mend", count(rules, "rule"));
        } else {
            found.iter().for_each(|one| say!("{one}"));
        }
        Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Test {
    fn run(self, settings: &Config) -> Outcome {
        let path = self.policy.clone().or_else(|| settings.file.clone()).ok_or(NoFile)?;
        let rules = usable(&path, settings)?;
        let now = Clock::system().now();
        let (mut count, mut misses) = (0, Vec::new());
        for cases in &self.cases {
            let read = fixture::read(&rulings::text(cases)?, now);
            let read = read.map_err(|faults| Unusable(all_told(cases, &faults)))?;
            count += read.len();
            let missed = read.iter().filter_map(|case| case.miss(&rules, now));
            misses.extend(missed.map(|miss| (cases.display().to_string(), miss)));
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&misses)?);
        } else {
            for (path, miss) in &misses {
                let fixture::Miss { line, name, expected, got } = miss;
                say!("{path}:{line}: {name}: expected {expected}, got {got}");
            }
            say!("{count} cases, {} came out otherwise", misses.len());
        }
        Ok(if misses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Replay {
    fn run(self) -> ExitCode {
        let overrides = self.overrides.clone();
        // The draft is read before anything is asked, and the configuration names it where the command line does not.
        let configured = overrides.clone().load().ok().and_then(|loaded| loaded.config.policy.file);
        asking(overrides, async move |reach: &Reach| {
            let path = self.file.clone().or(configured).ok_or(NoFile)?;
            let draft = rulings::text(&path)?;
            policy::file::read(&draft).map_err(|faults| Unusable(all_told(&path, &faults)))?;
            let (seconds, prefix) = (self.since.as_secs(), api::PREFIX.trim_start_matches('/'));
            let address = format!("{prefix}policy/replay?since={seconds}s");
            let answer = reach.send(Method::POST, &address, HeaderMap::new(), draft.into()).await?;
            let whole = Reach::accepted(answer).await?;
            match self.json {
                true => put!("{}", String::from_utf8_lossy(&whole)),
                false => put!("{}", text(&serde_json::from_slice(&whole)?)),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// A replay as people read it.
fn text(report: &Report) -> String {
    let mut text = format!("{} decisions\n", report.decisions);
    for Change { was, becomes, count, examples } in &report.changes {
        let (was, becomes, examples) = (was.name(), becomes.name(), examples.join(", "));
        let _ = writeln!(text, "  {was} -> {becomes}: {count}, such as {examples}");
    }
    if report.changes.is_empty() {
        text.push_str("  all would have come out as they did\n");
    }
    for (rule, count) in &report.rules {
        let _ = writeln!(text, "  rule {rule} would have held {count} times");
    }
    for (fact, count) in &report.missing {
        let _ = writeln!(
            text,
            "  {fact} was not recorded for {count}: what rules would have said of those is not known"
        );
    }
    text
}

/// Reads a policy; faults are findings, and so is that it cannot be read: what else is to be mended is told beside it.
fn read(path: &Path) -> (Option<PolicyFile>, Vec<String>) {
    match rulings::text(path).map(|text| policy::file::read(&text)) {
        Ok(Ok(file)) => (Some(file), Vec::new()),
        Ok(Err(faults)) => (None, faults.iter().map(|one| told(path, one)).collect()),
        Err(unreadable) => (None, vec![unreadable.to_string()]),
    }
}

fn usable(path: &Path, settings: &Config) -> Result<Ruleset, Box<dyn std::error::Error>> {
    let text = rulings::text(path)?;
    let file = policy::file::read(&text).map_err(|faults| Unusable(all_told(path, &faults)))?;
    Ok(Ruleset::new(settings.clone(), file, Vec::new(), [&text, ""]))
}

fn told(path: &Path, fault: &Fault) -> String {
    format!("{}: {fault}", path.display())
}

fn all_told(path: &Path, faults: &[Fault]) -> String {
    faults.iter().map(|fault| told(path, fault)).collect::<Vec<_>>().join("\n")
}

/// Whether a name is one that SPDX or the hub writes just so.
fn is_licence(name: &str) -> bool {
    Licence::parse(name).is_ok_and(|licence| licence.as_str().eq_ignore_ascii_case(name))
}

fn facts(json: bool) -> Outcome {
    let mut all = Vec::new();
    for fact in Fact::ALL {
        let keys: Vec<String> = keys_of(*fact).collect();
        let places = |eco: Ecosystem| -> Vec<&str> {
            let known = Point::ALL.into_iter().filter(|point| fact.is_known(eco, *point));
            known.map(Point::name).collect()
        };
        all.push(serde_json::json!({
            "fact": fact.name(), "keys": keys, "type": policy::when::Kind::of(*fact).to_string(),
            "pypi": places(Ecosystem::PyPi), "hf": places(Ecosystem::Hf), "oci": places(Ecosystem::Oci),
        }));
    }
    if json {
        say!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let list = |value: &serde_json::Value| -> String {
        let texts = value.as_array().into_iter().flatten().filter_map(|one| one.as_str());
        texts.collect::<Vec<_>>().join(", ")
    };
    for one in &all {
        say!("{}", list(&one["keys"]));
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        say!("    when: {} ({})", text("fact"), text("type"));
        for eco in ["pypi", "hf", "oci"] {
            let places = list(&one[eco]);
            if !places.is_empty() {
                say!("    {eco}: {places}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
