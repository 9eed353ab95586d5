//! What changes in a registry: tags move and vanish, lists grow and are told as they were, budgets shrink.

use http::Method;
use serde_json::json;

use super::pull::{Puller, warnings};
use super::setting::{HUB, PAST_FRESHNESS, REPOSITORY, Setting, TAG, assert_error, over};
use crate::support::larder::Larder;
use crate::support::origin::Fault;
use crate::support::registry::image::OCI_INDEX;
use crate::support::registry::{
    FakeRegistry, Family, Head, Image, Limits, Named, blob_path, manifest_path,
};
use crate::support::wait::{eventually, until};

/// Pulls until the tag leads to `image`: the first answer after a move may be the old one.
async fn until_moved(setting: &Setting, image: &Image) {
    eventually("the tag has moved", async || {
        let pulled = Puller::Podman.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        pulled.digest == image.digest()
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_moves_is_followed() {
    for head in [Head::Whole, Head::WithoutLength, Head::NotAllowed] {
        let setting = Setting::new().await;
        let first = setting.stock();
        setting.registry.behave(|manners| manners.head = head);
        Puller::Podman.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        let second = Image::single(Family::Oci, 77);
        setting.registry.publish(REPOSITORY, TAG, &second);
        // Trusted until its time is over.
        let pulled = Puller::Podman.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        assert_eq!(pulled.digest, first.digest());
        setting.larder.advance(PAST_FRESHNESS);
        until_moved(&setting, &second).await;
        // What it led to before stays.
        let old = setting.get(&manifest_path(REPOSITORY, first.digest())).await;
        assert_eq!((old.status.as_u16(), &old.body), (200, &first.root.body), "{head:?}");
    }
}

/// A client that insists gets the truth, and not the answer of a minute ago.
#[tokio::test]
async fn no_cache_asks_upstream() {
    let setting = Setting::new().await;
    setting.stock();
    let path = manifest_path(REPOSITORY, TAG);
    setting.get(&path).await;
    let second = Image::single(Family::Oci, 77);
    setting.registry.publish(REPOSITORY, TAG, &second);
    // Insisting counts once in a few seconds.
    setting.larder.advance(30);
    let ask = setting.larder.client.get(setting.larder.url(&path));
    let reply = ask.with("cache-control", "no-cache").send().await;
    assert_eq!(reply.header("docker-content-digest"), second.digest());
}

#[tokio::test]
async fn a_tag_that_moves_back_costs_no_download() {
    let setting = Setting::new().await;
    let first = setting.stock();
    until_moved(&setting, &first).await;
    let second = Image::single(Family::Oci, 77);
    setting.registry.publish(REPOSITORY, TAG, &second);
    setting.larder.advance(PAST_FRESHNESS);
    until_moved(&setting, &second).await;
    setting.registry.forget();
    setting.registry.publish(REPOSITORY, TAG, &first);
    setting.larder.advance(PAST_FRESHNESS);
    until_moved(&setting, &first).await;
    let gets = setting.registry.journal().into_iter().filter(|line| line.starts_with("GET"));
    assert_eq!(gets.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The new manifest cannot be had yet: the old image is better than none.
#[tokio::test]
async fn a_tag_that_moves_to_something_broken_stays_where_it_was() {
    let setting = Setting::new().await;
    let first = setting.stock();
    until_moved(&setting, &first).await;
    let second = Image::single(Family::Oci, 77);
    setting.registry.publish(REPOSITORY, TAG, &second);
    let broken = manifest_path(REPOSITORY, second.digest());
    setting.registry.front.fault(&broken, Fault::status(500));
    for _ in 0..3 {
        setting.larder.advance(PAST_FRESHNESS);
        let pulled = Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
        assert_eq!(pulled.digest, first.digest());
    }
    setting.registry.heal();
    setting.larder.advance(PAST_FRESHNESS);
    until_moved(&setting, &second).await;
}

#[tokio::test]
async fn immutable_tags_are_asked_for_once() {
    let setting = Setting::with("immutable_tags = [\"v*\", \"*.*.*\"]").await;
    let image = setting.stock();
    for tag in ["v1", "1.2.3", "latest"] {
        setting.registry.tag(REPOSITORY, tag, image.digest());
        setting.get(&manifest_path(REPOSITORY, tag)).await;
    }
    setting.registry.forget();
    setting.larder.advance(100 * PAST_FRESHNESS);
    for tag in ["v1", "1.2.3", "latest"] {
        let reply = setting.get(&manifest_path(REPOSITORY, tag)).await;
        assert_eq!((reply.status.as_u16(), reply.header("warning")), (200, ""), "{tag}");
    }
    let latest = format!("HEAD {}", manifest_path(REPOSITORY, "latest"));
    until("the mutable one is asked for", || setting.registry.journal().contains(&latest)).await;
    assert_eq!(setting.registry.journal(), [latest]);
}

#[tokio::test]
async fn a_wrong_digest_in_the_head_is_found_out() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.named = Named::Missing);
    let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
    assert_eq!(reply.header("docker-content-digest"), image.digest(), "{reply:?}");

    let setting = Setting::new().await;
    setting.stock();
    setting.registry.behave(|manners| manners.named = Named::Wrong);
    let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
    // The body is what counts, if it can be had; a digest that names nothing leads nowhere.
    match reply.status.as_u16() {
        200 => assert_eq!(reply.header("docker-content-digest"), image.digest()),
        _ => assert_error(&reply, &[502, 503, 504], &[]),
    }
}

#[tokio::test]
async fn a_deleted_tag_stays_and_says_so() {
    let setting = Setting::new().await;
    let image = setting.stock();
    Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
    setting.registry.delete_tag(REPOSITORY, TAG);
    setting.larder.advance(PAST_FRESHNESS);
    let path = manifest_path(REPOSITORY, TAG);
    eventually("the deletion is noticed", async || {
        warnings(&setting.get(&path).await).contains("gone")
    })
    .await;
    let reply = setting.get(&path).await;
    assert_eq!((reply.status.as_u16(), &reply.body), (200, &image.root.body));
    // It says so in the form that registries' clients know.
    assert!(warnings(&reply).contains("299 - \"gone"), "{}", warnings(&reply));
    // A tag that comes back is a tag like any other.
    setting.registry.tag(REPOSITORY, TAG, image.digest());
    eventually("its return is noticed", async || {
        setting.larder.advance(PAST_FRESHNESS);
        warnings(&setting.get(&path).await).is_empty()
    })
    .await;
}

#[tokio::test]
async fn what_does_not_exist_is_asked_for_once_in_a_while() {
    let setting = Setting::new().await;
    setting.stock();
    let path = manifest_path(REPOSITORY, "nothing");
    for _ in 0..5 {
        assert_error(&setting.get(&path).await, &[404], &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"]);
    }
    assert!(setting.registry.front.asked(&path).len() <= 2);
    let image = Image::single(Family::Oci, 5);
    setting.registry.publish(REPOSITORY, "nothing", &image);
    setting.larder.advance(61);
    assert_eq!(setting.get(&path).await.status, 200);
}

/// The public hub counts downloads of manifests and not `HEAD`: a tag is resolved for nothing, and fetched when it is new.
#[tokio::test]
async fn the_budget_is_spent_on_what_is_new() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let limits = Limits { limit: 100, remaining: 100, retry_after_secs: None };
    setting.registry.behave(|manners| manners.limits = Some(limits));
    for _ in 0..5 {
        Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        setting.larder.advance(PAST_FRESHNESS);
    }
    assert_eq!(setting.registry.remaining(), Some(100 - image.manifests().count() as u64));
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_not_asked_again_for_what_is_kept() {
    let setting = Setting::new().await;
    let image = setting.stock();
    Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
    let limits = Limits { limit: 100, remaining: 1, retry_after_secs: Some(600) };
    setting.registry.behave(|manners| manners.limits = Some(limits));
    let other = Image::single(Family::Oci, 900);
    setting.registry.publish("library/other", TAG, &other);
    // Spends the last one, and learns so.
    setting.get(&manifest_path("library/other", TAG)).await;
    // Past the tag's freshness; the count itself is believed for longer.
    setting.larder.advance(120);
    setting.registry.forget();
    for _ in 0..3 {
        let pulled = Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
        assert_eq!(pulled.digest, image.digest());
    }
    assert_eq!(setting.registry.journal(), Vec::<String>::new());
}

/// Whoever runs Larder sees how much is left before it is gone. All Larders of this process share its metrics, so this registry has a name of its own.
#[tokio::test]
async fn the_budget_is_a_metric() {
    const METERED: &str = "metered.example";
    let registry = FakeRegistry::start().await;
    let larder = Larder::start(&over(&registry, "").replace(HUB, METERED)).await;
    let setting = Setting { registry, larder };
    setting.stock();
    let limits = Limits { limit: 100, remaining: 73, retry_after_secs: None };
    setting.registry.behave(|manners| manners.limits = Some(limits));
    setting.get(&manifest_path(REPOSITORY, TAG)).await;
    let metrics = setting.get("/-/metrics").await.text();
    let is_ours = |line: &&str| line.contains("pulls_remaining{") && line.contains(METERED);
    let line = metrics.lines().find(is_ours);
    assert!(line.is_some_and(|line| line.ends_with(" 72")), "{line:?}");
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_said_to_be() {
    let setting = Setting::new().await;
    setting.stock();
    for retry_after_secs in [None, Some(600)] {
        let limits = Limits { limit: 100, remaining: 0, retry_after_secs };
        setting.registry.behave(|manners| manners.limits = Some(limits));
        let reply = setting.get(&manifest_path(REPOSITORY, TAG)).await;
        assert_error(&reply, &[429, 502, 503], &[]);
    }
}

#[tokio::test]
async fn lists_of_tags_come_whole_and_in_pages() {
    let setting = Setting::new().await;
    let image = setting.stock();
    for tag in ["0.1", "0.2", "2.0", "latest"] {
        setting.registry.tag(REPOSITORY, tag, image.digest());
    }
    setting.registry.behave(|manners| manners.page = Some(2));
    let path = format!("/v2/{HUB}/{REPOSITORY}/tags/list");
    let all = setting.get(&path).await.json();
    assert_eq!(all["tags"], json!(["0.1", "0.2", "1.0", "2.0", "latest"]));
    assert_eq!(
        all["name"],
        format!("{HUB}/{REPOSITORY}"),
        "the name is the one that was asked for"
    );

    let mut seen = Vec::new();
    let mut next = format!("{path}?n=2");
    loop {
        let reply = setting.get(&next).await;
        let tags = reply.json()["tags"].as_array().cloned().unwrap_or_default();
        assert!(tags.len() <= 2, "{tags:?}");
        seen.extend(tags);
        let link = reply.header("link").to_owned();
        let Some(target) = link.strip_prefix('<').and_then(|rest| rest.split('>').next()) else {
            break;
        };
        next = target.to_owned();
    }
    assert_eq!(json!(seen), all["tags"]);
    let none = setting.get(&format!("{path}?n=0")).await;
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), ""));
    let some = setting.get(&format!("{path}?last=1.0")).await;
    assert_eq!(some.json()["tags"], json!(["2.0", "latest"]));

    setting.registry.refuse().await;
    setting.larder.advance(PAST_FRESHNESS);
    assert_eq!(setting.get(&path).await.json()["tags"], all["tags"]);
    let by_namespace = setting.get(&format!("/v2/{REPOSITORY}/tags/list?ns={HUB}")).await;
    assert_eq!(by_namespace.json()["tags"], all["tags"]);
    assert_eq!(by_namespace.header("oci-namespace"), HUB);
}

fn digests(index: &serde_json::Value) -> Vec<String> {
    let entries = index["manifests"].as_array().expect("an index");
    let mut digests: Vec<_> = entries
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap_or_default().to_owned())
        .collect();
    digests.sort();
    digests
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_kept() {
    let setting = Setting::new().await;
    let image = setting.stock();
    setting.registry.behave(|manners| manners.page = Some(2));
    let mut all: Vec<_> = (0..3)
        .map(|n| setting.registry.refer(REPOSITORY, &image.root, &format!("application/x.{n}")))
        .map(|referrer| referrer.digest)
        .collect();
    all.sort();
    let path = format!("/v2/{HUB}/{REPOSITORY}/referrers/{}", image.digest());
    let check = async || {
        let reply = setting.get(&path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, OCI_INDEX),
            "{reply:?}"
        );
        assert_eq!(digests(&reply.json()), all);
        let one = setting.get(&format!("{path}?artifactType=application/x.1")).await;
        assert_eq!(digests(&one.json()).len(), 1, "{one:?}");
        assert_eq!(one.header("oci-filters-applied"), "artifactType");
        let none = setting.get(&format!("{path}?artifactType=application/none")).await;
        assert_eq!((none.status.as_u16(), digests(&none.json())), (200, Vec::new()));
    };
    check().await;
    setting.registry.refuse().await;
    setting.larder.advance(PAST_FRESHNESS);
    check().await;
}

#[tokio::test]
async fn referrers_of_nothing_are_an_empty_list() {
    let setting = Setting::new().await;
    setting.stock();
    let nothing = format!("sha256:{}", "ab".repeat(32));
    let reply = setting.get(&format!("/v2/{REPOSITORY}/referrers/{nothing}")).await;
    assert_eq!((reply.status.as_u16(), digests(&reply.json())), (200, Vec::new()));
    let reply = setting.get(&format!("/v2/{REPOSITORY}/referrers/sha256:short")).await;
    assert_error(&reply, &[400], &["DIGEST_INVALID"]);
}

/// Registries without that API keep the list under a tag.
#[tokio::test]
async fn referrers_are_found_under_their_tag() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let referrer = setting.registry.refer(REPOSITORY, &image.root, "application/x");
    let list = crate::support::registry::Manifest::verbatim(
        OCI_INDEX,
        json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [referrer.descriptor()] })
            .to_string(),
    );
    setting.registry.add_manifest(REPOSITORY, &list);
    setting.registry.tag(REPOSITORY, &image.digest().replace(':', "-"), &list.digest);
    setting.registry.behave(|manners| manners.referrers = false);
    let path = format!("/v2/{REPOSITORY}/referrers/{}", image.digest());
    let reply = setting.get(&path).await;
    // Either the list itself, or what upstream says, at which clients look for the tag themselves.
    match reply.status.as_u16() {
        200 => assert_eq!(digests(&reply.json()), [referrer.digest]),
        _ => assert_error(&reply, &[404], &[]),
    }
}

