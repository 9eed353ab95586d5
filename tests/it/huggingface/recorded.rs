//! As what pulls are recorded, whichever way clients fetch: under the model, its commit and the file, once for each file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clients::Sequence;
use super::stock::{ID, Stand, content, fault, wanted};
use super::xet::Client;
use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::Pattern;
use crate::support::wait::eventually;

/// What one xorb holds of a file.
const XORB: u64 = 1000 << 16;

/// Pulls and bytes by name.
type Counts = BTreeMap<String, (u64, u64)>;

async fn counts(larder: &Larder) -> Counts {
    let told = larder.get("/-/api/v1/pulls").await.json();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_default();
    let rows = told["pulls"].as_array().expect("rows").iter();
    rows.map(|row| {
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        (name, (number(row, "pulls"), number(row, "bytes")))
    })
    .collect()
}

/// Most clients send no credentials for the bytes of large files, and ask for them at addresses that name nothing.
#[tokio::test]
async fn every_way_to_a_file_is_a_pull_of_that_file() {
    let stand = Stand::new("").await;
    let content = content();
    let name = |path: &str| format!("hf:{ID}@{}/{path}", stand.sha);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for sequence in [Sequence::Xet, Sequence::GitLfs, Sequence::Tree, Sequence::Xet] {
        let got = stand.client(sequence).run(sequence, &wanted("main", &content)).await;
        assert_eq!(fault(sequence, &content, got), None, "{sequence:?}");
        let is_meant = |file: &File| sequence != Sequence::GitLfs || file.tag() == file.sha256;
        for (path, _) in content.iter().filter(|(_, file)| is_meant(file)) {
            *expected.entry(name(path)).or_default() += 1;
        }
        let as_expected = async || {
            let counted = counts(&stand.larder).await.into_iter();
            counted.map(|(name, (pulls, _))| (name, pulls)).collect::<BTreeMap<_, _>>() == expected
        };
        eventually(&format!("{sequence:?} is counted"), as_expected).await;
    }
}

/// The chunks of a large file come in several xorbs, each of which has a first byte.
#[tokio::test]
async fn a_file_of_several_xorbs_is_one_pull_in_record_passport_and_bill() {
    let size = XORB + 17;
    let (hub, file) = (FakeHub::start().await, File::xet(Pattern::new(61, size)));
    let sha = hub.model(ID, files([("model.safetensors", file.clone())]));
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let got = Client::new(&larder, "main").await.whole("v2", &file.xet).await;
    assert_eq!(got.len() as u64, size);
    // Each chunk has a header of eight bytes.
    let sent = size + 1001 * 8;
    let expected = Counts::from([(format!("hf:{ID}@{sha}/model.safetensors"), (1, sent))]);
    eventually("it is counted", async || counts(&larder).await == expected).await;
    let passport = larder.get(&format!("/-/api/v1/models/{ID}@{sha}")).await.json();
    let usage = &passport["usage"];
    assert_eq!((usage["pulls"].as_u64(), usage["bytes"].as_u64()), (Some(1), Some(sent)));
    let bill = larder.get("/-/api/v1/bom?since=1h").await.json();
    let components = bill["components"].as_array().expect("components");
    assert_eq!(components.len(), 1, "{bill:#}");
    assert_eq!(components[0]["type"], "machine-learning-model", "{bill:#}");
    assert_eq!(components[0]["version"], sha.as_str(), "{bill:#}");
    assert_eq!(components[0]["components"][0]["name"], "model.safetensors", "{bill:#}");
}
