//! Larder as the chunk server of Xet clients: files rebuilt from chunks that were cut out of plain bytes, in every state of the file, and what does not open it.

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::larder::{Larder, over_hub};
use crate::support::origin::{Cut, Fault, Gate, Pattern};
use crate::support::wait::{soon, until};

pub(super) const ID: &str = "org/model";

/// Large enough that its bytes leave before its digest is known, and no whole number of chunks.
const SIZE: u64 = (3 << 20) + 17;

/// A file as its client sees it: the server that it was told of, and the token for that.
pub(super) struct Client<'a> {
    larder: &'a Larder,
    server: String,
    token: String,
}

impl<'a> Client<'a> {
    pub(super) async fn new(larder: &'a Larder, revision: &str) -> Self {
        let reply = larder.get(&token_path(revision)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let told = reply.json();
        let field = |name: &str| told[name].as_str().expect("text").to_owned();
        let (server, token) = (field("casUrl"), field("accessToken"));
        assert_eq!(reply.header("x-xet-cas-url"), server);
        assert_eq!(reply.header("x-xet-access-token"), token);
        assert_eq!(reply.header("x-xet-token-expiration"), told["exp"].to_string());
        assert!(server.starts_with(&larder.url("/")), "{server}");
        Self { larder, server, token }
    }

    pub(super) async fn describe(&self, version: &str, hash: &str, range: Option<&str>) -> Reply {
        let url = format!("{}/{version}/reconstructions/{hash}", self.server);
        let ask = self.larder.client.get(url);
        let ask = ask.with("authorization", &format!("Bearer {}", self.token));
        match range {
            Some(range) => ask.with("range", range).send().await,
            None => ask.send().await,
        }
    }

    /// The whole file, term by term.
    pub(super) async fn whole(&self, version: &str, hash: &str) -> Vec<u8> {
        let told = self.describe(version, hash, None).await;
        assert_eq!(told.status, StatusCode::OK, "{told:?}");
        let mut whole = Vec::new();
        for place in places(&told.json()) {
            let reply = self.fetch(&place).await;
            assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{reply:?}");
            whole.extend_from_slice(&unframed(&reply.body));
        }
        whole
    }

    /// A range of a xorb, as clients ask for it: without the token.
    pub(super) async fn fetch(&self, place: &Place) -> Reply {
        self.larder.client.get(&place.url).with("range", &place.range()).send().await
    }
}

/// Where the chunks of a term are.
pub(super) struct Place {
    pub(super) url: String,
    start: u64,
    /// Included.
    last: u64,
}

impl Place {
    pub(super) fn range(&self) -> String {
        format!("bytes={}-{}", self.start, self.last)
    }
}

fn token_path(revision: &str) -> String {
    format!("/api/models/{ID}/xet-read-token/{revision}")
}

/// The places of all terms of either form, in the order of the file.
pub(super) fn places(told: &Value) -> Vec<Place> {
    let place = |term: &Value| {
        let hash = term["hash"].as_str().expect("a hash");
        let (url, bytes) = match told.get("xorbs") {
            Some(xorbs) => (&xorbs[hash][0]["url"], &xorbs[hash][0]["ranges"][0]["bytes"]),
            None => {
                (&told["fetch_info"][hash][0]["url"], &told["fetch_info"][hash][0]["url_range"])
            }
        };
        Place {
            url: url.as_str().expect("an address").to_owned(),
            start: bytes["start"].as_u64().expect("a number"),
            last: bytes["end"].as_u64().expect("a number"),
        }
    };
    told["terms"].as_array().expect("terms").iter().map(place).collect()
}

/// The content of chunks that are all sent as they are.
fn unframed(mut sent: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some((header, rest)) = sent.split_first_chunk::<8>() {
        let [version, a, b, c, scheme, d, e, f] = *header;
        assert_eq!((version, scheme, [a, b, c]), (0, 0, [d, e, f]));
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        assert!((1..=128 << 10).contains(&length), "a chunk of {length} bytes");
        content.extend_from_slice(&rest[..length]);
        sent = &rest[length..];
    }
    assert!(sent.is_empty(), "half a header");
    content
}

/// A hub with one model in Xet; its file's Xet hash.
async fn hub(seed: u64) -> (FakeHub, Pattern, String) {
    let (hub, pattern) = (FakeHub::start().await, Pattern::new(seed, SIZE));
    let file = File::xet(pattern.clone());
    hub.model(ID, files([("model.safetensors", file.clone()), ("a.txt", File::plain("a"))]));
    (hub, pattern, file.xet.clone())
}

#[tokio::test]
async fn a_file_is_rebuilt_cold_warm_restarted_and_offline() {
    let (hub, pattern, hash) = hub(1).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    for version in ["v2", "v1"] {
        let got = Client::new(&larder, "main").await.whole(version, &hash).await;
        assert_eq!(got.len() as u64, SIZE);
        assert!(pattern.matches(0, &got), "{version}");
    }
    assert_eq!(hub.sent_by_cdn(), SIZE, "each byte crosses once");
    assert!(hub.cas.log().is_empty(), "the hub's own chunk server is not asked");

    let larder = larder.restart().await;
    for host in hub.hosts() {
        host.refuse().await;
    }
    larder.advance(3600);
    let got = Client::new(&larder, "main").await.whole("v2", &hash).await;
    assert!(pattern.matches(0, &got) && got.len() as u64 == SIZE);
}

#[tokio::test]
async fn chunks_are_given_while_the_file_is_on_its_way() {
    let (hub, pattern, hash) = hub(2).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let gate = Gate::closed();
    hub.cdn.fault("/xet-bridge-us/*", Fault::Wait(Some(2 << 20), gate.clone()));
    let client = Client::new(&larder, "main").await;
    let told = client.describe("v2", &hash, Some("bytes=70000-524287")).await.json();
    assert_eq!(told["offset_into_first_range"], 70_000 - 65_536);
    let reply = soon("the first chunks", client.fetch(&places(&told)[0])).await;
    let content = unframed(&reply.body);
    assert_eq!(content.len(), 7 << 16);
    assert!(pattern.matches(65_536, &content));
    gate.open();
    assert!(pattern.matches(0, &client.whole("v2", &hash).await));
    until("the file is kept", || hub.sent_by_cdn() == SIZE).await;
}

#[tokio::test]
async fn no_chunk_of_a_corrupt_file_is_completed_where_ranges_are_verified() {
    let (hub, pattern, hash) = hub(3).await;
    let settings = over_hub(&hub, "").replace("[cache]\n", "[cache]\nverify_before_range = true\n");
    let larder = Larder::start(&settings).await;
    hub.cdn.fault("/xet-bridge-us/*", Fault::Corrupt);
    let client = Client::new(&larder, "main").await;
    let told = client.describe("v2", &hash, None).await.json();
    let place = &places(&told)[0];
    let reply = client.larder.client.get(&place.url).with("range", "bytes=0-65543");
    let reply = reply.try_send().await;
    let refused = reply.is_none_or(|reply| reply.status.is_server_error() || reply.cut);
    assert!(refused, "a range of a corrupt file");
    hub.heal();
    assert!(pattern.matches(0, &client.whole("v2", &hash).await), "the next good answer heals");
}

#[tokio::test]
async fn what_was_not_given_by_larder_opens_nothing() {
    let (hub, _, hash) = hub(4).await;
    let other = File::xet(Pattern::new(40, 100_000));
    hub.model("org/other", files([("other.bin", other.clone())]));
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let client = Client::new(&larder, "main").await;
    let status = async |token: &str, hash: &str| {
        let client = Client { token: token.to_owned(), server: client.server.clone(), ..client };
        client.describe("v2", hash, None).await.status
    };
    let forged = |text: &str| {
        let (head, tail) = text.split_at(text.len() / 2);
        let other = if tail.starts_with('A') { "B" } else { "A" };
        format!("{head}{other}{}", &tail[1..])
    };
    assert_eq!(status("", &hash).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&forged(&client.token), &hash).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&client.token, &other.xet).await, StatusCode::NOT_FOUND, "another file");
    assert_eq!(status(&client.token, "xyz").await, StatusCode::BAD_REQUEST);
    let beyond = client.describe("v2", &hash, Some(&format!("bytes={SIZE}-"))).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);

    let stranger = Larder::start(&over_hub(&hub, "")).await;
    let foreign = Client::new(&stranger, "main").await.token;
    assert_eq!(status(&foreign, &hash).await, StatusCode::UNAUTHORIZED, "another Larder's");

    let told = client.describe("v2", &hash, None).await.json();
    let url = places(&told)[0].url.clone();
    let (rest, index) = url.rsplit_once('/').expect("an index");
    let (root, ticket) = rest.rsplit_once('/').expect("a ticket");
    let get = async |url: String| larder.client.get(url).send().await.status;
    assert_eq!(get(format!("{root}/{}/{index}", forged(ticket))).await, StatusCode::FORBIDDEN);
    assert_eq!(get(format!("{root}/{}/{index}", client.token)).await, StatusCode::FORBIDDEN);
    assert_eq!(get(format!("{root}/{ticket}/1")).await, StatusCode::NOT_FOUND, "beyond its end");
    assert_eq!(get(url.clone()).await, StatusCode::OK);

    larder.advance(601);
    assert_eq!(status(&client.token, &hash).await, StatusCode::UNAUTHORIZED, "expired");
    assert_eq!(get(url.clone()).await, StatusCode::OK);
    larder.advance(3600);
    assert_eq!(get(url).await, StatusCode::FORBIDDEN, "expired");
}

