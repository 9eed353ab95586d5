//! `kill -9` in the middle of everything: nothing wrong is ever served, nothing acknowledged is lost, what was interrupted goes on.

use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use crate::support::child::Process;
use crate::support::client::{ACCEPT_PAGE, Client};
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::{link_on, over, page_path};
use crate::support::origin::{Content, Fault, Gate, Pattern};
use crate::support::wait::{eventually, soon};

mod disk;

/// How far a transfer is gets noted every few mebibytes.
const LARGE: u64 = 48 << 20;
const LENGTH: u64 = 8 << 20;
const PROJECTS: usize = 4;

/// Rounds of the loop; `LARDER_KILL_ROUNDS=200` for the long form.
fn rounds() -> u64 {
    std::env::var("LARDER_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

struct File {
    project: String,
    upload: Upload,
    pattern: Pattern,
}

fn file(project: String, length: u64) -> File {
    let upload = Upload::blob(&project, "1.0", length);
    let pattern = match &upload.content {
        Content::Pattern(pattern) => pattern.clone(),
        _ => unreachable!("a blob is a pattern"),
    };
    File { project, upload, pattern }
}

async fn link(larder: &Process, client: &Client, file: &File) -> String {
    let base = larder.url(&page_path(&file.project));
    let page = client.get(&base).with("accept", ACCEPT_PAGE).send().await;
    link_on(&page, &base, &file.upload.filename).unwrap_or_else(|| panic!("{page:?}"))
}

#[tokio::test]
async fn an_interrupted_file_goes_on_after_a_kill() {
    let index = FakeIndex::start(Style::Full).await;
    let file = file("six".to_owned(), LARGE);
    index.publish("six", [file.upload.clone()]);
    let data = TempDir::new().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over(&index));
    let gate = Gate::closed();
    index.files.fault(&file.upload.path, Fault::Wait(Some(LARGE / 2), gate));
    let client = Client::new();
    let mut reader = client.get(link(&larder, &client, &file).await).open().await;
    let mut read = 0;
    while read < LARGE / 2 - (1 << 20) {
        read += soon("the first bytes", reader.next()).await.expect("no cut").expect("no end").len()
            as u64;
    }
    larder.kill();
    index.files.heal();
    index.files.forget();

    let larder = Process::start(data.path(), &over(&index));
    let whole = Client::new().get(link(&larder, &Client::new(), &file).await).open().await;
    assert_eq!(soon("the whole", whole.compare(&file.pattern, 0)).await, (LARGE, true));
    let log = index.files.asked(&file.upload.path);
    assert_eq!(log.len(), 1);
    assert!(log[0].header("range").is_some(), "it begins again: {:?}", log[0].headers);
    assert!(index.files.sent(&file.upload.path) < LARGE, "what was there is not fetched again");
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let index = FakeIndex::start(Style::Full).await;
    let file = file("six".to_owned(), LENGTH);
    index.publish("six", [file.upload.clone()]);
    let data = TempDir::new().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over(&index));
    let client = Client::new();
    let address = link(&larder, &client, &file).await;
    assert_eq!(client.get(&address).open().await.compare(&file.pattern, 0).await, (LENGTH, true));
    // A hit is an acknowledgement: from then on it is kept.
    eventually("the file is kept", async || {
        let head = client.head(&address).send().await;
        head.header("cache-status").contains("hit")
    })
    .await;
    larder.kill();
    index.pages.refuse().await;
    index.files.refuse().await;
    let larder = Process::start(data.path(), &over(&index));
    let whole = Client::new().get(link(&larder, &Client::new(), &file).await).open().await;
    assert_eq!(soon("the whole", whole.compare(&file.pattern, 0)).await, (LENGTH, true));
}

/// Clients download while the process is killed at random moments. Every byte that any of them gets is right; what one round has kept whole is
/// there in the next without upstream being asked.
#[tokio::test]
async fn nothing_is_lost_or_wrong_however_often_it_is_killed() {
    let seed =
        std::env::var("LARDER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    eprintln!("LARDER_SEED={seed} LARDER_KILL_ROUNDS={}", rounds());
    let mut chance = Chance(seed);
    let index = FakeIndex::start(Style::Full).await;
    let data = TempDir::new().expect("a temporary folder can be made");
    for round in 0..rounds() {
        let files: Vec<File> =
            (0..PROJECTS).map(|n| file(format!("p{round}x{n}"), LENGTH)).collect();
        for file in &files {
            index.publish(&file.project, [file.upload.clone()]);
        }
        let larder = Process::start(data.path(), &over(&index));
        let moment = Duration::from_millis(chance.below(300));
        let downloads = join_all(files.iter().map(|file| download(&larder, file)));
        // The moment of death is what is random here; nothing is waited for.
        let _ = tokio::time::timeout(moment, downloads).await;
        larder.kill();

        let larder = Process::start(data.path(), &over(&index));
        for file in &files {
            let client = Client::new();
            let whole = client.get(link(&larder, &client, file).await).open().await;
            let got = soon("the whole", whole.compare(&file.pattern, 0)).await;
            assert_eq!(got, (LENGTH, true), "round {round}, seed {seed}");
        }
        for file in &files {
            let sent = index.files.sent(&file.upload.path);
            assert!(
                sent < LENGTH * 2 + (LENGTH / 2),
                "round {round}, seed {seed}: {sent} bytes sent"
            );
        }
    }
}

/// Downloads as far as it goes; wrong bytes panic.
async fn download(larder: &Process, file: &File) {
    let client = Client::new();
    let address = link(larder, &client, file).await;
    client.get(address).open().await.compare(&file.pattern, 0).await;
}

/// Seeded chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
