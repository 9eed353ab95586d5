//! What becomes of a request: who may have what, whom it is asked of, and how each failure is told.

use std::sync::Arc;

use http::{HeaderMap, Method, header};

use super::*;
use crate::cache::failure::Failure;
use crate::cache::lookup::{Artifact, Document, Stale};
use crate::ecosystem::pypi::{Index, IndexConfig};
use crate::ecosystem::{
    Access, Ask, ClientCredential, Ecosystem, Held, MOST_ROUNDS, Plan, Reply, Serve, Step,
};
use crate::policy::Verdict;
use crate::types::Secret;

const PUBLIC: &str = "upstream = \"https://index.example/simple/\"";

fn index(settings: &str) -> Index {
    let config: IndexConfig = toml::from_str(settings).expect("settings");
    let read = |_: &crate::ecosystem::pypi::SecretSource| Ok(Secret::new("secret"));
    Index::new(config.resolve("default", read).expect("good settings"))
}

fn ask(path: &str) -> Ask {
    Ask {
        method: Method::GET,
        path: path.to_owned(),
        query: None,
        headers: HeaderMap::new(),
        prefix: "/pypi/default/".to_owned(),
        base: "http://larder.example".to_owned(),
        credential: None,
        client: None,
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        now: NOW,
        rules: Arc::default(),
        as_of: None,
    }
}

fn reply(step: Step) -> Reply {
    match step {
        Step::Reply(reply) => reply,
        Step::Serve(_) => panic!("something is served"),
        Step::Refuse(_) => panic!("it is refused"),
        _ => panic!("more is needed"),
    }
}

fn serve(step: Step) -> Plan {
    match step {
        Step::Serve(plan) => *plan,
        Step::Reply(reply) => panic!("{} {:?}", reply.status, reply.body),
        Step::Refuse(_) => panic!("it is refused"),
        _ => panic!("more is needed"),
    }
}

fn document(plan: Plan) -> Document {
    match plan.serve {
        Serve::Document { document, .. } => document,
        other => panic!("{other:?}"),
    }
}

fn artifact(plan: Plan) -> Artifact {
    match plan.serve {
        Serve::Artifact { artifact, .. } => artifact,
        other => panic!("{other:?}"),
    }
}

/// Answers every need with this page, or with absence.
fn with_page(mut step: Step, page: Option<&Page>) -> Step {
    for _ in 0..MOST_ROUNDS {
        match step {
            Step::Need { documents, then } => {
                let held = |_: &Document| match page {
                    Some(page) => Ok(Held {
                        parsed: Parsed::new(page.clone()),
                        version: 1,
                        standing: standing(false),
                    }),
                    None => Err(Failure::Absent),
                };
                step = then(documents.iter().map(held).collect());
            }
            done => return done,
        }
    }
    panic!("too many rounds");
}

#[test]
fn refusals_come_without_asking_anybody() {
    let index = index(PUBLIC);
    let check = |ask: &Ask, status: u16, location: Option<&str>| {
        let reply = reply(index.plan(ask));
        let found = reply.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        assert_eq!((reply.status.as_u16(), found), (status, location), "{}", ask.path);
    };
    check(&Ask { method: Method::POST, ..ask("legacy/") }, 405, None);
    check(&ask("simple/-bad-/"), 404, None);
    check(&ask("simple/a%2Fb/"), 404, None);
    check(&ask("simple/Foo__Bar/"), 301, Some("../foo-bar/"));
    check(
        &Ask { query: Some("format=x".to_owned()), ..ask("simple/foo") },
        301,
        Some("foo/?format=x"),
    );
    check(&ask("simple"), 301, Some("simple/"));
    check(&ask("pypi/Foo/json"), 301, Some("../foo/json"));
    check(&ask("pypi/Foo/1.0/json"), 301, Some("../../foo/1.0/json"));
    check(&ask("pypi/foo/../json"), 404, None);
    check(&ask("foo/json"), 404, None);
    check(&ask("files/nothing"), 404, None);
    check(&ask("files/evil.example/x.txt"), 404, None);
    let mut picky = ask("simple/foo/");
    picky.headers.insert(header::ACCEPT, "application/json".parse().expect("a field value"));
    check(&picky, 406, None);
}

