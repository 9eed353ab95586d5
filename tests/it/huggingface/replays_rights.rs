//! Rights as configured: what was public once, Larder's own credential, nobody's credentials; and the hub's quota, which all clients share.

use std::fs;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::clients::{EVERY_SEQUENCE, Sequence, Session, Wanted};
use super::stock::{ID, Stand, content, fault, wanted};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Files, Kind, files};
use crate::support::larder::{Larder, over_hub};

use crate::support::origin::{Fault, Gate, Pattern};
use crate::support::wait::soon;

const OLD: &str = "what everybody could read";
const NEW: &str = "what came after the doors were closed";

fn before() -> Files {
    files([("notes.txt", File::plain(OLD)), ("w.bin", File::xet(Pattern::new(41, 50_000)))])
}

fn after() -> Files {
    files([("notes.txt", File::plain(NEW)), ("new.bin", File::xet(Pattern::new(42, 60_000)))])
}

async fn get(larder: &Larder, path: &str, token: &str) -> Reply {
    let ask = larder.client.get(larder.url(path));
    match token {
        "" => ask.send().await,
        token => ask.with("authorization", &format!("Bearer {token}")).send().await,
    }
}

/// The status with which Xet gives a file of the later commit, by way of a token for `commit`; `None`: it does not.
async fn opened(larder: &Larder, commit: &str, token: &str, path: &str) -> Option<u16> {
    let address = format!("/api/models/org/closing/xet-read-token/{commit}");
    let answer = get(larder, &address, token).await;
    let url =
        format!("{}/v1/reconstructions/{}", answer.header("x-xet-cas-url"), after()[path].xet);
    if !answer.status.is_success() {
        return None;
    }
    let bearer = format!("Bearer {}", answer.header("x-xet-access-token"));
    let told = larder.client.get(url).with("authorization", &bearer).send().await;
    told.status.is_success().then_some(told.status.as_u16())
}

/// What was kept while everybody could read it is served on. What came later is for those who may.
#[tokio::test]
async fn what_was_public_is_served_as_it_was_then() {
    let hub = FakeHub::start().await;
    hub.user("alice", "hf_alice");
    hub.user("bob", "hf_bob");
    let old = hub.model("org/closing", before());
    let larder = Larder::start(&over_hub(&hub, "")).await;
    for (path, _) in before() {
        assert_eq!(
            get(&larder, &format!("/org/closing/resolve/main/{path}"), "").await.status,
            200
        );
    }
    let listed = format!("/api/models/org/closing/tree/{old}?recursive=true");
    assert_eq!(get(&larder, &listed, "").await.status, 200);
    hub.make_private(Kind::Model, "org/closing", &["alice"]);
    let new = hub.model("org/closing", after());
    larder.advance(3600);
    let alice = get(&larder, "/org/closing/resolve/main/notes.txt", "hf_alice").await;
    assert_eq!((alice.text().as_str(), alice.header("x-repo-commit")), (NEW, new.as_str()));
    assert_eq!(get(&larder, "/org/closing/resolve/main/new.bin", "hf_alice").await.status, 200);
    let tree = format!("/api/models/org/closing/tree/{new}?recursive=true");
    assert_eq!(get(&larder, &tree, "hf_alice").await.status, 200);
    for later in [false, true] {
        for token in ["", "hf_bob"] {
            let notes = get(&larder, "/org/closing/resolve/main/notes.txt", token).await;
            assert_eq!(notes.text(), OLD, "{token:?}, later {later}: {notes:?}");
            let info = get(&larder, "/api/models/org/closing", token).await;
            assert!(!info.text().contains(&new), "{token:?}: {}", info.text());
            for path in [
                format!("/org/closing/resolve/{new}/notes.txt"),
                format!("/org/closing/resolve/{new}/new.bin"),
                "/org/closing/resolve/main/new.bin".to_owned(),
                tree.clone(),
                format!("/api/models/org/closing/revision/{new}"),
            ] {
                let reply = get(&larder, &path, token).await;
                assert!(!reply.status.is_success(), "{token:?}, {path}: {reply:?}");
            }
            assert_eq!(opened(&larder, &new, token, "new.bin").await, None, "{token:?}");
            assert_eq!(opened(&larder, &old, token, "new.bin").await, None, "{token:?}");
        }
        larder.advance(3600);
    }
}

