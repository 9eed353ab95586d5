//! What the log says of an upstream that is away: that it is, once, and not again for each thing that somebody asks for meanwhile.

use std::fs;

use tempfile::TempDir;

use crate::support::child::Process;
use crate::support::client::Client;
use crate::support::index::{FakeIndex, Style};
use crate::support::larder::over;

#[tokio::test]
async fn an_outage_is_told_once() {
    let (index, place) = (FakeIndex::start(Style::Full).await, TempDir::new());
    let place = place.expect("a temporary folder can be made");
    index.pages.refuse().await;
    let settings = over(&index).replace("breaker_pause = \"50ms\"", "breaker_pause = \"40s\"");
    let settings = settings.replace("breaker_pause_max = \"50ms\"", "breaker_pause_max = \"40s\"");
    let larder = Process::start(place.path(), &settings);
    let client = Client::new();
    for number in 0..40 {
        let reply = client.get(larder.url(&format!("/simple/project-{number}/"))).send().await;
        assert!(reply.status.is_server_error(), "{reply:?}");
    }
    larder.kill();
    let log = fs::read_to_string(place.path().join("log")).expect("the log can be read");
    assert_eq!(log.matches("upstream is away").count(), 1, "{log}");
    let failures = log.matches("could not be refreshed").count();
    assert!((1..10).contains(&failures), "{failures}: {log}");
}
