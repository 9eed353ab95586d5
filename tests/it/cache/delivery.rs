//! How kept things are given: whole, in parts, on conditions, by their heads.

use crate::support::client::Reply;
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;

const WHEEL: &str = "six-1.0-py3-none-any.whl";

/// A kept file and its address.
struct Kept {
    larder: Larder,
    index: FakeIndex,
    upload: Upload,
    link: String,
    whole: Reply,
}

async fn kept() -> Kept {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::large_wheel("six", "1.0", 100_000);
    index.publish("six", [upload.clone()]);
    let larder = Larder::over(&index).await;
    let link = larder.link("six", WHEEL).await;
    let whole = larder.client.get(&link).send().await;
    assert_eq!(whole.status, 200);
    index.files.forget();
    Kept { larder, index, upload, link, whole }
}

impl Kept {
    async fn get(&self, fields: &[(&'static str, &str)]) -> Reply {
        let ask = self.larder.client.get(&self.link);
        fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await
    }

    fn bytes(&self) -> &[u8] {
        &self.whole.body
    }
}

#[tokio::test]
async fn a_head_says_what_a_get_would() {
    let kept = kept().await;
    let head = kept.larder.client.head(&kept.link).send().await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for name in ["content-length", "etag", "content-type", "cache-control", "accept-ranges"] {
        assert_eq!(head.header(name), kept.get(&[]).await.header(name), "{name}");
        assert!(!head.header(name).is_empty(), "{name}");
    }
    assert_eq!(kept.index.files.log().len(), 0);
}

#[tokio::test]
async fn a_cold_head_does_not_fetch_the_file() {
    let index = FakeIndex::start(Style::Full).await;
    let upload = Upload::large_wheel("six", "1.0", 5 << 20);
    index.publish("six", [upload.clone()]);
    let larder = Larder::over(&index).await;
    let head = larder.client.head(larder.link("six", WHEEL).await).send().await;
    assert_eq!(
        head.header("content-length"),
        upload.content.length().expect("a length").to_string()
    );
    assert!(index.files.sent(&upload.path) < 1 << 20);
}

#[tokio::test]
async fn files_are_immutable_and_say_so() {
    let kept = kept().await;
    let cache_control = kept.whole.header("cache-control").to_owned();
    assert!(
        cache_control.contains("immutable") && cache_control.contains("max-age="),
        "{cache_control}"
    );
    assert!(kept.whole.header("etag").starts_with('"'), "{:?}", kept.whole.headers);
    assert_eq!(kept.whole.header("content-encoding"), "");
}

#[tokio::test]
async fn ranges_of_a_kept_file() {
    let kept = kept().await;
    let total = kept.bytes().len();
    let check = async |range: &str, first: usize, last: usize| {
        let reply = kept.get(&[("range", range)]).await;
        assert_eq!(reply.status, 206, "{range}: {reply:?}");
        assert_eq!(reply.body, kept.bytes()[first..=last], "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/{total}"));
        assert_eq!(reply.header("content-length"), (last + 1 - first).to_string());
    };
    check("bytes=0-0", 0, 0).await;
    check("bytes=10-19", 10, 19).await;
    check("bytes=10-", 10, total - 1).await;
    check("bytes=-7", total - 7, total - 1).await;
    check(&format!("bytes=10-{}", u64::MAX), 10, total - 1).await;
    check(&format!("bytes=-{}", u64::MAX), 0, total - 1).await;
}

#[tokio::test]
async fn ranges_that_are_none() {
    let kept = kept().await;
    let total = kept.bytes().len();
    let check = async |range: &str, status: u16| {
        let reply = kept.get(&[("range", range)]).await;
        assert_eq!(reply.status, status, "{range}: {:?}", reply.headers);
        match status {
            416 => assert_eq!(reply.header("content-range"), format!("bytes */{total}"), "{range}"),
            _ => assert_eq!(reply.body, kept.bytes(), "{range}"),
        }
    };
    check(&format!("bytes={total}-"), 416).await;
    check("bytes=-0", 416).await;
    // What is not a valid range is no range (RFC 9110 section 14.2).
    check("bytes=5-4", 200).await;
    check("bytes=a-b", 200).await;
    check("lines=1-2", 200).await;
    check("bytes=18446744073709551616-", 416).await;
    // Many small or overlapping parts cost more than the whole.
    let many: Vec<String> = (0..500).map(|n| format!("{n}-{}", n + 100)).collect();
    let reply = kept.get(&[("range", &format!("bytes={}", many.join(",")))]).await;
    assert!(matches!(reply.status.as_u16(), 200 | 206 | 416), "{:?}", reply.headers);
    assert!(reply.body.len() <= 2 * total, "{} bytes", reply.body.len());
}

#[tokio::test]
async fn several_ranges_come_in_parts() {
    let kept = kept().await;
    let total = kept.bytes().len();
    let reply = kept.get(&[("range", "bytes=0-3,100-103,-4")]).await;
    assert_eq!(reply.status, 206);
    let kind = reply.header("content-type").to_owned();
    let boundary =
        kind.strip_prefix("multipart/byteranges; boundary=").expect("parts").trim_matches('"');
    let mut expected = Vec::new();
    for (first, last) in [(0, 3), (100, 103), (total - 4, total - 1)] {
        expected.push((format!("bytes {first}-{last}/{total}"), &kept.bytes()[first..=last]));
    }
    let text = reply.body.to_vec();
    let parts = split(&text, format!("--{boundary}").as_bytes());
    assert_eq!(parts.len(), 5, "a preamble, three parts, an end");
    for (part, (range, bytes)) in parts[1..4].iter().zip(expected) {
        let head_end = part.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&part[..head_end]).to_lowercase();
        assert!(head.contains(&format!("content-range: {range}")), "{head}");
        assert_eq!(&part[head_end + 4..part.len() - 2], bytes);
    }
    assert_eq!(reply.header("content-length"), text.len().to_string());
}

