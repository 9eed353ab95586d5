//! What can be learnt without rights, and what can be done with somebody else's.

use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::larder::{Larder, QUICK, over_hub};
use crate::support::registry::{Door, FakeRegistry, Family, Image, Realm, Tokens, manifest_path};

/// What is private and what is not there cost upstream the same, the first time and the next: the time that an answer takes is no answer.
#[tokio::test]
async fn private_things_take_as_long_as_absent_ones() {
    let hub = FakeHub::start().await;
    hub.model("org/private", files([("config.json", File::plain("{}"))]));
    hub.user("alice", "hf_alice");
    hub.make_private(Kind::Model, "org/private", &["alice"]);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    // Alice has had it fetched: what is kept must not answer faster than what is not. That somebody asked within the last minute may be seen, of private
    // names and of absent ones alike.
    let url = larder.url("/org/private/resolve/main/config.json");
    let own = larder.client.get(&url).with("authorization", "Bearer hf_alice").send().await;
    assert_eq!(own.status, 200, "{own:?}");
    larder.advance(3600);
    for path in [
        "/api/models/{}",
        "/{}/resolve/main/config.json",
        "/api/models/{}/tree/main",
        "/api/models/{}/revision/main",
    ] {
        for round in 0..2 {
            for token in ["", "Bearer hf_bob"] {
                let cost = async |id: &str| {
                    hub.forget();
                    let ask = larder.client.get(larder.url(&path.replace("{}", id)));
                    let ask = if token.is_empty() { ask } else { ask.with("authorization", token) };
                    let reply = ask.send().await;
                    (reply.status.as_u16(), hub.journal().len())
                };
                let (private, absent) = (cost("org/private").await, cost("org/missing").await);
                assert_eq!(private, absent, "{path}, {round}, {token:?}");
                assert!(private.0 >= 400, "{path}: {private:?}");
            }
        }
    }
}

#[tokio::test]
async fn private_images_take_as_long_as_absent_ones() {
    let registry = FakeRegistry::start().await;
    registry.behave(|manners| {
        manners.door = Door::Bearer(Tokens { realm: Realm::Beside, ..Tokens::default() });
    });
    registry.publish("corp/private", "1", &Image::single(Family::Oci, 1));
    registry.admit("alice", "wonderland");
    registry.restrict("corp/private", Some(&["alice"]));
    let larder = Larder::start(&over_registry(&registry)).await;
    for round in 0..2 {
        let cost = async |name: &str| {
            registry.forget();
            let reply = larder.get(&manifest_path(name, "1")).await;
            (reply.status.as_u16(), registry.journal().len())
        };
        let (private, absent) = (cost("corp/private").await, cost("corp/missing").await);
        assert_eq!(private, absent, "{round}");
    }
}

fn over_registry(registry: &FakeRegistry) -> String {
    format!(
        "{QUICK}[oci]\ndefault = \"hub.example\"\n[oci.registries.\"hub.example\"]\nupstream = {:?}\ntoken_hosts = [\"{}\"]\n",
        registry.front.url(""),
        registry.tokens.address.ip(),
    )
}

/// What one Larder hands out opens nothing at another one, and nothing after its time.
#[tokio::test]
async fn what_larder_hands_out_is_not_replayed() {
    let hub = FakeHub::start().await;
    let weights = File::xet("weights".repeat(2000));
    hub.model("org/model", files([("model.bin", weights.clone())]));
    let first = Larder::start(&over_hub(&hub, "")).await;
    let second = Larder::start(&over_hub(&hub, "")).await;
    let path = "/api/models/org/model/xet-read-token/main";
    let (token, other) = (first.get(path).await, second.get(path).await);
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    let hash = &weights.xet;
    let own = format!("{}/v1/reconstructions/{hash}", token.header("x-xet-cas-url"));
    let elsewhere = format!("{}/v1/reconstructions/{hash}", other.header("x-xet-cas-url"));
    let ask = async |url: &str| first.client.get(url).with("authorization", &bearer).send().await;
    assert_eq!(ask(&own).await.status, 200);
    let replayed = ask(&elsewhere).await;
    assert!(replayed.status.is_client_error(), "{replayed:?}");
    first.advance(10 * 24 * 3600);
    let late = ask(&own).await;
    assert!(late.status.is_client_error(), "{late:?}");
}

/// A token of Larder's own that is taken out of the settings lets nobody in, by whichever way it comes.
#[tokio::test]
async fn a_withdrawn_access_token_is_worthless() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-one").expect("the folder can be written");
    let settings = format!(
        "{QUICK}[access]\ntokens = [{{ name = \"ci\", file = {file:?} }}]\n[generic.it]\nupstream = \"http://127.0.0.1:1/\"\n"
    );
    let larder = Larder::start(&settings).await;
    let statuses = async |larder: &Larder| {
        let by_path = larder.get("/-/t/s3cret-one/-/health").await.status.as_u16();
        let url = larder.url("/-/health");
        let bearer =
            larder.client.get(&url).with("authorization", "Bearer s3cret-one").send().await;
        // "x:s3cret-one"
        let basic =
            larder.client.get(&url).with("authorization", "Basic eDpzM2NyZXQtb25l").send().await;
        [by_path, bearer.status.as_u16(), basic.status.as_u16()]
    };
    assert_eq!(statuses(&larder).await, [200, 200, 200]);
    std::fs::write(&file, "s3cret-two").expect("the folder can be written");
    let larder = larder.restart().await;
    assert_eq!(statuses(&larder).await, [401, 401, 401]);
}
