//! Every fault of upstream x every ecosystem x every state of what is kept x one client and many: one table, in which each cell states the
//! status, the bytes, what is kept afterwards and how many requests it cost upstream.
//!
//! The cells are generated: [`trouble`] has the rows, [`stage`] the things that are asked for. What must hold in every cell is asserted here: no wrong
//! byte ends well, what is kept is served, what is fresh costs nothing, an outage is not called absence, and upstream is asked
//! again when it is well. What a cell comes to beyond that is written down in `sheets/`, one sheet for each thing, and compared; with
//! `LARDER_SHEETS=write` the sheets are written anew, for a person to read the difference.
//!
//! Left out: what only one ecosystem can suffer (see its own folder), and what the client of upstream makes of single connections (`upstream`).

pub mod stage;
mod trouble;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream;

use crate::support::client::Reply;
use crate::support::wait::eventually;
use stage::{Stage, Subject};
use trouble::{Class, Row, rows};

/// What is kept when the trouble begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Fresh,
    Stale,
}

const MANY: usize = 8;

/// Cells that are tried at once: most of their time is waiting.
const AT_ONCE: usize = 6;

/// What became of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bytes {
    Right,
    /// Right, and a newer state of the thing.
    Newer,
    /// An error that Larder made.
    Problem,
    /// Cut off: no client takes it for whole.
    Cut,
}

/// One cell of the table.
struct Cell<'a> {
    row: &'a Row,
    subject: Subject,
    kept: Kept,
    clients: usize,
}

impl Cell<'_> {
    /// Tries it on a stage of its own.
    async fn alone(&self) -> String {
        let stage = Stage::new(self.subject, self.row.bytes).await;
        match self.kept {
            Kept::Nothing => stage.lead().await,
            Kept::Fresh => stage.keep().await,
            Kept::Stale => {
                stage.keep().await;
                stage.let_go_stale();
            }
        }
        let stage = match self.row.tries {
            Some(patience) => stage.impatient(patience).await,
            None => stage,
        };
        self.on(&stage).await
    }

    /// Tries it on `stage`, which is in the state that the cell asks for, and says what it came to.
    async fn on(&self, stage: &Stage) -> String {
        stage.forget();
        let ongoing = self.row.begin(stage).await;
        let replies = match self.asks_upstream() && self.row.is_met() {
            true => stage.ask_together(self.clients).await,
            false => stage.ask_at_once(self.clients).await,
        };
        let asked = stage.asked();
        let answers: BTreeSet<_> = replies.iter().map(|reply| self.judge(stage, reply)).collect();
        self.check_requests(asked);
        let is_kept = self.check_store(stage).await;
        self.row.end(stage);
        drop(ongoing);
        eventually(&format!("{} heals", self.name()), async || {
            if self.kept != Kept::Fresh {
                stage.larder.advance(3600);
            }
            let reply = stage.ask().await;
            stage.is_right(&reply) || stage.is_newer(&reply)
        })
        .await;
        self.words(&answers, is_kept, asked)
    }

    /// What came of an answer; panics at one that nobody may get.
    fn judge(&self, stage: &Stage, reply: &Reply) -> (u16, Bytes) {
        let said = || {
            let Reply { status, headers, body, cut } = reply;
            let start = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            format!(
                "{}: {status} {headers:?} {} bytes, cut: {cut}, {start}",
                self.name(),
                body.len()
            )
        };
        let status = reply.status.as_u16();
        let bytes = match reply {
            reply if stage.is_right(reply) => Bytes::Right,
            reply if status == 200 && reply.cut => Bytes::Cut,
            reply if stage.is_newer(reply) => Bytes::Newer,
            reply if stage.is_problem(reply) => Bytes::Problem,
            _ => panic!("neither right nor honest: {}", said()),
        };
        let is_well = self.row.class == Class::Health;
        let is_allowed = match (self.kept, bytes) {
            (Kept::Fresh, bytes) => bytes == Bytes::Right,
            (Kept::Stale, Bytes::Newer) | (Kept::Nothing, Bytes::Right) => is_well,
            (Kept::Stale, bytes) => bytes == Bytes::Right,
            (Kept::Nothing, Bytes::Problem) => self.is_honest(status),
            (Kept::Nothing, Bytes::Cut) => !self.subject.is_document(),
            (Kept::Nothing, Bytes::Newer) => false,
        };
        assert!(is_allowed, "{}", said());
        (status, bytes)
    }

    fn is_honest(&self, status: u16) -> bool {
        match self.row.class {
            Class::Outage => matches!(status, 502..=504),
            // What the hub lists and its storage has not is no absence.
            Class::Absence if self.subject == Subject::Weights => matches!(status, 404 | 502),
            Class::Absence => matches!(status, 404 | 410),
            Class::Refusal => matches!(status, 401 | 403 | 404 | 451 | 502),
            Class::Health => false,
        }
    }

    /// Whether what is kept leaves a question to upstream.
    fn asks_upstream(&self) -> bool {
        match self.kept {
            Kept::Nothing => true,
            Kept::Fresh => false,
            Kept::Stale => self.subject.is_document(),
        }
    }

    fn check_requests(&self, asked: usize) {
        if !self.asks_upstream() {
            assert_eq!(asked, 0, "{}: what is fresh is asked for", self.name());
        }
        assert!(asked <= self.clients.max(8), "{}: {asked} requests", self.name());
    }

    /// Whether it is kept now, by the word of a cache that may not ask.
    async fn check_store(&self, stage: &Stage) -> bool {
        let is_well = self.row.class == Class::Health;
        if is_well {
            eventually(&format!("{}: it is kept", self.name()), async || {
                let reply = stage.ask_cache_alone().await;
                stage.is_right(&reply) || stage.is_newer(&reply)
            })
            .await;
            return true;
        }
        let reply = stage.ask_cache_alone().await;
        let is_kept = reply.status == 200;
        assert!(!is_kept || stage.is_right(&reply), "{}: {reply:?} is kept", self.name());
        is_kept
    }

    fn words(&self, answers: &BTreeSet<(u16, Bytes)>, is_kept: bool, asked: usize) -> String {
        let answers: Vec<String> = answers
            .iter()
            .map(|(status, bytes)| format!("{status} {}", format!("{bytes:?}").to_lowercase()))
            .collect();
        let kept = if is_kept { "kept" } else { "not kept" };
        format!("{}, {kept}, {asked}", answers.join(" or "))
    }

    fn name(&self) -> String {
        let Self { row, subject, kept, clients } = self;
        format!("{subject:?}, {}, {kept:?}, {clients}", row.name)
    }
}