#[tokio::test]
async fn a_private_file_is_fetched_with_the_credential_that_opened_it() {
    let (hub, pattern, hash) = hub(5).await;
    hub.user("alice", "hf_alice");
    hub.make_private(Kind::Model, ID, &["alice"]);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let token = async |bearer: Option<&str>| {
        let ask = larder.client.get(larder.url(&token_path("main")));
        match bearer {
            Some(token) => ask.with("authorization", &format!("Bearer {token}")).send().await,
            None => ask.send().await,
        }
    };
    assert_eq!(token(None).await.status, StatusCode::UNAUTHORIZED);
    assert!(!token(Some("hf_mallory")).await.status.is_success());
    let granted = token(Some("hf_alice")).await;
    assert_eq!(granted.status, StatusCode::OK, "{granted:?}");
    assert!(!granted.text().contains("hf_alice"));
    let told = granted.json();
    let field = |name: &str| told[name].as_str().expect("text").to_owned();
    let (server, token) = (field("casUrl"), field("accessToken"));
    let client = Client { larder: &larder, server, token };
    assert!(pattern.matches(0, &client.whole("v2", &hash).await));
    let leaked = hub.cdn.log().iter().any(|logged| logged.header("authorization").is_some());
    assert!(!leaked, "a credential went to the CDN");
}