#[tokio::test]
async fn withdrawal_may_be_heeded_for_some() {
    let more = "after_withdrawal = \"deny\"\n\
        [[huggingface.withdrawal]]\nrepositories = [\"kept/*\"]\nafter = \"serve\"";
    for withdraw in ["delete", "gate", "close"] {
        let hub = FakeHub::start().await;
        hub.user("bob", "hf_bob");
        let larder = Larder::start(&over_hub(&hub, more)).await;
        for id in ["org/model", "kept/model"] {
            hub.model(id, before());
            let path = format!("/{id}/resolve/main/notes.txt");
            assert_eq!(get(&larder, &path, "").await.status, 200);
            match withdraw {
                "delete" => hub.delete(Kind::Model, id),
                "gate" => hub.gate(Kind::Model, id, &[]),
                _ => hub.make_private(Kind::Model, id, &[]),
            }
        }
        larder.advance(3600);
        for token in ["", "hf_bob"] {
            let denied = get(&larder, "/org/model/resolve/main/notes.txt", token).await;
            let status = denied.status.as_u16();
            assert!(matches!(status, 401 | 403 | 404), "{withdraw}, {token:?}: {denied:?}");
            assert!(!denied.text().contains(OLD));
            let served = get(&larder, "/kept/model/resolve/main/notes.txt", token).await;
            assert_eq!(served.text(), OLD, "{withdraw}, {token:?}: {served:?}");
        }
        for host in hub.hosts() {
            host.fault("*", Fault::status(503));
        }
        larder.advance(3600);
        let denied = get(&larder, "/org/model/resolve/main/notes.txt", "").await;
        assert!(!denied.status.is_success(), "{withdraw}, in an outage: {denied:?}");
    }
}

/// Larder's own credential opens a repository to those whom the configuration names, and to nobody else.
#[tokio::test]
async fn larders_own_token_opens_to_the_named_alone() {
    let hub = FakeHub::start().await;
    hub.user("service", "hf_service");
    hub.user("alice", "hf_alice");
    hub.model("org/secret", before());
    hub.make_private(Kind::Model, "org/secret", &["service", "alice"]);
    hub.model("org/public", after());
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder can be written");
        path.display().to_string()
    };
    let (own, ci, dev) = (
        file("own", "hf_service"),
        file("ci", "token-of-ci-0123456789"),
        file("dev", "token-of-dev-0123456789"),
    );
    let more = format!(
        "auth = \"service\"\ntoken_file = \"{own}\"\ngrant = [\"ci\"]\n\
         [access]\ntokens = [{{ name = \"ci\", file = \"{ci}\" }}, {{ name = \"dev\", file = \"{dev}\" }}]"
    );
    let larder = Larder::start(&over_hub(&hub, &more)).await;
    let ask = async |client: &str, path: &str| {
        get(&larder, &format!("/-/t/token-of-{client}-0123456789{path}"), "").await
    };
    for _ in 0..2 {
        let dev = ask("dev", "/org/secret/resolve/main/notes.txt").await;
        assert!(dev.status.is_client_error() && !dev.text().contains(OLD), "{dev:?}");
        let dev = ask("dev", "/api/models/org/secret").await;
        assert!(dev.status.is_client_error(), "{dev:?}");
        assert_eq!(ask("ci", "/org/secret/resolve/main/notes.txt").await.text(), OLD);
        assert_eq!(ask("dev", "/org/public/resolve/main/notes.txt").await.text(), NEW);
    }
    // The token in the endpoint is in every address that such a client is led to.
    hub.switch(|switches| switches.page_entries = 1);
    for sequence in [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::FirstByte] {
        let session = Session::new(&larder.url("/-/t/token-of-ci-0123456789"));
        let secret = Wanted { id: "org/secret".to_owned(), ..wanted("main", &before()) };
        let got = session.run(sequence, &secret).await;
        assert_eq!(fault(sequence, &before(), got), None, "{sequence:?}");
    }
    // Xet's library shows no token, so who shows it in a field is not led there.
    let address = "/org/secret/resolve/main/w.bin";
    assert!(!ask("ci", address).await.header("x-xet-hash").is_empty());
    let plain = get(&larder, address, "token-of-ci-0123456789").await;
    assert_eq!((plain.status.as_u16(), plain.header("x-xet-hash")), (200, ""), "{plain:?}");
    for host in [&hub.cdn, &hub.viewer, &hub.library] {
        assert!(host.log().iter().all(|logged| logged.header("authorization").is_none()));
    }
    let sent: Vec<String> = hub
        .hub
        .log()
        .iter()
        .filter_map(|logged| logged.header("authorization").map(str::to_owned))
        .collect();
    assert!(!sent.is_empty() && sent.iter().all(|value| value == "Bearer hf_service"), "{sent:?}");
}

