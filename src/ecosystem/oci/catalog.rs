//! `_catalog`: the repositories of which something is kept for everybody. What is kept for somebody alone is not even named.
//!
//! A manifest brings an entry for its repository along, so that the list is read off the index and never grows with the number of images.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::cache::lookup::{Beside, Parsed};
use crate::ecosystem::oci::config::Settings;
use crate::ecosystem::oci::render::{list_headers, next_link};
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::tags_list::Part;
use crate::ecosystem::oci::{SPACE, explain, route};
use crate::ecosystem::{Ask, Reply, Step};
use crate::types::{Audience, CacheKey};

const KIND: &str = "catalog";

/// Repositories in one answer, at most: each is a row to read.
const MOST_AT_ONCE: usize = 1000;

/// That something of a repository is kept.
pub fn entry(scope: &Scope) -> Beside {
    Beside { name: scope.name(KIND), bytes: Bytes::new(), parsed: Parsed::new(()) }
}

/// Plans the list: of all registries, each name with its registry before it, or of the one that the address names.
pub fn plan(settings: &Arc<Settings>, ask: &Ask, entrance: Option<String>) -> Step {
    let query = ask.query.as_deref();
    let namespace = route::parameter(query, "ns");
    let named = namespace.clone().or(entrance);
    let within = match &named {
        None => String::new(),
        Some(name) => match settings.registry(name) {
            Some(registry) => format!("{}/", registry.name),
            None => return Step::Reply(explain::unknown()),
        },
    };
    let mut part = Part::of(query);
    part.most = part.most.min(MOST_AT_ONCE);
    let prefix = format!("{KIND}/{within}");
    let key = |name: &str| CacheKey::new(SPACE, &Audience::Public, &format!("{prefix}{name}"));
    let (under, after) = (key(""), part.after.as_deref().map(key));
    let path = explain::path(ask, "_catalog");
    Step::Names {
        under,
        after,
        // One more tells whether there is a next page.
        limit: part.most + 1,
        then: Box::new(move |keys| {
            let names = keys.iter().filter_map(|key| key.name().strip_prefix(&prefix));
            let names: Vec<&str> = names.take(part.most).collect();
            let more = keys.len() > part.most && part.most > 0;
            let body: Bytes = json!({ "repositories": names }).to_string().into();
            let mut headers = list_headers("application/json", &body, namespace.as_deref());
            if let (true, Some(last)) = (more, names.last()) {
                let link = next_link(&path, part.most, last, namespace.as_deref());
                headers.insert(http::header::LINK, link);
            }
            Step::Reply(Reply { status: StatusCode::OK, headers, body, phrase: None })
        }),
    }
}
