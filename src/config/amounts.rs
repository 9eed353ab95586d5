//! Limits, time-outs and the like of which there must be some.
//!
//! A limit of 0 would refuse everything and a time-out of 0 let nothing end well, after a start that looks as it should. So 0 is a fault wherever
//! `default.toml` does not say what it means; a test holds the two against each other.

use std::time::Duration;

use super::Config;
use super::validate::Conflict;
use crate::types::ByteSize;

/// What a setting gives a certain amount of.
trait Amount {
    fn is_nothing(&self) -> bool;

    /// What is wrong with nothing of it.
    fn problem(&self) -> &'static str;
}

macro_rules! number {
    ($($kind:ty),+) => {
        $(impl Amount for $kind {
            fn is_nothing(&self) -> bool {
                *self == 0
            }

            fn problem(&self) -> &'static str {
                "found 0, expected a whole number of 1 or more"
            }
        })+
    };
}

number!(u32, u64, usize);

impl Amount for Duration {
    fn is_nothing(&self) -> bool {
        self.is_zero()
    }

    fn problem(&self) -> &'static str {
        "found \"0s\", expected a duration longer than that, such as \"500ms\", \"10s\" or \"2h\""
    }
}

impl Amount for ByteSize {
    fn is_nothing(&self) -> bool {
        self.bytes() == 0
    }

    fn problem(&self) -> &'static str {
        "found 0, expected a size of one byte or more, such as 1048576, \"64 KiB\" or \"1.5 GB\""
    }
}

/// Where nothing is set, no limit is meant.
impl<A: Amount> Amount for Option<A> {
    fn is_nothing(&self) -> bool {
        self.as_ref().is_some_and(Amount::is_nothing)
    }

    fn problem(&self) -> &'static str {
        self.as_ref().map_or("", Amount::problem)
    }
}

/// Settings of a section by their names.
macro_rules! of {
    ($section:expr, $($key:ident),+) => {
        [$((stringify!($key), &$section.$key as &dyn Amount)),+]
    };
}

/// Every amount that is nothing and must not be.
pub(super) fn amounts(config: &Config) -> Vec<Conflict> {
    let mut found = network(config);
    found.extend(keeping(config));
    found.extend(mounts(config));
    found
}

/// Of the way in and the way out.
fn network(config: &Config) -> Vec<Conflict> {
    let Config { server, upstream, advisories, .. } = config;
    let timeouts = of!(server, header_timeout, idle_timeout, body_timeout, write_stall_timeout);
    let connections = of!(server, max_connections, max_connections_per_address);
    let requests =
        of!(server, max_header_bytes, max_headers, max_concurrent_streams, max_memory_bytes);
    let server = [nothing(&["server"], &timeouts), nothing(&["server"], &connections)];
    let patience = of!(upstream, connect_timeout, head_timeout, read_timeout, pool_idle);
    let places = of!(upstream, per_host_requests, max_head);
    let breaker = of!(upstream, breaker_failures, breaker_pause, breaker_pause_max);
    let upstream = [&patience[..], &places, &breaker].map(|some| nothing(&["upstream"], some));
    let feed = of!(advisories, refresh, most_fetched, most_inflated);
    let rest = [nothing(&["server"], &requests), nothing(&["advisories"], &feed)];
    server.into_iter().chain(upstream).chain(rest).flatten().collect()
}

/// Of what is kept, looked into and recorded.
fn keeping(config: &Config) -> Vec<Conflict> {
    let Config { store, cache, trace, inspect, heal, .. } = config;
    let all = [
        nothing(&["store"], &of!(store, index_cache, budget, partial_ttl, sweep_round)),
        nothing(&["cache"], &of!(cache, fills, follow_ups, lanes, overflow, overflow_stall)),
        nothing(&["trace"], &of!(trace, queue, pulls_for, write_every)),
        nothing(&["inspect"], &of!(inspect, hold, most_instructions, most_inflated)),
        nothing(&["heal"], &of!(heal, interval)),
    ];
    all.into_iter().flatten().collect()
}

fn mounts(config: &Config) -> Vec<Conflict> {
    let Config { huggingface: hub, oci, .. } = config;
    let mut found =
        nothing(&["huggingface"], &of!(hub, offline_grant, history, info_limit, tree_limit));
    for (name, registry) in &oci.registries {
        found.extend(nothing(&["oci", "registries", name], &of!(registry, history)));
    }
    found
}

/// Those of a section's amounts that are nothing.
fn nothing(section: &[&str], amounts: &[(&str, &dyn Amount)]) -> Vec<Conflict> {
    let nothing = amounts.iter().filter(|(_, amount)| amount.is_nothing());
    nothing
        .map(|(key, amount)| Conflict::new(&[section, &[*key]].concat(), amount.problem()))
        .collect()
}
