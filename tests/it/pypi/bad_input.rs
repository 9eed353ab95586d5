//! Pages that are too large, or that lead astray.

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;
use crate::support::origin::{Answer, Fault};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

#[tokio::test]
async fn a_page_of_50_mb_works() {
    let index = FakeIndex::start(Style::Full).await;
    index.pages.fault("/simple/vast/", Fault::vast_page("vast", 50));
    let larder =
        Larder::start(&format!("[pypi.indexes.default]\nupstream = {:?}\n", index.simple())).await;
    let page = larder.page("vast").await;
    assert_eq!(page.status, 200, "{}", page.text().chars().take(500).collect::<String>());
    assert!(page.body.ends_with(b"}") && page.text().contains("vast-9-py3-none-any.whl"));
}

#[tokio::test]
async fn a_page_of_100_mb_is_refused() {
    let index = FakeIndex::start(Style::Full).await;
    index.pages.fault("/simple/vast/", Fault::vast_page("vast", 100));
    let larder =
        Larder::start(&format!("[pypi.indexes.default]\nupstream = {:?}\n", index.simple())).await;
    let page = larder.page("vast").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (502, "application/problem+json")
    );
}

/// Links to hosts that are not the index's: none of them may make Larder ask there.
#[tokio::test]
async fn hosts_in_file_links_are_not_taken_on_trust() {
    for host in [
        "http://169.254.169.254",
        "http://[fd00::1]",
        "http://[::ffff:169.254.169.254]",
        "http://0xA9FEA9FE",
        "http://2852039166",
        "file://",
        "ftp://127.0.0.1",
        "http://user:password@127.0.0.1",
    ] {
        let index = FakeIndex::start(Style::Full).await;
        let stray = Upload::wheel("six", "1.0")
            .linked(&format!("{host}/latest/meta-data/six-1.0-py3-none-any.whl"));
        index.publish("six", [stray, Upload::wheel("six", "2.0")]);
        let larder = Larder::over(&index).await;
        let page = larder.page("six").await;
        assert_eq!(page.status, 200, "{host}: {page:?}");
        // The rest of the page is as good as ever.
        assert_eq!(larder.file("six", "six-2.0-py3-none-any.whl").await.status, 200, "{host}");
        if page.text().contains("six-1.0-py3-none-any.whl") {
            let file = larder.file("six", "six-1.0-py3-none-any.whl").await;
            assert!(
                file.status.is_client_error() || file.status.is_server_error(),
                "{host}: {file:?}"
            );
        }
    }
}

/// The address of a file names the upstream host: one that no page named must not be reached through it.
#[tokio::test]
async fn a_made_up_file_address_reaches_nothing() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    let link = larder.link("six", "six-1.0-py3-none-any.whl").await;
    let files = index.files.address;
    index.files.forget();
    for (from, to) in [
        (files.ip().to_string(), "127.0.0.3".to_owned()),
        (files.port().to_string(), "1".to_owned()),
        ("/packages/".to_owned(), "/other/".to_owned()),
        ("six-1.0".to_owned(), "six-9.9".to_owned()),
    ] {
        let address = link.replacen(&from, &to, 1);
        assert_ne!(address, link, "{from}");
        let reply = larder.client.get(&address).send().await;
        assert!(!reply.status.is_success(), "{address}: {reply:?}");
    }
    assert!(index.files.log().is_empty(), "what no page lists is not asked for");
}

#[tokio::test]
async fn links_of_every_form_are_resolved() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = |version: &str, link: &str| Upload::wheel("six", version).linked(link);
    let host = index.files.address;
    index.publish(
        "six",
        [
            upload("1.0", &format!("//{host}{{path}}")),
            upload("2.0", &format!("http://{host}/packages/../.{{path}}")),
            upload("3.0+local.1", "{path}"),
            upload("4.0", "../..{path}"),
        ],
    );
    // The last two are on the index's own host, which has no such file: it gets one by a redirect.
    index.pages.fault("/packages/*", Fault::Instead(Answer::ok("x/y", "on the index's own host")));
    let larder = Larder::over(&index).await;
    for version in ["1.0", "2.0"] {
        let file = larder.file("six", &format!("six-{version}-py3-none-any.whl")).await;
        assert_eq!(file.status, 200, "{version}: {file:?}");
    }
    for version in ["3.0+local.1", "4.0"] {
        // The bytes are wrong, so the digest finds it out: the right address was asked.
        let file = larder.file("six", &format!("six-{version}-py3-none-any.whl")).await;
        assert_eq!(file.status, 502, "{version}: {file:?}");
    }
    assert_eq!(
        index.pages.log().iter().filter(|logged| logged.path.starts_with("/packages/")).count(),
        2
    );
}

