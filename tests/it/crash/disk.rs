//! A disk that fills up, turns read-only, vanishes, rots or loses power under the real process: clients get right bytes whatever becomes of keeping them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Chance, File, LENGTH, file, link};
use crate::support::child::{Process, binary};
use crate::support::client::Client;
use crate::support::disk::{Mount, may_mount};
use crate::support::index::{FakeIndex, Style};
use crate::support::larder::over;
use crate::support::wait::{eventually, soon};

/// Settings of a store on a small disk.
fn small(index: &FakeIndex, more: &str) -> String {
    format!("{}[store]\nmin_free = \"2 MiB\"\n{more}\n", over(index))
}

async fn an_index_of<const N: usize>(lengths: [u64; N]) -> (FakeIndex, [File; N]) {
    let index = FakeIndex::start(Style::Full).await;
    let mut number = 0;
    let files = lengths.map(|length| {
        number += 1;
        let file = file(format!("p{number}"), length);
        index.publish(&file.project, [file.upload.clone()]);
        file
    });
    (index, files)
}

/// Downloads a file whole, every byte compared.
async fn get(larder: &Process, file: &File) {
    let client = Client::new();
    let whole = client.get(link(larder, &client, file).await).open().await;
    let length = file.pattern.length;
    assert_eq!(soon("the whole", whole.compare(&file.pattern, 0)).await, (length, true));
}

/// Waits until a file is kept.
async fn kept(larder: &Process, file: &File) {
    let client = Client::new();
    let address = link(larder, &client, file).await;
    eventually("the file is kept", async || {
        client.head(&address).send().await.header("cache-status").contains("hit")
    })
    .await;
}

/// The only blob in a data directory.
fn blob(data: &Path) -> PathBuf {
    let shards = std::fs::read_dir(data.join("data/blobs")).expect("it is there");
    let mut blobs = shards.flat_map(|shard| {
        let shard = shard.expect("it is read").path();
        std::fs::read_dir(shard).expect("it is there").map(|file| file.expect("it is read").path())
    });
    let blob = blobs.next().expect("a blob");
    assert_eq!(blobs.next(), None);
    blob
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("there is room");
}

