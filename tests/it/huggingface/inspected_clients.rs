//! What is in files, to real clients: the hub's own library, its command line and transformers show why a pickle is refused, with Xet and without it, cold and
//! kept; and whatever the usual libraries write passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use http::StatusCode;
use tempfile::TempDir;

use super::inspected::{OFF, samples};
use super::xet::ID;
use crate::support::hub::{FakeHub, File, files};
use crate::support::installer::tool;
use crate::support::larder::{Larder, over_hub};
use crate::support::wait::{eventually, soon};

const EVIL: &str = "pytorch_model.bin";
const SAFE: &str = "model.safetensors";
const REASON: &str = "it imports os.system";

/// How a client is told to fetch one file.
const CLIENTS: [(&str, &str); 3] = [
    ("hf", ""),
    ("huggingface_hub", "from huggingface_hub import hf_hub_download as fetch"),
    ("transformers", "from transformers.utils import cached_file as fetch"),
];

async fn hub() -> FakeHub {
    let hub = FakeHub::start().await;
    let evil = samples::torch(&samples::calls("os", "system"), 2, 200_000);
    let safe = samples::torch(&samples::state_dict(2), 2, 200_000);
    let named = [
        ("config.json", File::plain("{}")),
        (EVIL, File::xet(evil)),
        ("other.bin", File::xet(safe)),
        (SAFE, File::xet(samples::safetensors(300_000))),
    ];
    hub.model(ID, files(named));
    hub
}

/// Fetches one file with empty caches: whether that succeeded, and what the client printed.
async fn fetch(larder: &Larder, client: (&str, &str), file: &str, xet: bool) -> (bool, String) {
    let place = TempDir::new().expect("a temporary folder can be made");
    let (name, import) = client;
    let mut command = match import {
        "" => {
            let mut command = tool("hub/2.4.0", "hf", place.path());
            command.args(["download", ID, file]);
            command
        }
        _ => {
            let mut command = tool("hub/2.4.0", "python", place.path());
            command.args(["-c", &format!("{import}; print(fetch({ID:?}, {file:?}))")]);
            command
        }
    };
    command.env("HF_HOME", place.path().join("hf")).env("HF_ENDPOINT", larder.url(""));
    command.env("HF_HUB_DISABLE_TELEMETRY", "1");
    if !xet {
        command.env("HF_HUB_DISABLE_XET", "1");
    }
    let output = soon(name, command.output()).await.expect("the client can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn clients_show_why_a_pickle_is_refused() {
    for xet in [true, false] {
        for client in CLIENTS {
            let hub = hub().await;
            let larder = Larder::start(&over_hub(&hub, "")).await;
            // With Xet the first attempt learns it from the storage, of whose answers clients print nothing but the phrase.
            for round in ["cold", "known"] {
                let (succeeded, said) = fetch(&larder, client, EVIL, xet).await;
                let case = format!("{client:?}, Xet {xet}, {round}: {said}");
                assert!(!succeeded, "{case}");
                assert!(said.contains(REASON) && said.contains("/-/why/"), "{case}");
            }
            for file in [SAFE, "other.bin"] {
                let (succeeded, said) = fetch(&larder, client, file, xet).await;
                assert!(succeeded, "{client:?}, Xet {xet}: {said}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn clients_show_why_a_kept_pickle_is_refused() {
    let hub = hub().await;
    let mut larder = Larder::start(&(over_hub(&hub, "") + OFF)).await;
    for client in CLIENTS {
        let (succeeded, said) = fetch(&larder, client, EVIL, true).await;
        assert!(succeeded, "{client:?} while nobody looks: {said}");
    }
    larder = larder.restart_with(&over_hub(&hub, "")).await;
    // It is found in the background, while nobody asks for its bytes.
    let address = larder.url(&format!("/{ID}/resolve/main/{EVIL}"));
    eventually("what is kept is looked into", async || {
        larder.client.head(address.clone()).send().await.status == StatusCode::FORBIDDEN
    })
    .await;
    for xet in [true, false] {
        for client in CLIENTS {
            let (succeeded, said) = fetch(&larder, client, EVIL, xet).await;
            assert!(!succeeded && said.contains(REASON), "{client:?}, Xet {xet}: {said}");
            let (succeeded, said) = fetch(&larder, client, SAFE, xet).await;
            assert!(succeeded, "{client:?}, Xet {xet}: {said}");
        }
    }
}

/// The libraries themselves write their files, which are fetched through Larder.
#[tokio::test]
#[ignore = "needs the libraries that tests/run installs"]
async fn what_real_libraries_write_passes() {
    let place = TempDir::new().expect("a temporary folder can be made");
    let written = place.path().join("written");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients.d/layouts.py");
    let mut command = tool("libraries", "python", place.path());
    command.arg(program).arg(&written);
    let output = soon("the libraries", command.output()).await.expect("they can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(&written).expect("it was made") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().to_string_lossy().replace([' ', '(', ')'], "_");
        all.insert(name, Bytes::from(fs::read(entry.path()).expect("it can be read")));
    }
    assert!(all.len() > 80, "{} files", all.len());
    let hub = FakeHub::start().await;
    hub.model(ID, all.iter().map(|(name, file)| (name.clone(), File::lfs(file.clone()))).collect());
    let larder = Larder::start(&over_hub(&hub, "")).await;
    for (name, file) in &all {
        let reply = larder.get(&format!("/{ID}/resolve/main/{name}")).await;
        let why = reply.header("x-error-message");
        assert!(reply.status == StatusCode::OK && reply.body == file, "{name}: {why}");
    }
}
