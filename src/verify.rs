//! `larder verify`: looks at everything that is kept, with the data directory to itself, and tells what is wrong, for people or as JSON.
//!
//! Left out: the looking, which is the store's (`store::disk::verify`); what a running server finds by itself is in its status and metrics.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use crate::config::Config;
use crate::store::StoreError;
use crate::store::disk::{self, Damaged, Repair, Report};

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Bytes after which progress is told.
const TOLD_EVERY: u64 = 1 << 30;

/// Looks at everything that the configuration's data directory holds. Tells how far it is on standard error if that is a terminal. Blocking.
pub fn verify(config: &Config, repair: Repair) -> Result<Report, StoreError> {
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

/// The report as text or JSON, with a line break at its end.
pub fn told(report: &Report, form: Form) -> String {
    match form {
        Form::Json => {
            let json = serde_json::to_string_pretty(report);
            json.expect("names and numbers have a form in JSON") + "\n"
        }
        Form::Text => text(report),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for damaged in &report.damaged {
        text.push_str(&line(damaged));
    }
    let Report { entries, blobs, bytes, orphans, orphan_bytes, .. } = report;
    let _ = writeln!(text, "{entries} entries, {blobs} files, {bytes} bytes read");
    if *orphans > 0 {
        let _ = writeln!(
            text,
            "{orphans} files of {orphan_bytes} bytes belong to no entry; a running server removes such in time"
        );
    }
    text.push_str(match (report.is_right(), report.repaired) {
        (true, _) => "all of it is right\n",
        (false, true) => {
            "what is damaged is in `quarantine` now, and fetched again when somebody asks for it\n"
        }
        (false, false) => "nothing was changed; --repair sets aside what is damaged\n",
    });
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
        };
        let report = Report { entries: 2, blobs: 1, damaged: vec![damaged], ..Report::default() };
        let text = told(&report, Form::Text);
        assert!(
            text.starts_with("damaged (digest): shelf p book and others, sha256:00ff, from http://index.example/book\n"),
            "{text}"
        );
        assert!(text.ends_with("--repair sets aside what is damaged\n"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&told(&report, Form::Json)).expect("it is JSON");
        assert_eq!(json["damaged"][0]["damage"], "digest");
        let text = told(&Report::default(), Form::Text);
        assert_eq!(text, "0 entries, 0 files, 0 bytes read\nall of it is right\n");
    }
}
