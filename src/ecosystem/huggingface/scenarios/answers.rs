//! What the answers say: files, lists and references as the hub tells them, while it moves on and when it is away.

use super::*;

#[test]
fn a_file_is_described_as_the_hub_describes_it() {
    for follows in [true, false] {
        let mut stage = Stage { follows, ..Stage::new() };
        let end = stage.get(LARGE, None);
        assert_eq!(end.field("x-repo-commit"), ONE);
        assert_eq!(end.field("etag"), format!("\"{SHA256}\""));
        assert_eq!(end.field("x-linked-etag"), format!("\"{SHA256}\""));
        assert_eq!(end.field("x-linked-size"), "9000000");
        assert_eq!(end.field("x-xet-hash"), XET);
        let link = end.field("link").to_owned();
        assert!(
            link.contains(&format!("<{BASE}/api/models/org/m/xet-read-token/{ONE}>")),
            "{link}"
        );
        assert!(!link.contains("hub.example"), "{link}");
        let End::File(artifact, _) = end else { panic!("no file") };
        assert_eq!(
            (artifact.size, artifact.digests[0].to_hex()),
            (Some(9_000_000), SHA256.to_owned())
        );
        assert!(artifact.lookup.key.is_public());
        let end = stage.get(FILE, None);
        assert_eq!((end.field("etag"), end.field("x-linked-etag")), (&*format!("\"{OID}\""), ""));
    }
}

#[test]
fn a_warm_repository_costs_one_question_after_its_time_and_none_before() {
    let mut stage = Stage::new();
    stage.get(INFO, None);
    assert_eq!(stage.questions(), 2, "the description, and the tree behind it");
    let rounds = |stage: &mut Stage| {
        for path in [INFO, "api/models/org/m/revision/main", TREE, FILE, LARGE] {
            assert_eq!(stage.get(path, None).status(), 200, "{path}");
        }
        let pinned = format!("org/m/resolve/{ONE}/d/b.txt");
        assert_eq!(stage.get(&pinned, None).status(), 200);
        assert_eq!(stage.get(&format!("{INFO}/revision/{ONE}"), None).status(), 200);
    };
    rounds(&mut stage);
    assert_eq!(stage.questions(), 0);
    stage.after(600);
    rounds(&mut stage);
    assert_eq!(stage.asked, ["GET api/models/org/m"]);
}

#[test]
fn a_moved_branch_is_followed_and_the_old_commit_stays() {
    let mut stage = Stage::new();
    stage.get(FILE, None);
    stage.head = TWO;
    stage.after(600);
    assert_eq!(stage.get(FILE, None).field("x-repo-commit"), TWO);
    stage.is_down = true;
    for (path, status) in [
        (format!("org/m/resolve/{ONE}/only-1"), 200),
        (format!("org/m/resolve/{TWO}/only-1"), 404),
        (format!("org/m/resolve/{TWO}/only-2"), 200),
    ] {
        let end = stage.get(&path, None);
        assert_eq!(end.status(), status, "{path}");
        if status == 404 {
            assert_eq!(
                (end.field("x-error-code"), end.field("x-repo-commit")),
                ("EntryNotFound", TWO)
            );
        }
    }
}

#[test]
fn an_outage_is_never_absence() {
    let mut stage = Stage { is_down: true, ..Stage::new() };
    for path in [FILE, INFO, TREE, "api/models/org/m/refs", "api/models/org/m?expand=x"] {
        let end = stage.get(path, None);
        assert_eq!(end.status(), 504, "{path}");
        assert_eq!(end.field("x-error-code"), "", "{path}");
        assert!(!end.field("retry-after").is_empty() && !end.field("x-error-message").is_empty());
    }
}

#[test]
fn lists_come_from_the_tree() {
    let mut stage = Stage::new();
    stage.get(INFO, None);
    stage.is_down = true;
    stage.after(86400);
    let paths = |end: &End| {
        let entries = end.json();
        let entries = entries.as_array().expect("a list").iter();
        entries.map(|entry| entry["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>()
    };
    let all = stage.get(TREE, None);
    assert_eq!(paths(&all), ["a.txt", "d", "d/b.txt", "only-1", "w.bin"]);
    assert!(all.field("warning").contains("could not be asked"), "{all:?}");
    let large = &all.json()[4];
    assert_eq!((&large["lfs"]["oid"], &large["xetHash"]), (&json!(SHA256), &json!(XET)));
    let root = stage.get("api/models/org/m/tree/main", None);
    assert_eq!(paths(&root), ["a.txt", "d", "only-1", "w.bin"]);
    assert_eq!(paths(&stage.get("api/models/org/m/tree/main/d", None)), ["d/b.txt"]);
    let none = stage.get("api/models/org/m/tree/main/additional_chat_templates", None);
    assert_eq!((none.status(), none.field("x-error-code")), (404, "EntryNotFound"));

    let first = stage.get(&format!("{TREE}&limit=2"), None);
    assert_eq!(paths(&first), ["a.txt", "d"]);
    let link = first.field("link");
    let next = link.trim_start_matches(&format!("<{BASE}/")).split('>').next().expect("a link");
    assert!(next.contains(ONE), "{next}");
    let second = stage.get(next, None);
    assert_eq!(paths(&second), ["d/b.txt", "only-1"]);

    for body in ["paths=a.txt&paths=d&paths=none&expand=False", r#"{"paths":["a.txt","d","none"]}"#]
    {
        let path = "api/models/org/m/paths-info/main";
        let end = stage.ask(Method::POST, path, None, None, body.as_bytes());
        assert_eq!(paths(&end), ["a.txt", "d"], "{body}");
    }
    let blobs = stage.get("api/models/org/m?blobs=true", None).json();
    assert_eq!(blobs["siblings"][3]["lfs"]["sha256"], SHA256);
    assert_eq!(blobs["siblings"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_hub_s_addresses_become_larder_s() {
    let mut stage = Stage::new();
    for path in [INFO, "api/models/org/m/revision/tag", "api/models/org/m?expand=x"] {
        let end = stage.get(path, None);
        assert_eq!(end.json()["url"], format!("{BASE}/org/m"), "{path}");
    }
}

#[test]
fn references_that_the_hub_lacks_are_refused_in_its_words_and_kept_ones_stay() {
    let mut stage = Stage::new();
    let end = stage.get("org/m/resolve/nowhere/a.txt", None);
    assert_eq!((end.status(), end.field("x-error-code")), (404, "RevisionNotFound"));
    assert_eq!(stage.get("org/m/resolve/tag/a.txt", None).status(), 200);
    stage.is_down = true;
    stage.after(86400);
    let end = stage.get("org/m/resolve/tag/a.txt", None);
    assert_eq!(end.status(), 200);
    assert!(end.field("warning").contains("could not be asked"));
    let refs = stage.get("api/models/org/m/refs", None);
    assert_eq!(refs.json()["branches"][0]["targetCommit"], ONE);
}
