//! Warm is warm: no question to upstream while things are fresh, one conditional question per project afterwards, across restarts.

use crate::support::client::ACCEPT_PAGE;
use crate::support::index::{EVERY_STYLE, FakeIndex, Style, Upload};
use crate::support::larder::{Larder, impatient, over};
use crate::support::origin::{Fault, Gate};
use crate::support::wait::soon;

const PROJECTS: [&str; 3] = ["one", "two", "three"];

/// An index with three projects, each of which was installed through Larder.
async fn warm(style: Style) -> (FakeIndex, Larder) {
    let index = FakeIndex::start(style).await;
    for name in PROJECTS {
        index.publish(name, [Upload::wheel(name, "1.0")]);
    }
    let larder = Larder::over(&index).await;
    install(&larder).await;
    forget(&index);
    (index, larder)
}

/// What an installation asks for.
async fn install(larder: &Larder) {
    for name in PROJECTS {
        let link = larder.link(name, &format!("{name}-1.0-py3-none-any.whl")).await;
        let metadata = larder.client.get(format!("{link}.metadata")).send().await;
        assert!(matches!(metadata.status.as_u16(), 200 | 404), "{metadata:?}");
        let file = larder.client.get(&link).send().await;
        assert!(file.status == 200 && !file.cut, "{file:?}");
    }
}

fn forget(index: &FakeIndex) {
    index.pages.forget();
    index.files.forget();
}

#[tokio::test]
async fn a_warm_installation_asks_nothing() {
    for style in EVERY_STYLE {
        let (index, larder) = warm(style).await;
        larder.advance(300);
        install(&larder).await;
        assert_eq!((index.pages.log().len(), index.files.log().len()), (0, 0), "{style:?}");
    }
}

#[tokio::test]
async fn a_later_one_asks_once_per_project() {
    for style in EVERY_STYLE {
        let (index, larder) = warm(style).await;
        larder.advance(3600);
        install(&larder).await;
        install(&larder).await;
        assert_eq!((index.pages.log().len(), index.files.log().len()), (3, 0), "{style:?}");
        if style == Style::Full {
            for logged in index.pages.log() {
                assert!(logged.header("if-none-match").is_some(), "{}", logged.path);
                assert_eq!(logged.status(), 304);
            }
        }
    }
}

#[tokio::test]
async fn a_restart_is_warm() {
    for style in EVERY_STYLE {
        let (index, larder) = warm(style).await;
        let larder = larder.restart().await;
        larder.advance(300);
        install(&larder).await;
        assert_eq!((index.pages.log().len(), index.files.log().len()), (0, 0), "{style:?}");
    }
}

#[tokio::test]
async fn a_restart_without_upstream_serves_everything() {
    let (index, larder) = warm(Style::Full).await;
    index.pages.refuse().await;
    index.files.refuse().await;
    let larder = larder.restart().await;
    larder.advance(100_000_000);
    install(&larder).await;
}

#[tokio::test]
async fn an_insisting_client_is_heard_but_not_by_every_word() {
    let (index, larder) = warm(Style::Full).await;
    larder.advance(60);
    let insist = async |field: &'static str, value: &str| {
        let ask = larder.client.get(larder.url("/simple/one/")).with("accept", ACCEPT_PAGE);
        assert_eq!(ask.with(field, value).send().await.status, 200);
        index.pages.asked("/simple/one/").len()
    };
    assert_eq!(insist("cache-control", "max-age=0").await, 1);
    assert_eq!(insist("cache-control", "no-cache").await, 1, "just now is fresh enough");
    larder.advance(60);
    assert_eq!(insist("cache-control", "no-cache").await, 2);
    larder.advance(60);
    assert_eq!(insist("pragma", "no-cache").await, 3);
}

#[tokio::test]
async fn absence_is_remembered_for_a_short_time() {
    let (index, larder) = warm(Style::Full).await;
    for _ in 0..3 {
        assert_eq!(larder.page("later").await.status, 404);
    }
    assert_eq!(index.pages.asked("/simple/later/").len(), 1);
    index.publish("later", [Upload::wheel("later", "1.0")]);
    larder.advance(3600);
    assert_eq!(larder.page("later").await.status, 200);
}

#[tokio::test]
async fn a_slow_upstream_is_not_waited_for_when_something_is_kept() {
    let index = FakeIndex::start(Style::Full).await;
    for name in PROJECTS {
        index.publish(name, [Upload::wheel(name, "1.0")]);
    }
    let larder = Larder::start(&impatient(&over(&index))).await;
    install(&larder).await;
    larder.advance(3600);
    // Nothing comes until the test says so: whoever waits for it waits until the deadline.
    let gate = Gate::closed();
    index.pages.fault("*", Fault::Wait(None, gate.clone()));
    index.files.refuse().await;
    soon("an installation beside a slow upstream", install(&larder)).await;
    gate.open();
}