#[tokio::test]
async fn nobodys_token_counts_where_only_the_public_is_served() {
    let hub = FakeHub::start().await;
    hub.user("alice", "hf_alice");
    hub.model("org/secret", before());
    hub.make_private(Kind::Model, "org/secret", &["alice"]);
    hub.model("org/gated", before());
    hub.gate(Kind::Model, "org/gated", &["alice"]);
    hub.model("org/public", after());
    let larder = Larder::start(&over_hub(&hub, "auth = \"public-only\"")).await;
    for (id, status) in [("org/secret", 401), ("org/gated", 401), ("org/public", 200)] {
        let reply = get(&larder, &format!("/{id}/resolve/main/notes.txt"), "hf_alice").await;
        assert_eq!(reply.status, status, "{id}: {reply:?}");
    }
    assert!(hub.hub.log().iter().all(|logged| logged.header("authorization").is_none()));
}

/// What the hub says to one client that asked too often, it says to all of them: nobody asks again before the time it named.
#[tokio::test]
async fn a_quota_that_is_used_up_is_used_up_for_all() {
    let patient = |settings: String| {
        settings.replace("breaker_pause_max = \"50ms\"", "breaker_pause_max = \"10m\"")
    };
    let stand = Stand::settled("", patient).await;
    for sequence in [Sequence::Tree, Sequence::Siblings] {
        let main = wanted("main", &content());
        let got = stand.client(sequence).run(sequence, &main).await;
        assert_eq!(fault(sequence, &content(), got), None);
    }
    stand.hub.fault_everywhere(&FakeHub::rate_limited(120));
    stand.larder.advance(3600);
    stand.hub.forget();
    for number in 0..20 {
        let reply =
            stand.larder.get(&format!("/org/other-{number}/resolve/main/config.json")).await;
        assert!(matches!(reply.status.as_u16(), 429 | 503), "{reply:?}");
        assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
        assert_eq!(reply.header("x-error-code"), "", "{reply:?}");
    }
    let main = wanted("main", &content());
    let got = stand.client(Sequence::Tree).run(Sequence::Tree, &main).await;
    assert_eq!(fault(Sequence::Tree, &content(), got), None);
    let asked = stand.asked();
    assert!(asked.len() <= 2, "{asked:?}");
}

/// Fifty cold clients put one question each about the repository and about the file.
#[tokio::test]
async fn a_crowd_asks_each_question_once() {
    let stand = Stand::new("").await;
    let gate = Gate::closed();
    stand.hub.hub.fault("/api/models/org/model", Fault::Wait(None, gate.clone()));
    let ask = |number: usize| {
        let path = match number % 3 {
            0 => "/api/models/org/model",
            1 => "/api/models/org/model/revision/main",
            _ => "/org/model/resolve/main/config.json",
        };
        stand.larder.client.head(stand.larder.url(path)).send()
    };
    let opener = async {
        stand.hub.hub.until_asked("/api/models/org/model", 1).await;
        gate.open();
    };
    let crowd = async { tokio::join!(join_all((0..51).map(ask)), opener).0 };
    for reply in soon("the crowd", crowd).await {
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    stand.until_complete().await;
    let mut asked = stand.asked();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), all, "a question was put twice: {asked:?}");
}

