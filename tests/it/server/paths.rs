//! Hostile paths: none leads out of its mount, none reaches upstream, each gets an answer.

use crate::support::index::{FakeIndex, Style};
use crate::support::larder::Larder;
use crate::support::raw;

#[tokio::test]
async fn hostile_paths_lead_nowhere() {
    let index = FakeIndex::start(Style::Full).await;
    let larder = Larder::over(&index).await;
    let long_segment = format!("/simple/{}/", "a".repeat(300));
    let long = format!("/simple/{}", "a/".repeat(40_000));
    let paths = [
        "/simple/../../etc/passwd",
        "/simple/%2e%2e/%2e%2e/etc/passwd",
        "/simple/..%2f..%2fetc%2fpasswd/",
        "/simple/..%5c..%5cwindows/",
        "/simple/\\..\\six/",
        "/simple/./six/",
        "/simple//six/",
        "//simple/six/",
        "/simple/six/..;/",
        "/simple/six%00/",
        "/simple/six%0d%0aX:%20y/",
        "/simple/%ff%fe/",
        "/simple/%c0%ae%c0%ae/",
        "/simple/%ed%a0%80/",
        "/simple/%zz/",
        "/simple/%/",
        "/simple/s%69x%2f/",
        "/simple/six%3fa/",
        "/simple/six%23a/",
        "/simple/con/../aux/",
        "/pypi/../simple/six/",
        "/pypi/default/files/..%2f..%2fx/y.whl",
        "/pypi/default/files/127.0.0.1/../../y.whl",
        "/pypi/default/files/user@127.0.0.1/y.whl",
        "/pypi/nobody/simple/six/",
        "/generic/nobody/x",
        "/-/../simple/six/",
        "*",
        &long_segment,
        &long,
    ];
    for path in paths {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", larder.address);
        let answer = raw::exchange(larder.address, request.as_bytes()).await;
        let shown: String = path.chars().take(80).collect();
        let statuses = raw::statuses(&answer);
        assert!(
            matches!(statuses.as_slice(), [400 | 404 | 414 | 431] | [301 | 308]),
            "{shown}: {statuses:?}"
        );
        assert!(!answer.contains("root:"), "{shown}");
    }
    let asked: Vec<_> = index.pages.log().iter().map(|logged| logged.path.clone()).collect();
    assert!(asked.is_empty(), "{asked:?}");
    assert_eq!(larder.get("/-/health").await.status, 200);
}
