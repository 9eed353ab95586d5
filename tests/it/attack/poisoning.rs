//! Requests whose answers would be somebody else's, were they kept: fields that are not in the key, errors that one odd request brings about, private
//! answers at public-looking addresses.

use crate::faults::stage::{EVERY_SUBJECT, Stage};
use crate::support::client::Reply;
use crate::support::larder::{Larder, generic};
use crate::support::origin::{Answer, Origin};

/// What some server behind some cache takes for the host, the address, the scheme or the method.
const OVERRIDES: [(&str, &str); 20] = [
    ("host", "evil.example"),
    ("forwarded", "for=evil.example;host=evil.example;proto=gopher"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-server", "evil.example"),
    ("x-forwarded-proto", "gopher"),
    ("x-forwarded-scheme", "gopher"),
    ("x-forwarded-port", "666"),
    ("x-forwarded-prefix", "/evil.example"),
    ("x-forwarded-for", "evil.example"),
    ("x-host", "evil.example"),
    ("x-original-url", "/evil.example"),
    ("x-rewrite-url", "/evil.example"),
    ("x-http-method-override", "DELETE"),
    ("x-http-method", "POST"),
    ("x-method-override", "PUT"),
    ("origin", "http://evil.example"),
    ("referer", "http://evil.example/"),
    ("cookie", "evil.example=1"),
    ("accept-language", "evil.example"),
    ("user-agent", "evil.example"),
];

/// The first to ask is the attacker. Whoever comes next gets what is right, and upstream never heard the attacker's words.
#[tokio::test]
async fn what_is_not_in_the_key_is_not_in_the_answer() {
    for subject in EVERY_SUBJECT {
        for (name, value) in OVERRIDES {
            let stage = Stage::new(subject, 600).await;
            stage.lead().await;
            stage.forget();
            let attack = stage.ask_with(&[(name, value)]).await;
            assert!(stage.is_right(&attack), "{subject:?}, {name}: {attack:?}");
            let clean = stage.ask().await;
            assert!(stage.is_right(&clean), "{subject:?}, {name}: {clean:?}");
            let told = format!("{:?} {}", clean.headers, clean.text());
            assert!(
                !told.contains("evil") && !told.contains("gopher"),
                "{subject:?}, {name}: {told}"
            );
            for logged in stage.origins().into_iter().flat_map(Origin::log) {
                let heard = format!("{} {:?} {:?}", logged.path, logged.query, logged.headers);
                assert!(
                    !heard.contains("evil") && !heard.contains("gopher"),
                    "{subject:?}, {name}: {heard}"
                );
            }
        }
    }
}

/// Odd requests to a repository's things bring no error about that others would get.
#[tokio::test]
async fn odd_requests_leave_no_error_behind() {
    let large = "x".repeat(50 << 10);
    for subject in EVERY_SUBJECT {
        let stage = Stage::new(subject, 600).await;
        stage.lead().await;
        for (name, value) in [
            ("x-large", large.as_str()),
            ("x-odd", "a\tb"),
            ("range", "bytes=0-0,1-1,2-2"),
            ("range", "bytes=999999999-"),
            ("range", "lines=1-2"),
            ("if-match", "\"no-such-tag\""),
            ("if-unmodified-since", "Mon, 06 May 1994 07:08:09 GMT"),
            ("accept-encoding", "zz, identity;q=0"),
            ("expect", "200-ok"),
            ("max-forwards", "0"),
            ("content-type", "application/x-www-form-urlencoded"),
        ] {
            stage.ask_with(&[(name, value)]).await;
            let clean = stage.ask().await;
            assert!(stage.is_right(&clean), "{subject:?}, {name}: {clean:?}");
        }
    }
}

/// An origin that says how it was asked, lets the answer be kept, and refuses what it finds odd.
async fn gullible() -> Origin {
    Origin::start("127.0.0.1", |request: &http::Request<bytes::Bytes>| {
        let headers = request.headers();
        let large = headers.values().map(http::HeaderValue::len).sum::<usize>() > 8 << 10;
        let odd = headers.values().any(|value| {
            value.as_bytes().iter().any(|byte| !byte.is_ascii_graphic() && *byte != b' ')
        });
        let overridden = OVERRIDES[1..15].iter().any(|(name, _)| headers.contains_key(*name));
        let status = match (large, odd, overridden) {
            (true, ..) => 431,
            (_, true, _) => 400,
            (.., true) => 404,
            _ => 200,
        };
        Answer::new(status).with("cache-control", "max-age=600").of("good")
    })
    .await
}

/// A mount for any origin passes fields on: what comes of odd ones is given to nobody else. (CPDoS: oversized, meta-character and override fields.)
#[tokio::test]
async fn errors_of_odd_requests_are_not_kept() {
    let large = "x".repeat(20 << 10);
    let odd = [("x-large", large.as_str()), ("x-tab", "a\tb")];
    for (name, value) in odd.iter().chain(&OVERRIDES[1..15]) {
        let origin = gullible().await;
        let larder = Larder::start(&generic(&origin.url("/"), "")).await;
        larder.client.get(larder.url("/generic/it/thing")).with(name, value).send().await;
        let clean = larder.get("/generic/it/thing").await;
        assert_eq!((clean.status.as_u16(), clean.text()), (200, "good".to_owned()), "{name}");
    }
}

/// Addresses that a careless cache takes for those of static files, and private answers at them.
#[tokio::test]
async fn private_answers_at_public_looking_addresses() {
    let origin = Origin::start("127.0.0.1", |request: &http::Request<bytes::Bytes>| {
        let fields = ["authorization", "cookie"].map(|name| request.headers().get(name).cloned());
        match fields.into_iter().flatten().next() {
            // No word about who may keep it: the mistake that the attack lives on.
            Some(value) => Answer::ok("text/html", format!("private of {value:?}")),
            None => {
                Answer::new(401).with("www-authenticate", "Basic realm=\"x\"").of("who are you?")
            }
        }
    })
    .await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    let mine: [(&str, &str); 2] =
        [("authorization", "Basic bWU6c2VjcmV0"), ("cookie", "session=secret")];
    for path in [
        "account",
        "account/x.css",
        "account;x.css",
        "account%2fx.css",
        "account?x.css",
        "account/..%3bx.js",
    ] {
        let url = larder.url(&format!("/generic/it/{path}"));
        for (name, value) in mine {
            let own = larder.client.get(&url).with(name, value).send().await;
            let stranger = larder.client.get(&url).send().await;
            assert!(!stranger.text().contains("private"), "{path}: {stranger:?}");
            let is_served = own.status == 200 && own.text().contains("private");
            assert!(is_served || own.status.is_client_error(), "{path}: {own:?}");
        }
    }
}

/// Two spellings of an address are two things or one thing, and never one thing kept under the other's name.
#[tokio::test]
async fn spellings_do_not_mix() {
    let origin = Origin::start("127.0.0.1", |request: &http::Request<bytes::Bytes>| {
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        Answer::new(200).with("cache-control", "max-age=600").of(target)
    })
    .await;
    let larder = Larder::start(&generic(&origin.url("/"), "")).await;
    for round in 0..2 {
        for target in [
            "a/b", "a%2fb", "a%2Fb", "A/b", "a//b", "a/b/", "a/b?", "a/b?x=1", "a/b?X=1",
            "a/b?x=1&", "a/b;x", "a%20b", "a+b",
        ] {
            let reply: Reply = larder.get(&format!("/generic/it/{target}")).await;
            let expected = format!("/{target}");
            let told = reply.text();
            assert!(
                told == expected || told == expected.trim_end_matches('?'),
                "{round}: {target}: {told}"
            );
        }
    }
}
