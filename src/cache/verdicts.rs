//! What inspection found of artifacts: remembered by digest, and held against the rules whenever one is asked for.
//!
//! Reports are kept, not verdicts, so that a rule that changes needs no file to be read again. One that was broken off, because what had been found was
//! enough to refuse the file, is believed as long as it still is; where upstream's bytes were never compared with the digest they were promised under, for a
//! while only. What is refused is never kept; what is kept already is looked into when it is asked for, or before that
//! in the background (`review`), and stays for whoever changes the rules.
//!
//! Left out: how a file is read (`inspect`), and how bytes are held back meanwhile (`fill`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use moka::sync::Cache as Memory;

use crate::cache::Parts;
use crate::cache::failure::Failure;
use crate::cache::flight::Flights;
use crate::cache::lookup::Artifact;
use crate::inspect::{Inspection, Nature, Report, Rules, Ruling, Standing, VERSION};
use crate::store::{Change, Entry, ReadAt, Stored};
use crate::types::{Audience, BlobId, CacheKey, Digest, Head, Presence, Timestamp};

/// Reports in memory.
const MOST_REMEMBERED: u64 = 100_000;

/// How long a promised digest stands for bytes that were refused before they could be compared with it. Upstream, or a mirror, may have sent others.
const UNPROVEN_FOR: Duration = Duration::from_secs(60 * 60);

/// What is read at once of what is kept.
const READ_BYTES: usize = 1 << 20;

/// The space of the rows in which reports are kept.
const SPACE: &str = "inspect";

/// What was found.
#[derive(Debug)]
pub(crate) struct Verdicts {
    rules: Option<Arc<Rules>>,
    known: Memory<CacheKey, Known>,
    looks: Flights<Result<Known, Failure>>,
}

/// A report, and until when it is believed.
#[derive(Debug, Clone)]
struct Known {
    report: Arc<Report>,
    until: Timestamp,
}

/// Bytes at rest, to be looked into.
pub(crate) struct AtRest {
    /// The digest that they are kept under.
    pub(crate) digest: Digest,
    pub(crate) reader: Arc<dyn ReadAt>,
    pub(crate) size: u64,
}

impl AtRest {
    /// What is short enough to lie in the index.
    pub(crate) fn in_memory(body: Bytes) -> Self {
        let (digest, size) = (BlobId::of(&body).digest(), body.len() as u64);
        Self { digest, reader: Arc::new(InMemory(body)), size }
    }
}

/// Bytes in memory, read as blobs are.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Bytes);

impl ReadAt for InMemory {
    fn try_read(&self, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
        self.read(offset, length).map(Some)
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(self.0.slice(start..start.saturating_add(length).min(self.0.len())))
    }
}

/// Whether what was never looked into is looked into now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Look,
    /// The same, however long it takes: nobody waits for it.
    LookLong,
    /// What is known must do.
    Recall,
}

impl Verdicts {
    /// Without rules, nothing is looked into.
    pub(crate) fn new(rules: Option<Arc<Rules>>) -> Self {
        let known = Memory::builder().max_capacity(MOST_REMEMBERED).build();
        Self { rules, known, looks: Flights::new() }
    }

    /// The rules, where artifacts of this nature are looked into.
    pub(crate) fn rules(&self, nature: Nature) -> Option<&Arc<Rules>> {
        self.rules.as_ref().filter(|_| nature != Nature::Program)
    }
}

impl Parts {
    /// What was found of the bytes of a digest.
    pub(crate) fn report(&self, nature: Nature, digest: &Digest) -> Option<Arc<Report>> {
        self.known(&row_key(nature, digest)).map(|known| known.report)
    }

    /// Whether an artifact is known to be one that may not pass, by the digests that it is promised to have.
    pub(super) fn refused(&self, artifact: &Artifact) -> Result<(), Failure> {
        let rules = self.verdicts.rules(artifact.nature).filter(|_| !artifact.is_excepted);
        let Some(rules) = rules else { return Ok(()) };
        let reports =
            artifact.digests.iter().filter_map(|digest| self.report(artifact.nature, digest));
        for report in reports {
            if let Ruling::Refuse(reason) = rules.ruling(&report) {
                return Err(Failure::Unsafe { reason });
            }
        }
        Ok(())
    }

