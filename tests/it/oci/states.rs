//! Every client, in every state of what is kept, with every kind of trouble upstream.

use std::time::Duration;

use futures_util::future::join_all;

use super::pull::{EVERY_PULLER, Puller, warnings};
use super::setting::{PAST_FRESHNESS, REPOSITORY, Setting, TAG, assert_error};
use crate::support::origin::{Answer, Cut, Fault};
use crate::support::registry::{FakeRegistry, Family, Image, blob_path, manifest_path};
use crate::support::wait::{DEADLINE, eventually};

/// One way for upstream to fail.
struct Row {
    name: &'static str,
    trouble: Trouble,
    /// Statuses that are honest about it when nothing is kept.
    honest: &'static [u16],
    /// How a stale tag's answer is marked.
    mark: &'static str,
}

enum Trouble {
    Everywhere(Fault),
    Refused,
    TagDeleted,
    RepositoryDeleted,
}

const OUTAGE: &[u16] = &[502, 503, 504];
const ABSENT: &[u16] = &[404];
/// A client may have credentials that help; what upstream calls forbidden may be called unknown.
const WITHHELD: &[u16] = &[401, 403, 404];

fn rows() -> Vec<Row> {
    let row = |name, trouble, honest, mark| Row { name, trouble, honest, mark };
    let outage = |name, fault| row(name, Trouble::Everywhere(fault), OUTAGE, "stale");
    let html = "<!DOCTYPE html><html><body>Sign in</body></html>";
    vec![
        row("refused", Trouble::Refused, OUTAGE, "stale"),
        outage("black-holed", Fault::Silence),
        outage("dripping", Fault::Drip(Duration::from_millis(500))),
        outage("500", Fault::status(500)),
        outage("503", Fault::status(503)),
        outage("429", Fault::status(429)),
        outage("429 with Retry-After", Fault::retry_after(429, 3600)),
        outage("cut", Fault::Cut { after: 10, how: Cut::Close }),
        outage("reset", Fault::Cut { after: 10, how: Cut::Reset }),
        outage("error page", Fault::Instead(Answer::ok("text/html", html))),
        outage("empty 200", Fault::Instead(Answer::ok("application/json", ""))),
        outage("redirect in a circle", Fault::redirect(&manifest_path(REPOSITORY, TAG))),
        outage("redirect to link-local", Fault::redirect("http://169.254.169.254/latest/")),
        row("401", Trouble::Everywhere(Fault::status(401)), WITHHELD, "withdrawn"),
        row("403", Trouble::Everywhere(Fault::status(403)), WITHHELD, "withdrawn"),
        row("404", Trouble::Everywhere(Fault::status(404)), ABSENT, "gone"),
        row("tag deleted", Trouble::TagDeleted, ABSENT, "gone"),
        row("repository deleted", Trouble::RepositoryDeleted, ABSENT, "gone"),
    ]
}

impl Trouble {
    async fn begin(&self, registry: &FakeRegistry) {
        match self {
            Self::Everywhere(fault) => {
                for origin in registry.origins() {
                    origin.fault("*", fault.clone());
                }
            }
            Self::Refused => registry.refuse().await,
            Self::TagDeleted => registry.delete_tag(REPOSITORY, TAG),
            Self::RepositoryDeleted => registry.delete_repository(REPOSITORY),
        }
    }

    fn end(&self, registry: &FakeRegistry) {
        match self {
            Self::Everywhere(_) => registry.heal(),
            Self::Refused => registry.listen(),
            Self::TagDeleted | Self::RepositoryDeleted => {}
        }
    }
}

fn image() -> Image {
    Image::single(Family::Schema2, 1)
}

/// Every row has a registry and a Larder of its own, and most of its time is spent waiting.
async fn in_every_row(check: impl AsyncFn(Row)) {
    join_all(rows().into_iter().map(|row| check(row))).await;
}

