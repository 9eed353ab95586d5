//! What is told of a document's life to whoever keeps the record.

use super::*;

#[tokio::test]
async fn what_happens_to_a_document_is_told_once() {
    let bench = Bench::new();
    let check = async |answer: &dyn Fn(), expected: &str| {
        answer();
        bench.pass(601);
        let _ = bench.get(&document()).await;
        bench.settle().await;
        let events = bench.notebook.take().into_iter().map(|event| {
            assert_eq!((event.mount.as_str(), event.what.subject.as_str()), ("test", "text:doc"));
            let change = event.what.before.zip(event.what.after);
            change.map_or_else(
                || event.what.kind.name().to_owned(),
                |(before, after)| format!("{} {before} {after}", event.what.kind),
            )
        });
        assert_eq!(events.collect::<Vec<_>>().join(","), expected);
    };
    check(&|| bench.status(StatusCode::BAD_GATEWAY), "").await;
    check(&|| bench.serve("a"), "appeared").await;
    check(&|| {}, "").await;
    check(&|| bench.serve("b"), "moved a b").await;
    check(&|| bench.status(StatusCode::FORBIDDEN), "withdrawn").await;
    check(&|| {}, "").await;
    check(&|| bench.serve("b"), "reopened").await;
    check(&|| bench.status(StatusCode::NOT_FOUND), "vanished").await;
    check(&|| bench.status(StatusCode::GONE), "").await;
    check(&|| bench.status(StatusCode::BAD_GATEWAY), "").await;
    check(&|| bench.serve("b!"), "returned").await;
}

#[tokio::test]
async fn nothing_is_told_of_what_one_clients_credential_opens() {
    let bench = Bench::new();
    bench.serve("a");
    let mut own = document();
    own.lookup.key = CacheKey::new("test", &Audience::Credential([7; 16]), "doc");
    bench.get(&own).await.expect("it is there");
    bench.settle().await;
    assert_eq!(bench.notebook.take(), []);
}
