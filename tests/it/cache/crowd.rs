//! Many clients and one transfer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::child::Process;
use crate::support::client::{ACCEPT_PAGE, Client};
use crate::support::index::{FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, link_on, over, page_path};
use crate::support::origin::{Content, Cut, Fault, Gate, Pattern};
use crate::support::wait::soon;

const CROWD: usize = 50;
const BLOB: &str = "six-1.0-py3-none-any.whl";

fn pattern(upload: &Upload) -> Pattern {
    match &upload.content {
        Content::Pattern(pattern) => pattern.clone(),
        _ => unreachable!("a blob is a pattern"),
    }
}

/// An index with one file of `length` bytes.
async fn blob(length: u64) -> (FakeIndex, Upload) {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::blob("six", "1.0", length);
    index.publish("six", [upload.clone()]);
    (index, upload)
}

#[tokio::test]
async fn fifty_cold_clients_cost_one_request_for_the_page() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    let gate = Gate::closed();
    index.pages.fault("/simple/six/", Fault::Wait(None, gate.clone()));
    let pages = join_all((0..CROWD).map(|_| larder.page("six")));
    let opener = async {
        index.pages.until_asked("/simple/six/", 1).await;
        gate.open();
    };
    for page in soon("the pages", async { tokio::join!(pages, opener).0 }).await {
        assert_eq!(page.status, 200);
    }
    assert_eq!(index.pages.asked("/simple/six/").len(), 1);
}

#[tokio::test]
async fn readers_join_a_running_transfer_at_any_offset() {
    let (index, upload) = blob(6 << 20).await;
    let larder = Larder::over(&index).await;
    let link = larder.link("six", BLOB).await;
    let gate = Gate::closed();
    index.files.fault(&upload.path, Fault::Wait(Some(2 << 20), gate.clone()));
    let pattern = pattern(&upload);

    // The first reads while upstream has not sent more than a third.
    let mut first = larder.client.get(&link).open().await;
    let mut read = 0;
    while read < 1 << 20 {
        let bytes = soon("the first bytes", first.next()).await.expect("no cut").expect("no end");
        assert!(pattern.matches(read, &bytes));
        read += bytes.len() as u64;
    }
    let range = larder.client.get(&link).with("range", "bytes=1000000-1000999").send();
    let range = soon("a range that has arrived already", range).await;
    assert_eq!(range.status, 206);
    assert!(pattern.matches(1_000_000, &range.body));

    let others: Vec<_> = join_all((0..10).map(|_| larder.client.get(&link).open())).await;
    gate.open();
    let (rest, whole) = soon("the rest", first.compare(&pattern, read)).await;
    assert!(whole && read + rest == 6 << 20);
    for other in others {
        assert_eq!(soon("the whole", other.compare(&pattern, 0)).await, (6 << 20, true));
    }
    assert_eq!(index.files.sent(&upload.path), 6 << 20, "every byte crossed once");
}

#[tokio::test]
async fn a_client_that_leaves_stops_nothing() {
    let (index, upload) = blob(6 << 20).await;
    let larder = Larder::over(&index).await;
    let link = larder.link("six", BLOB).await;
    let gate = Gate::closed();
    index.files.fault(&upload.path, Fault::Wait(Some(2 << 20), gate.clone()));
    let first = Client::new().get(&link).open().await;
    let second = larder.client.get(&link).open().await;
    drop(first);
    gate.open();
    assert_eq!(soon("the whole", second.compare(&pattern(&upload), 0)).await, (6 << 20, true));
    assert_eq!(index.files.asked(&upload.path).len(), 1);
}

#[tokio::test]
async fn a_transfer_ends_though_every_client_has_left() {
    let (index, upload) = blob(6 << 20).await;
    let larder = Larder::over(&index).await;
    let link = larder.link("six", BLOB).await;
    let gate = Gate::closed();
    index.files.fault(&upload.path, Fault::Wait(Some(2 << 20), gate.clone()));
    drop(Client::new().get(&link).open().await);
    gate.open();
    let last = larder.client.get(&link).open().await;
    assert_eq!(soon("the whole", last.compare(&pattern(&upload), 0)).await, (6 << 20, true));
    assert_eq!(index.files.sent(&upload.path), 6 << 20, "every byte crossed once");
}

