//! What bad answers of the hub come to: never a wrong file, never an outage called absence, and the first good answer heals.

use http::Method;

use super::clients::{Sequence, Session, next_link};
use super::stock::{ID, Stand, WEIGHTS, content, fault, pushed, wanted};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Kind, LinkedSize, World, files};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::{Answer, Cut, Fault, Gate, Origin, Pattern};
use crate::support::wait::soon;

/// Clients that get every file, each its own way.
const WHOLE: [Sequence; 4] =
    [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::FirstByte];

async fn run(stand: &Stand, sequence: Sequence) -> Option<String> {
    let main = wanted("main", &content());
    fault(sequence, &content(), stand.client(sequence).run(sequence, &main).await)
}

async fn get(stand: &Stand, path: &str) -> Reply {
    stand.larder.get(path).await
}

/// Settings by which not even a range of one byte leaves unverified.
fn verifying(settings: String) -> String {
    settings.replace("[cache]", "[cache]\nverify_before_range = true")
}

/// A reply that says "not now", and nothing that a client would remember.
fn is_outage(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 502..=504)
        && reply.header("x-error-code").is_empty()
        && reply.header("x-repo-commit").is_empty()
}

#[tokio::test]
async fn a_tree_that_fails_in_the_middle_is_not_half_a_tree() {
    for sequence in [Sequence::Tree, Sequence::Xet] {
        let stand = Stand::new("").await;
        stand.hub.switch(|switches| {
            switches.page_entries = 3;
            switches.tree_fails_from = Some(1);
        });
        let told = run(&stand, sequence).await;
        assert!(told.as_ref().is_some_and(|told| told.contains(": 50")), "{told:?}");
        let path = format!("/org/model/resolve/{}/config.json", stand.sha);
        let head = stand.larder.client.head(stand.larder.url(&path)).send().await;
        assert_eq!(head.status, 200, "a file does not wait for the tree: {head:?}");
        stand.hub.switch(|switches| switches.tree_fails_from = None);
        stand.larder.advance(60);
        assert_eq!(run(&stand, sequence).await, None, "{sequence:?}");
    }
}

#[tokio::test]
async fn pages_lead_back_to_larder() {
    let stand = Stand::new("").await;
    stand.hub.switch(|switches| switches.page_entries = 2);
    for path in [
        format!("/api/models/{ID}/tree/main?recursive=true"),
        format!("/api/models/{ID}/tree/main?recursive=true&expand=true"),
        format!("/api/models/{ID}/commits/main"),
        "/api/models?limit=1".to_owned(),
    ] {
        stand.hub.model("org/second", files([("a", File::plain("a"))]));
        stand.hub.commit(Kind::Model, ID, "main", content());
        let session = Session::new(&stand.larder.url(""));
        let entries = session.pages(&path).await.unwrap_or_else(|told| panic!("{path}: {told}"));
        assert!(entries.len() >= 2, "{path}: {entries:?}");
        let own = [stand.larder.url("")];
        assert_eq!(session.visited().into_iter().collect::<Vec<_>>(), own, "{path}");
        let first = get(&stand, &path).await;
        let next = next_link(&first.headers).unwrap_or_default();
        assert!(next.is_empty() || next.starts_with(&own[0]), "{path}: {next}");
    }
}

#[tokio::test]
async fn sizes_that_are_missing_or_wrong_do_no_harm() {
    for said in [LinkedSize::Missing, LinkedSize::Wrong(7)] {
        for sequence in WHOLE {
            let stand = Stand::new("").await;
            stand.hub.switch(|switches| switches.linked_size = said);
            match (said, run(&stand, sequence).await) {
                (_, None) => {}
                // What contradicts itself may be refused, but only as an outage, and only for now; or the list, which tells the right size, has come between two
                // requests, and the second is given the whole file.
                (LinkedSize::Wrong(more), Some(told)) => {
                    let is_whole = content().values().any(|file| {
                        let sizes = (file.size, file.size + more);
                        told.ends_with(&format!("{} bytes instead of Some({})", sizes.0, sizes.1))
                    });
                    assert!(told.contains(": 50") || is_whole, "{said:?}, {sequence:?}: {told}");
                }
                (_, Some(told)) => panic!("{said:?}, {sequence:?}: {told}"),
            }
            stand.hub.switch(|switches| switches.linked_size = LinkedSize::True);
            stand.larder.advance(3600);
            assert_eq!(run(&stand, sequence).await, None, "{said:?}, {sequence:?}");
        }
    }
}

