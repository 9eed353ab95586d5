//! What pip, uv and poetry send, replayed byte for byte as far as it shapes the answer: representations, links, metadata, ranges.

use crate::support::client::{ACCEPT_PAGE, Reply};
use crate::support::index::{EVERY_STYLE, FakeIndex, Style, Upload, sha256};
use crate::support::larder::{Larder, link_on, over};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
const WHEEL: &str = "six-1.16.0-py3-none-any.whl";

async fn stocked(style: Style) -> (FakeIndex, Larder) {
    let index = FakeIndex::start(style).await;
    index.publish(
        "six",
        [Upload::wheel_for_python("six", "1.16.0", ">=3.8"), Upload::sdist("six", "1.16.0")],
    );
    let larder = Larder::over(&index).await;
    (index, larder)
}

#[tokio::test]
async fn every_client_gets_the_representation_that_it_likes_best() {
    for style in EVERY_STYLE {
        let (_index, larder) = stocked(style).await;
        let check = async |accept: &str, expected: &str| {
            let reply =
                larder.client.get(larder.url("/simple/six/")).with("accept", accept).send().await;
            let given =
                reply.header("content-type").split(';').next().unwrap_or_default().to_owned();
            assert_eq!(
                (reply.status.as_u16(), given.as_str()),
                (200, expected),
                "{style:?}: {accept}"
            );
            assert!(reply.header("vary").to_lowercase().contains("accept"), "{reply:?}");
            assert!(reply.text().contains(WHEEL), "{style:?}: {accept}: {}", reply.text());
        };
        check(ACCEPT_PAGE, JSON).await; // pip, pdm
        check(&format!("{JSON}, {HTML};q=0.2, text/html;q=0.01"), JSON).await; // uv
        check(&format!("{JSON}, */*;q=0.1"), JSON).await; // poetry
        check(&format!("text/html, {HTML};q=0.9, {JSON};q=0.5"), "text/html").await; // devpi
        check("text/html", "text/html").await;
        check("*/*", "text/html").await;
        check("application/vnd.pypi.simple.latest+json", JSON).await;
        check("application/vnd.pypi.simple.latest+html", HTML).await;
        check(&format!("{JSON};q=0, text/html"), "text/html").await;
        let any = larder.get("/simple/six/").await;
        assert_eq!(any.header("content-type").split(';').next(), Some("text/html"));
    }
}

#[tokio::test]
async fn pages_are_compressed_for_those_who_ask() {
    let index = FakeIndex::start(Style::HeaderPoor).await;
    index.publish("six", (0..50).map(|n| Upload::sdist("six", &format!("1.{n}"))));
    let larder = Larder::over(&index).await;
    let plain = larder.page("six").await;
    let ask = larder.client.get(larder.url("/simple/six/")).with("accept", ACCEPT_PAGE);
    let packed = ask.with("accept-encoding", "gzip, deflate").send().await;
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut text)
        .expect("it is gzip");
    assert_eq!(text, plain.body);
    assert_ne!(
        plain.header("etag"),
        packed.header("etag"),
        "representations have validators of their own"
    );
}

#[tokio::test]
async fn keys_are_handed_on_and_never_null() {
    for style in EVERY_STYLE {
        let (_index, larder) = stocked(style).await;
        let page = larder.page("six").await.json();
        assert_eq!(page["name"], "six");
        assert_eq!(page["versions"], serde_json::json!(["1.16.0"]), "{style:?}");
        assert!(
            page["meta"]["api-version"].as_str().is_some_and(|version| version.starts_with("1."))
        );
        for file in page["files"].as_array().expect("files") {
            let file = file.as_object().expect("an entry");
            let nulls: Vec<_> = file
                .iter()
                .filter(|(key, value)| value.is_null() && *key != "provenance")
                .collect();
            assert!(nulls.is_empty(), "{style:?}: {nulls:?}");
            let hash = file["hashes"]["sha256"].as_str().expect("a hash");
            assert_eq!(hash.len(), 64);
            if style == Style::Full {
                assert_eq!(file["upload-time"], "2024-05-06T07:08:09.123456Z");
                assert_eq!(file["x-future-key"], serde_json::json!({ "kept": true }));
            }
        }
        assert_eq!(page["files"][0]["requires-python"], ">=3.8", "{style:?}");
    }
}

#[tokio::test]
async fn links_lead_back_here_from_every_mount() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.16.0");
    index.publish("six", [upload.clone()]);
    let larder = Larder::over(&index).await;
    for mount in ["/simple/six/", "/pypi/default/simple/six/"] {
        let base = larder.url(mount);
        for accept in [ACCEPT_PAGE, "text/html"] {
            let page = larder.client.get(&base).with("accept", accept).send().await;
            let link = match accept {
                ACCEPT_PAGE => link_on(&page, &base, WHEEL).expect("a link"),
                _ => first_anchor(&page, &base),
            };
            assert!(link.starts_with(&larder.url("/")), "{mount}: {link}");
            // The upstream path is kept whole: clients read names from it, and canonical addresses can be mapped by prefix.
            assert!(link.ends_with(&upload.path), "{mount}: {link}");
            let file = larder.client.get(&link).send().await;
            assert_eq!(
                (file.status.as_u16(), sha256(&file.body)),
                (200, upload.digest.clone()),
                "{mount}"
            );
        }
    }
}

