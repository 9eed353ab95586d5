//! Answers as of every day of a history: exactly what was so then, from what is kept, and an honest word where nothing was seen.

use serde_json::Value;

use super::story::{DAYS, Day, IMAGE, MODEL, PROJECT, Story, TAG};
use crate::support::client::Reply;
use crate::support::index::sha256;
use crate::support::larder::{Larder, link_on};

/// Everything that clients ask as of a day is what was so at its end.
async fn is_as_it_was(story: &Story, day: &Day, prefix: &str) {
    let larder = &story.larder;
    let at = |path: String| larder.url(&format!("{prefix}{path}"));
    let get = async |path: String| larder.client.get(at(path)).send().await;
    for (path, bytes) in &day.files {
        for revision in ["main", day.commit.as_str()] {
            let file = get(format!("/{MODEL}/resolve/{revision}/{path}")).await;
            assert_eq!(file.status, 200, "{prefix} {path} {file:?}");
            assert!(file.body[..] == bytes[..], "{prefix} {path}");
            assert_eq!(file.header("x-repo-commit"), day.commit, "{prefix} {path}");
        }
    }
    for address in [format!("/api/models/{MODEL}"), format!("/api/models/{MODEL}/revision/main")] {
        for query in ["", "?blobs=true"] {
            let info = get(format!("{address}{query}")).await;
            assert_eq!(info.status, 200, "{prefix} {info:?}");
            assert_eq!(info.json()["sha"], day.commit.as_str(), "{prefix} {address}{query}");
            assert!(info.header("larder-as-of").ends_with("basis=observed"), "{info:?}");
        }
    }
    let tree = get(format!("/api/models/{MODEL}/tree/main")).await;
    assert_eq!(tree.json().as_array().map(Vec::len), Some(day.files.len()), "{prefix} {tree:?}");
    let manifest = get(format!("/v2/{IMAGE}/manifests/{TAG}")).await;
    let told = manifest.header("docker-content-digest");
    assert_eq!(
        (manifest.status.as_u16(), told),
        (200, day.digest.as_str()),
        "{prefix} {manifest:?}"
    );
    let layer = manifest.json()["layers"][0]["digest"].as_str().map(str::to_owned);
    let layer = get(format!("/v2/{IMAGE}/blobs/{}", layer.expect("a layer"))).await;
    assert_eq!(layer.status, 200, "{prefix} {layer:?}");
    assert!(layer.header("larder-as-of").ends_with("basis=immutable"), "{layer:?}");
    let page = story.page(prefix).await;
    assert_eq!(live(&page), day.versions, "{prefix} {page:?}");
}

/// Releases on a page that are not marked as gone.
fn live(page: &Reply) -> Vec<String> {
    let page = page.json();
    let files = page["files"].as_array().expect("files").iter();
    let versions = files.filter(|file| file["_larder-state"].is_null()).map(|file| {
        let name = file["filename"].as_str().expect("a name");
        name.split('-').nth(1).expect("a version").to_owned()
    });
    versions.collect()
}

#[tokio::test]
async fn every_day_is_as_it_was() {
    let story = Story::told().await;
    story.forget();
    for day in &story.days {
        is_as_it_was(&story, day, &format!("/@{}", day.date)).await;
    }
    // Only what a page or manifest names by its digest may be fetched, and all of that was kept.
    assert_eq!(story.asked(), Vec::<String>::new());
    story.cut_off().await;
    story.larder.advance(86_400);
    for day in &story.days {
        is_as_it_was(&story, day, &format!("/@{}", day.date)).await;
        is_as_it_was(&story, day, &format!("/@{}T08%3A00%3A00Z", day.date)).await;
    }
    let Story { hub, index, registry, larder, days, stranger } = story;
    let larder = larder.restart().await;
    let story = Story { hub, index, registry, larder, days, stranger };
    for day in &story.days {
        is_as_it_was(&story, day, &format!("/@{}", day.date)).await;
    }
}

