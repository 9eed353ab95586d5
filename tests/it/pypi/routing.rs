//! Several upstreams in one index, private names, credentials: what must not leak, and what must not fall through.

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;
use crate::support::origin::Fault;

const HEAD: &str = "[upstream]\nretries = 0\nhead_timeout = \"6s\"\nbreaker_pause = \"50ms\"\n[pypi.indexes.default]\n";

/// A private index above a public one; the public one has a project of the private one's name too.
async fn two(more: &str) -> (FakeIndex, FakeIndex, Larder) {
    let (private, public) =
        (FakeIndex::start(Style::Full).await, FakeIndex::start(Style::Full).await);
    private.publish("ours", [Upload::wheel("ours", "1.0")]);
    public.publish("ours", [Upload::wheel("ours", "99.0")]);
    public.publish("theirs", [Upload::wheel("theirs", "1.0")]);
    let upstreams = format!("upstreams = [{:?}, {:?}]\n", private.simple(), public.simple());
    let larder = Larder::start(&format!("{HEAD}{upstreams}{more}")).await;
    (private, public, larder)
}

#[tokio::test]
async fn the_first_that_has_it_wins() {
    let (_private, public, larder) = two("").await;
    let ours = larder.page("ours").await.text();
    assert!(ours.contains("ours-1.0") && !ours.contains("ours-99.0"), "{ours}");
    assert!(public.pages.asked("/simple/ours/").is_empty());
    assert!(larder.page("theirs").await.text().contains("theirs-1.0"));
    assert_eq!(larder.page("nobodys").await.status, 404);
}

#[tokio::test]
async fn an_outage_of_the_upper_one_is_no_fall_through() {
    for trouble in [
        Some(Fault::status(500)),
        Some(Fault::status(403)),
        Some(Fault::error_page()),
        Some(Fault::Silence),
        None,
    ] {
        let (private, public, larder) = two("").await;
        match trouble {
            Some(fault) => private.pages.fault("*", fault),
            None => private.pages.refuse().await,
        }
        for project in ["ours", "theirs"] {
            let reply = larder.page(project).await;
            assert!(matches!(reply.status.as_u16(), 403 | 502..=504), "{project}: {reply:?}");
        }
        assert!(public.pages.log().is_empty(), "{:?}", public.pages.log().len());
    }
}

#[tokio::test]
async fn an_outage_of_the_upper_one_leaves_what_was_kept() {
    let (private, _public, larder) = two("").await;
    larder.page("ours").await;
    larder.page("theirs").await;
    larder.advance(3600);
    private.pages.refuse().await;
    let ours = larder.page("ours").await.text();
    assert!(ours.contains("ours-1.0") && !ours.contains("ours-99.0"), "{ours}");
    assert!(larder.page("theirs").await.text().contains("theirs-1.0"));
}

#[tokio::test]
async fn a_deleted_private_project_is_not_replaced_by_a_stranger_of_its_name() {
    let (private, _public, larder) = two("").await;
    larder.page("ours").await;
    private.delete_project("ours");
    larder.advance(3600);
    let ours = larder.page("ours").await.text();
    assert!(ours.contains("ours-1.0") && !ours.contains("ours-99.0"), "{ours}");
}

#[tokio::test]
async fn private_names_go_to_private_upstreams_only() {
    let (private, public) =
        (FakeIndex::start(Style::Full).await, FakeIndex::start(Style::Full).await);
    public.publish("corp-secret", [Upload::wheel("corp-secret", "99.0")]);
    public.publish("theirs", [Upload::wheel("theirs", "1.0")]);
    let larder = Larder::start(&format!(
        "{HEAD}upstreams = [{{ url = {:?}, names = [\"corp-*\"] }}, {:?}]\n",
        private.simple(),
        public.simple()
    ))
    .await;
    for name in ["corp-secret", "Corp_Secret", "corp.secret"] {
        let reply = larder.client.get(larder.url(&format!("/simple/{name}/"))).send().await;
        assert!(reply.status == 404 || reply.status.is_redirection(), "{name}: {reply:?}");
    }
    assert!(public.pages.log().is_empty());
    assert!(larder.page("theirs").await.text().contains("theirs-1.0"));
    assert!(private.pages.asked("/simple/theirs/").is_empty());
}

#[tokio::test]
async fn credentials_go_to_their_own_host_only() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").expect("the folder can be written");
    let index = FakeIndex::start(Style::Full).await;
    index.require_basic("me", "hunter2");
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::start(&format!(
        "{HEAD}upstream = {:?}\ncredentials = {{ username = \"me\", password_file = {:?} }}\ngrant = [\"*\"]\nfile_hosts = [\"127.0.0.2\"]\n",
        index.simple(),
        password
    ))
    .await;
    assert_eq!(larder.file("six", "six-1.0-py3-none-any.whl").await.status, 200);
    assert!(index.pages.log().iter().all(|logged| logged.header("authorization").is_some()));
    assert!(index.files.log().iter().all(|logged| logged.header("authorization").is_none()));
}

#[tokio::test]
async fn what_clients_send_stays_here() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    let secrets = [
        ("authorization", "Basic c2VjcmV0OnNlY3JldA=="),
        ("cookie", "session=c2VjcmV0"),
        ("x-forwarded-for", "10.9.8.7"),
        ("referer", "http://intranet.example/c2VjcmV0"),
    ];
    let link = larder.link("six", "six-1.0-py3-none-any.whl").await;
    larder.advance(3600);
    for address in [larder.url("/simple/six/"), link] {
        let ask = larder.client.get(&address);
        secrets.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await;
    }
    for logged in index.pages.log().iter().chain(&index.files.log()) {
        for (name, value) in secrets {
            assert_ne!(logged.header(name), Some(value), "{}", logged.path);
        }
    }
}

#[tokio::test]
async fn a_redirect_takes_no_credentials_along() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let password = folder.path().join("password");
    std::fs::write(&password, "hunter2\n").expect("the folder can be written");
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    index.require_basic("me", "hunter2");
    index.pages.fault("/simple/six/", Fault::redirect(&index.files.url("/elsewhere/")));
    let larder = Larder::start(&format!(
        "{HEAD}upstream = {:?}\ncredentials = {{ username = \"me\", password_file = {:?} }}\ngrant = [\"*\"]\nfile_hosts = [\"127.0.0.2\"]\n",
        index.simple(),
        password
    ))
    .await;
    larder.page("six").await;
    assert!(!index.files.asked("/elsewhere/").is_empty(), "the redirect was followed");
    assert!(index.files.log().iter().all(|logged| logged.header("authorization").is_none()));
}

/// A mistyped name of an index was told as a page that does not exist; one of a generic mount was a question to the hub.
#[tokio::test]
async fn an_index_that_there_is_not_is_told_with_those_there_are() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    for (path, told) in [
        (
            "/pypi/crp/simple/six/",
            r#"There is no Python index \"crp\" here; there is \"default\"."#,
        ),
        ("/generic/nope/file", r#"There is no generic mount \"nope\" here; there is none at all."#),
    ] {
        let reply = larder.client.get(larder.url(path)).send().await;
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.text().contains(told), "{path}: {reply:?}");
    }
    assert!(index.pages.log().is_empty());
    let reply = larder.client.get(larder.url("/pypi/six/json")).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
}
