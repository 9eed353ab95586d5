//! What is in files: what may do harm reaches no client whole, by HTTP or by Xet, cold or kept; what libraries write does.
//!
//! The files are made in `src/inspect/samples.rs`, and nothing ever loads one.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::xet::{Client, ID, places};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::{Larder, over_hub};

#[path = "../../../src/inspect/samples.rs"]
pub mod samples;

pub const OFF: &str = "[inspect]\nmode = \"off\"\n";

/// Every sample in each way that files are stored, and a large one that shows late what it is.
fn harmful() -> Vec<(String, Bytes)> {
    let data = |name: &str, length| samples::Member::new(name, samples::noise(length, 1));
    let members = [
        samples::Member::new("m/data.pkl", samples::state_dict(3)),
        data("m/data/0", 3 << 20),
        samples::Member::new("m/extra.pkl", samples::calls("os", "system")),
    ];
    let late = ("late".to_owned(), Bytes::from(samples::zip(&members)));
    let named = samples::malicious().into_iter().map(|(name, file)| (name.to_owned(), file.into()));
    named.chain([late]).collect()
}

/// A way to store a file in a repository.
type Storing = fn(Bytes) -> Arc<File>;

async fn hub_of(all: &[(String, Bytes)], store: Storing) -> FakeHub {
    let hub = FakeHub::start().await;
    let all = all.iter().enumerate();
    let all = all.map(|(index, (_, file))| (format!("f{index}.bin"), store(file.clone())));
    hub.model(ID, all.collect());
    hub
}

fn address(index: usize) -> String {
    format!("/{ID}/resolve/main/f{index}.bin")
}

/// Whether a client is left with less than the file, and why it is told, if it can be.
fn refused(reply: Option<&Reply>, whole: &[u8]) -> bool {
    reply.is_none_or(|reply| match reply.status {
        StatusCode::FORBIDDEN => {
            reply.header("x-error-message").starts_with("Larder refuses this file")
        }
        _ => reply.cut && reply.body.len() < whole.len(),
    })
}

#[tokio::test]
async fn harm_is_refused_over_http() {
    let all = harmful();
    let stores: [Storing; 2] = [File::plain, File::lfs];
    for store in stores {
        let hub = hub_of(&all, store).await;
        let larder = Larder::start(&over_hub(&hub, "")).await;
        for (index, (name, file)) in all.iter().enumerate() {
            let get = || larder.client.get(larder.url(&address(index))).try_send();
            let first = get().await;
            assert!(refused(first.as_ref(), file), "{name}: {first:?}");
            let again = get().await.expect("an answer");
            assert_eq!(again.status, StatusCode::FORBIDDEN, "{name}: {again:?}");
            assert!(refused(Some(&again), file), "{name}: {again:?}");
            assert_eq!(again.header("cache-status"), "larder; detail=unsafe");
            let range = larder.client.get(larder.url(&address(index))).with("range", "bytes=0-9");
            assert_eq!(range.send().await.status, StatusCode::FORBIDDEN, "{name}: a range");
            let head = larder.client.head(larder.url(&address(index))).send().await;
            assert_eq!(head.status, StatusCode::FORBIDDEN, "{name}: {head:?}");
        }
        // What was refused may be on its way still, until its transfer has ended.
        let larder = larder.restart().await;
        let sent = hub.sent_by_cdn();
        for (index, (name, _)) in all.iter().enumerate() {
            assert_eq!(larder.get(&address(index)).await.status, StatusCode::FORBIDDEN, "{name}");
        }
        assert_eq!(hub.sent_by_cdn(), sent, "what is known is not fetched again");
    }
}

#[tokio::test]
async fn what_was_found_to_be_refused_is_in_the_ledger() {
    let all = harmful();
    let hub = hub_of(&all[..1], File::lfs).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    larder.client.get(larder.url(&address(0))).try_send().await;
    assert_eq!(larder.get(&address(0)).await.status, StatusCode::FORBIDDEN);
    let told = larder.refusals(1).await;
    let record = &told[0];
    assert!(
        record["detail"].as_str().is_some_and(|why| why.starts_with("inspection: ")),
        "{told:?}"
    );
    let subject = record["subject"].as_str().unwrap_or_default();
    assert!(subject.starts_with(&format!("hf:{ID}@")) && subject.ends_with("/f0.bin"), "{told:?}");
}

