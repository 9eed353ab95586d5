//! A kept file of sixty gigabytes, most of it holes: described and served without being read, held or copied.

use std::fs::{self, File as Disk};

use http::StatusCode;
use larder::store::disk::DiskStore;
use larder::store::{Change, Entry, Store, Stored};
use larder::types::{Algorithm, Audience, BlobId, CacheKey, Digest, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::{Larder, over_hub};

const ID: &str = "org/vast";
const SIZE: u64 = 60_000_000_000;

/// Files a sparse blob under the name that the hub gives the file.
async fn file_sparse(config: larder::config::Config, digest: Digest) {
    let id = digest.blob_id().expect("a SHA-256");
    let name = id.to_hex();
    let folder = config.data_dir.join("blobs").join(&name[..2]);
    fs::create_dir_all(&folder).expect("a folder can be made");
    let disk = Disk::create(folder.join(&name)).expect("a file can be made");
    disk.set_len(SIZE).expect("the file system has sparse files");
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let now = || Timestamp::from_secs(1_800_000_000);
    let store = DiskStore::open(&config.data_dir, &config.store, now, &tasks, &stop);
    let store = store.expect("the store opens");
    let key = CacheKey::new("huggingface", &Audience::Public, &format!("blob/{digest}"));
    let put = Change::Put { key, entry: entry(id).into() };
    store.commit(vec![put]).await.expect("the entry is written");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

fn entry(id: BlobId) -> Entry {
    Entry::new(Stored::Blob { id, size: SIZE }, Timestamp::from_secs(1))
}

#[tokio::test]
async fn sixty_gigabytes_are_described_and_served_from_any_place() {
    let hub = FakeHub::start().await;
    let file = File::vast(1, SIZE);
    hub.model(ID, files([("vast.bin", file.clone())]));
    let digest = Digest::from_hex(Algorithm::Sha256, &file.sha256).expect("a digest");
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let larder = larder.while_away(async |config, _| file_sparse(config, digest).await).await;

    let told = larder.get(&format!("/api/models/{ID}/xet-read-token/main")).await.json();
    let (server, token) = (&told["casUrl"], &told["accessToken"]);
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let url = format!("{}/v2/reconstructions/{}", text(server), file.xet);
    let ask = larder.client.get(url);
    let told = ask.with("authorization", &format!("Bearer {}", text(token))).send().await.json();
    let terms = told["terms"].as_array().expect("terms");
    let sum: u64 = terms.iter().map(|term| term["unpacked_length"].as_u64().unwrap_or(0)).sum();
    assert_eq!((terms.len(), sum), (916, SIZE));

    for index in [0, 500, 915] {
        let xorb = &told["xorbs"][text(&terms[index]["hash"])][0];
        let (first, last) =
            (&xorb["ranges"][0]["bytes"]["start"], &xorb["ranges"][0]["bytes"]["end"]);
        let last = last.as_u64().expect("a number");
        let range = format!("bytes={}-{last}", last - 65_543);
        let reply = larder.client.get(text(&xorb["url"])).with("range", &range).send().await;
        assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{index} {first}: {reply:?}");
        assert_eq!(reply.body.len(), 65_544);
    }
    assert_eq!(hub.sent_by_cdn(), 0);
    let tail = format!("bytes={}-", SIZE - 5);
    let reply = larder.client.get(larder.url(&format!("/{ID}/resolve/main/vast.bin")));
    let reply = reply.with("range", &tail).send().await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::PARTIAL_CONTENT, 5));
}
