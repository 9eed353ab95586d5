//! `larder verify`: looks at everything that is kept, with the data directory to itself, and tells what is wrong, for people or as JSON. With `--repair` it
//! sets aside what is, and asks for it again as clients would.
//!
//! Left out: the looking, which is the store's (`store::disk::verify`), and the asking (`heal`); what a running server finds by itself is in its
//! status and metrics, and what it could not fetch again among its damage.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde::Serialize;

use super::reach::{Reach, ReachError};
use super::{Outcome, Overrides, fail, lines};
use crate::config::Config;
use crate::heal;
use crate::store::StoreError;
use crate::store::disk::{self, Damaged, Repair, Report};

/// Read everything that is kept again and compare it with its digests. Stop the server first.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Verify {
    /// Set aside what is damaged, and fetch it again from where it came
    #[arg(long)]
    repair: bool,
    /// Tell what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const HELP: &str = "Examples:
  larder verify
  larder verify --repair --json --data-dir /var/lib/larder

Fetching again takes the settings of the server: its upstreams, and its own credentials there. What cannot be had now is asked for again by the server
once it runs, for some days, and whenever a client wants it.

A running server reads everything again by itself, slowly ([store] scrub_rate): what it finds is in /-/api/v1/status and /-/metrics, and what it could not
fetch again yet in /-/api/v1/damage.

Exit codes: 0 all of it is right, 1 something was damaged (set aside with --repair), 2 it could not be looked at.";

/// It could not be looked at; not the same as having found something.
const CANNOT_LOOK: u8 = 2;

/// Bytes after which progress is told.
const TOLD_EVERY: u64 = 1 << 30;

impl Verify {
    pub(super) fn run(&self, config: Config) -> Outcome {
        let repair = if self.repair { Repair::Yes } else { Repair::No };
        let report = match verify(&config, repair) {
            Ok(report) => report,
            Err(error) => {
                fail(&error);
                return Ok(ExitCode::from(CANNOT_LOOK));
            }
        };
        let healing = self.repair.then(|| heal(config)).transpose().unwrap_or_else(|error| {
            fail(error.as_ref());
            None
        });
        match self.json {
            true => {
                let told = Told { report: &report, healing: healing.as_ref() };
                say!("{}", serde_json::to_string_pretty(&told)?);
            }
            false => {
                put!("{}{}", text(&report), healing.as_ref().map_or_else(String::new, healed));
            }
        }
        Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What is told as JSON.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What came of asking again, where that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    healing: Option<&'a heal::Report>,
}

/// Asks again for everything that was ever set aside and is not kept again.
fn heal(config: Config) -> Result<heal::Report, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let healing = async {
        let reach = Reach::find(config).await?;
        let report: Result<heal::Report, ReachError> = reach.call(Method::POST, "damage").await;
        reach.close().await;
        report
    };
    Ok(runtime.block_on(healing)?)
}

/// Looks at everything that the configuration's data directory holds. Tells how far it is on standard error if that is a terminal. Blocking.
fn verify(config: &Config, repair: Repair) -> Result<Report, StoreError> {
    let mut told = 0;
    let mut progress = |report: &Report| {
        if report.bytes >= told + TOLD_EVERY && std::io::stderr().is_terminal() {
            told = report.bytes;
            // Whoever has closed standard error does not want to know.
            let _ = writeln!(std::io::stderr(), "{} files, {} bytes", report.blobs, report.bytes);
        }
    };
    disk::verify(&config.data_dir, &config.store, repair, &mut progress)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for damaged in &report.damaged {
        text.push_str(&line(damaged));
    }
    let Report { entries, blobs, bytes, orphans, orphan_bytes, .. } = report;
    let (entries, blobs) = (lines::count(*entries, "entry"), lines::count(*blobs, "file"));
    let _ = writeln!(text, "{entries}, {blobs}, {bytes} bytes read");
    if *orphans > 0 {
        let _ = writeln!(
            text,
            "{} of {orphan_bytes} bytes in no entry; a running server removes such in time",
            lines::count(*orphans, "file")
        );
    }
    text.push_str(match (report.is_right(), report.repaired) {
        (true, _) => "all of it is right\n",
        (false, true) => "what is damaged is in `quarantine` now\n",
        (false, false) => "nothing was changed; --repair sets aside what is damaged\n",
    });
    text
}

fn healed(report: &heal::Report) -> String {
    let mut text = String::new();
    for tried in &report.tried {
        let _ = write!(text, "{}: {}: {}", tried.outcome.name(), tried.name, tried.outcome.said());
        if let Some(reason) = &tried.reason {
            let _ = write!(text, ": {reason}");
        }
        text.push('\n');
    }
    let heal::Report { healed, replaced, failed, .. } = report;
    if report.had() + failed > 0 {
        let _ = writeln!(
            text,
            "{healed} healed, {replaced} replaced by what upstream has now, {failed} not had"
        );
    }
    text
}

fn line(damaged: &Damaged) -> String {
    let name = damaged.names.first().map_or("nothing that has a name", String::as_str);
    let mut line = format!("damaged ({}): {name}", damaged.damage.name());
    if damaged.names.len() > 1 {
        let _ = write!(line, " and others");
    }
    if let Some(blob) = &damaged.blob {
        let _ = write!(line, ", sha256:{blob}");
    }
    if let Some(origin) = &damaged.origin {
        let _ = write!(line, ", from {origin}");
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::Damage;

    #[test]
    fn each_damaged_thing_has_a_line() {
        let damaged = Damaged {
            blob: Some("00ff".to_owned()),
            damage: Damage::Digest,
            bytes: 7,
            names: vec!["shelf p book".to_owned(), "shelf p copy".to_owned()],
            origin: Some("http://index.example/book".to_owned()),
            keys: Vec::new(),
        };
        let report = Report { entries: 2, blobs: 1, damaged: vec![damaged], ..Report::default() };
        let lines = text(&report);
        assert!(
            lines.starts_with("damaged (digest): shelf p book and others, sha256:00ff, from http://index.example/book\n"),
            "{lines}"
        );
        assert!(lines.ends_with("--repair sets aside what is damaged\n"), "{lines}");
        let json = serde_json::to_value(&report).expect("it has a form in JSON");
        assert_eq!(json["damaged"][0]["damage"], "digest");
        let lines = text(&Report::default());
        assert_eq!(lines, "0 entries, 0 files, 0 bytes read\nall of it is right\n");
    }
}