#[tokio::test]
async fn telemetry_is_taken_and_forgotten() {
    let (hub, _, _) = hub(6).await;
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let url = larder.url("/-/hf/xet/v1/telemetry");
    let reply = larder.client.ask(http::Method::POST, url).body(Bytes::from("{}")).send().await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(hub.journal().is_empty());
}

/// The hub's plain way refuses the largest files; its chunk server does not.
#[tokio::test]
async fn a_file_that_the_bridge_refuses_is_put_together_from_chunks() {
    for first_xet_only in [false, true] {
        let (hub, pattern, hash) = hub(7).await;
        hub.switch(|switches| {
            switches.bridge_limit = Some(1 << 20);
            switches.first_xet_only = first_xet_only;
        });
        let larder = Larder::start(&over_hub(&hub, "")).await;
        let whole = larder.get(&format!("/{ID}/resolve/main/model.safetensors")).await;
        assert_eq!(whole.status, StatusCode::OK, "{:?}", whole.headers);
        assert!(!whole.cut && whole.body.len() as u64 == SIZE && pattern.matches(0, &whole.body));
        assert!(pattern.matches(0, &Client::new(&larder, "main").await.whole("v2", &hash).await));
        let leaked = hub.cdn.log().iter().any(|logged| logged.header("authorization").is_some());
        assert!(!leaked, "a credential went to the CDN");
        let asked = hub.cas.log().iter().filter(|logged| logged.status() == 200).count();
        assert_eq!(asked, 1, "one reconstruction is enough");
    }
}