#[tokio::test]
async fn an_interrupted_transfer_goes_on_where_it_was_for_those_who_wait() {
    for cut in [
        Fault::Cut { after: 2 << 20, how: Cut::Close },
        Fault::Cut { after: 2 << 20, how: Cut::Reset },
        Fault::ChunkedCut { after: 2 << 20 },
    ] {
        let (index, upload) = blob(6 << 20).await;
        let larder = Larder::over(&index).await;
        let link = larder.link("six", BLOB).await;
        index.files.fault_times(&upload.path, 1, cut);
        let reader = larder.client.get(&link).open().await;
        assert_eq!(reader.status, 200);
        let got = soon("the whole", reader.compare(&pattern(&upload), 0)).await;
        assert_eq!(got, (6 << 20, true));
        let log = index.files.asked(&upload.path);
        assert_eq!(log.len(), 2);
        let range = log[1].header("range").expect("it goes on with a range");
        assert!(range.starts_with("bytes=") && !range.starts_with("bytes=0-"), "{range}");
        assert!(log[1].header("if-range").is_some(), "on condition that it is the same body");
    }
}

#[tokio::test]
async fn a_body_longer_than_announced_is_not_mixed_up_with_the_next() {
    let (index, upload) = blob(200_000).await;
    let larder = Larder::over(&index).await;
    index.files.fault(&upload.path, Fault::Longer(1000));
    let file = larder.file("six", BLOB).await;
    assert!(file.status == 502 || sha256(&file.body) == upload.digest, "{file:?}");
    index.files.heal();
    larder.advance(3600);
    assert_eq!(sha256(&larder.file("six", BLOB).await.body), upload.digest);
}

#[tokio::test]
async fn a_file_longer_than_its_page_says_is_refused() {
    let (index, upload) = blob(200_000).await;
    let larder = Larder::over(&index).await;
    let link = larder.link("six", BLOB).await;
    index.replace_file(&upload, Pattern::new(9, 50 << 20));
    let reply = larder.client.get(&link).send().await;
    assert_eq!(reply.status, 502);
    assert!(index.files.sent(&upload.path) < 40 << 20, "what is too long is not read to its end");
}

/// The long form, 500 MB, is `LARDER_CROWD_MIB=500`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_cold_clients_of_a_large_file() {
    let mebibytes =
        std::env::var("LARDER_CROWD_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(64_u64);
    let length = mebibytes << 20;
    let (index, upload) = blob(length).await;
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let larder = Process::start(data.path(), &over(&index));
    let base = larder.url(&page_path("six"));
    let page = Client::new().get(&base).with("accept", ACCEPT_PAGE).send().await;
    let link = link_on(&page, &base, BLOB).expect("a link");

    let gate = Gate::closed();
    index.files.fault(&upload.path, Fault::Wait(Some(0), gate.clone()));
    let mut readers = join_all((0..CROWD).map(|_| Client::new().get(&link).open())).await;
    // Upstream has sent its head and waits; everybody has an answer to read already.
    assert!(readers.iter().all(|reader| reader.status == 200));
    drop(readers.remove(0));
    gate.open();
    let pattern = pattern(&upload);
    let begun = Instant::now();
    let compared = join_all(readers.into_iter().map(async |mut reader| {
        let first = reader.next().await.expect("no cut").expect("no end");
        let first_byte = begun.elapsed();
        assert!(pattern.matches(0, &first), "the first bytes are wrong");
        let start = first.len() as u64;
        let (rest, right) = reader.compare(&pattern, start).await;
        (first_byte, start + rest, right)
    }));
    let limit = Duration::from_secs(60 + 4 * mebibytes);
    let compared = tokio::time::timeout(limit, compared).await.expect("it ends");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(compared.iter().all(|got| (got.1, got.2) == (length, true)), "{compared:?}");
    assert_eq!(index.files.asked(&upload.path).len(), 1);
    assert_eq!(index.files.sent(&upload.path), length);
    let resident = larder.peak_resident_bytes() >> 20;
    let slowest = compared.iter().map(|got| got.0).max().expect("a crowd");
    eprintln!(
        "{CROWD} clients, {mebibytes} MiB each: {seconds:.1} s, {resident} MiB resident at most, first byte {} ms after \
         upstream may send at the latest",
        slowest.as_millis()
    );
    assert!(resident < 150, "{resident} MiB resident");
}