#[test]
fn a_page_is_asked_for_in_the_form_that_knows_most() {
    let document = document(serve(index(PUBLIC).plan(&ask("simple/six/"))));
    let request = &document.lookup.origins[0];
    assert_eq!(request.url.as_str(), "https://index.example/simple/six/");
    assert!(
        request.headers[header::ACCEPT]
            .to_str()
            .is_ok_and(|accept| accept.starts_with("application/vnd.pypi.simple.v1+json,"))
    );
    assert_eq!((document.lookup.key.name(), document.lookup.key.is_public()), ("page/six", true));
    assert_eq!(document.limit_bytes, 64 << 20);
}

#[test]
fn a_file_is_served_because_its_page_lists_it() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let index = index(PUBLIC);
    let plan = |path: &str| with_page(index.plan(&ask(path)), Some(story.page()));
    let wheel = "files/files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl";

    let file = artifact(serve(plan(wheel)));
    assert_eq!(
        file.digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("sha256:{}", "b".repeat(64))]
    );
    assert_eq!(file.size, Some(2000));
    assert_eq!(
        file.lookup.origins[0].url.as_str(),
        "https://files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl"
    );

    let sidecar = artifact(serve(plan(&format!("{wheel}.metadata"))));
    assert_eq!(
        sidecar.digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("sha256:{}", "c".repeat(64))]
    );
    assert_ne!(sidecar.lookup.key, file.lookup.key);

    // pip writes the plus sign of a local version in its own way.
    let local = artifact(serve(plan(
        "files/files.index.example/packages/dd/demo_project-2.0+cu118-py3-none-any.whl",
    )));
    assert!(
        local.lookup.origins[0].url.as_str().ends_with("demo_project-2.0%2Bcu118-py3-none-any.whl")
    );

    let provenance = "files/index.example/+demo-project/integrity/demo-project/1.1/demo_project-1.1-py3-none-any.whl/provenance";
    assert!(document(serve(plan(provenance))).lookup.key.name().starts_with("provenance/"));

    for unlisted in [
        "files/files.index.example/other/demo_project-1.1-py3-none-any.whl",
        "files/evil.example/demo_project-1.1-py3-none-any.whl",
    ] {
        assert_eq!(reply(plan(unlisted)).status, StatusCode::NOT_FOUND, "{unlisted}");
    }
    assert_eq!(reply(with_page(index.plan(&ask(wheel)), None)).status, StatusCode::NOT_FOUND);
}

#[test]
fn a_host_that_is_not_declared_is_refused_with_the_setting_to_change() {
    let mut story = Story::of("demo-project");
    story
        .hears(&project(&[OLD], "").replace("/p/", "https://elsewhere.example/"), NOW)
        .expect("a page");
    let path = format!("files/elsewhere.example/{OLD}");
    let refused = reply(with_page(index(PUBLIC).plan(&ask(&path)), Some(story.page())));
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&refused.body).contains("pypi.indexes.default.file_hosts"));
    let declared = index(&format!("{PUBLIC}\nfile_hosts = [\"elsewhere.example\"]"));
    artifact(serve(with_page(declared.plan(&ask(&path)), Some(story.page()))));
}

#[test]
fn a_held_file_is_judged_by_its_address_too() {
    let mut story = Story::of("demo-project");
    story.hears(&project(&[OLD, NEW], ""), NOW).expect("a page");
    story.hears(&project(&[OLD], ""), NOW.plus(DAY)).expect("a page");
    let plan = serve(with_page(
        index(PUBLIC).plan(&ask(&format!("files/index.example/p/{NEW}"))),
        Some(story.page()),
    ));
    assert_eq!(plan.subject.verdict, Verdict::Hold);
    assert!(plan.subject.reason.is_some_and(|reason| reason.contains("policy.released")));
}