#[tokio::test]
async fn a_base_element_is_honoured_and_left_out() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload.clone()]);
    let page = format!(
        "<html><head><base href=\"{}\"></head><body><a href=\"..{}#sha256={}\">{}</a></body></html>",
        index.files.url("/one/"),
        upload.path,
        upload.digest,
        upload.filename
    );
    index.pages.fault("/simple/six/", Fault::Instead(Answer::ok("text/html", page)));
    let larder = Larder::over(&index).await;
    let html = larder.get("/simple/six/").await.text();
    assert!(!html.contains("<base"), "{html}");
    assert_eq!(larder.file("six", &upload.filename).await.status, 200);
}

#[tokio::test]
async fn a_page_with_keys_of_the_future_works() {
    let index = FakeIndex::start(Style::Full).await;
    let page = r#"{"meta":{"api-version":"1.99","_x":1},"name":"six","files":[{"filename":"six-1.0-variants.json","url":"/v","hashes":{},"new":[1]}],"versions":["1.0"],"namespaces":null,"future":{"a":1}}"#;
    index.pages.fault("/simple/six/", Fault::Instead(Answer::ok(JSON, page)));
    let larder = Larder::over(&index).await;
    let page = larder.page("six").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.json()["future"], serde_json::json!({ "a": 1 }));
    assert_eq!(page.json()["files"][0]["new"], serde_json::json!([1]));
}

#[tokio::test]
async fn a_script_in_a_page_does_not_come_through() {
    let index = FakeIndex::start(Style::HtmlOnly).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    index.yank("six", "1.0", Some("\"><script>alert(1)</script>"));
    let larder = Larder::over(&index).await;
    let html = larder.get("/simple/six/").await.text();
    assert!(html.contains("six-1.0") && !html.contains("<script>"), "{html}");
}

#[tokio::test]
async fn a_file_that_is_not_what_its_page_promised_is_refused() {
    for ballast in [0, 3 << 20] {
        let index = FakeIndex::start(Style::Full).await;
        let upload = Upload::large_wheel("six", "1.0", ballast);
        let digest = upload.digest.clone();
        index.publish("six", [upload.clone().with_hash(Some(&"0".repeat(64)))]);
        let larder = Larder::over(&index).await;
        for _ in 0..2 {
            let file = larder.file("six", "six-1.0-py3-none-any.whl").await;
            assert!(
                file.status == 502 || (file.cut && ballast > 0),
                "{ballast}: {:?}",
                file.status
            );
            assert!(!file.header("cache-status").contains("hit"), "{:?}", file.headers);
        }
        // The page was wrong, and is corrected.
        index.delete_project("six");
        index.publish("six", [upload]);
        larder.advance(3600);
        let file = larder.file("six", "six-1.0-py3-none-any.whl").await;
        assert_eq!(crate::support::index::sha256(&file.body), digest);
    }
}

#[tokio::test]
async fn a_file_without_a_hash_is_trusted_on_first_use() {
    let index = FakeIndex::start(Style::HtmlOnly).await;
    let upload = Upload::wheel("six", "1.0");
    index.publish("six", [upload.clone().with_hash(None)]);
    let larder = Larder::over(&index).await;
    let first = larder.file("six", "six-1.0-py3-none-any.whl").await;
    assert_eq!(first.status, 200);
    index.replace_file(&upload, "other bytes");
    larder.advance(3600);
    assert_eq!(larder.file("six", "six-1.0-py3-none-any.whl").await.body, first.body);
}

#[tokio::test]
async fn a_confirmation_that_nobody_asked_for_is_no_page() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    index.pages.fault_times("/simple/six/", 1, Fault::status(304));
    assert_eq!(larder.page("six").await.status, 502);
    assert_eq!(larder.page("six").await.status, 200);
}