#[tokio::test]
async fn links_keep_the_token_that_came_in_the_path() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("token");
    std::fs::write(&file, "opensesame\n").expect("the folder can be written");
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.16.0")]);
    let access = format!("[access]\ntokens = [{{ name = \"ci\", file = {:?} }}]\n", file);
    let larder = Larder::start(&format!("{}{access}", over(&index))).await;
    assert_eq!(larder.page("six").await.status, 401);
    let base = larder.url("/-/t/opensesame/simple/six/");
    let page = larder.client.get(&base).with("accept", ACCEPT_PAGE).send().await;
    assert_eq!(page.status, 200, "{page:?}");
    let link = link_on(&page, &base, WHEEL).expect("a link");
    assert_eq!(larder.client.get(&link).send().await.status, 200, "{link}");
    for logged in index.pages.log().iter().chain(&index.files.log()) {
        assert!(!format!("{} {:?}", logged.path, logged.headers).contains("opensesame"));
    }
}

#[tokio::test]
async fn names_are_normalised() {
    let (index, larder) = stocked(Style::Full).await;
    for (path, status) in [
        ("/simple/Six/", 301),
        ("/simple/six", 301),
        ("/simple/s..ix/", 301),
        ("/simple/-six/", 404),
        ("/simple/sïx/", 400),
    ] {
        let reply = larder.get(path).await;
        assert!(
            reply.status == status
                || (status == 301 && reply.status == 308)
                || (status == 400 && reply.status == 404),
            "{path}: {reply:?}"
        );
    }
    let moved = larder.get("/simple/Six/").await;
    let target = url::Url::parse(&larder.url("/simple/Six/"))
        .and_then(|base| base.join(moved.header("location")));
    assert_eq!(target.map(String::from), Ok(larder.url("/simple/six/")));
    assert!(index.pages.log().is_empty(), "a name that is not one is not asked for");
}

#[tokio::test]
async fn metadata_is_what_the_wheel_holds() {
    let (index, larder) = stocked(Style::Full).await;
    let page = larder.page("six").await.json();
    let promised = page["files"][0]["core-metadata"]["sha256"].as_str().expect("a hash").to_owned();
    assert!(page["files"][1].get("core-metadata").is_none_or(|value| value == false), "{page}");
    let link = larder.link("six", WHEEL).await;
    let metadata = larder.client.get(format!("{link}.metadata")).send().await;
    assert_eq!((metadata.status.as_u16(), sha256(&metadata.body)), (200, promised));
    assert!(metadata.text().starts_with("Metadata-Version: 2.1\nName: six\n"));
    assert!(
        index.files.log().iter().all(|logged| logged.path.ends_with(".metadata")),
        "the wheel itself is not fetched"
    );
}

#[tokio::test]
async fn metadata_that_is_advertised_can_be_had_when_upstream_is_away() {
    for style in EVERY_STYLE {
        let (index, larder) = stocked(style).await;
        assert_eq!(larder.file("six", WHEEL).await.status, 200);
        index.pages.refuse().await;
        index.files.refuse().await;
        larder.advance(3600);
        let entry = larder.page("six").await.json()["files"][0].clone();
        let link = larder.link("six", WHEEL).await;
        let metadata = larder.client.get(format!("{link}.metadata")).send().await;
        match &entry["core-metadata"] {
            serde_json::Value::Object(hashes) => {
                assert_eq!(
                    metadata.status, 200,
                    "{style:?}: advertised and not to be had: {metadata:?}"
                );
                assert_eq!(hashes["sha256"], sha256(&metadata.body), "{style:?}");
            }
            serde_json::Value::Bool(true) => assert_eq!(metadata.status, 200, "{style:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_wheel_is_read_lazily() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::large_wheel("six", "1.16.0", 4 << 20);
    index.publish("six", [upload.clone()]);
    let larder = Larder::over(&index).await;
    let link = larder.link("six", WHEEL).await;
    let head = larder.client.head(&link).with("accept-encoding", "identity").send().await;
    let total = upload.content.length().expect("a length");
    assert_eq!(head.status, 200);
    assert_eq!(
        (head.header("accept-ranges"), head.header("content-length")),
        ("bytes", total.to_string().as_str()),
        "{head:?}"
    );
    let tail = larder
        .client
        .get(&link)
        .with("range", "bytes=-10240")
        .with("accept-encoding", "identity")
        .send()
        .await;
    assert_eq!(tail.status, 206, "{tail:?}");
    assert_eq!(tail.body, upload.content.at(total - 10_240, 10_240));
    assert_eq!(
        tail.header("content-range"),
        format!("bytes {}-{}/{total}", total - 10_240, total - 1)
    );
}

#[tokio::test]
async fn the_json_api_answers_for_project_and_release() {
    let (_index, larder) = stocked(Style::Full).await;
    for path in ["/pypi/six/json", "/pypi/six/1.16.0/json", "/pypi/default/pypi/six/json"] {
        let reply = larder.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.json()["info"]["name"], "six", "{path}");
    }
    assert_eq!(larder.get("/pypi/none/json").await.status, 404);
}

#[tokio::test]
async fn uploads_are_refused_in_so_many_words() {
    let (_index, larder) = stocked(Style::Full).await;
    let reply =
        larder.client.ask(http::Method::POST, larder.url("/simple/")).body("x").send().await;
    assert_eq!(reply.status, 405, "{reply:?}");
    assert!(!reply.header("allow").is_empty());
}

fn first_anchor(page: &Reply, base: &str) -> String {
    let text = page.text();
    let href =
        text.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an anchor");
    let mut link = url::Url::parse(base).and_then(|base| base.join(href)).expect("a link");
    assert!(link.fragment().is_some_and(|fragment| fragment.starts_with("sha256=")), "{href}");
    link.set_fragment(None);
    link.into()
}
