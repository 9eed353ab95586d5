//! Who gets what: of a repository that is public, gated or private, was public, or is opened by Larder's own token.

use http::header;

use super::*;
use crate::ecosystem::huggingface::config::{AfterWithdrawal, Auth};

#[test]
fn a_token_never_splits_what_is_public() {
    let mut stage = Stage::new();
    for token in [None, FRIEND, STRANGER, Some("Basic eA==")] {
        assert_eq!(stage.get(FILE, token).status(), 200, "{token:?}");
        assert_eq!(stage.get(TREE, token).status(), 200, "{token:?}");
    }
    assert_eq!(stage.questions(), 2);
    assert_eq!(stage.tokens, BTreeSet::from([String::new()]), "no token went to the hub");
}

/// Who gets what of a repository that was never public: routes by audiences by states of the hub.
#[test]
fn what_was_never_public_is_for_those_the_hub_confirms() {
    for door in [Door::Gated, Door::Private] {
        for (path, is_of_files) in [
            (FILE, true),
            (LARGE, true),
            ("org/m/raw/main/a.txt", true),
            ("api/models/org/m/auth-check", true),
            (INFO, false),
            (TREE, false),
            ("api/models/org/m/revision/main", false),
            ("api/models/org/m?blobs=true", false),
            ("api/models/org/m?expand=sha", false),
            ("api/models/org/m/refs", false),
        ] {
            let mut stage = Stage { door, ..Stage::new() };
            let open_to_all = door == Door::Gated && !is_of_files;
            // The friend first, so that everything is kept when the others come.
            assert_eq!(stage.get(path, FRIEND).status(), 200, "{door:?} {path}");
            for token in [None, STRANGER, Some("Basic aGZfZnJpZW5kOg==")] {
                let end = stage.get(path, token);
                let expected = open_to_all || end.status() != 200;
                assert!(expected, "{door:?} {path} {token:?}: {end:?}");
                if !open_to_all {
                    let code = if door == Door::Gated { "GatedRepo" } else { "RepoNotFound" };
                    assert_eq!(end.field("x-error-code"), code, "{door:?} {path} {token:?}");
                }
            }
            assert!(!stage.tokens.iter().any(|token| token.starts_with("Basic")));
            // Within the memo the friend is believed; after it only while the hub says so.
            stage.is_down = true;
            assert_eq!(stage.get(path, FRIEND).status(), 200, "{door:?} {path}");
            stage.after(3600);
            for token in [None, FRIEND, STRANGER] {
                let end = stage.get(path, token);
                let shut = matches!(end.status(), 401 | 403 | 404 | 503 | 504);
                assert!(shut || open_to_all, "{door:?} {path} {token:?} in an outage: {end:?}");
            }
            let end = stage.get(path, FRIEND);
            assert!(open_to_all || end.status() == 504, "an outage is no refusal: {end:?}");
        }
    }
}

#[test]
fn rights_that_are_taken_away_end_with_the_memo() {
    for door in [Door::Gated, Door::Private] {
        let mut stage = Stage { door, ..Stage::new() };
        assert_eq!(stage.get(FILE, FRIEND).status(), 200);
        stage.friend = "hf_another";
        assert_eq!(stage.get(FILE, FRIEND).status(), 200, "{door:?} within the memo");
        stage.after(61);
        assert!(matches!(stage.get(FILE, FRIEND).status(), 401 | 403 | 404), "{door:?}");
    }
}

#[test]
fn tokens_are_ignored_where_only_what_is_public_is_served() {
    for door in [Door::Gated, Door::Private] {
        let config = Config { auth: Some(Auth::PublicOnly), ..Config::default() };
        let mut stage = Stage { door, ..Stage::with(config) };
        assert_eq!(stage.get(FILE, FRIEND).status(), 401, "{door:?}");
        assert_eq!(stage.tokens, BTreeSet::from([String::new()]));
    }
}

