//! Pages over an empty store in memory.

use super::*;
use crate::store::memory::{Fault, MemoryStore};

/// Larder's pages over an empty store, with one mount whose words want escaping.
fn admin(store: &MemoryStore, phase: Phase) -> Admin {
    let guides = vec![Guide {
        mount: "books/<main>".to_owned(),
        lines: vec![GuideLine { client: "reader".to_owned(), text: "read --from here".to_owned() }],
    }];
    let scrape: Scrape = Arc::new(|| "larder_up 1\n".to_owned());
    let phase = watch::channel(phase).1;
    let (store, waiting) = (Arc::new(store.clone()), Arc::new(|| 3));
    Admin::new(State { store, phase, guides, waiting }, Vec::new(), scrape)
}

async fn get(admin: &Admin, path: &str) -> (StatusCode, String) {
    let response = admin.answer(Visit::reading(path)).await;
    (response.status(), text_of(response).await)
}

pub(super) async fn text_of(response: Response<Body>) -> String {
    let limited = http_body_util::Limited::new(response.into_body(), 64 << 10);
    let mut body = std::pin::pin!(limited);
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a body in memory");
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn readiness_names_every_hindrance() {
    let store = MemoryStore::new();
    let check = async |phase, status: u16, expected: &str| {
        assert_eq!(
            get(&admin(&store, phase), "/-/ready").await,
            (StatusCode::from_u16(status).expect("a status"), expected.to_owned())
        );
    };
    store.suffer(Fault::Refusing);
    let refusing = "the store takes no writes: what is kept is served, nothing new is kept\n";
    check(Phase::Serving, 503, refusing).await;
    check(Phase::Draining, 503, &format!("shutting down\n{refusing}")).await;
    store.recover(Fault::Refusing);
    check(Phase::Starting, 503, "not listening yet\n").await;
    check(Phase::Serving, 200, "ready\n").await;
}

#[tokio::test]
async fn health_asks_for_nothing_but_life() {
    let store = MemoryStore::new();
    store.suffer(Fault::Refusing);
    assert_eq!(get(&admin(&store, Phase::Draining), "/-/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn only_own_paths_are_claimed_and_pages_only_read() {
    for path in ["/-x", "/simple/-/health"] {
        assert!(!Admin::claims(path), "{path}");
    }
    let admin = admin(&MemoryStore::new(), Phase::Serving);
    let check = async |method: Method, path: &str, expected: u16| {
        assert!(Admin::claims(path), "{path}");
        let response = admin.answer(Visit { method, ..Visit::reading(path) }).await;
        assert_eq!(response.status(), expected, "{path}");
    };
    check(Method::GET, "/", 303).await;
    check(Method::GET, "/-/nothing", 404).await;
    check(Method::GET, "/-/health/", 404).await;
    check(Method::POST, "/-/health", 405).await;
    check(Method::DELETE, "/-/nothing", 405).await;
    check(Method::HEAD, "/-/health", 200).await;
    check(Method::GET, "/-", 200).await;
    check(Method::GET, "/-/api/v1/status", 200).await;
    let status = get(&admin, "/-/api/v1/status").await.1;
    let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
    assert_eq!(status["waiting"], 3);
    check(Method::POST, "/-/api/v1/status", 405).await;
}

#[tokio::test]
async fn the_start_page_shows_guides_and_sizes_without_becoming_their_markup() {
    let (status, html) = get(&admin(&MemoryStore::new(), Phase::Serving), "/-/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("<h3>books/&lt;main&gt;</h3>"), "{html}");
    assert!(html.contains("<pre>read --from here</pre>"), "{html}");
    assert!(html.contains("<tr><td>budget<td>none, nothing is evicted"), "{html}");
}

#[tokio::test]
async fn status_and_metrics_say_what_the_store_holds() {
    let admin = admin(&MemoryStore::new(), Phase::Serving);
    let (_, json) = get(&admin, "/-/api/v1/status").await;
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["ready"], true);
    assert_eq!(status["store"]["entries"], 0);
    assert_eq!(status["store"]["budget_bytes"], serde_json::Value::Null);
    assert_eq!(status["mounts"][0]["lines"][0]["client"], "reader");
    assert_eq!(get(&admin, "/-/metrics").await, (StatusCode::OK, "larder_up 1\n".to_owned()));
}