#[tokio::test]
async fn conditions_are_evaluated() {
    let kept = kept().await;
    let tag = kept.whole.header("etag").to_owned();
    let check = async |fields: &[(&'static str, &str)], status: u16, length: usize| {
        let reply = kept.get(fields).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (status, length), "{fields:?}");
        assert_eq!(reply.header("etag"), tag, "{fields:?}");
    };
    let total = kept.bytes().len();
    check(&[("if-none-match", &tag)], 304, 0).await;
    check(&[("if-none-match", &format!("W/{tag}"))], 304, 0).await;
    check(&[("if-none-match", "*")], 304, 0).await;
    check(&[("if-none-match", &format!("\"other\", {tag}"))], 304, 0).await;
    check(&[("if-none-match", "\"other\"")], 200, total).await;
    check(&[("if-match", &tag)], 200, total).await;
    check(&[("range", "bytes=0-9"), ("if-range", &tag)], 206, 10).await;
    check(&[("range", "bytes=0-9"), ("if-range", &format!("W/{tag}"))], 200, total).await;
    check(&[("range", "bytes=0-9"), ("if-range", "\"other\"")], 200, total).await;
    check(&[("range", "bytes=0-9"), ("if-none-match", &tag)], 304, 0).await;
    assert_eq!(kept.get(&[("if-match", "\"other\"")]).await.status, 412);
    assert_eq!(kept.index.files.log().len(), 0);
}

#[tokio::test]
async fn every_answer_says_how_it_came_about() {
    let index = FakeIndex::start(Style::Full).await;
    index.publish("six", [Upload::wheel("six", "1.0")]);
    let larder = Larder::over(&index).await;
    let status = |reply: &Reply| reply.header("cache-status").to_owned();
    let age = |reply: &Reply| reply.header("age").parse::<u64>().expect("an age");

    let first = larder.page("six").await;
    assert!(status(&first).contains("fwd=") && age(&first) == 0, "{first:?}");
    larder.advance(100);
    let second = larder.page("six").await;
    assert!(status(&second).contains("hit"), "{second:?}");
    assert_eq!(age(&second), 100);
    larder.advance(3600);
    let third = larder.page("six").await;
    assert!(status(&third).contains("fwd=stale") && status(&third).contains("304"), "{third:?}");
    assert_eq!(age(&third), 0);
    larder.advance(3600);
    index.pages.refuse().await;
    let fourth = larder.page("six").await;
    assert!(fourth.header("warning").contains("stale"), "{fourth:?}");
    assert!(status(&fourth).contains("detail="), "{fourth:?}");
    assert!(age(&fourth) >= 3600);
    for path in ["/simple/none/", "/nothing/here", "/-/health"] {
        assert!(
            !larder.get(path).await.header("cache-status").is_empty() || path != "/simple/none/",
            "{path}"
        );
    }
    let file = larder.client.get(larder.link("six", WHEEL).await).send().await;
    assert!(!file.header("cache-status").is_empty() && !file.header("age").is_empty(), "{file:?}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_spoken() {
    let kept = kept().await;
    let client = crate::support::client::Client::http2();
    let reply = client.get(&kept.link).with("range", "bytes=0-9").send().await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (206, &kept.bytes()[..10]));
    assert_eq!(kept.upload.content.length(), Some(kept.bytes().len() as u64));
}

fn split<'a>(text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        parts.push(&rest[..at]);
        rest = &rest[at + mark.len()..];
    }
    parts.push(rest);
    parts
}