/// Nothing is kept: an honest error, and health as soon as upstream is well.
#[tokio::test]
async fn cold() {
    in_every_row(async |row| {
        let setting = Setting::new().await;
        let image = image();
        setting.registry.publish(REPOSITORY, TAG, &image);
        row.trouble.begin(&setting.registry).await;
        for path in [manifest_path(REPOSITORY, TAG), manifest_path("hub.example/library/demo", TAG)]
        {
            let reply = setting.get(&path).await;
            assert!(row.honest.contains(&reply.status.as_u16()), "{}: {reply:?}", row.name);
            assert_error(&reply, row.honest, &[]);
            let code = reply.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned();
            let absent = code.ends_with("_UNKNOWN") || code == "UNAUTHORIZED" || code == "DENIED";
            assert_eq!(absent, row.honest != OUTAGE, "{}: {code}", row.name);
        }
        row.trouble.end(&setting.registry);
        setting.registry.publish(REPOSITORY, TAG, &image);
        eventually(&format!("{} heals", row.name), async || {
            setting.larder.advance(PAST_FRESHNESS);
            Puller::Podman.pull(&setting.by_prefix(), TAG).await.is_ok()
        })
        .await;
    })
    .await;
}

/// Kept and fresh: nobody notices.
#[tokio::test]
async fn warm() {
    in_every_row(async |row| {
        let setting = Setting::new().await;
        let image = image();
        setting.registry.publish(REPOSITORY, TAG, &image);
        Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        setting.registry.forget();
        row.trouble.begin(&setting.registry).await;
        for puller in EVERY_PULLER {
            let pulled = puller.pull(&setting.by_prefix(), TAG).await;
            let pulled = pulled.unwrap_or_else(|error| panic!("{}: {error}", row.name));
            pulled.expect(puller, &image);
            assert_eq!(pulled.warnings, "", "{}", row.name);
        }
        assert_eq!(setting.registry.journal(), Vec::<String>::new(), "{}", row.name);
    })
    .await;
}

/// Kept and stale: served all the same, and marked where a person can see it.
#[tokio::test]
async fn stale() {
    in_every_row(async |row| {
        let setting = match row.trouble {
            Trouble::Everywhere(Fault::Silence | Fault::Drip(_)) => Setting::impatient().await,
            _ => Setting::new().await,
        };
        let image = image();
        setting.registry.publish(REPOSITORY, TAG, &image);
        Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        let moved = Image::single(Family::Schema2, 100);
        if matches!(row.trouble, Trouble::Everywhere(_)) {
            // With something new to say, upstream cannot do with the head of an answer, which no body's fault would touch.
            setting.registry.publish(REPOSITORY, TAG, &moved);
        }
        row.trouble.begin(&setting.registry).await;
        for puller in EVERY_PULLER {
            setting.larder.advance(PAST_FRESHNESS);
            let pulled = puller.pull(&setting.by_default(), TAG).await;
            let pulled = pulled.unwrap_or_else(|error| panic!("{}: {error}", row.name));
            pulled.expect(puller, &image);
        }
        setting.larder.advance(PAST_FRESHNESS);
        until_marked(&setting, &row).await;
        // What a digest names cannot be stale.
        let by_digest = setting.get(&manifest_path(REPOSITORY, image.digest())).await;
        assert_eq!(
            (by_digest.status.as_u16(), by_digest.header("warning")),
            (200, ""),
            "{}",
            row.name
        );

        row.trouble.end(&setting.registry);
        setting.registry.publish(REPOSITORY, TAG, &moved);
        eventually(&format!("{} heals", row.name), async || {
            setting.larder.advance(PAST_FRESHNESS);
            let pulled = Puller::Docker.pull(&setting.by_default(), TAG).await;
            pulled.is_ok_and(|pulled| pulled.digest == moved.digest() && pulled.warnings.is_empty())
        })
        .await;
    })
    .await;
}