#[tokio::test]
async fn the_catalog_names_what_is_kept() {
    let setting = Setting::new().await;
    setting.stock();
    assert_eq!(setting.get("/v2/_catalog").await.json()["repositories"], json!([]));
    Puller::Podman.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
    let reply = setting.get("/v2/_catalog").await;
    assert_eq!(reply.json()["repositories"], json!([format!("{HUB}/{REPOSITORY}")]), "{reply:?}");
    // No list is as long as whoever asks for it wants.
    for query in ["n=0", "n=1", "n=99999999999999999999", "n=-1", "n=x", "last=zzz"] {
        let reply = setting.get(&format!("/v2/_catalog?{query}")).await;
        assert!(matches!(reply.status.as_u16(), 200 | 400), "{query}: {reply:?}");
    }
}

#[tokio::test]
async fn several_registries_stay_apart() {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let (ours, theirs) = (Image::single(Family::Oci, 1), Image::single(Family::Oci, 50));
    first.publish(REPOSITORY, TAG, &ours);
    second.publish(REPOSITORY, TAG, &theirs);
    let more =
        format!("[oci.registries.\"second.example\"]\nupstream = {:?}", second.front.url(""));
    let larder = Larder::start(&over(&first, &more)).await;
    let setting = Setting { registry: first, larder };
    let digest =
        async |path: &str| setting.get(path).await.header("docker-content-digest").to_owned();
    let tag = "manifests/1.0";
    for (path, image) in [
        (format!("/v2/library/demo/{tag}"), &ours),
        (format!("/v2/library/demo/{tag}?ns={HUB}"), &ours),
        (format!("/v2/library/demo/{tag}?ns=second.example"), &theirs),
        (format!("/v2/second.example/library/demo/{tag}"), &theirs),
        (format!("/v2/{HUB}/library/demo/{tag}"), &ours),
    ] {
        assert_eq!(digest(&path).await, image.digest(), "{path}");
    }
    // A blob of one is not to be had through the other.
    let blob = &theirs.blobs[1];
    let reply = setting.get(&blob_path(REPOSITORY, &blob.digest)).await;
    assert_error(&reply, &[404], &["BLOB_UNKNOWN"]);
    assert_eq!(second.manifest_requests(&Method::GET, REPOSITORY, TAG), 0);
}

