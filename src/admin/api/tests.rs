//! The table of operations, with a resource that says how it was called.

use serde_json::Value;

use super::*;
use crate::admin::tests::text_of;

#[derive(Debug)]
struct Parrot;

impl Resource for Parrot {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("list", Method::GET, "birds", Right::Client),
            Operation::new("show", Method::GET, "birds/{name...}", Right::Client),
            Operation::new("song", Method::GET, "birds/{name}/song", Right::Client),
            Operation::new("free", Method::DELETE, "birds/{name...}", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let said = format!("{} {:?} {:?}", call.operation, call.captures, call.query.get("q"));
        ready(Ok(json(&said))).boxed()
    }
}

async fn said(visit: Visit) -> (u16, String) {
    let api = Api::new(&[Arc::new(Parrot)]);
    let path = visit.path.clone();
    let response = api.answer(visit, &path).await;
    let status = response.status().as_u16();
    let json: Value = serde_json::from_str(&text_of(response).await).expect("JSON");
    let text = json["detail"].as_str().or_else(|| json.as_str()).expect("a text");
    (status, text.to_owned())
}

#[tokio::test]
async fn the_most_exact_address_is_called() {
    let check = async |method: Method, path: &str, expected: (u16, &str)| {
        let (status, text) = said(Visit { method, ..Visit::reading(path) }).await;
        assert_eq!((status, text.as_str()), expected, "{path}");
    };
    check(Method::GET, "birds", (200, "list [] None")).await;
    check(Method::HEAD, "birds", (200, "list [] None")).await;
    check(Method::GET, "birds/a%20b/c", (200, "show [\"a b/c\"] None")).await;
    check(Method::GET, "birds/a/song", (200, "song [\"a\"] None")).await;
    check(Method::DELETE, "birds/a", (200, "free [\"a\"] None")).await;
    check(Method::POST, "birds/a", (405, "this address is for GET, DELETE")).await;
    check(Method::GET, "birds/%ff", (400, "the address is not UTF-8")).await;
    assert_eq!(said(Visit::reading("fish")).await.0, 404);
    let query = Some("q=a+b&q=c".to_owned());
    let (_, text) = said(Visit { query, ..Visit::reading("birds") }).await;
    assert_eq!(text, "list [] Some(\"c\")");
}

#[tokio::test]
async fn what_is_for_administrators_is_for_nobody_else() {
    let visit = || Visit { method: Method::DELETE, ..Visit::reading("birds/a") };
    let with = |name: &'static str, value: &'static str| {
        let mut visit = visit();
        visit.headers.insert(name, HeaderValue::from_static(value));
        visit
    };
    assert_eq!(said(visit()).await.0, 200);
    let mut client = visit();
    client.caller.right = Right::Client;
    assert_eq!(said(client).await.0, 403);
    assert_eq!(said(with("origin", "http://127.0.0.1:1")).await.0, 403);
    assert_eq!(said(with("sec-fetch-site", "cross-site")).await.0, 403);
    assert_eq!(said(with("sec-fetch-site", "none")).await.0, 200);
}
