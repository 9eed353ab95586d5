//! Bills of what was pulled in a stretch of time, and how often a model was: the record of pulls, with what is known of each thing besides.
//!
//! Models are told by their passports as far as the caller may see them, and everything by what is kept of it: its licence, what became of it upstream, the layers of an
//! image.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::gather::Gather;
use super::{Wanted, passport};
use crate::admin::Right;
use crate::admin::api::{Call, Problem};
use crate::bom::{self, Bom, Pull, Pulled, Range};
use crate::clock::Clock;
use crate::keep::listing::{Shown, Upstream};
use crate::keep::{Keeper, Sight};
use crate::passport::{Passport, Usage, UsedBy};
use crate::store::StoreError;
use crate::trace::pulls::{Pulls, Row, Wanted as WantedRows};
use crate::trace::record::instant;
use crate::types::Timestamp;

/// Rows that a bill is made of; one of more is refused, not cut.
const MOST_ROWS: usize = 200_000;

/// Models that are told by their passports; further ones by name and digests.
const MOST_PASSPORTS: usize = 64;

/// Passports that are gathered at once.
const AT_ONCE: usize = 2;

/// Clients whose use of a model is told one by one.
const MOST_CLIENTS: usize = 1000;

/// The record of pulls, and what is kept.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub pulls: Pulls,
    pub keeper: Keeper,
    pub clock: Clock,
}

impl Recorded {
    /// The bill of what was pulled in the stretch of time that a call names.
    pub(super) async fn bill(&self, call: &Call, gather: &Gather) -> Result<Bom, Problem> {
        let now = self.clock.now();
        let asked = Asked::of(call, now)?;
        // What was counted a moment ago is a part of the answer.
        self.pulls.write().await;
        let (rows, recorded_since) = self.rows(asked.rows()).await?;
        let recorded_since = recorded_since.ok_or_else(off)?;
        asked.check(recorded_since)?;
        if rows.len() > MOST_ROWS {
            let detail = format!("more than {MOST_ROWS} rows fit: ask for a shorter time");
            return Err(Problem::bad(detail));
        }
        let rows: Vec<Pull> = rows.into_iter().map(pull).collect();
        let mut things = bom::things(&rows);
        describe(&mut things, gather).await;
        self.look(&mut things).await;
        let range = Range {
            since: asked.since.unwrap_or(recorded_since).max(recorded_since).to_rfc3339_millis(),
            until: asked.until.unwrap_or(now).to_rfc3339_millis(),
            recorded_since: recorded_since.to_rfc3339_millis(),
        };
        Ok(bom::of_pulls(&things, &range, now))
    }

    /// Adds to a passport how often it was used. By whom, only administrators are told.
    pub(super) async fn tell_usage(&self, passport: &mut Passport, right: Right) {
        let named = format!("{}@{}/", named(passport), passport.reference.commit);
        let name = Some(is_of as fn(&str, &str) -> bool);
        self.pulls.write().await;
        let wanted = WantedRows { name, named, limit: MOST_ROWS, ..WantedRows::default() };
        match self.rows(wanted).await {
            Ok((rows, Some(since))) => {
                passport.usage = Some(usage(&rows, since, right));
                passport.unknown.remove("usage");
                passport.sources.insert("usage".to_owned(), "the record of pulls".to_owned());
            }
            Ok((_, None)) => {
                passport.unknown.insert("usage".to_owned(), off().detail);
            }
            Err(problem) => {
                passport.unknown.insert("usage".to_owned(), problem.detail);
            }
        }
    }

    /// Rows, and since when there are any.
    async fn rows(&self, wanted: WantedRows) -> Result<(Vec<Row>, Option<Timestamp>), Problem> {
        let pulls = self.pulls.clone();
        let looking = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
            Ok((pulls.rows(&wanted)?, pulls.recorded_since()?))
        });
        let looked = looking.await;
        let looked = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        looked.map_err(|error| {
            tracing::error!(%error, "pulls cannot be read");
            let status = http::StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, format!("pulls cannot be read: {error}"))
        })
    }

    /// Adds what is kept of each thing. Of what is gone, the record alone tells.
    async fn look(&self, things: &mut Vec<Pulled>) {
        let mut parts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for thing in things.iter_mut() {
            let Some(exact) = thing.item.exact() else { continue };
            let shown = self.keeper.show(exact.clone(), Sight::Everything).await;
            let Some(Shown { upstream, parts: of, .. }) =
                shown.ok().and_then(|showing| showing.things.into_iter().next())
            else {
                continue;
            };
            let Upstream { licence, state, .. } = upstream;
            thing.item.licence = thing.item.licence.take().or(licence);
            thing.state = Some(state);
            parts.insert(exact, of.into_iter().filter_map(|part| part.digest).collect());
        }
        bom::nest(things, &parts);
    }
}

/// The stretch of time that somebody asks about.
struct Asked {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    client: Option<String>,
}