#[tokio::test]
async fn a_moment_before_a_move_is_before_it() {
    let story = Story::told().await;
    let check = async |instant: &str, day: usize| {
        let file = story.larder.get(&format!("/@{instant}/{MODEL}/resolve/main/config.json")).await;
        assert_eq!(file.header("x-repo-commit"), story.days[day].commit, "{instant}");
        let manifest = story.larder.get(&format!("/@{instant}/v2/{IMAGE}/manifests/{TAG}")).await;
        assert_eq!(manifest.header("docker-content-digest"), story.days[day].digest, "{instant}");
        assert_eq!(live(&story.page(&format!("/@{instant}")).await), story.days[day].versions);
    };
    check("2027-01-16T07:59:59.999Z", 0).await;
    check("2027-01-16T08:00:00Z", 1).await;
    check("2027-01-16T08:59:59+01:00", 0).await;
    check("20270116t080000z", 1).await;
}

#[tokio::test]
async fn the_answer_says_what_was_seen_and_when() {
    let story = Story::told().await;
    let seen = "Sat, 16 Jan 2027 08:00:00 GMT";
    let basis = "2027-01-16T23:59:59.999Z; basis=observed";
    for path in [
        format!("/{MODEL}/resolve/main/config.json"),
        format!("/v2/{IMAGE}/manifests/{TAG}"),
        format!("/simple/{PROJECT}/"),
    ] {
        let reply = story.larder.get(&format!("/@{}{path}", DAYS[1])).await;
        let told = (reply.header("larder-as-of"), reply.header("memento-datetime"));
        assert_eq!(told, (basis, seen), "{path}");
    }
    let today = story.larder.get(&format!("/{MODEL}/resolve/main/config.json")).await;
    assert_eq!(today.header("larder-as-of"), "");
}

/// What stands in links, redirects and addresses of further parts leads back to the same date.
#[tokio::test]
async fn a_date_stays_in_every_address() {
    let story = Story::told().await;
    let prefix = format!("/@{}", DAYS[0]);
    let base = story.larder.url(&format!("{prefix}/simple/{PROJECT}/"));
    let page = story.page(&prefix).await;
    let link = link_on(&page, &base, "demo-1.0-py3-none-any.whl").expect("a link");
    assert!(
        link.starts_with(&story.larder.url(&format!("{prefix}/pypi/default/files/"))),
        "{link}"
    );
    let file = story.larder.client.get(&link).send().await;
    assert_eq!(sha256(&file.body), page.json()["files"][0]["hashes"]["sha256"]);
    let unfinished = story.larder.get(&format!("{prefix}/simple/DEMO")).await;
    assert_eq!((unfinished.status.as_u16(), unfinished.header("location")), (301, "demo/"));
    let tree = format!("{prefix}/api/models/{MODEL}/tree/main?recursive=true&limit=1");
    let link = story.larder.get(&tree).await.header("link").to_owned();
    assert!(
        link.contains(&format!("{prefix}/api/models/{MODEL}/tree/{}", story.days[0].commit)),
        "{link}"
    );
    let token = story.larder.get(&format!("{prefix}/api/models/{MODEL}/xet-read-token/main")).await;
    let server = token.header("x-xet-cas-url");
    assert!(server.starts_with(&story.larder.url(&prefix)), "{server}");
}

/// A file that came later is not there, though its address is known.
#[tokio::test]
async fn what_came_later_is_not_there_yet() {
    let story = Story::told().await;
    let base = story.larder.url(&format!("/simple/{PROJECT}/"));
    let page = story.page("").await;
    let later = link_on(&page, &base, "demo-3.0-py3-none-any.whl").expect("a link");
    let path = later.strip_prefix(&story.larder.url("")).expect("ours").to_owned();
    let check = async |date: &str, status: u16| {
        let reply = story.larder.get(&format!("/@{date}{path}")).await;
        assert_eq!(reply.status, status, "{date} {reply:?}");
    };
    check(DAYS[0], 404).await;
    check(DAYS[1], 200).await;
    check("2020-01-01", 404).await;
    let release = |date: &str| format!("/@{date}/pypi/{PROJECT}/3.0/json");
    assert_eq!(story.larder.get(&release(DAYS[0])).await.status, 404);
    let release = story.larder.get(&release(DAYS[1])).await;
    assert_eq!(release.json()["info"]["version"], "3.0", "{release:?}");
}

