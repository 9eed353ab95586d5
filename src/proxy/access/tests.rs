//! Who is let in, as whom, and what those are told who are not.

use std::path::PathBuf;

use super::*;

const CI: &str = "s3cret-of-ci";
const DESK: &str = "s3cret/of+desk=";

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

fn access(configure: impl FnOnce(&mut Config)) -> Access {
    let mut config = Config::default();
    configure(&mut config);
    Access::new(&config).expect("sound settings")
}

fn with_tokens(configure: impl FnOnce(&mut Config)) -> Access {
    let directory = tempfile::tempdir().expect("a directory");
    let token = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("{text}\n")).expect("a file");
        TokenConfig { name: name.to_owned(), file: Some(path), env: None }
    };
    access(|config| {
        config.tokens = vec![token("ci", CI), token("desk", DESK)];
        configure(config);
    })
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    HeaderMap::from_iter(fields.iter().map(field))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn only_this_machine_is_admitted_by_default() {
    let access = access(|_| {});
    for (peer, admitted) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("192.0.2.1", false),
        ("::ffff:192.0.2.1", false),
        ("fe80::1", false),
    ] {
        let headers = headers(&[("x-forwarded-for", "127.0.0.1")]);
        let got = access.admit(ip(peer), &headers, "/simple/").is_ok();
        assert_eq!(got, admitted, "{peer}");
    }
}

#[test]
fn a_token_is_needed_beside_the_network_and_comes_in_three_ways() {
    let access = with_tokens(|config| config.networks = networks(&["192.0.2.0/24"]));
    let inside = ip("192.0.2.9");
    let check =
        |authorization: &str, path: &str, expected: Result<(&str, &str, &str, bool), Refused>| {
            let headers = headers(&[("authorization", authorization)]);
            let got = access.admit(inside, &headers, path).map(|admitted| {
                (
                    admitted.client.unwrap_or(""),
                    admitted.path,
                    admitted.prefix,
                    admitted.authorization_used,
                )
            });
            assert_eq!(got, expected, "{authorization} {path}");
        };
    let refused = Err(Refused::Token);
    check("", "/a", refused);
    check("Basic", "/a", refused);
    check("Basic !!!", "/a", refused);
    check(&format!("Basic {}", BASE64_STANDARD.encode(CI)), "/a", refused);
    check(&basic(CI, ""), "/a", refused);
    check(&basic("u", "s3cret-of-c"), "/a", refused);
    check(&basic("u", &format!("{CI}x")), "/a", refused);
    check(&format!("Token {CI}"), "/a", refused);
    check("Bearer other", "/a", refused);
    check("", "/-/t/wrong/a", refused);
    check(&basic("u", CI), "/-/t/wrong/a", refused);
    check("", "/-/t/", refused);
    check("", &format!("/x/-/t/{CI}/a"), refused);

    check(&basic("anybody", CI), "/a", Ok(("ci", "/a", "", true)));
    check(&basic("", DESK), "/a", Ok(("desk", "/a", "", true)));
    check(&format!("bearer {DESK}"), "/a", Ok(("desk", "/a", "", true)));
    check("", &format!("/-/t/{CI}/a/b"), Ok(("ci", "/a/b", "/-/t/s3cret-of-ci", false)));
    check("", &format!("/-/t/{CI}"), Ok(("ci", "/", "/-/t/s3cret-of-ci", false)));
    check("", "/-/t/s3cret%2Fof+desk=/a", Ok(("desk", "/a", "/-/t/s3cret%2Fof+desk=", false)));
    check("Bearer upstream", &format!("/-/t/{CI}/a"), Ok(("ci", "/a", "/-/t/s3cret-of-ci", false)));
    check(&basic("u", DESK), &format!("/-/t/{CI}/a"), Ok(("ci", "/a", "/-/t/s3cret-of-ci", true)));

    let right = headers(&[("authorization", &basic("u", CI))]);
    let outside = ip("198.51.100.1");
    assert_eq!(access.admit(outside, &right, "/a"), Err(Refused::Network(outside)));
    let mut twice = right;
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
    assert_eq!(access.admit(inside, &twice, "/a"), Err(Refused::Token));
}

#[test]
fn an_open_server_still_asks_for_its_tokens() {
    let headers = HeaderMap::new();
    let open = access(|config| config.open = true);
    assert!(open.admit(ip("192.0.2.1"), &headers, "/a").is_ok());
    let open = with_tokens(|config| config.open = true);
    assert_eq!(open.admit(ip("192.0.2.1"), &headers, "/a"), Err(Refused::Token));
}

