//! A name that somebody else has taken on the hub goes on to stand for what it stood for.

use super::story::{MODEL, Story};
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::larder::{Larder, over_hub};

const FILE: &str = "/org/model/resolve/main/config.json";

/// A repository that Larder knows, and its name in other hands.
async fn taken(more: &str) -> (FakeHub, Larder, String) {
    let hub = FakeHub::start().await;
    hub.model(MODEL, files([("config.json", File::plain("ours"))]));
    let larder = Larder::start(&over_hub(&hub, more)).await;
    assert_eq!(larder.get(FILE).await.text(), "ours");
    hub.delete(Kind::Model, MODEL);
    let theirs = [("config.json", File::plain("theirs")), ("new.txt", File::plain("new"))];
    let commit = hub.model(MODEL, files(theirs));
    hub.edit(Kind::Model, MODEL, |repository| repository.identity = "f".repeat(24));
    larder.advance(3600);
    (hub, larder, commit)
}

#[tokio::test]
async fn what_is_known_is_served_on_and_marked() {
    let (hub, larder, commit) = taken("").await;
    for later in [false, true] {
        let file = larder.get(FILE).await;
        assert_eq!(file.text(), "ours", "later {later}");
        assert!(file.header("x-hf-warning").starts_with("identity; "), "{file:?}");
        let info = larder.get("/api/models/org/model").await;
        assert!(!info.text().contains(&commit), "{info:?}");
        for path in [
            "/org/model/resolve/main/new.txt".to_owned(),
            format!("/org/model/resolve/{commit}/config.json"),
            format!("/api/models/org/model/tree/{commit}"),
        ] {
            let reply = larder.get(&path).await;
            assert!(!reply.status.is_success(), "{path} {reply:?}");
        }
        hub.heal();
        larder.advance(3600);
    }
    let larder = larder.restart().await;
    assert_eq!(larder.get(FILE).await.text(), "ours");
}

#[tokio::test]
async fn a_branch_of_a_stranger_is_no_branch_of_the_known_one() {
    let hub = FakeHub::start().await;
    hub.model(MODEL, files([("config.json", File::plain("ours"))]));
    let larder = Larder::start(&over_hub(&hub, "")).await;
    assert_eq!(larder.get(FILE).await.text(), "ours");
    hub.delete(Kind::Model, MODEL);
    hub.commit(Kind::Model, MODEL, "dev", files([("config.json", File::plain("theirs"))]));
    hub.edit(Kind::Model, MODEL, |repository| repository.identity = "f".repeat(24));
    // The repository's own document is still fresh; the branch's is asked for now.
    let reply = larder.get("/org/model/resolve/dev/config.json").await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.header("x-error-message").contains("Another repository"), "{reply:?}");
}

#[tokio::test]
async fn a_stranger_may_be_followed_by_configuration() {
    let (_hub, larder, commit) = taken("identity = \"follow\"").await;
    let file = larder.get(FILE).await;
    assert_eq!((file.text().as_str(), file.header("x-repo-commit")), ("theirs", commit.as_str()));
}

#[tokio::test]
async fn where_withdrawal_is_heeded_a_taken_name_is_refused() {
    let (_hub, larder, _) = taken("after_withdrawal = \"deny\"").await;
    let reply = larder.get(FILE).await;
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.text().contains("Another repository"), "{reply:?}");
}

#[tokio::test]
async fn a_repository_of_another_name_is_the_same() {
    let hub = FakeHub::start().await;
    hub.model(MODEL, files([("config.json", File::plain("old"))]));
    let larder = Larder::start(&over_hub(&hub, "")).await;
    assert_eq!(larder.get(FILE).await.text(), "old");
    hub.rename(Kind::Model, MODEL, "other/model");
    hub.model("other/model", files([("config.json", File::plain("new"))]));
    larder.advance(3600);
    let file = larder.get(FILE).await;
    assert_eq!((file.text().as_str(), file.header("x-hf-warning")), ("new", ""), "{file:?}");
}

#[tokio::test]
async fn a_repository_that_comes_back_is_itself() {
    let (hub, larder, _) = taken("").await;
    assert_eq!(larder.get(FILE).await.text(), "ours");
    hub.delete(Kind::Model, MODEL);
    // As the fake numbers repositories, this is the first one.
    hub.model(MODEL, files([("config.json", File::plain("restored"))]));
    larder.advance(3600);
    let file = larder.get(FILE).await;
    assert_eq!((file.text().as_str(), file.header("x-hf-warning")), ("restored", ""), "{file:?}");
}

#[tokio::test]
async fn somebody_accepts_a_stranger() {
    let (_hub, larder, commit) = taken("").await;
    assert_eq!(larder.get(FILE).await.text(), "ours");
    let address = larder.url("/-/api/v1/identities/models/org/model");
    let told = larder.client.get(&address).send().await.json();
    assert_eq!(told["stranger"]["id"], "f".repeat(24), "{told}");
    let accept = async |id: &str| {
        let body = format!("{{\"accept\": \"{id}\"}}");
        larder.client.ask(http::Method::PUT, &address).body(body).send().await
    };
    assert_eq!(accept(&"0".repeat(24)).await.status, 409);
    let accepted = accept(&"f".repeat(24)).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let file = larder.get(FILE).await;
    assert_eq!((file.text().as_str(), file.header("x-repo-commit")), ("theirs", commit.as_str()));
    larder.advance(86_400);
    let larder = larder.restart().await;
    assert_eq!(larder.get(FILE).await.text(), "theirs");
    // The past is not rewritten.
    let before = larder.get("/@2027-01-15T08:30:00Z/org/model/resolve/main/config.json").await;
    assert_eq!(before.text(), "ours", "{before:?}");
}

/// The stranger of the story, for good measure: its commit is nowhere.
#[tokio::test]
async fn a_taken_name_shows_at_no_date() {
    let story = Story::told().await;
    for prefix in ["", "/@2027-01-17", "/@2027-01-19"] {
        let info = story.larder.get(&format!("{prefix}/api/models/{MODEL}")).await;
        assert_eq!(info.json()["sha"], story.days[2].commit.as_str(), "{prefix} {info:?}");
        assert!(!info.text().contains(&story.stranger), "{prefix}");
    }
}