#[tokio::test]
async fn before_the_first_look_uploads_count_and_nothing_else_is_made_up() {
    let story = Story::told().await;
    let eve = story.page("/@2027-01-14").await;
    assert_eq!(live(&eve), ["1.0", "2.0"], "{eve:?}");
    assert!(eve.header("larder-as-of").ends_with("basis=derived"), "{eve:?}");
    assert_eq!(live(&story.page("/@2027-01-13").await), ["1.0"]);
    let unknown = async |path: String, status: u16, word: &str| {
        let reply = story.larder.get(&path).await;
        assert_eq!(reply.status, status, "{path} {reply:?}");
        assert!(reply.text().contains(word), "{path} {reply:?}");
        reply
    };
    let model = |date: &str| format!("/@{date}/{MODEL}/resolve/main/config.json");
    let first = "first saw main of models/org/model at 2027-01-15T08:00:00Z";
    let reply = unknown(model("2027-01-14"), 409, first).await;
    assert!(reply.header("x-error-message").contains(first), "{reply:?}");
    assert_eq!(reply.header("x-error-code"), "");
    unknown(model("2020-01-01"), 404, "did not exist").await;
    let image = |date: &str| format!("/@{date}/v2/{IMAGE}/manifests/{TAG}");
    let reply = unknown(image("2027-01-14"), 409, "first saw hub.example/library/demo:1.0").await;
    assert_eq!(reply.json()["errors"][0]["code"], "MANIFEST_UNKNOWN");
    let reply = unknown(format!("/@2020-01-01/simple/{PROJECT}/"), 404, "did not exist").await;
    assert_eq!(reply.header("content-type"), "application/problem+json");
}