#[test]
fn only_trusted_proxies_are_believed() {
    let access = access(|config| {
        config.networks = networks(&["192.0.2.0/24"]);
        config.trusted_proxies = networks(&["127.0.0.1", "198.51.100.0/24"]);
    });
    let check = |peer: &str, forwarded: &str, expected: Result<&str, Refused>| {
        let headers = headers(&[("x-forwarded-for", forwarded), ("x-forwarded-proto", "https")]);
        let got = access.admit(ip(peer), &headers, "/a").map(|admitted| admitted.address);
        assert_eq!(got, expected.map(ip), "{peer} {forwarded}");
    };
    let outside = |address: &str| Err(Refused::Network(ip(address)));
    check("127.0.0.1", "192.0.2.7", Ok("192.0.2.7"));
    check("127.0.0.1", "192.0.2.7:4711", Ok("192.0.2.7"));
    check("127.0.0.1", "203.0.113.1, 192.0.2.7,198.51.100.1", Ok("192.0.2.7"));
    check("127.0.0.1", "192.0.2.7, 203.0.113.1", outside("203.0.113.1"));
    check("127.0.0.1", "[2001:db8::1]:80", outside("2001:db8::1"));
    check("127.0.0.1", "198.51.100.1", outside("198.51.100.1"));
    check("127.0.0.1", "192.0.2.7, unknown", Err(Refused::Unidentified));
    check("127.0.0.1", "", Err(Refused::Unidentified));
    check("203.0.113.1", "192.0.2.7", outside("203.0.113.1"));
    check("192.0.2.1", "203.0.113.1", Ok("192.0.2.1"));
    let none = HeaderMap::new();
    let peer = ip("127.0.0.1");
    assert_eq!(access.admit(peer, &none, "/a"), Err(Refused::Network(peer)));
}

#[test]
fn scheme_and_host_are_taken_from_trusted_proxies_alone() {
    let access = access(|config| {
        config.open = true;
        config.trusted_proxies = networks(&["127.0.0.1"]);
    });
    let check = |peer: &str, proto: &str, host: &str, expected: (Option<&str>, Option<&str>)| {
        let fields = [("x-forwarded-proto", proto), ("x-forwarded-host", host)];
        let headers = headers(&fields);
        let forwarded = access.admit(ip(peer), &headers, "/").expect("open").forwarded;
        assert_eq!((forwarded.scheme, forwarded.host), expected, "{peer} {proto} {host}");
    };
    check("127.0.0.1", "https", "cache.example:8443", (Some("https"), Some("cache.example:8443")));
    check(
        "127.0.0.1",
        "http, https",
        "evil.example, cache.example",
        (Some("https"), Some("cache.example")),
    );
    check("127.0.0.1", "gopher", "a/b", (None, None));
    check("127.0.0.1", "", "\"><script>", (None, None));
    check("192.0.2.1", "https", "cache.example", (None, None));
}

#[test]
fn all_that_is_wrong_with_tokens_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        Some(path)
    };
    let good = file("good", "x");
    let token = |name: &str, file: Option<PathBuf>, env: Option<&str>| TokenConfig {
        name: name.to_owned(),
        file,
        env: env.map(str::to_owned),
    };
    let config = Config {
        tokens: vec![
            token("a", good.clone(), None),
            token("a", good.clone(), None),
            token("", good.clone(), None),
            token("*", good.clone(), None),
            token("10.0.0.1", good.clone(), None),
            token("cert:a", good.clone(), None),
            token("b", None, None),
            token("c", good, Some("HOME")),
            token("d", file("empty", " \n"), None),
            token("e", file("two", "two words"), None),
            token("f", Some(directory.path().join("absent")), None),
            token("g", None, Some("LARDER_TEST_NEVER_SET")),
        ],
        admins: vec!["nobody".to_owned()],
        ..Config::default()
    };
    let errors = Access::new(&config).expect_err("twelve faults");
    let kinds: Vec<_> = errors
        .iter()
        .map(|error| match error {
            AccessError::Name { .. } => "name",
            AccessError::Source { .. } => "source",
            AccessError::Token { .. } => "token",
            AccessError::File { .. } => "file",
            AccessError::Variable { .. } => "variable",
            AccessError::Admin { .. } => "admin",
            AccessError::Listener { .. } => "listener",
        })
        .collect();
    let expected = [
        "name", "name", "name", "name", "name", "source", "source", "token", "token", "file",
        "variable", "admin",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn administrators_come_from_here_or_show_a_token() {
    let open = Config { open: true, ..Config::default() };
    let check = |peer: &str, field: Option<&'static str>, expected: bool| {
        let access = Access::new(&open).expect("no tokens");
        let mut headers = HeaderMap::new();
        if let Some(name) = field {
            headers.insert(name, HeaderValue::from_static("127.0.0.1"));
        }
        let peer = peer.parse().expect("an address");
        let admitted = access.admit(peer, &headers, "/").expect("everybody is let in");
        assert_eq!(admitted.is_admin, expected, "{peer} {field:?}");
    };
    check("127.0.0.1", None, true);
    check("::1", None, true);
    check("192.0.2.1", None, false);
    check("192.0.2.1", Some("x-forwarded-for"), false);
    for field in [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "via",
        "x-real-ip",
    ] {
        check("127.0.0.1", Some(field), false);
    }
}

