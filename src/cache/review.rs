//! Looks into what was kept before there were rules, or before today's readers: slowly, in the background, so that nobody who asks has to wait for it.
//!
//! What is known already is passed over. What may not pass stays where it is, and is refused from then on, to questions about it, too. Left out: where
//! content is kept and what it is, which its ecosystem says.

use std::time::Duration;

use tokio::time::sleep;

use crate::cache::lookup::Stock;
use crate::cache::verdicts::{AtRest, Effort};
use crate::cache::{Cache, Parts};
use crate::inspect::{Format, Nature};
use crate::store::Stored;
use crate::types::CacheKey;

/// Names looked up together.
const WINDOW: usize = 64;

/// What an entry costs at least, however short.
const LEAST: u64 = 64 << 10;

/// What is read at most of a file whose beginning tells.
const BEGINNING: u64 = 1 << 20;

impl Cache {
    /// Looks once into everything of these stocks of which nothing is known yet, at so many bytes a second; at none, not at all.
    pub async fn review(&self, stocks: &[Stock], rate: u64) {
        let is_looked_into = |stock: &&Stock| self.parts.verdicts.rules(stock.nature).is_some();
        for stock in stocks.iter().filter(is_looked_into).filter(|_| rate > 0) {
            let mut after = None;
            loop {
                let names = match self.names(&stock.under, after.as_ref(), WINDOW) {
                    Ok(names) => names,
                    Err(error) => {
                        tracing::warn!(%error, "what is kept could not be looked through");
                        return;
                    }
                };
                let Some(last) = names.last() else { break };
                after = Some(last.clone());
                for name in &names {
                    let cost = self.parts.review_one(name, stock.nature).await;
                    sleep(Duration::from_secs_f64(cost as f64 / rate as f64)).await;
                }
            }
        }
    }
}

impl Parts {
    /// Looks into one entry; what that cost, in bytes.
    async fn review_one(&self, name: &CacheKey, nature: Nature) -> u64 {
        let Some(kept) = self.at_rest(name).filter(|kept| !self.is_judged(nature, &kept.digest))
        else {
            return LEAST;
        };
        let (digest, size) = (kept.digest, kept.size);
        if self.judge_kept(nature, kept, Effort::LookLong).await.is_err() {
            // What was given in this moment must not be given again unasked.
            self.edition.turn();
        }
        let format = self.report(nature, &digest).map(|report| report.format).unwrap_or_default();
        let cost = match format {
            Format::Pickle | Format::Torch | Format::Zip | Format::Tar => size,
            _ => size.min(BEGINNING),
        };
        cost.max(LEAST)
    }

    /// The bytes of an entry, where there are any.
    pub(super) fn at_rest(&self, name: &CacheKey) -> Option<AtRest> {
        let entry = self.store.get(name).ok().flatten()?;
        match &entry.body {
            Stored::None => None,
            Stored::Inline(body) => Some(AtRest::in_memory(body.clone())),
            Stored::Blob { id, size } => {
                let reader = self.store.open(*id).ok().flatten()?;
                Some(AtRest { digest: id.digest(), reader, size: *size })
            }
        }
    }
}