#[tokio::test]
async fn harm_is_refused_over_xet() {
    let all = harmful();
    let hub = hub_of(&all, File::xet).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    for round in ["cold", "known"] {
        let client = Client::new(&larder, "main").await;
        for (name, file) in &all {
            let hash = &File::xet(file.clone()).xet;
            let told = client.describe("v2", hash, None).await;
            let mut got = 0;
            for place in places(&told.json()) {
                let ask = larder.client.get(&place.url).with("range", &place.range());
                match ask.try_send().await {
                    Some(reply) if reply.status.is_success() => got += reply.body.len(),
                    _ => {}
                }
            }
            assert!(got < file.len(), "{name}, {round}: {got} of {} bytes", file.len());
            assert!(round == "cold" || got == 0, "{name}: {got} bytes of what is known");
        }
    }
}

#[tokio::test]
async fn what_was_kept_before_is_judged_by_today() {
    let all = harmful();
    let hub = hub_of(&all, File::xet).await;
    let larder = Larder::start(&(over_hub(&hub, "") + OFF)).await;
    for (index, (name, file)) in all.iter().enumerate() {
        assert!(
            larder.get(&address(index)).await.body == file,
            "{name} is kept while nobody looks"
        );
    }
    let larder = larder.restart_with(&over_hub(&hub, "")).await;
    let client = Client::new(&larder, "main").await;
    for (index, (name, file)) in all.iter().enumerate() {
        let told = client.describe("v2", &File::xet(file.clone()).xet, None).await;
        let first = &places(&told.json())[0];
        let reply = client.fetch(first).await;
        assert_eq!(reply.status, StatusCode::LOCKED, "{name} by Xet");
        assert!(reply.header("x-error-message").contains("/-/why/"), "{name}: {reply:?}");
        let reply = larder.get(&address(index)).await;
        assert!(reply.status == StatusCode::FORBIDDEN && refused(Some(&reply), file), "{name}");
    }
    let warned = over_hub(&hub, "") + &OFF.replace("off", "warn");
    let larder = larder.restart_with(&warned).await;
    let reply = larder.get(&address(0)).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.header("warning").contains("it imports os.system"), "{reply:?}");
}

#[tokio::test]
async fn what_libraries_write_passes() {
    // Some of them are the same whoever writes them, and the same bytes cross only once.
    let mut seen = HashSet::new();
    let all: Vec<(String, Bytes)> = samples::honest()
        .into_iter()
        .filter(|(_, file)| !file.is_empty() && seen.insert(file.clone()))
        .map(|(name, file)| (name, file.into()))
        .collect();
    let hub = hub_of(&all, File::xet).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let client = Client::new(&larder, "main").await;
    for round in ["cold", "kept"] {
        for (index, (name, file)) in all.iter().enumerate() {
            let hash = &File::xet(file.clone()).xet;
            assert!(client.whole("v2", hash).await == file[..], "{name} by Xet, {round}");
            let reply = larder.get(&address(index)).await;
            assert!(reply.status == StatusCode::OK && reply.body == file, "{name}, {round}");
        }
    }
    assert_eq!(hub.sent_by_cdn(), all.iter().map(|(_, file)| file.len() as u64).sum::<u64>());
}

/// A template is text like any other but for its name.
#[tokio::test]
async fn a_template_is_known_by_its_name() {
    let hub = FakeHub::start().await;
    let bad = || File::plain(samples::BAD_TEMPLATE);
    let good = File::plain(samples::GOOD_TEMPLATE);
    hub.model(
        ID,
        files([("chat_template.jinja", bad()), ("README.md", bad()), ("good.jinja", good)]),
    );
    let larder = Larder::start(&over_hub(&hub, "")).await;
    for _ in 0..2 {
        let get = async |name: &str| larder.get(&format!("/{ID}/resolve/main/{name}")).await;
        let reply = get("chat_template.jinja").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(reply.header("x-error-message").contains("reaches for __init__"), "{reply:?}");
        assert_eq!(get("README.md").await.status, StatusCode::OK);
        assert_eq!(get("good.jinja").await.status, StatusCode::OK);
    }
}