/// Every address in what is answered is Larder's, as the outside sees it.
#[tokio::test]
async fn answers_name_larder_alone() {
    for public in [None, Some("https://models.example/larder")] {
        let stand = Stand::settled("", |settings| match public {
            Some(url) => format!("public_url = \"{url}\"\n{settings}"),
            None => settings,
        })
        .await;
        stand.hub.switch(|switches| switches.page_entries = 2);
        let sha = &stand.sha;
        let own = public.map_or_else(|| stand.larder.url(""), str::to_owned);
        for path in [
            "/api/models/org/model".to_owned(),
            format!("/api/models/org/model/tree/{sha}?recursive=true&limit=2"),
            "/api/models?limit=1".to_owned(),
            "/api/models/org/model/commits/main?limit=1".to_owned(),
            format!("/api/models/org/model/xet-read-token/{sha}"),
            format!("/org/model/resolve/{sha}/model.safetensors"),
            "/org/model/resolve/main/config.json".to_owned(),
        ] {
            let reply = stand.larder.client.get(stand.larder.url(&path)).send().await;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
            let told = match path.contains("safetensors") {
                true => format!("{:?}", reply.headers),
                false => format!("{:?} {}", reply.headers, reply.text()),
            };
            for host in stand.hub.hosts() {
                let address = host.address.to_string();
                assert!(!told.contains(&address), "{public:?}, {path}: names {address}: {told}");
            }
            for link in told.split("http").skip(1).filter(|link| link.contains("://")) {
                let link = format!("http{link}");
                assert!(link.starts_with(&own), "{public:?}, {path}: {link}");
            }
        }
    }
}

/// hf-hub 1.0 asks whether what it has is still what there is.
#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let stand = Stand::new("").await;
    for path in ["config.json", "model.safetensors", "old/pytorch_model.bin"] {
        let tag = format!("\"{}\"", content()[path].tag());
        let url = stand.larder.url(&format!("/org/model/resolve/main/{path}"));
        for _ in 0..2 {
            for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
                let head =
                    stand.larder.client.head(&url).with("if-none-match", &known).send().await;
                assert_eq!(head.status, 304, "{path}, {known}: {head:?}");
                assert_eq!(head.header("x-repo-commit"), stand.sha, "{path}");
            }
            let other = stand.larder.client.head(&url).with("if-none-match", "\"x\"").send().await;
            assert_eq!((other.status.as_u16(), other.header("etag")), (200, tag.as_str()));
        }
    }
    assert_eq!(stand.hub.sent_by_cdn(), 0, "no bytes were needed");
}

/// Datasets, spaces and kernels are served as models are.
#[tokio::test]
async fn every_kind_of_repository_is_served() {
    for kind in [Kind::Dataset, Kind::Space, Kind::Kernel] {
        let hub = FakeHub::start().await;
        hub.commit(kind, ID, "main", content());
        let larder = Larder::start(&over_hub(&hub, "")).await;
        let main = Wanted { kind, ..wanted("main", &content()) };
        for outage in [false, true] {
            if outage {
                hub.refuse().await;
                larder.advance(3600);
            }
            for sequence in EVERY_SEQUENCE {
                // The others know models alone.
                if matches!(sequence, Sequence::LlamaCpp | Sequence::Ollama) {
                    continue;
                }
                let session = Session::new(&larder.url(""));
                let got = fault(sequence, &content(), session.run(sequence, &main).await);
                assert_eq!(got, None, "{kind:?}, {sequence:?}, outage {outage}");
            }
        }
    }
}