#[test]
fn an_offline_grant_lasts_as_long_as_it_says() {
    let grant = Some(Duration::from_secs(86400));
    for door in [Door::Gated, Door::Private] {
        let config = Config { offline_grant: grant, ..Config::default() };
        let mut stage = Stage { door, ..Stage::with(config) };
        assert_eq!(stage.get(FILE, FRIEND).status(), 200);
        stage.is_down = true;
        stage.after(80_000);
        assert_eq!(stage.get(FILE, FRIEND).status(), 200, "{door:?}");
        stage.restart();
        assert_eq!(stage.get(FILE, FRIEND).status(), 200, "{door:?} after a restart");
        assert_ne!(stage.get(FILE, STRANGER).status(), 200, "{door:?}");
        stage.after(8_000);
        assert_eq!(stage.get(FILE, FRIEND).status(), 504, "{door:?}");
    }
}

#[test]
fn what_was_public_is_served_on_or_denied_as_configured() {
    for door in [Door::Gated, Door::Private] {
        let mut stage = Stage::new();
        stage.get(FILE, None);
        stage.after(600);
        (stage.door, stage.head) = (door, TWO);
        let end = stage.get(&format!("org/m/resolve/{ONE}/a.txt"), None);
        assert_eq!(end.status(), 200, "{door:?}: {end:?}");
        assert!(end.field("warning").contains("withdrawn"), "{door:?}");
        let End::File(artifact, _) = end else { panic!("no file") };
        assert!(artifact.lookup.origins.is_empty(), "the hub is not asked for what it closed");
        // A friend reads what came after; that opens nothing to others.
        let later = format!("org/m/resolve/{TWO}/only-2");
        assert_eq!(stage.get(&later, FRIEND).status(), 200, "{door:?}");
        for token in [None, STRANGER] {
            let end = stage.get(&later, token);
            assert!(matches!(end.status(), 401 | 403 | 404), "{door:?} {token:?}: {end:?}");
        }

        let denied = Config { after_withdrawal: AfterWithdrawal::Deny, ..Config::default() };
        stage.mount = Stage::with(denied).mount;
        let end = stage.get(&format!("org/m/resolve/{ONE}/a.txt"), None);
        assert_eq!(end.status(), 401, "{door:?}");
    }
}

#[test]
fn larders_own_token_opens_to_those_who_are_named() {
    let config = Config {
        token_file: Some("token".into()),
        grant: vec!["ci".to_owned()].into(),
        ..Config::default()
    };
    for door in [Door::Open, Door::Gated, Door::Private] {
        let mut stage = Stage { door, ..Stage::with(config.clone()) };
        for (client, path) in
            [(Some("ci"), FILE), (None, FILE), (Some("other"), FILE), (None, TREE)]
        {
            let end = stage.ask(Method::GET, path, FRIEND, client, &[]);
            let is_let =
                client == Some("ci") || door == Door::Open || door == Door::Gated && path == TREE;
            assert_eq!(end.status() == 200, is_let, "{door:?} {client:?} {path}: {end:?}");
        }
        assert_eq!(stage.tokens, BTreeSet::from(["hf_service".to_owned()]));
    }
}

#[test]
fn what_is_not_known_passes_with_the_hub_s_own_tokens_only() {
    let mut stage = Stage::new();
    for (token, sent) in
        [(None, false), (FRIEND, true), (Some("Basic eA=="), false), (Some("Bearer other"), false)]
    {
        let End::Passed(request) = stage.get("org", token) else { panic!("{token:?}") };
        assert_eq!(request.credentials.is_some(), sent, "{token:?}");
        assert!(request.headers.get(header::AUTHORIZATION).is_none());
        for path in ["api/whoami-v2", "api/models?search=x"] {
            assert_eq!(matches!(stage.get(path, token), End::Passed(_)), sent, "{path} {token:?}");
        }
    }
    assert_eq!(stage.get("api/telemetry/x/y", FRIEND).status(), 200);
    for path in ["api/agent-harnesses", "api/models-tags-by-type"] {
        assert!(matches!(stage.get(path, FRIEND), End::Reply(..)), "{path}");
    }
    assert_eq!(stage.get("-/elsewhere", None).status(), 404);
    let token = "api/buckets/o/b/xet-read-token";
    assert_eq!(stage.get(token, FRIEND).status(), 501);
    assert_eq!(stage.tokens, BTreeSet::from([String::new()]));
}
