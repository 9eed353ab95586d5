//! Many clients at once, and one transfer of each byte.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::clients::{Sequence, Session};
use super::stock::{ID, expected, fault, wanted};
use crate::support::hub::{FakeHub, File, Files};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::Pattern;

const CLIENTS: usize = 20;
const FILES: u64 = 20;

/// Twenty files, every fourth of them small.
fn shards() -> Files {
    let shard = |number: u64| match number % 4 {
        0 => (format!("part {number}.json"), File::plain(format!("[{number}]").repeat(400))),
        1 => (format!("part {number}.bin"), File::lfs(Pattern::new(number, 150_000 + number))),
        _ => (
            format!("part {number}.safetensors"),
            File::xet(Pattern::new(number, 1_300_000 + number)),
        ),
    };
    (0..FILES).map(shard).collect()
}

/// Bytes by path that a host has sent, of paths that are files.
fn sent(hub: &FakeHub) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for logged in hub.cdn.log() {
        *sent.entry(logged.path.clone()).or_default() += logged.sent();
    }
    for logged in hub.hub.log() {
        if logged.path.starts_with("/api/resolve-cache/") && logged.status() == 200 {
            *sent.entry(logged.path.clone()).or_default() += logged.sent();
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_cold_clients_cost_each_byte_once() {
    for sequence in [Sequence::Tree, Sequence::Xet] {
        let hub = FakeHub::start().await;
        let content = shards();
        hub.model(ID, content.clone());
        let larder = Larder::start(&over_hub(&hub, "")).await;
        let main = wanted("main", &content);
        let base = larder.url("");
        let clients = (0..CLIENTS).map(|_| async {
            let session = Session::new(&base);
            fault(sequence, &content, session.run(sequence, &main).await)
        });
        for got in join_all(clients).await {
            assert_eq!(got, None, "{sequence:?}");
        }
        assert_eq!(expected(sequence, &content).len() as u64, FILES);
        let large: u64 =
            content.values().filter(|file| file.tag() == file.sha256).map(|file| file.size).sum();
        assert_eq!(hub.sent_by_cdn(), large, "{sequence:?}: {:#?}", sent(&hub));
        let asked: Vec<usize> = sent(&hub).keys().map(|path| hub.cdn.asked(path).len()).collect();
        assert!(asked.iter().all(|times| *times <= 1), "{sequence:?}: {:#?}", sent(&hub));
        let small = |path: &&String| path.starts_with("/api/resolve-cache/");
        for path in sent(&hub).keys().filter(small) {
            let answered = hub.hub.asked(path).into_iter().filter(|logged| logged.sent() > 0);
            assert_eq!(answered.count(), 1, "{sequence:?}: {path}");
        }
        let questions =
            hub.hub.log().iter().filter(|logged| logged.path.contains("/tree/")).count();
        assert_eq!(questions, 1, "{sequence:?}: the tree is asked for once");
    }
}