/// What was never looked at is not looked at for a date: a newer answer is no answer.
#[tokio::test]
async fn nothing_that_moves_is_asked_for() {
    let story = Story::told().await;
    story.hub.model("org/unseen", crate::support::hub::files([]));
    story.registry.tag("library/demo", "2.0", &story.days[0].digest);
    story.forget();
    let check = async |path: &str| {
        let reply = story.larder.get(path).await;
        assert_eq!(reply.status, 409, "{path} {reply:?}");
        assert!(reply.text().contains("not known"), "{path} {reply:?}");
    };
    for path in [
        "/@2027-01-15/org/unseen/resolve/main/config.json",
        "/@2027-01-15/api/models/org/unseen",
        "/@2027-01-15/org/model/resolve/other/config.json",
        "/@2027-01-15/api/models/org/model/refs",
        "/@2027-01-15/api/models/org/model/commits/main",
        "/@2027-01-15/api/models?search=x",
        "/@2027-01-15/api/whoami-v2",
        "/@2027-01-15/v2/hub.example/library/demo/manifests/2.0",
        "/@2027-01-15/v2/hub.example/library/demo/tags/list",
        "/@2027-01-15/v2/_catalog",
        "/@2027-01-15/simple/",
        "/@2027-01-15/pypi/demo/json",
    ] {
        check(path).await;
    }
    assert_eq!(story.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_instant_is_told_in_the_words_of_each_client() {
    let story = Story::told().await;
    let check = async |path: &str, status: u16, word: &str| {
        let reply = story.larder.get(path).await;
        assert_eq!(reply.status, status, "{path} {reply:?}");
        assert!(reply.text().contains(word), "{path} {reply:?}");
        reply
    };
    check("/@nowhere/simple/demo/", 404, "names no instant").await;
    let hub = check("/@nowhere/org/model/resolve/main/x", 404, "names no instant").await;
    assert!(hub.header("x-error-message").contains("names no instant"), "{hub:?}");
    let registry = check("/@nowhere/v2/hub.example/a/manifests/1", 404, "names no instant").await;
    assert_eq!(registry.json()["errors"][0]["code"], "NAME_UNKNOWN");
    check("/@2027-13-01/simple/demo/", 404, "names no instant").await;
    check("/@2099-01-01/simple/demo/", 400, "is not over yet").await;
    check("/@2027-01-20/simple/demo/", 400, "is not over yet").await;
    check("/v2/at-2027-99-01/hub.example/library/demo/manifests/1.0", 404, "names no instant")
        .await;
    check("/@2027-01-15/-/health", 404, "no past").await;
}

/// The grammar of images has no `@`: a segment that begins with `at-` stands for it, and a host's first label where not even that can be said.
#[tokio::test]
async fn an_image_names_its_date_in_its_name() {
    let story = Story::told().await;
    story
        .larder
        .client
        .ask(http::Method::PUT, story.larder.url("/-/api/v1/snapshots/first"))
        .body("{\"at\": \"2027-01-15\"}")
        .send()
        .await;
    let digest = |reply: &Reply| reply.header("docker-content-digest").to_owned();
    for instant in ["2027-01-15", "20270115t120000z", "first"] {
        let path = format!("/v2/at-{instant}/{IMAGE}/manifests/{TAG}");
        let manifest = story.larder.get(&path).await;
        assert_eq!(digest(&manifest), story.days[0].digest, "{path} {manifest:?}");
        let layer = manifest.json()["layers"][0]["digest"].as_str().expect("a layer").to_owned();
        let layer = story.larder.get(&format!("/v2/at-{instant}/{IMAGE}/blobs/{layer}")).await;
        assert_eq!(layer.status, 200, "{instant} {layer:?}");
    }
    let by_default =
        story.larder.get(&format!("/v2/at-2027-01-15/library/demo/manifests/{TAG}")).await;
    assert_eq!(digest(&by_default), story.days[0].digest);
    for host in ["at-2027-01-15.larder.example", "at-first.larder.example:8484"] {
        let ask =
            story.larder.client.get(story.larder.url(&format!("/v2/{IMAGE}/manifests/{TAG}")));
        let by_host = ask.with("host", host).send().await;
        assert_eq!(digest(&by_host), story.days[0].digest, "{host}");
    }
    let unknown = story.larder.get(&format!("/v2/at-second/{IMAGE}/manifests/{TAG}")).await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
}

/// Quarantined today, whatever was so then: going back is no way around it.
#[tokio::test]
async fn what_is_refused_today_is_refused_at_every_date() {
    let story = Story::told().await;
    let prefix = format!("/@{}", DAYS[1]);
    let base = story.larder.url(&format!("{prefix}/simple/{PROJECT}/"));
    let page = story.page(&prefix).await;
    let link = link_on(&page, &base, "demo-3.0-py3-none-any.whl").expect("a link");
    story.index.set_status(PROJECT, "quarantined", "malware");
    story.larder.page(PROJECT).await;
    assert_eq!(live(&story.page(&prefix).await), Vec::<String>::new());
    assert_eq!(story.larder.client.get(&link).send().await.status, 403);
}

/// A yank is as it was, too: advice that came later is not given to who asks about the day before.
#[tokio::test]
async fn yanks_are_as_they_were() {
    let story = Story::told().await;
    story.index.yank(PROJECT, "3.0", Some("broken"));
    story.larder.page(PROJECT).await;
    story.larder.advance(86_400);
    let yanked = async |prefix: &str| -> Value {
        let page = story.page(prefix).await.json();
        let files = page["files"].as_array().expect("files").clone();
        let file = files.into_iter().find(|file| file["filename"] == "demo-3.0-py3-none-any.whl");
        file.expect("it is listed")["yanked"].clone()
    };
    assert_eq!(yanked("/@2027-01-20").await, "broken");
    assert_eq!(yanked("/@2027-01-16").await, false);
}

/// A history that was cut says so.
#[tokio::test]
async fn a_cut_history_says_where_it_begins() {
    use crate::support::hub::{FakeHub, File, files};
    use crate::support::larder::over_hub;
    let hub = FakeHub::start().await;
    let larder = Larder::start(&over_hub(&hub, "history = 2")).await;
    for day in 0..4 {
        hub.model(MODEL, files([("config.json", File::plain(format!("{day}")))]));
        larder.get(&format!("/{MODEL}/resolve/main/config.json")).await;
        larder.advance(86_400);
    }
    let get =
        async |date: &str| larder.get(&format!("/@{date}/{MODEL}/resolve/main/config.json")).await;
    assert_eq!(get("2027-01-17").await.text(), "2");
    let cut = get("2027-01-16").await;
    assert_eq!(cut.status, 409, "{cut:?}");
    assert!(cut.text().contains("was cut and begins at 2027-01-17T08:00:00Z"), "{cut:?}");
}