/// One sheet: every row for one thing.
async fn sheet(subject: Subject) {
    let rows = rows(subject.document_type());
    // What is fresh meets all the troubles one after the other on one stage: it must not notice any of them.
    let mut fresh = Vec::new();
    let stage = Stage::new(subject, 600).await;
    stage.keep().await;
    for row in &rows {
        let mut pair = Vec::new();
        for clients in [1, MANY] {
            pair.push(Cell { row, subject, kept: Kept::Fresh, clients }.on(&stage).await);
        }
        fresh.push(pair);
    }
    let cells = rows.iter().flat_map(|row| {
        [Kept::Nothing, Kept::Stale].into_iter().flat_map(move |kept| {
            [1, MANY].into_iter().map(move |clients| Cell { row, subject, kept, clients })
        })
    });
    let tried: Vec<String> =
        stream::iter(cells).map(async |cell| cell.alone().await).buffered(AT_ONCE).collect().await;
    let mut text = format!(
        "# {}: status and bytes, whether it is kept afterwards, requests upstream\n\n\
         | trouble | nothing kept | for {MANY} | fresh | for {MANY} | stale | for {MANY} |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        subject.name()
    );
    for ((row, others), fresh) in rows.iter().zip(tried.chunks(4)).zip(&fresh) {
        let cells = [&others[..2], &fresh[..], &others[2..]].concat().join(" | ");
        writeln!(text, "| {} | {cells} |", row.name).expect("memory can be written");
    }
    compare(subject, &text);
}

fn compare(subject: Subject, text: &str) {
    let sheets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/sheets");
    let file = sheets.join(format!("{}.md", subject.name()));
    if std::env::var("LARDER_SHEETS").is_ok_and(|value| value == "write") {
        std::fs::create_dir_all(&sheets).expect("the folder can be made");
        std::fs::write(&file, text).expect("the sheet can be written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let differences: Vec<String> = expected
        .lines()
        .zip(text.lines())
        .flat_map(|(expected, seen)| cells(expected, seen))
        .collect();
    let first = &differences[..differences.len().min(SHOWN)];
    let (name, number) = (subject.name(), differences.len());
    assert!(first.is_empty(), "{name}: {number} cells differ\n{}", first.join("\n"));
    assert_eq!(expected.lines().count(), text.lines().count(), "{}", file.display());
}

/// Differing cells that a failure shows: it is read at the end of a long log.
const SHOWN: usize = 6;

/// The cells of a line that differ.
fn cells(expected: &str, seen: &str) -> Vec<String> {
    const COLUMNS: [&str; 7] = [
        "",
        "nothing kept",
        "nothing kept for many",
        "fresh",
        "fresh for many",
        "stale",
        "stale for many",
    ];
    let split =
        |line: &str| line.trim_matches(['|', ' ']).split(" | ").map(str::to_owned).collect();
    let (expected, seen): (Vec<String>, Vec<String>) = (split(expected), split(seen));
    let row = expected.first().cloned().unwrap_or_default();
    COLUMNS
        .iter()
        .zip(expected.iter().zip(&seen))
        .filter(|(_, (expected, seen))| expected != seen)
        .map(|(column, (expected, seen))| format!("{row}, {column}: {seen}; expected {expected}"))
        .collect()
}

/// One test for each sheet, so that they run beside each other.
macro_rules! sheets {
    ($($name:ident: $subject:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            sheet(Subject::$subject).await;
        })*
    };
}

sheets! {
    pages_of_an_index: Page;
    files_of_an_index: Wheel;
    models: Info;
    files_of_a_model: Weights;
    tags: Tag;
    layers: Layer;
}