#[tokio::test]
async fn bodies_without_a_length_are_served() {
    for sequence in WHOLE {
        let stand = Stand::new("").await;
        stand.hub.switch(|switches| switches.chunked = true);
        assert_eq!(run(&stand, sequence).await, None, "{sequence:?}");
    }
}

/// The link under which a transfer began is no good any more when it is to go on: the hub is asked for another one.
#[tokio::test]
async fn a_link_that_expires_in_the_middle_is_asked_for_again() {
    let stand = Stand::new("").await;
    let gate = Gate::closed();
    stand.hub.cdn.fault_times("*", 1, Fault::Wait(Some(WEIGHTS / 2), gate.clone()));
    let path = "/org/model/resolve/main/model.safetensors";
    let reader = stand.larder.client.get(stand.larder.url(path)).open().await;
    assert_eq!(reader.status, 200);
    stand.hub.advance(7200);
    stand.hub.cdn.refuse().await;
    stand.hub.cdn.listen();
    gate.open();
    let got = soon("the rest", reader.compare(&Pattern::new(12, WEIGHTS), 0)).await;
    assert_eq!(got, (WEIGHTS, true), "{:#?}", stand.hub.journal());
}

#[tokio::test]
async fn a_redirect_to_a_foreign_host_is_not_followed() {
    let stand = Stand::new("").await;
    let foreign =
        Origin::start("127.0.0.9", |_: &http::Request<bytes::Bytes>| Answer::ok("x/y", "mine"))
            .await;
    let elsewhere = foreign.url("");
    stand.hub.switch(|switches| switches.cdn_instead = Some(elsewhere));
    let reply = get(&stand, "/org/model/resolve/main/model.safetensors").await;
    assert!(is_outage(&reply), "{reply:?}");
    assert!(foreign.log().is_empty(), "it was asked");
    let small = get(&stand, "/org/model/resolve/main/config.json").await;
    assert_eq!(small.status, 200);
    stand.hub.switch(|switches| switches.cdn_instead = None);
    stand.larder.advance(60);
    assert_eq!(run(&stand, Sequence::Siblings).await, None);
}

#[tokio::test]
async fn wrong_bytes_are_nobodys_file() {
    for sequence in WHOLE {
        let stand = Stand::settled("", verifying).await;
        stand.hub.cdn.fault("*", Fault::Corrupt);
        stand.hub.hub.fault("/api/resolve-cache/*", Fault::Corrupt);
        let told = run(&stand, sequence).await;
        assert!(told.is_some(), "{sequence:?}: a corrupt file was completed");
        let part =
            stand.larder.client.get(stand.larder.url("/org/model/resolve/main/model.safetensors"));
        let part = part.with("range", "bytes=0-0").send().await;
        assert!(is_outage(&part), "{sequence:?}: a range of wrong bytes: {part:?}");
        stand.hub.heal();
        stand.larder.advance(60);
        assert_eq!(run(&stand, sequence).await, None, "{sequence:?}");
    }
}

#[tokio::test]
async fn transfers_that_break_are_taken_up_again() {
    for how in [Cut::Close, Cut::Reset] {
        for sequence in WHOLE {
            let stand = Stand::new("").await;
            stand.hub.cdn.fault_times("/xet-bridge-us/*", 1, Fault::Cut { after: 60_000, how });
            stand.hub.cdn.fault_times("/repos/*", 1, Fault::Cut { after: 60_000, how });
            assert_eq!(run(&stand, sequence).await, None, "{how:?}, {sequence:?}");
        }
    }
}

/// Files that the hub's storage does not hand out whole are put together from its chunks, for all clients.
#[tokio::test]
async fn files_that_are_refused_whole_come_in_chunks() {
    for (first_xet_only, compressed) in [(false, false), (true, true)] {
        for sequence in WHOLE {
            let stand = Stand::new("").await;
            stand.hub.switch(|switches| {
                switches.bridge_limit = Some(0);
                switches.first_xet_only = first_xet_only;
                switches.compressed_xorbs = compressed;
            });
            assert_eq!(run(&stand, sequence).await, None, "{sequence:?}, {compressed}");
            let leaked =
                stand.hub.cdn.log().iter().any(|logged| logged.header("authorization").is_some());
            assert!(!leaked, "{sequence:?}");
            stand.hub.refuse().await;
            stand.larder.advance(3600);
            assert_eq!(run(&stand, sequence).await, None, "{sequence:?}, {compressed}: kept");
        }
    }
}

