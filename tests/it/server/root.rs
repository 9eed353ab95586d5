//! Who looks around with a browser.

use crate::support::hub::FakeHub;
use crate::support::index::{FakeIndex, Style};
use crate::support::larder::{HUB_NAME, Larder, generic, over, over_hub};

/// The root was the hub's, and asked there.
#[tokio::test]
async fn the_root_leads_to_the_start_page() {
    let index = FakeIndex::start(Style::Full).await;
    let larder = Larder::start(&over(&index)).await;
    let reply = larder.get("/").await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "-/"), "{reply:?}");
    let page = larder.client.get(larder.url("/-/")).with("accept", "text/html").send().await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
}

/// A mount's name that was left out went to the hub, too.
#[tokio::test]
async fn a_mount_without_a_name_is_told_the_names_there_are() {
    let larder = Larder::start(&generic("http://127.0.0.1:9", "")).await;
    for path in ["/generic", "/generic/"] {
        let reply = larder.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.text().contains("/generic/NAME/; there is \\\"it\\\""), "{path}: {reply:?}");
    }
}

/// A mount with a host of its own has the root of that host.
#[tokio::test]
async fn a_host_of_its_own_has_a_root_of_its_own() {
    let hub = FakeHub::start().await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let asked = larder.client.get(larder.url("/")).with("host", HUB_NAME).send().await;
    assert_ne!(asked.status, 303, "{asked:?}");
    assert!(asked.header("cache-status").contains("fwd=uri-miss"), "{asked:?}");
}