    /// Whether an artifact is known to be one that may pass.
    pub(super) fn is_cleared(&self, artifact: &Artifact) -> bool {
        let Some(rules) = self.verdicts.rules(artifact.nature) else { return true };
        let mut reports =
            artifact.digests.iter().filter_map(|digest| self.report(artifact.nature, digest));
        reports.any(|report| settles(rules, &report) && !is_refusal(rules, &report))
    }

    /// Whether nobody need look into bytes again to judge them.
    pub(super) fn is_judged(&self, nature: Nature, digest: &Digest) -> bool {
        let Some(rules) = self.verdicts.rules(nature) else { return true };
        self.report(nature, digest).is_some_and(|report| settles(rules, &report))
    }

    /// Judges what is kept. `Ok` may hold what is to be said of it to whoever gets it.
    pub(super) async fn judge_kept(
        &self,
        nature: Nature,
        kept: AtRest,
        effort: Effort,
    ) -> Result<Option<String>, Failure> {
        let Some(rules) = self.verdicts.rules(nature) else { return Ok(None) };
        let key = row_key(nature, &kept.digest);
        let known = self.known(&key).filter(|known| settles(rules, &known.report));
        let report = match (known, effort) {
            (Some(known), _) => known.report,
            (None, Effort::Recall) => return Ok(None),
            (None, Effort::LookLong) => self.look(rules, nature, key, kept).await?,
            (None, Effort::Look) => {
                let looked = self.look(rules, nature, key, kept);
                let looked = tokio::time::timeout(rules.wait(), looked).await;
                looked.unwrap_or(Err(Failure::Unjudged))?
            }
        };
        match rules.ruling(&report) {
            Ruling::Pass => Ok(None),
            Ruling::Warn(reason) => Ok(Some(reason)),
            Ruling::Refuse(reason) => Err(Failure::Unsafe { reason }),
        }
    }

    /// What is in what is kept, as it is known, or is found out now.
    pub(super) async fn found_in(&self, nature: Nature, kept: AtRest) -> Option<Arc<Report>> {
        let rules = self.verdicts.rules(nature)?;
        let key = row_key(nature, &kept.digest);
        match self.known(&key).filter(|known| settles(rules, &known.report)) {
            Some(known) => Some(known.report),
            None => self.look(rules, nature, key, kept).await.ok(),
        }
    }

    /// What is known to be in an artifact, by the digests that it is promised to have.
    pub(super) fn known_of(&self, artifact: &Artifact) -> Option<Arc<Report>> {
        let rules = self.verdicts.rules(artifact.nature)?;
        let mut reports =
            artifact.digests.iter().filter_map(|digest| self.report(artifact.nature, digest));
        reports.find(|report| settles(rules, report))
    }

    /// Looks into what is kept, once for all who ask. It goes on when they leave.
    async fn look(
        &self,
        rules: &Arc<Rules>,
        nature: Nature,
        key: CacheKey,
        kept: AtRest,
    ) -> Result<Arc<Report>, Failure> {
        let (store, known) = (Arc::clone(&self.store), self.verdicts.known.clone());
        let (rules, now) = (Arc::clone(rules), self.clock.now());
        let mut seat = self.verdicts.looks.board(&key.clone(), &self.tasks, |pilot| async move {
            let (reading, place) = (Arc::clone(&rules), key.clone());
            let AtRest { digest, reader, size } = kept;
            let looked = tokio::task::spawn_blocking(move || {
                look_into(&reading, nature, reader.as_ref(), size)
            });
            let report = match looked.await.map_err(io::Error::other).and_then(|looked| looked) {
                Ok(report) => Arc::new(report),
                Err(error) => {
                    tracing::warn!(cache.key = %key, %error, "what is kept could not be looked into");
                    return pilot.publish(Err(Failure::Store(format!("looking into it: {error}"))));
                }
            };
            tell(&rules, nature, &digest, &report);
            let known_now = Known { report, until: Timestamp::NEVER };
            known.insert(place, known_now.clone());
            let row = (!known_now.report.is_plain()).then(|| row(&key, &known_now, now));
            pilot.publish(Ok(known_now));
            if let Some(Err(error)) = match row {
                Some(row) => Some(store.commit(vec![row]).await),
                None => None,
            } {
                tracing::warn!(cache.key = %key, %error, "what was found was not noted");
            }
        });
        let lost = || Failure::Store("looking into it was broken off".to_owned());
        seat.answer().await.unwrap_or_else(|| Err(lost())).map(|known| known.report)
    }