impl Asked {
    fn of(call: &Call, now: Timestamp) -> Result<Self, Problem> {
        let read = |name: &str| {
            let text = call.query.get(name).filter(|text| !text.is_empty());
            let read = text.map(|text| instant(text, now)).transpose();
            read.map_err(|error| Problem::bad(format!("`{name}`: {error}")))
        };
        let (since, until) = (read("since")?, read("until")?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Problem::bad("`since` is before `until`, and these are not"));
        }
        if let Some(since) = since.filter(|since| *since > now) {
            let detail =
                format!("`since` is {}, which is still to come", since.to_rfc3339_millis());
            return Err(Problem::bad(detail));
        }
        Ok(Self { since, until, client: call.query.get("client").cloned() })
    }

    fn rows(&self) -> WantedRows {
        WantedRows {
            since: self.since,
            until: self.until,
            client: self.client.clone(),
            limit: MOST_ROWS + 1,
            ..WantedRows::default()
        }
    }

    /// Whether there is a record of any of it.
    fn check(&self, recorded_since: Timestamp) -> Result<(), Problem> {
        match self.until.filter(|until| *until <= recorded_since) {
            None => Ok(()),
            Some(until) => Err(Problem::absent(format!(
                "nothing is recorded of pulls before {}, and this ends at {}: older rows are dropped as `trace.pulls` and `trace.pulls_for` say",
                recorded_since.to_rfc3339_millis(),
                until.to_rfc3339_millis()
            ))),
        }
    }
}

/// Adds the passports of models.
async fn describe(things: &mut [Pulled], gather: &Gather) {
    let models: Vec<(usize, Wanted)> = things
        .iter()
        .enumerate()
        .filter_map(|(at, thing)| {
            let (repository, commit) = thing.item.model()?;
            Some((at, Wanted::read(&format!("{repository}@{commit}")).ok()?))
        })
        .take(MOST_PASSPORTS)
        .collect();
    let questions: Vec<_> = models
        .iter()
        .map(|(at, wanted)| async move { (*at, passport(gather, wanted).await.ok()) })
        .collect();
    let told: Vec<(usize, Option<Passport>)> =
        stream::iter(questions).buffered(AT_ONCE).collect().await;
    for (at, passport) in told {
        things[at].passport = passport;
    }
}

/// Whether a row's name is that of a file of a commit.
fn is_of(name: &str, commit: &str) -> bool {
    name.starts_with(commit)
}

fn pull(row: Row) -> Pull {
    let Row { name, digest, is_manifest, licence, first, last, pulls, .. } = row;
    Pull { name, digest, is_manifest, licence, first, last, pulls }
}

/// A repository as the command line names it.
fn named(passport: &Passport) -> String {
    let identity = &passport.identity;
    match identity.kind.as_str() {
        "models" => format!("hf:{}", identity.repository),
        kind => format!("hf:{kind}/{}", identity.repository),
    }
}

fn usage(rows: &[Row], since: Timestamp, right: Right) -> Usage {
    let mut usage = Usage { recorded_since: since.to_rfc3339_millis(), ..Usage::default() };
    let mut clients: BTreeMap<&str, UsedBy> = BTreeMap::new();
    for row in rows {
        usage.pulls = usage.pulls.saturating_add(row.pulls);
        usage.bytes = usage.bytes.saturating_add(row.bytes);
        usage.first = usage.first.take().into_iter().chain([row.first.clone()]).min();
        usage.last = usage.last.take().max(Some(row.last.clone()));
        let by = clients.entry(&row.client).or_default();
        by.pulls = by.pulls.saturating_add(row.pulls);
        by.last = by.last.clone().max(row.last.clone());
    }
    if right == Right::Administrator {
        let by = |(client, by): (&str, UsedBy)| UsedBy { client: client.to_owned(), ..by };
        usage.by = Some(clients.into_iter().take(MOST_CLIENTS).map(by).collect());
    }
    usage
}

fn off() -> Problem {
    Problem::absent("pulls are not recorded here: `trace.pulls` is 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_added_up_and_clients_are_for_administrators() {
        let row = |client: &str, day: &str| Row {
            mount: "hub".to_owned(),
            name: "hf:org/name@ab/f".to_owned(),
            digest: None,
            client: client.to_owned(),
            first: format!("2026-03-{day}"),
            last: format!("2026-04-{day}"),
            pulls: 2,
            bytes: 7,
            licence: None,
            is_manifest: false,
        };
        let rows = [row("ci", "02"), row("", "01"), row("ci", "03")];
        let told = usage(&rows, Timestamp(0), Right::Administrator);
        assert_eq!((told.pulls, told.bytes), (6, 21));
        let times = (told.first.as_deref(), told.last.as_deref());
        assert_eq!(times, (Some("2026-03-01"), Some("2026-04-03")));
        let by = told.by.expect("clients");
        let by: Vec<(&str, u64)> = by.iter().map(|one| (one.client.as_str(), one.pulls)).collect();
        assert_eq!(by, [("", 2), ("ci", 4)]);
        assert_eq!(usage(&rows, Timestamp(0), Right::Client).by, None);
        assert_eq!(usage(&[], Timestamp(0), Right::Client).first, None);
    }
}