/// The log is on that disk, too: a line that could not be written used to take the request down that it was about.
#[tokio::test]
async fn a_disk_that_fills_up_stops_keeping_and_nothing_else() {
    if !may_mount() {
        return;
    }
    let (index, [first, second, third]) = an_index_of([LENGTH; 3]).await;
    let disk = Mount::in_memory(40);
    let larder = Process::start(disk.path(), &small(&index, ""));
    get(&larder, &first).await;
    kept(&larder, &first).await;
    for left in [1 << 20, 0] {
        disk.fill(left);
        get(&larder, &second).await;
        get(&larder, &third).await;
        index.files.refuse().await;
        get(&larder, &first).await;
        index.files.listen();
        disk.empty();
    }
    get(&larder, &third).await;
    kept(&larder, &third).await;
    // What was full has left nothing behind that a start would stumble over.
    larder.kill();
    let larder = Process::start(disk.path(), &small(&index, ""));
    index.files.refuse().await;
    get(&larder, &first).await;
    get(&larder, &third).await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_refused_in_words() {
    if !may_mount() {
        return;
    }
    let disk = Mount::in_memory(8);
    disk.remount("ro");
    let output = binary()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(disk.path().join("data"))
        .output()
        .expect("the binary can be run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("data directory") && told.contains("Read-only"), "{told}");
}

#[tokio::test]
async fn a_data_directory_that_is_deleted_costs_what_it_held() {
    let (index, [first, second]) = an_index_of([LENGTH; 2]).await;
    let data = TempDir::new().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over(&index));
    get(&larder, &first).await;
    kept(&larder, &first).await;
    std::fs::remove_dir_all(data.path().join("data")).expect("it is there");
    get(&larder, &first).await;
    get(&larder, &second).await;
    larder.kill();
    let larder = Process::start(data.path(), &over(&index));
    get(&larder, &second).await;
    kept(&larder, &second).await;
}

/// Small files are compared with their digest whenever they come from the disk; a large one is served until the scrubber comes by.
#[tokio::test]
async fn a_flipped_bit_is_noticed_and_the_file_fetched_again() {
    for (length, scrub) in [
        (200_000, "scrub_rate = \"0\""),
        (LENGTH, "scrub_rate = \"1 TB\"\nscrub_interval = \"20ms\""),
    ] {
        let (index, [one]) = an_index_of([length]).await;
        let data = TempDir::new().expect("a temporary folder can be made");
        let larder = Process::start(data.path(), &over(&index));
        get(&larder, &one).await;
        kept(&larder, &one).await;
        larder.kill();
        flip(&blob(data.path()));
        let larder = Process::start(data.path(), &small(&index, scrub));
        if length == LENGTH {
            let quarantine = data.path().join("data/quarantine");
            eventually("the scrubber finds it", async || quarantine.exists()).await;
        }
        get(&larder, &one).await;
        get(&larder, &one).await;
        assert_eq!(index.files.sent(&one.upload.path), 2 * length, "it is fetched again, once");
        let status = Client::new().get(larder.url("/-/api/v1/status")).send().await.json();
        assert_eq!(status["store"]["damaged_blobs"], 1);
    }
}

#[tokio::test]
async fn verify_finds_a_flipped_bit_and_has_it_fetched_again() {
    let (index, [one]) = an_index_of([LENGTH]).await;
    let data = TempDir::new().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over(&index));
    get(&larder, &one).await;
    kept(&larder, &one).await;
    let verify = async |arguments: &[&str]| {
        let mut command = binary();
        command
            .arg("verify")
            .args(arguments)
            .args(["--listen", "127.0.0.1:1", "--config"])
            .arg(data.path().join("larder.toml"))
            .arg("--data-dir")
            .arg(data.path().join("data"));
        // Not here: the index answers from this thread.
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("it does not panic").expect("the binary can be run");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, told) = verify(&[]).await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("another process uses the data directory"), "{told}");
    larder.kill();
    assert_eq!(verify(&[]).await.0, Some(0));
    flip(&blob(data.path()));
    let (code, told) = verify(&["--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
    assert_eq!((code, &report["damaged"][0]["damage"]), (Some(1), &"digest".into()), "{told}");
    let (code, told) = verify(&["--repair"]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&one.upload.filename) && told.contains("quarantine"), "{told}");
    assert!(told.contains("1 healed, 0 replaced by what upstream has now, 0 not had"), "{told}");
    assert_eq!(verify(&["--repair"]).await.0, Some(0));
    assert_eq!(index.files.sent(&one.upload.path), 2 * LENGTH);
    flip(&blob(data.path()));
    index.files.refuse().await;
    let (code, told) = verify(&["--repair", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
    let healing = &report["healing"];
    assert_eq!((code, &healing["failed"], &healing["healed"]), (Some(1), &1.into(), &0.into()));
    assert!(healing["tried"][0]["reason"].is_string(), "{told}");
    index.files.listen();
    let larder = Process::start(data.path(), &over(&index));
    get(&larder, &one).await;
    assert_eq!(index.files.sent(&one.upload.path), 3 * LENGTH);
}

/// Rounds on real disks; `LARDER_POWER_CUTS=50` for the long form. They need loop devices and the programs that make such file systems, which are
/// not everywhere; the simulated disk of the store's own tests is.
fn power_cuts() -> u64 {
    std::env::var("LARDER_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn power_lost_on_a_real_disk_loses_nothing_acknowledged() {
    let mut chance = Chance(1);
    let kinds = if power_cuts() > 0 { Mount::kinds() } else { Vec::new() };
    for (round, kind) in
        (0..power_cuts()).flat_map(|round| kinds.iter().map(move |kind| (round, kind)))
    {
        let (index, files) = an_index_of([LENGTH; 6]).await;
        let disk = Mount::on_disk(kind, 320);
        let larder = Process::start(disk.path(), &small(&index, ""));
        let safe = chance.below(files.len() as u64) as usize;
        for file in &files[..safe] {
            get(&larder, file).await;
            kept(&larder, file).await;
        }
        for file in &files[safe..] {
            // Under way, or done and not known to be kept, when the power goes.
            let client = Client::new();
            let mut open = client.get(link(&larder, &client, file).await).open().await;
            for _ in 0..chance.below(40) {
                let _ = open.next().await;
            }
        }
        if disk.has_switch() {
            disk.cut_power();
            larder.kill();
        } else {
            larder.kill();
            disk.cut_power();
        }
        disk.restart();
        let larder = Process::start(disk.path(), &small(&index, ""));
        for file in &files {
            get(&larder, file).await;
        }
        for file in &files[..safe] {
            assert_eq!(index.files.sent(&file.upload.path), LENGTH, "{kind}, round {round}");
        }
        larder.kill();
        eprintln!("{kind}, round {round}: {safe} files were safe, and were there");
    }
}

#[tokio::test]
async fn a_real_disk_that_turns_read_only_is_still_read() {
    if power_cuts() == 0 {
        return;
    }
    let (index, [first, second]) = an_index_of([LENGTH; 2]).await;
    let disk = Mount::on_disk("ext4", 128);
    let larder = Process::start(disk.path(), &small(&index, ""));
    get(&larder, &first).await;
    kept(&larder, &first).await;
    disk.remount("abort");
    get(&larder, &second).await;
    get(&larder, &second).await;
    index.files.refuse().await;
    get(&larder, &first).await;
    let ready = Client::new().get(larder.url("/-/ready")).send().await;
    assert!(ready.status == 503 && ready.text().contains("takes no writes"), "{ready:?}");
}
