//! A file of many gigabytes over Xet: any part of it at once, in little memory. Room for all of it is reserved on the disk, so the long form, 60 GB, is
//! `LARDER_VAST_GB=60`.

use super::stock::ID;
use crate::support::child::Process;
use crate::support::client::Client;
use crate::support::hub::{FakeHub, File, files};
use crate::support::larder::over_hub;
use crate::support::origin::{Content, Fault, Gate, Pattern};
use crate::support::wait::soon;

const MOST_RESIDENT: u64 = 150 << 20;
/// How much of it is read: as much from its beginning, and a little of its middle and of its end.
const READ: u64 = 256 << 20;

fn length() -> u64 {
    let gigabytes = std::env::var("LARDER_VAST_GB").ok().and_then(|text| text.parse().ok());
    gigabytes.unwrap_or(4_u64) * 1_000_000_000
}

/// A client of Xet that holds a token.
struct Reader {
    client: Client,
    reconstruction: String,
    bearer: String,
}

impl Reader {
    /// Reads a part of the file, term by term, and compares every byte. Answers how many there were.
    async fn read(&self, pattern: &Pattern, first: u64, last: u64) -> u64 {
        let range = format!("bytes={first}-{last}");
        let ask = self.client.get(&self.reconstruction).with("authorization", &self.bearer);
        let told = ask.with("range", &range).send().await;
        assert_eq!(told.status, 200, "{told:?}");
        let told = told.json();
        let skipped = told["offset_into_first_range"].as_u64().expect("an offset");
        let mut offset = first - skipped;
        for term in told["terms"].as_array().expect("terms") {
            let xorb = term["hash"].as_str().expect("a hash");
            let fetch = &told["xorbs"][xorb][0];
            let (url, place) =
                (fetch["url"].as_str().expect("a link"), &fetch["ranges"][0]["bytes"]);
            let range = format!("bytes={}-{}", place["start"], place["end"]);
            let part = self.client.get(url).with("range", &range).send();
            let part = soon("a part of a xorb", part).await;
            let text = String::from_utf8_lossy(&part.body[..part.body.len().min(400)]).into_owned();
            assert_eq!((part.status.as_u16(), part.cut), (206, false), "{range}: {text}");
            let mut chunks = &part.body[..];
            while let [0, a, b, c, 0, _, _, _, rest @ ..] = chunks {
                let (chunk, rest) = rest.split_at(u32::from_le_bytes([*a, *b, *c, 0]) as usize);
                assert!(pattern.matches(offset, chunk), "a wrong byte behind {offset}");
                offset += chunk.len() as u64;
                chunks = rest;
            }
            assert!(chunks.is_empty(), "a chunk that is none, behind {offset}");
        }
        offset - first
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vast_file_takes_little_memory() {
    let length = length();
    let hub = FakeHub::start().await;
    let file = File::vast(51, length);
    let Content::Pattern(pattern) = &file.content else { panic!("it is a pattern") };
    let sha = hub.model(ID, files([("model.safetensors", file.clone())]));
    // Enough for what is read, and not so much that a disk fills up.
    hub.cdn.fault("*", Fault::Wait(Some(READ + (64 << 20)), Gate::closed()));
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over_hub(&hub, ""));
    let client = Client::new();
    let info = client.get(larder.url("/api/models/org/model")).send().await;
    assert_eq!(info.json()["sha"], sha.as_str());
    let token = client.get(larder.url(&format!("/api/models/{ID}/xet-read-token/{sha}")));
    let token = token.send().await;
    let reader = Reader {
        client,
        reconstruction: format!(
            "{}/v2/reconstructions/{}",
            token.header("x-xet-cas-url"),
            file.xet
        ),
        bearer: format!("Bearer {}", token.header("x-xet-access-token")),
    };
    assert!(reader.read(pattern, 0, READ - 1).await >= READ);
    let middle = length / 2;
    assert!(reader.read(pattern, middle, middle + (1 << 20)).await > 1 << 20);
    let end = length - 1000;
    assert_eq!(reader.read(pattern, end, length - 1).await, 1000);
    let resident = larder.peak_resident_bytes();
    assert!(resident < MOST_RESIDENT, "{} MiB resident", resident >> 20);
}