#[tokio::test]
async fn wrong_chunks_are_nobodys_file() {
    let stand = Stand::new("").await;
    stand.hub.switch(|switches| switches.bridge_limit = Some(0));
    stand.hub.cdn.fault("/xorbs/*", Fault::Corrupt);
    let told = run(&stand, Sequence::Siblings).await;
    assert!(told.is_some(), "a corrupt file was completed");
    stand.hub.heal();
    stand.larder.advance(60);
    assert_eq!(run(&stand, Sequence::Siblings).await, None);
}

/// Answers of the hub that say nothing about the repository: an outage where nothing is kept, and what is kept otherwise.
#[tokio::test]
async fn nonsense_is_an_outage() {
    let page = "text/html; charset=utf-8";
    let nonsense = [
        ("error page", Fault::error_page()),
        ("empty", Fault::empty()),
        ("other JSON", Fault::Instead(Answer::ok("application/json", "[1]"))),
        ("half of it", Fault::ChunkedCut { after: 20 }),
        ("gzip bomb", Fault::gzip_bomb("application/json", 64)),
        ("500", Fault::status(500)),
        (
            "404 without a code",
            Fault::Instead(Answer::new(404).with("content-type", page).of("nothing here")),
        ),
        (
            "401 without a code",
            Fault::Instead(Answer::new(401).with("content-type", page).of("who?")),
        ),
        ("redirect in a circle", Fault::redirect("/org/model/resolve/main/config.json")),
    ];
    for (name, fault) in nonsense {
        let stand = Stand::new("").await;
        stand.hub.hub.fault("*", fault.clone());
        for path in ["/org/model/resolve/main/config.json", "/api/models/org/model/revision/main"] {
            let reply = get(&stand, path).await;
            let remembered = reply.status == 404 && !reply.header("x-repo-commit").is_empty();
            assert!(!reply.status.is_success() && !remembered, "{name}, {path}: {reply:?}");
            assert_ne!(reply.header("x-error-code"), "EntryNotFound", "{name}, {path}");
        }
        stand.hub.heal();
        stand.larder.advance(120);
        assert_eq!(run(&stand, Sequence::Tree).await, None, "{name}: healed");
        stand.hub.hub.fault("*", fault);
        stand.larder.advance(3600);
        assert_eq!(run(&stand, Sequence::Tree).await, None, "{name}: kept");
    }
}

/// A client that is told that a file is not there remembers it for ever, by the commit. So it is told only what is known.
#[tokio::test]
async fn absence_is_told_only_where_it_is_known() {
    let head = async |stand: &Stand, path: &str| {
        stand.larder.client.head(stand.larder.url(path)).send().await
    };
    let stand = Stand::new("").await;
    stand.hub.turn(World::Unavailable, Kind::Model, ID, pushed()).await;
    let cold = head(&stand, "/org/model/resolve/main/adapter_config.json").await;
    assert!(is_outage(&cold) && !cold.header("retry-after").is_empty(), "{cold:?}");
    assert!(!cold.header("x-error-message").is_empty(), "{cold:?}");
    stand.hub.heal();
    stand.larder.advance(60);
    let known = head(&stand, "/org/model/resolve/main/adapter_config.json").await;
    let told = |reply: &Reply| {
        let fields =
            (reply.header("x-error-code").to_owned(), reply.header("x-repo-commit").to_owned());
        (reply.status.as_u16(), fields)
    };
    let absent = (404, ("EntryNotFound".to_owned(), stand.sha.clone()));
    assert_eq!(told(&known), absent);
    stand.until_complete().await;
    for world in [World::Unavailable, World::Refused] {
        stand.hub.heal();
        stand.hub.turn(world, Kind::Model, ID, pushed()).await;
        stand.larder.advance(3600);
        for path in ["main/never/asked/for.json", "main/adapter_config.json"] {
            let reply = head(&stand, &format!("/org/model/resolve/{path}")).await;
            assert_eq!(told(&reply), absent, "{world:?}, {path}");
        }
        let unknown = head(&stand, "/org/model/resolve/v9/config.json").await;
        assert!(is_outage(&unknown), "{world:?}: {unknown:?}");
        let other = head(&stand, "/org/other/resolve/main/config.json").await;
        assert!(is_outage(&other), "{world:?}: {other:?}");
    }
}