    /// Notes what was found of bytes with these digests, and tells the operator of what speaks against them. `is_proven`: the digests were compared.
    pub(super) fn note_report(
        &self,
        nature: Nature,
        digests: &[Digest],
        report: &Arc<Report>,
        is_proven: bool,
    ) {
        let Some(rules) = self.verdicts.rules(nature) else { return };
        let now = self.clock.now();
        let until = if is_proven { Timestamp::NEVER } else { now.plus(UNPROVEN_FOR) };
        let known = Known { report: Arc::clone(report), until };
        let mut rows = Vec::new();
        for digest in digests {
            let key = row_key(nature, digest);
            self.verdicts.known.insert(key.clone(), known.clone());
            if !report.is_plain() {
                rows.push(row(&key, &known, now));
            }
        }
        if let Some(digest) = digests.first() {
            tell(rules, nature, digest, report);
        }
        // What was given in this moment must not be given again unasked.
        self.edition.turn();
        if rows.is_empty() {
            return;
        }
        // Nobody's last byte waits for it.
        let committing = self.store.commit(rows);
        self.tasks.spawn(async move {
            if let Err(error) = committing.await {
                tracing::warn!(%error, "what inspection found was not noted");
            }
        });
    }

    fn known(&self, key: &CacheKey) -> Option<Known> {
        let now = self.clock.now();
        if let Some(known) = self.verdicts.known.get(key) {
            return (now <= known.until).then_some(known);
        }
        let entry = self.store.get(key).ok().flatten()?;
        let report: Report = postcard::from_bytes(&entry.note).ok()?;
        let known = Known { report: Arc::new(report), until: entry.fresh_until };
        self.verdicts.known.insert(key.clone(), known.clone());
        (now <= known.until).then_some(known)
    }
}

/// Whether a report is enough for a verdict: all was read, or what was is enough to refuse it.
fn settles(rules: &Rules, report: &Report) -> bool {
    report.is_complete || is_refusal(rules, report)
}

fn is_refusal(rules: &Rules, report: &Report) -> bool {
    matches!(rules.ruling(report), Ruling::Refuse(_))
}

/// Reads what is kept as far as anything is to be found. Blocking.
fn look_into(
    rules: &Arc<Rules>,
    nature: Nature,
    reader: &dyn ReadAt,
    size: u64,
) -> io::Result<Report> {
    let Some(mut inspection) = Inspection::new(rules, nature, Some(size)) else {
        return Ok(Report::default());
    };
    let mut at = 0;
    while at < size {
        let skip = inspection.skips().min(size - at);
        if skip > 0 {
            inspection.pass(skip);
            at += skip;
            continue;
        }
        let length = usize::try_from(size - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        let chunk = reader.read(at, length)?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += chunk.len() as u64;
        if inspection.feed(&chunk) == Standing::Refused && at < size {
            return Ok(inspection.so_far());
        }
    }
    Ok(inspection.finish())
}

/// Tells the operator, once for what was found.
fn tell(rules: &Rules, nature: Nature, digest: &Digest, report: &Report) {
    let format = report.format.name();
    let verdict = match rules.ruling(report) {
        Ruling::Pass => "pass",
        Ruling::Warn(reason) => {
            tracing::warn!(blob = %digest, inspect.format = format, nature = ?nature, reason, "a file passes that speaks against itself");
            "warn"
        }
        Ruling::Refuse(reason) => {
            tracing::warn!(blob = %digest, inspect.format = format, nature = ?nature, reason, "a file is refused, unless a waiver excepts it");
            "refuse"
        }
    };
    metrics::counter!("larder_inspected_total", "format" => format, "verdict" => verdict)
        .increment(1);
}

fn row_key(nature: Nature, digest: &Digest) -> CacheKey {
    let nature = match nature {
        Nature::Data => "data",
        Nature::Layer => "layer",
        Nature::Template => "template",
        Nature::Program => "program",
    };
    CacheKey::new(SPACE, &Audience::Public, &format!("{VERSION}/{nature}/{digest}"))
}

fn row(key: &CacheKey, known: &Known, now: Timestamp) -> Change {
    let note = postcard::to_stdvec(known.report.as_ref()).map(Bytes::from);
    let entry = Entry {
        head: Head::new(StatusCode::OK),
        body: Stored::None,
        origin: None,
        first_kept: now,
        validated: now,
        fresh_until: known.until,
        presence: Presence::Present,
        digests: Vec::new(),
        note: note.unwrap_or_default(),
    };
    Change::Put { key: key.clone(), entry: Arc::new(entry) }
}