/// A page of another site that has its own name lead to this machine is answered as anybody is, and not as an administrator.
#[test]
fn a_name_that_was_led_here_makes_no_administrator() {
    let access = Access::new(&Config::default()).expect("no tokens");
    let access = access.among(Vec::new(), Some("https://Cache.example:8443/x"));
    let here = ip("127.0.0.1");
    let check = |host: &'static str, expected: bool| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        let admitted = access.admit(here, &headers, "/").expect("this machine");
        assert_eq!(admitted.is_admin, expected, "{host}");
    };
    for host in
        ["127.0.0.1", "127.0.0.1:8484", "[::1]:8484", "[::1]", "localhost:8484", "LOCALHOST"]
    {
        check(host, true);
    }
    check("cache.example:8443", true);
    for host in [
        "evil.example",
        "evil.example:8484",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "cache.example.evil.example",
        "",
        "a@127.0.0.1",
        "127.0.0.1:x:1",
    ] {
        check(host, false);
    }
    assert!(access.admit(here, &HeaderMap::new(), "/").expect("this machine").is_admin);
}

#[test]
fn a_certificate_stands_in_for_a_token_and_never_for_an_administrators_name() {
    let access = with_tokens(|config| {
        config.open = true;
        config.admins = vec!["cert:boss.example".to_owned()];
    });
    let none = HeaderMap::new();
    let far = ip("192.0.2.1");
    let check =
        |certificate: Option<&'static str>, path: &'static str, expected: Option<(&str, bool)>| {
            let admitted = access.admit_certified(far, certificate, &none, path);
            let told = admitted.ok().map(|one| (one.client.unwrap_or(""), one.is_admin));
            assert_eq!(told, expected, "{certificate:?} {path}");
        };
    check(None, "/a", None);
    check(Some("cert:ci.example"), "/a", Some(("cert:ci.example", false)));
    check(Some("cert:boss.example"), "/a", Some(("cert:boss.example", true)));
    check(Some("cert:boss"), "/a", Some(("cert:boss", false)));
    // Whoever shows a token that is none of ours meant something by it.
    check(Some("cert:ci.example"), "/-/t/wrong/a", None);
}

#[test]
fn grants_by_network_part_those_who_may_get_each_others_answers() {
    let network = |text: &str| text.parse::<Network>().expect("a network");
    let access = Access::new(&Config { open: true, ..Config::default() }).expect("no tokens");
    let access = access.among(vec![network("10.1.0.0/16"), network("10.1.2.0/24")], None);
    let class = |address: &str| access.class(ip(address));
    assert_eq!(class("10.1.0.1"), class("10.1.255.1"));
    assert_eq!(class("10.2.0.1"), class("192.0.2.1"));
    let all = [class("10.2.0.1"), class("10.1.0.1"), class("10.1.2.1")];
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{all:?}");
    let many = (0..=MOST_GRANTED).map(|at| network(&format!("10.{at}.0.0/16"))).collect();
    assert_eq!(access.among(many, None).class(ip("10.1.0.1")), None);
}

#[test]
fn a_listener_for_others_needs_somebody_to_let_in() {
    let check = |address: &str, configure: fn(&mut Config), is_guarded: bool| {
        let mut config = Config::default();
        configure(&mut config);
        let addresses = ["127.0.0.1:1", address].map(|text| text.parse().expect("an address"));
        assert_eq!(guard_listen(&addresses, &config).is_err(), is_guarded, "{address}");
    };
    for address in ["0.0.0.0:8484", "[::]:8484", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        check(address, |_| {}, true);
        check(address, |config| config.networks.clear(), true);
        check(address, |config| config.open = true, false);
        check(address, |config| config.networks.push("192.0.2.0/24".parse().expect("one")), false);
    }
    check("[::1]:8484", |_| {}, false);
    check("127.0.0.2:8484", |config| config.networks.clear(), false);
}

#[test]
fn tokens_are_not_printed_and_refusals_say_what_to_do() {
    let access = with_tokens(|_| {});
    assert!(!format!("{access:?}").contains("s3cret"));
    let response = Refused::Token.into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Basic realm=\"larder\"");
    assert_eq!(Refused::Unidentified.into_response().status(), StatusCode::FORBIDDEN);
}
