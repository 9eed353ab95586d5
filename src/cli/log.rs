//! `larder log`: what happened, and proofs that nobody has changed the record of it.
//!
//! The proofs are checked here and not where the ledger is: whoever keeps a key and a checkpoint need not trust the server that answers.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use http::{HeaderMap, Method};
use serde::Serialize;

use super::lines::{count, plain};
use super::reach::Reach;
use super::{Outcome, Overrides, asking};
use crate::admin::api;
use crate::admin::api::log::{Records, State};
use crate::trace::ledger::{Audit, Proof};
use crate::trace::merkle::Hash;
use crate::trace::note::{Checkpoint, Verifier};
use crate::trace::record::Record;

/// Tell what happened upstream and what was decided here, and prove that nobody has changed the record of it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Log {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
    #[command(flatten)]
    overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder log                                        the last records
  larder log --since 7d --kind moved,mutated
  larder log --subject hf:org/model --json
  larder log --follow
  larder log verify                                 read all of it and compare it with its checkpoint
  larder log checkpoint > monday                    keep this somewhere else, and some day:
  larder log verify --checkpoint monday
  larder log proof 17 > proof.json && larder log check-proof proof.json

Kinds: appeared, moved, mutated, vanished, returned, yanked, unyanked, quarantined, status-changed, withdrawn, reopened, renamed, identity-changed,
licence-changed, first-served, refused, removed, pinned, unpinned, collected, damaged, healed, gap.";

#[derive(Debug, Subcommand)]
enum Command {
    Verify(Verify),
    Proof(ProofOf),
    CheckProof(CheckProof),
    /// Print the signed checkpoint of the ledger as it is now
    Checkpoint(Show),
    /// Print the key that the ledger's checkpoints and proofs are signed by
    Key(Show),
    Export(Export),
}

#[derive(Debug, Args)]
struct List {
    /// Only what happened since then: a date, an instant of RFC 3339, or how long ago (7d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what happened before that
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only events of these kinds, parted by commas
    #[arg(long, value_name = "KINDS")]
    kind: Option<String>,
    /// Only events of this thing, its versions and parts; * stands for anything
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Only events of this mount, such as pypi/default
    #[arg(long)]
    mount: Option<String>,
    /// Most records that are told
    #[arg(long, default_value_t = 100)]
    limit: u64,
    /// Go on with what happens from now on
    #[arg(long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Read the whole ledger again and tell what was removed, changed or put in another order.
#[derive(Debug, Args)]
#[command(after_help = VERIFY)]
struct Verify {
    /// What `larder log export` wrote, or - for standard input [default: asks the Larder]
    file: Option<PathBuf>,
    /// A checkpoint that was kept before; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The key that checkpoints must be signed by [default: the one that the Larder names]
    #[arg(long)]
    key: Option<Verifier>,
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

const VERIFY: &str = "Examples:
  larder log verify
  larder log verify --checkpoint monday --checkpoint tuesday --key larder/ledger-0a1b2c3d+4e5f6071+AbCd...
  larder log verify events.jsonl --checkpoint monday --key larder/ledger-0a1b2c3d+4e5f6071+AbCd...

Exit codes: 0 all of it is right, 1 something is not, or it could not be read, 2 wrong arguments.";

/// Prove that a record is in the ledger.
#[derive(Debug, Args)]
struct ProofOf {
    /// Its index
    index: u64,
    #[command(flatten)]
    overrides: Overrides,
}

/// Check a proof. Needs no Larder.
#[derive(Debug, Args)]
struct CheckProof {
    /// What `larder log proof` wrote, or - for standard input
    file: PathBuf,
    /// The key that its checkpoint must be signed by [default: the one that it names itself]
    #[arg(long)]
    key: Option<Verifier>,
    #[arg(long)]
    json: bool,
}

/// Print the signed checkpoint of the ledger as it is now, or the key that it is signed by.
#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    overrides: Overrides,
}

/// Write the ledger as JSON lines, byte for byte as they were hashed.
#[derive(Debug, Args)]
struct Export {
    /// From this index on
    #[arg(long, default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    overrides: Overrides,
}

/// What an audit found.
#[derive(Debug, Serialize)]
struct Verdict {
    records: u64,
    /// In base64.
    root: String,
    key: Option<String>,
    checkpoints: usize,
    faults: Vec<String>,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
enum LogError {
    #[error("{} cannot be read", .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("{} is not to be believed", .0.display())]
    Checkpoint(PathBuf, #[source] crate::trace::note::NoteError),
    #[error("the Larder's own checkpoint is not to be believed")]
    Own(#[source] crate::trace::note::NoteError),
    #[error(
        "an exported file is checked against a checkpoint and a key: give --checkpoint and --key"
    )]
    Alone,
    #[error("there is nothing to follow: no Larder runs")]
    NothingToFollow,
    #[error("the proof proves nothing")]
    Proof(#[from] crate::trace::ledger::ProofError),
}

/// Time between two looks for what is new.
const FOLLOWED_EVERY: Duration = Duration::from_secs(1);

impl Log {
    pub(super) fn run(self) -> ExitCode {
        match self.command {
            None => asking(self.overrides, self.list.run()),
            Some(Command::Verify(verify)) => match &verify.file {
                Some(_) => super::ended(verify.of_file()),
                None => asking(verify.overrides.clone(), verify.of_larder()),
            },
            Some(Command::Proof(proof)) => asking(proof.overrides, async move |reach: &Reach| {
                let proof: Proof = reach.get(&format!("log/{}/proof", proof.index)).await?;
                say!("{}", serde_json::to_string_pretty(&proof)?);
                eprintln!(
                    "check it anywhere with: larder log check-proof FILE --key '{}'",
                    proof.key
                );
                Ok(ExitCode::SUCCESS)
            }),
            Some(Command::CheckProof(check)) => super::ended(check.run()),
            Some(Command::Checkpoint(show)) => asking(show.overrides, async |reach: &Reach| {
                put!("{}", reach.get::<State>("log/checkpoint").await?.checkpoint);
                Ok(ExitCode::SUCCESS)
            }),
            Some(Command::Key(show)) => asking(show.overrides, async |reach: &Reach| {
                say!("{}", reach.get::<State>("log/checkpoint").await?.key);
                Ok(ExitCode::SUCCESS)
            }),
            Some(Command::Export(export)) => {
                asking(export.overrides, async move |reach: &Reach| {
                    let mut stdout = io::stdout().lock();
                    lines(reach, export.from, None, &mut |line| {
                        stdout.write_all(line).and_then(|()| stdout.write_all(b"\n"))
                    })
                    .await?;
                    stdout.flush()?;
                    Ok(ExitCode::SUCCESS)
                })
            }
        }
    }
}

impl List {
    fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if self.follow && !reach.is_running() {
                return Err(LogError::NothingToFollow.into());
            }
            let Records { records, mut next } = reach.get(&self.address(None)).await?;
            self.tell(&records)?;
            if !self.follow {
                return Ok(ExitCode::SUCCESS);
            }
            loop {
                tokio::time::sleep(FOLLOWED_EVERY).await;
                let more: Records = reach.get(&self.address(Some(next))).await?;
                self.tell(&more.records)?;
                next = more.next;
            }
        }
    }