/// Waits until the tag's answer says `mark`: one may come before the refresh that it began has failed.
async fn until_marked(setting: &Setting, row: &Row) {
    let mut seen = String::new();
    let marked = async {
        loop {
            let reply = setting.head(&manifest_path(REPOSITORY, TAG)).await;
            assert_eq!(reply.status, 200, "{}: {reply:?}", row.name);
            seen = warnings(&reply);
            if seen.contains(row.mark) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let marked = tokio::time::timeout(DEADLINE, marked).await;
    assert!(marked.is_ok(), "{}: no {:?} in {seen:?}", row.name, row.mark);
}

/// After a restart with upstream away, everything that was kept is served.
#[tokio::test]
async fn restarted_while_upstream_is_away() {
    for silent in [true, false] {
        let setting = Setting::new().await;
        let image = setting.stock();
        Puller::SkopeoAll.pull(&setting.by_prefix(), TAG).await.expect("it pulls");
        match silent {
            true => Trouble::Everywhere(Fault::Silence).begin(&setting.registry).await,
            false => setting.registry.refuse().await,
        }
        let Setting { registry, larder } = setting;
        larder.advance(PAST_FRESHNESS);
        let setting = Setting { registry, larder: larder.restart().await };
        for puller in EVERY_PULLER.into_iter().filter(|puller| *puller != Puller::Ollama) {
            let pulled = puller.pull(&setting.by_default(), TAG).await.expect("it pulls");
            pulled.expect(puller, &image);
        }
    }
}

/// A part of an image that was never fetched is an outage while upstream is away, and no absence.
#[tokio::test]
async fn what_was_never_fetched_is_not_called_absent() {
    let setting = Setting::new().await;
    let image = setting.stock();
    Puller::Docker.pull(&setting.by_default(), TAG).await.expect("it pulls");
    setting.registry.refuse().await;
    let other = image.children[1].digest.as_str();
    let reply = setting.get(&manifest_path(REPOSITORY, other)).await;
    assert_error(&reply, OUTAGE, &[]);
    let layer = &image.blobs.iter().find(|blob| setting.registry.crossings(&blob.digest).0 == 0);
    let layer = layer.expect("one was not fetched");
    let reply = setting.get(&blob_path(REPOSITORY, &layer.digest)).await;
    assert_error(&reply, OUTAGE, &[]);
}

/// A layer whose transfer is cut goes on where it stopped, for a client that never notices.
#[tokio::test]
async fn a_layer_that_is_cut_is_resumed() {
    let setting = Setting::new().await;
    let layer = crate::support::registry::Blob::opaque(Family::Oci, 9, 3 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let path = blob_path(REPOSITORY, &layer.digest);
    for how in [Cut::Close, Cut::Reset] {
        setting.registry.front.fault_times(&path, 1, Fault::Cut { after: 1 << 20, how });
    }
    let pulled = Puller::Containerd.pull(&setting.by_namespace(), TAG).await.expect("it pulls");
    pulled.expect(Puller::Containerd, &image);
    assert!(setting.registry.crossings(&layer.digest).1 <= layer.length() + (1 << 20));
}

/// Links to storage expire within minutes: the rest of a layer is had by asking the registry again.
#[tokio::test]
async fn a_link_that_expires_in_mid_layer_is_asked_for_again() {
    let setting = Setting::new().await;
    setting.registry.behave(|manners| {
        manners.blobs = crate::support::registry::Delivery::Redirected(307);
    });
    let layer = crate::support::registry::Blob::opaque(Family::Oci, 9, 3 << 20);
    let image = Image::of_layers(Family::Oci, "amd64", vec![layer.clone()]);
    setting.registry.publish(REPOSITORY, TAG, &image);
    let gate = crate::support::origin::Gate::closed();
    let edge = crate::support::registry::edge_path(&layer.digest);
    setting.registry.edge.fault_times(&edge, 1, Fault::Wait(Some(1 << 20), gate.clone()));
    let source = setting.by_default();
    let pull = Puller::Podman.pull(&source, TAG);
    let expire = async {
        setting.registry.edge.until_asked(&edge, 1).await;
        setting.registry.expire_links();
        // Ends the connection in mid-layer; what comes next has to have a new link.
        setting.registry.edge.refuse().await;
        setting.registry.edge.listen();
        gate.open();
    };
    let (pulled, ()) = tokio::join!(pull, expire);
    pulled.expect("it pulls").expect(Puller::Podman, &image);
    assert!(setting.registry.front.asked(&blob_path(REPOSITORY, &layer.digest)).len() >= 2);
}