/// Tags that came and went, and what referred to an image, are told as of every instant at which somebody had looked.
#[tokio::test]
async fn lists_are_told_as_they_were() {
    let setting = Setting::new().await;
    let image = setting.stock();
    let tags = format!("/v2/{REPOSITORY}/tags/list");
    let referrers = format!("/v2/{REPOSITORY}/referrers/{}", image.digest());
    let listed = async |prefix: &str| {
        let reply = setting.get(&format!("{prefix}{tags}")).await;
        let refer = setting.get(&format!("{prefix}{referrers}")).await;
        assert_eq!(
            (reply.status.as_u16(), refer.status.as_u16()),
            (200, 200),
            "{reply:?} {refer:?}"
        );
        let count = refer.json()["manifests"].as_array().map(Vec::len);
        (reply.json()["tags"].clone(), count, reply.header("larder-as-of").to_owned())
    };
    setting.registry.refer(REPOSITORY, &image.root, "x/signature");
    assert_eq!(listed("").await, (json!([TAG]), Some(1), String::new()));
    let first = setting.larder.clock.now().to_rfc3339();

    setting.larder.advance(PAST_FRESHNESS);
    setting.registry.publish(REPOSITORY, "2.0", &Image::single(Family::Oci, 9));
    setting.registry.delete_tag(REPOSITORY, TAG);
    setting.registry.refer(REPOSITORY, &image.root, "x/bill");
    eventually("both lists have grown", async || {
        let (tags, count, _) = listed("").await;
        (tags, count) == (json!(["2.0"]), Some(2))
    })
    .await;

    let then = listed(&format!("/@{first}")).await;
    assert_eq!((then.0, then.1), (json!([TAG]), Some(1)));
    assert!(then.2.ends_with("basis=observed"), "{}", then.2);
    for path in [&tags, &referrers] {
        let before = setting.get(&format!("/@2001-01-01{path}")).await;
        assert_eq!(before.status, 409, "{before:?}");
        assert!(before.text().contains("first saw"), "{before:?}");
    }
    let larder = setting.larder.restart().await;
    let then = larder.get(&format!("/@{first}{tags}")).await;
    assert_eq!(then.json()["tags"], json!([TAG]), "it is on disk: {then:?}");
}
