//! `larder gc`: the store's upkeep, now.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides, lines};
use crate::store::{Freed, Tidied};

/// Free what is in nobody's use: orphans, abandoned transfers, and what the budget has no room for.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Gc {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Interrupted transfers of any age, not only those that nobody took up for [store] partial_ttl
    #[arg(long)]
    all_partials: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder gc --dry-run
  larder gc --all-partials

A running server does all of this by itself, slowly. Pinned things stay; files that have come to one since it was pinned are protected first.";

impl Gc {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let Self { dry_run, all_partials, .. } = self;
            let address = format!("gc?dry_run={dry_run}&all_partials={all_partials}");
            let tidied: Tidied = reach.call(Method::POST, &address).await?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&tidied)?),
                false => put!("{}", text(&tidied, dry_run)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn text(tidied: &Tidied, dry_run: bool) -> String {
    let row = |what: &str, freed: Freed| {
        let count = match (freed.count, freed.bytes) {
            // How many go is known once they are gone.
            (0, 1..) => "-".to_owned(),
            (count, _) => count.to_string(),
        };
        vec![what.to_owned(), count, lines::size(freed.bytes)]
    };
    let rows = [
        row("files that nothing names", tidied.orphans),
        row("interrupted transfers", tidied.partials),
        row("beyond the budget", tidied.evicted),
    ];
    let head = if dry_run { "WOULD GO" } else { "GONE" };
    lines::table(&[head, "COUNT", "SIZE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_is_not_told_as_none() {
        let evicted = Freed { count: 0, bytes: 1024 };
        let told = text(&Tidied { evicted, ..Tidied::default() }, true);
        assert!(told.contains("beyond the budget         -      1.0 KiB"), "{told}");
        assert!(told.contains("interrupted transfers     0      0 B"), "{told}");
    }
}