#[tokio::test]
async fn chunks_that_break_are_asked_for_again_and_wrong_ones_are_refused() {
    let (hub, pattern, _) = hub(8).await;
    hub.switch(|switches| switches.bridge_limit = Some(1 << 20));
    let path = format!("/{ID}/resolve/main/model.safetensors");
    let larder = Larder::start(&over_hub(&hub, "")).await;
    hub.cdn.fault_times("/xorbs/*", 1, Fault::Cut { after: 1 << 20, how: Cut::Close });
    let whole = larder.get(&path).await;
    assert!(!whole.cut && pattern.matches(0, &whole.body), "{:?}", whole.headers);
    assert_eq!(whole.body.len() as u64, SIZE);

    let larder = Larder::start(&over_hub(&hub, "")).await;
    hub.cdn.fault("/xorbs/*", Fault::Corrupt);
    let reply = larder.client.get(larder.url(&path)).try_send().await;
    let refused = reply.is_none_or(|reply| reply.status.is_server_error() || reply.cut);
    assert!(refused, "a corrupt file");
    hub.heal();
    let whole = larder.get(&path).await;
    assert!(!whole.cut && pattern.matches(0, &whole.body), "the next good answer heals");
}

/// Room for nothing: each range is fetched for itself, and not the file for each.
#[tokio::test]
async fn chunks_are_given_where_there_is_no_room_for_the_file() {
    let (hub, pattern, hash) = hub(9).await;
    for bridge_limit in [None, Some(1 << 20)] {
        hub.switch(|switches| switches.bridge_limit = bridge_limit);
        chunks_without_room(&hub, &pattern, &hash).await;
    }
}

async fn chunks_without_room(hub: &FakeHub, pattern: &Pattern, hash: &str) {
    let settings = format!("{}\n[store]\nmin_free = \"1000 TiB\"\n", over_hub(hub, ""));
    let larder = Larder::start(&settings).await;
    let client = Client::new(&larder, "main").await;
    let told = client.describe("v2", hash, Some("bytes=1000000-1999999")).await.json();
    let reply = client.fetch(&places(&told)[0]).await;
    assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{reply:?}");
    assert!(reply.header("cache-status").contains("disk-full"), "{:?}", reply.headers);
    let content = unframed(&reply.body);
    let offset = told["offset_into_first_range"].as_u64().expect("an offset");
    assert!(pattern.matches(1_000_000 - offset, &content) && content.len() >= 1_000_000);
    assert!(pattern.matches(0, &client.whole("v1", hash).await));
}

#[tokio::test]
async fn a_file_of_chunks_goes_on_after_a_restart_where_it_stopped() {
    let (hub, pattern, _) = hub(10).await;
    hub.switch(|switches| switches.bridge_limit = Some(1 << 20));
    let path = format!("/{ID}/resolve/main/model.safetensors");
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let gate = Gate::closed();
    hub.cdn.fault("/xorbs/*", Fault::Wait(Some(2 << 20), gate.clone()));
    let mut open = larder.client.get(larder.url(&path)).open().await;
    let mut read = 0;
    while read < 3 << 19 {
        let bytes = soon("the first bytes", open.next()).await.expect("they come");
        read += bytes.expect("the file is longer").len();
    }
    drop(open);
    let larder = larder.restart().await;
    gate.open();
    hub.heal();
    hub.forget();
    let whole = larder.get(&path).await;
    assert!(!whole.cut && pattern.matches(0, &whole.body), "{:?}", whole.headers);
    assert_eq!(whole.body.len() as u64, SIZE);
    assert!(hub.sent_by_cdn() < SIZE - (1 << 20), "it began again: {}", hub.sent_by_cdn());
}