    fn address(&self, from: Option<u64>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let given = [
            ("since", &self.since),
            ("until", &self.until),
            ("kind", &self.kind),
            ("subject", &self.subject),
            ("mount", &self.mount),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if let Some(from) = from {
            query.append_pair("from", &from.to_string());
        }
        query.append_pair("limit", &self.limit.to_string());
        format!("log?{}", query.finish())
    }

    fn tell(&self, records: &[Record]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for record in records {
            match self.json {
                true => stdout.write_all(&record.line())?,
                false => stdout.write_all(told(record).as_bytes())?,
            }
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }
}

/// A record as a line for people.
pub(super) fn told(record: &Record) -> String {
    let Record { after, at, before, detail, index, kind, mount: _, subject } = record;
    let at = at.get(..19).unwrap_or(at).replace('T', " ");
    let mut line = format!("{index:>6}  {at}  {:<16}  {}", kind.name(), plain(subject));
    match (before, after) {
        (Some(before), Some(after)) => {
            let _ = write!(line, "  {} -> {}", plain(before), plain(after));
        }
        (Some(state), None) | (None, Some(state)) => {
            let _ = write!(line, "  {}", plain(state));
        }
        (None, None) => {}
    }
    if let Some(detail) = detail {
        let _ = write!(line, "  ({})", plain(detail));
    }
    line
}

impl Verify {
    fn of_larder(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let state: State = reach.get("log/checkpoint").await?;
            let named: Verifier = state.key.parse().map_err(LogError::Own)?;
            let key = self.key.clone().unwrap_or(named);
            let now = key.checkpoint(&state.checkpoint).map_err(LogError::Own)?;
            let kept = self.kept(&key)?;
            let segments = state
                .segments
                .iter()
                .filter_map(|root| Hash::try_from(STANDARD.decode(root).ok()?).ok());
            let sizes = kept.iter().map(|(checkpoint, _)| checkpoint.size).chain([now.size]);
            let mut audit = Audit::new(sizes, segments.collect());
            lines(reach, 0, Some(now.size), &mut |line| {
                audit.read(line);
                Ok(())
            })
            .await?;
            audit.compare(&now, "the Larder's own checkpoint");
            self.verdict(audit, &kept, 1, &key)
        }
    }

    fn of_file(self) -> Outcome {
        let Some((file, key)) = self.file.clone().zip(self.key.clone()) else {
            return Err(LogError::Alone.into());
        };
        let kept = self.kept(&key)?;
        if kept.is_empty() {
            return Err(LogError::Alone.into());
        }
        let sizes = kept.iter().map(|(checkpoint, _)| checkpoint.size);
        let mut audit = Audit::new(sizes, Vec::new());
        let unreadable = |error| LogError::File(file.clone(), error);
        let mut reader: Box<dyn BufRead> = match is_stdin(&file) {
            true => Box::new(io::stdin().lock()),
            false => Box::new(io::BufReader::new(fs::File::open(&file).map_err(unreadable)?)),
        };
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
            audit.read(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
        }
        self.verdict(audit, &kept, 0, &key)
    }

    /// The checkpoints that were kept elsewhere, each with what to call it.
    fn kept(&self, key: &Verifier) -> Result<Vec<(Checkpoint, String)>, LogError> {
        let read = |path: &PathBuf| {
            let note = fs::read_to_string(path);
            let note = note.map_err(|error| LogError::File(path.clone(), error))?;
            let checkpoint = key.checkpoint(&note);
            let checkpoint =
                checkpoint.map_err(|error| LogError::Checkpoint(path.clone(), error))?;
            Ok((checkpoint, path.display().to_string()))
        };
        self.checkpoint.iter().map(read).collect()
    }

    fn verdict(
        &self,
        mut audit: Audit,
        kept: &[(Checkpoint, String)],
        own: usize,
        key: &Verifier,
    ) -> Outcome {
        for (checkpoint, named) in kept {
            audit.compare(checkpoint, named);
        }
        let (records, root) = (audit.size(), STANDARD.encode(audit.root()));
        let verdict = Verdict {
            records,
            root,
            key: Some(key.to_string()),
            checkpoints: kept.len() + own,
            faults: audit.faults(),
        };
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&verdict)?),
            false => put!("{}", verdict.text()),
        }
        Ok(if verdict.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Verdict {
    fn text(&self) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            let _ = writeln!(text, "{fault}");
        }
        let Self { records, root, checkpoints, .. } = self;
        let (records, checkpoints) = (count(*records, "record"), count(*checkpoints, "checkpoint"));
        let _ = writeln!(text, "{records}, root {root}, {checkpoints} compared");
        text.push_str(match self.faults.is_empty() {
            true => "all of it is right\n",
            false => "this is not the ledger that was signed\n",
        });
        text
    }
}

