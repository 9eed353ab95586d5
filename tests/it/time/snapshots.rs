//! Snapshots: named over the API, kept over restarts, served at their names.

use http::Method;
use serde_json::json;

use super::story::{MODEL, Story};
use crate::support::client::Reply;

async fn ask(story: &Story, method: Method, path: &str, body: &str) -> Reply {
    let url = story.larder.url(&format!("/-/api/v1/{path}"));
    story.larder.client.ask(method, url).body(body.to_owned()).send().await
}

#[tokio::test]
async fn a_name_leads_to_its_instant_and_outlives_the_process() {
    let story = Story::told().await;
    let made = ask(&story, Method::PUT, "snapshots/release", "{\"at\": \"2027-01-16\"}").await;
    assert_eq!(made.status, 200, "{made:?}");
    assert_eq!(made.json()["at"], "2027-01-16T23:59:59.999Z");
    assert_eq!(ask(&story, Method::PUT, "snapshots/today", "").await.json()["prefix"], "/@today");
    let Story { hub, index, registry, larder, days, stranger } = story;
    let larder = larder.restart().await;
    let story = Story { hub, index, registry, larder, days, stranger };
    let main = format!("/@release/{MODEL}/resolve/main/config.json");
    let file = story.larder.get(&main).await;
    assert_eq!(file.header("x-repo-commit"), story.days[1].commit, "{file:?}");
    let listed = story.larder.get("/-/api/v1/snapshots").await.json();
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, [&json!("release"), &json!("today")]);
    assert_eq!(ask(&story, Method::DELETE, "snapshots/release", "").await.status, 200);
    assert_eq!(story.larder.get(&main).await.status, 404);
    assert_eq!(ask(&story, Method::DELETE, "snapshots/release", "").await.status, 404);
}

#[tokio::test]
async fn a_name_stays_what_it_is() {
    let story = Story::told().await;
    let check = async |name: &str, body: &str, status: u16, word: &str| {
        let reply = ask(&story, Method::PUT, &format!("snapshots/{name}"), body).await;
        assert_eq!(reply.status, status, "{name} {reply:?}");
        assert!(reply.text().contains(word), "{name} {reply:?}");
    };
    check("a", "{\"at\": \"2027-01-16\"}", 200, "a").await;
    check("a", "{\"at\": \"2027-01-17\"}", 409, "already").await;
    check("b", "{\"at\": \"2099-01-01\"}", 400, "future").await;
    check("b", "{\"at\": \"yesterday\"}", 400, "no instant").await;
    check("b", "{\"when\": \"now\"}", 400, "unknown field").await;
    check("2027-01-01", "", 400, "cannot name").await;
    check("B", "", 400, "cannot name").await;
}