#[test]
fn what_the_service_credential_opens_needs_a_grant() {
    let settings =
        "upstream = \"https://index.example/simple/\"\ncredentials = { token_env = \"T\" }";
    for path in ["simple/six/", "simple/", "files/index.example/six-1.0.zip", "pypi/six/json"] {
        let refused = reply(index(settings).plan(&ask(path)));
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            String::from_utf8_lossy(&refused.body).contains("pypi.indexes.default.grant"),
            "{path}"
        );
    }
    let granted = index(&format!("{settings}\ngrant = [\"ci\"]"));
    assert_eq!(reply(granted.plan(&ask("simple/six/"))).status, StatusCode::FORBIDDEN);
    let plan = serve(granted.plan(&Ask { client: Some("ci".to_owned()), ..ask("simple/six/") }));
    assert_eq!(plan.access, Access::Grant(vec!["ci".to_owned()].into()));
    assert!(!document(plan).lookup.key.is_public());
    let failure = granted.explain(&ask("simple/six/"), &Failure::Refused { status: 401 });
    assert_eq!(
        failure.status,
        StatusCode::BAD_GATEWAY,
        "our credential is not the client's business"
    );
}

#[test]
fn a_passed_credential_has_an_audience_of_its_own() {
    let index = index(&format!("{PUBLIC}\nauth = \"passthrough\""));
    let bare = document(serve(index.plan(&ask("simple/six/"))));
    assert!(bare.lookup.key.is_public() && bare.lookup.origins[0].credentials.is_none());
    let credential = Some(ClientCredential { id: [7; 16], verbatim: Secret::new("Basic dTpw") });
    let own = document(serve(index.plan(&Ask { credential, ..ask("simple/six/") })));
    assert!(!own.lookup.key.is_public() && own.lookup.origins[0].credentials.is_some());
    assert_eq!((bare.lookup.stale, own.lookup.stale), (Stale::Always, Stale::Never));
    let challenge = index.explain(&ask("simple/six/"), &Failure::Refused { status: 401 });
    assert_eq!(challenge.status, StatusCode::UNAUTHORIZED);
    assert!(challenge.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[test]
fn private_names_are_asked_for_nowhere_else() {
    let index = index(
        "upstreams = [{ url = \"https://private.example/simple\", names = [\"acme-*\"] }, \"https://index.example/simple/\"]",
    );
    let asked = |project: &str| -> Vec<String> {
        let document = document(serve(index.plan(&ask(&format!("simple/{project}/")))));
        document.lookup.origins.iter().map(|request| request.url.to_string()).collect()
    };
    assert_eq!(asked("acme-core"), ["https://private.example/simple/acme-core/"]);
    assert_eq!(asked("six"), ["https://index.example/simple/six/"]);
}

#[test]
fn outages_are_never_called_absence() {
    use crate::upstream::request::UpstreamError;
    let index = index(PUBLIC);
    let refused = UpstreamError::Refused { host: "index.example".to_owned() };
    for (failure, status) in [
        (Failure::Unreachable(refused), 504),
        (Failure::NotKept, 504),
        (Failure::Unavailable { status: 429, retry_after_secs: Some(9_999) }, 503),
        (Failure::Unavailable { status: 500, retry_after_secs: None }, 502),
        (Failure::BadAnswer("x".to_owned()), 502),
        (Failure::Refused { status: 403 }, 403),
        (Failure::Store("x".to_owned()), 500),
        (Failure::Absent, 404),
    ] {
        let reply = index.explain(&ask("simple/six/"), &failure);
        assert_eq!(reply.status.as_u16(), status, "{failure}");
        assert_eq!(reply.headers[header::CONTENT_TYPE], "application/problem+json");
    }
}

#[test]
fn a_release_is_told_from_the_page_when_upstream_has_no_legacy_json() {
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let index = index(PUBLIC);
    let absent = |path: &str| {
        let Step::Need { then, .. } = index.plan(&ask(path)) else {
            panic!("the page is needed first")
        };
        let held = Held {
            parsed: Parsed::new(story.page().clone()),
            version: 1,
            standing: standing(false),
        };
        let Step::Need { documents, then } = then(vec![Ok(held)]) else {
            panic!("then upstream's own")
        };
        let url = documents[0].lookup.origins[0].url.to_string();
        (url, then(vec![Err(Failure::Absent)]))
    };
    let (url, step) = absent("pypi/demo-project/1.1/json");
    assert_eq!(url, "https://index.example/pypi/demo-project/1.1/json");
    let Serve::Document { render, .. } = serve(step).serve else { panic!("a document") };
    let parsed = Parsed::new(story.page().clone());
    let view = view(&parsed, standing(false));
    let rendered = render.render(&view);
    let json: serde_json::Value = serde_json::from_slice(&rendered.reply.body).expect("JSON");
    assert_eq!(
        json["urls"][0]["url"],
        "http://larder.example/pypi/default/files/files.index.example/packages/bb/demo_project-1.1-py3-none-any.whl"
    );
    assert_eq!(json["info"]["requires_dist"], serde_json::Value::Null);
    assert_eq!(reply(absent("pypi/demo-project/9.9/json").1).status, StatusCode::NOT_FOUND);
    assert_eq!(reply(absent("pypi/demo-project/json").1).status, StatusCode::NOT_FOUND);
}

#[test]
fn links_lead_to_the_index_whichever_way_was_taken() {
    let index = index(PUBLIC);
    let mut story = Story::of("demo-project");
    story.hears(JSON, NOW).expect("a page");
    let parsed = Parsed::new(story.page().clone());
    let view = view(&parsed, standing(false));
    for (prefix, expected) in [
        ("/pypi/default/", "href=\"../../files/files.index.example/"),
        ("/simple/", "href=\"../../pypi/default/files/files.index.example/"),
        ("/", "href=\"../../files/files.index.example/"),
    ] {
        let ask = Ask { prefix: prefix.to_owned(), ..ask("simple/demo-project/") };
        let Serve::Document { render, .. } = serve(index.plan(&ask)).serve else {
            panic!("a document")
        };
        let reply = render.render(&view).reply;
        assert!(String::from_utf8_lossy(&reply.body).contains(expected), "{prefix}");
        assert_eq!(reply.headers[header::CACHE_CONTROL], "max-age=600, public");
        assert_eq!(reply.headers["x-pypi-last-serial"], "4711");
    }
}

#[test]
fn the_root_index_is_streamed_as_json_and_written_anew_as_html() {
    let index = index(PUBLIC);
    let mut json = ask("simple/");
    json.headers.insert(
        header::ACCEPT,
        "application/vnd.pypi.simple.v1+json".parse().expect("a field value"),
    );
    assert!(matches!(serve(index.plan(&json)).serve, Serve::Exchange { .. }));
    let names = document(serve(index.plan(&ask("simple/"))));
    let url = Url::parse(SOURCE).expect("an address");
    for body in [
        "{\"meta\": {}, \"projects\": [{\"name\": \"Six\"}, {\"name\": \"foo\"}]}",
        "<html><a href=\"/simple/six/\">Six</a><a href=\"/simple/foo/\">foo</a><a href=\"/about\">about</a>",
    ] {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let fresh = Fresh {
            origin: 0,
            url: &url,
            head: &Head::new(StatusCode::OK),
            body: &body,
            rest: &[],
            now: NOW,
        };
        let kept = names.keep.merge(None, &fresh).expect("a root index");
        let read = names.keep.read(&kept.bytes).expect("what was written can be read");
        assert_eq!(read.get::<Vec<Box<str>>>().map(Vec::len), Some(2));
    }
}