impl CheckProof {
    fn run(self) -> Outcome {
        let text = match is_stdin(&self.file) {
            true => io::read_to_string(io::stdin().lock()),
            false => fs::read_to_string(&self.file),
        };
        let text = text.map_err(|error| LogError::File(self.file.clone(), error))?;
        let proof: Proof = serde_json::from_str(&text)?;
        let checkpoint = proof.check(self.key.as_ref()).map_err(LogError::Proof)?;
        let Checkpoint { origin, size, .. } = checkpoint;
        match self.json {
            true => {
                say!(
                    "{}",
                    serde_json::json!({ "index": proof.index, "size": size, "log": origin })
                );
            }
            false => say!(
                "record {} is in {origin}, as it was with {}:\n{}",
                proof.index,
                count(size, "record"),
                plain(&proof.record)
            ),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads lines of the ledger as they come.
async fn lines(
    reach: &Reach,
    from: u64,
    to: Option<u64>,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let to = to.map_or_else(String::new, |to| format!("&to={to}"));
    let address = format!("{}log/export?from={from}{to}", api::PREFIX.trim_start_matches('/'));
    let answer = reach.send(Method::GET, &address, HeaderMap::new(), Bytes::new()).await?;
    if !answer.status().is_success() {
        Reach::accepted(answer).await?;
        return Ok(());
    }
    let mut chunks = Reach::chunks(answer);
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        let mut chunk: &[u8] = &chunk;
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            match rest.is_empty() {
                true => take(&chunk[..end])?,
                false => {
                    rest.extend_from_slice(&chunk[..end]);
                    take(&rest)?;
                    rest.clear();
                }
            }
            chunk = &chunk[end + 1..];
        }
        rest.extend_from_slice(chunk);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::event::Kind;
    use crate::types::{Timestamp, What};

    #[test]
    fn records_are_told_on_a_line_each() {
        let what = What::new(Kind::Moved, "hf:org/m@main").before("a").after("b\u{1b}[2J");
        let record = Record::new(7, &what.at(Timestamp(1_772_366_400_007), "hub"));
        assert_eq!(
            told(&record),
            "     7  2026-03-01 12:00:00  moved             hf:org/m@main  a -> b\u{fffd}[2J"
        );
        let what = What::new(Kind::Refused, "pypi:six").detail("no grant");
        let record = Record::new(8, &what.at(Timestamp(0), "pypi/default"));
        assert!(told(&record).ends_with("refused           pypi:six  (no grant)"));
    }
}