/// Names that look like something else, and slashes that are part of a name.
#[tokio::test]
async fn names_are_read_as_they_are_written() {
    let hub = FakeHub::start().await;
    let one = files([("refs/main.txt", File::plain("one")), ("a%2Fb.txt", File::plain("two"))]);
    hub.commit(Kind::Model, "gpt2", "main", one.clone());
    hub.commit(Kind::Model, "gpt2", "refs/pr/1", one.clone());
    hub.commit(Kind::Model, "gpt2", "feature/x", one.clone());
    hub.commit(Kind::Dataset, "squad", "main", one);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let check = async |path: &str, status: u16, part: &str| {
        let reply = larder.get(path).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        assert!(reply.text().contains(part), "{path}: {}", reply.text());
    };
    for path in [
        "/gpt2/resolve/main/refs/main.txt",
        "/gpt2/resolve/main/refs%2Fmain.txt",
        "/gpt2/resolve/refs%2Fpr%2F1/refs/main.txt",
        "/gpt2/resolve/feature%2Fx/refs/main.txt",
        "/datasets/squad/resolve/main/refs/main.txt",
    ] {
        check(path, 200, "one").await;
    }
    check("/gpt2/resolve/main/a%252Fb.txt", 200, "two").await;
    check("/api/models/gpt2/refs", 200, "refs/heads/main").await;
    check("/api/models/gpt2/revision/refs%2Fpr%2F1", 200, "\"gpt2\"").await;
    check("/api/models/gpt2/tree/feature%2Fx/refs", 200, "refs/main.txt").await;
    check("/api/datasets/squad/tree/main", 200, "a%2Fb.txt").await;
    check("/api/agent-harnesses", 200, "harnesses").await;
    check("/api/nothing-of-the-kind", 404, "").await;
    check("/api/models-tags-by-type", 200, "license").await;
    check("/api/models/gpt2%2Frefs", 401, "").await;
}

#[tokio::test]
async fn a_renamed_repository_is_served_by_both_names() {
    let stand = Stand::new("").await;
    assert_eq!(run(&stand, Sequence::Tree).await, None);
    stand.hub.rename(Kind::Model, ID, "org/renamed");
    stand.larder.advance(3600);
    for (id, sequence) in
        [(ID, Sequence::Tree), (ID, Sequence::Xet), ("org/renamed", Sequence::Siblings)]
    {
        let mut main = wanted("main", &content());
        main.id = id.to_owned();
        let session = stand.client(sequence);
        let told = fault(sequence, &content(), session.run(sequence, &main).await);
        assert_eq!(told, None, "{id}, {sequence:?}");
        assert_eq!(session.visited().len(), 1, "{id}: {:?}", session.visited());
    }
    let cold = Stand::new("").await;
    cold.hub.rename(Kind::Model, ID, "org/renamed");
    for sequence in WHOLE {
        assert_eq!(run(&cold, sequence).await, None, "{sequence:?}");
    }
}

#[tokio::test]
async fn telemetry_stays_here_and_unknown_addresses_pass() {
    let stand = Stand::new("").await;
    let head = (Method::HEAD, "/api/telemetry/hf_hub/x");
    // Xet's client sends its own to the root of its service's host.
    let post = (Method::POST, "/v1/telemetry");
    for (method, path) in [head, (Method::POST, "/api/telemetry/hf_hub/x"), post] {
        let url = stand.larder.url(path);
        assert_eq!(stand.larder.client.ask(method, url).send().await.status, 200, "{path}");
    }
    assert_eq!(stand.asked(), Vec::<String>::new());
    let url = stand.larder.url("/api/validate-yaml");
    let reply = stand.larder.client.ask(Method::POST, url).body("{}").send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(stand.hub.hub.asked("/api/validate-yaml").len(), 1);
}
