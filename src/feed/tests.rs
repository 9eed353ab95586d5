//! Folders of records, in every state in which somebody may leave one, and both APIs over them.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::admin::Visit;
use crate::admin::api::{Api, Resource};
use crate::upstream::scripted::{Reply, Scripted};

const NOW: Timestamp = Timestamp::from_secs(1_795_392_000);

fn record(id: &str, name: &str, events: &Value) -> Value {
    json!({"id": id, "modified": "2026-01-01T00:00:00Z", "affected": [
        {"package": {"ecosystem": "PyPI", "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]})
}

fn everything(id: &str, name: &str) -> Value {
    record(id, name, &json!([{"introduced": "0"}]))
}

fn put(path: &Path, record: &Value) {
    fs::write(path, record.to_string()).expect("the folder can be written");
}

fn zipped(path: &Path, method: CompressionMethod, records: &[Value]) {
    let file = fs::File::create(path).expect("the folder can be written");
    let mut writer = ZipWriter::new(file);
    let options = SimpleFileOptions::default().compression_method(method);
    for record in records {
        let name = format!("{}.json", record["id"].as_str().expect("a name"));
        writer.start_file(name, options).expect("an entry");
        writer.write_all(record.to_string().as_bytes()).expect("an entry");
    }
    writer.start_file("README.txt", options).expect("an entry");
    writer.finish().expect("an archive");
}

fn config(folder: &Path) -> Config {
    Config { folder: Some(folder.to_owned()), ..Config::default() }
}

fn open(folder: &Path) -> Feed {
    Feed::open(config(folder), Path::new("none"), Clock::manual(NOW))
        .expect("the folder can be read")
}

fn ids(feed: &Feed, name: &str) -> Vec<String> {
    let advisories = feed.advisories();
    advisories.of("PyPI", name, "1.0").iter().map(|one| one.id.to_owned()).collect()
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let absent = folder.path().join("absent");
    let error = Feed::open(config(&absent), Path::new("none"), Clock::manual(NOW))
        .expect_err("no such folder");
    assert!(error.to_string().ends_with("absent cannot be read"), "{error}");
}

#[test]
fn without_a_folder_nothing_is_known() {
    let feed = Feed::open(Config::default(), Path::new("none"), Clock::manual(NOW))
        .expect("it needs nothing");
    assert!(!feed.is_on() && !feed.knows("PyPI") && feed.advisories().is_empty());
    assert!(!feed.look().expect("nothing to look at"));
}

#[test]
fn broken_records_are_passed_over_and_told() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    put(&path.join("good.json"), &everything("X-1", "six"));
    fs::write(path.join("torn.json"), "{\"id\": \"X-2\", ").expect("a file");
    fs::write(path.join("empty.json"), "").expect("a file");
    fs::write(path.join("notes.txt"), "not ours").expect("a file");
    fs::write(path.join(".hidden.json"), "not ours").expect("a file");
    fs::create_dir(path.join("deeper")).expect("a folder");
    put(&path.join("deeper/other.JSON"), &everything("X-3", "six"));
    let feed = open(path);
    assert_eq!(ids(&feed, "six"), ["X-1", "X-3"]);
    let edition = feed.current();
    assert_eq!((edition.faulty, edition.faults.len()), (2, 2));
    assert!(edition.faults[0].contains("empty.json: it is no record"), "{:?}", edition.faults);
}

#[test]
fn records_are_read_from_archives_and_can_be_shown() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let folder = TempDir::new().expect("a folder");
        let records = [everything("X-1", "six"), everything("MAL-2", "six")];
        zipped(&folder.path().join("all.zip"), method, &records);
        let feed = open(folder.path());
        assert_eq!(ids(&feed, "six"), ["MAL-2", "X-1"]);
        let edition = feed.current();
        let place = edition.advisories.record("MAL-2").expect("it is there");
        let text = edition.sources[place.source as usize].read(place, "MAL-2").expect("its text");
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON"), records[1]);
        assert!(edition.sources[place.source as usize].read(place, "X-1").is_err());
    }
}

#[test]
fn what_is_new_replaces_what_was() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path();
    put(&path.join("a.json"), &everything("X-1", "six"));
    let feed = open(path);
    assert!(!feed.look().expect("the folder can be read"), "nothing is new");
    let before = feed.advisories().epoch();
    put(&path.join("b.json"), &everything("X-2", "six"));
    assert!(feed.look().expect("the folder can be read"));
    assert_eq!(ids(&feed, "six"), ["X-1", "X-2"]);
    assert_ne!(feed.advisories().epoch(), before);
    fs::remove_file(path.join("a.json")).expect("it is there");
    assert!(feed.look().expect("the folder can be read"));
    assert_eq!(ids(&feed, "six"), ["X-2"]);
}

#[test]
fn a_torn_archive_leaves_what_was_known_in_force() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("all.zip");
    zipped(&path, CompressionMethod::Deflated, &[everything("X-1", "six")]);
    let feed = open(folder.path());
    let whole = fs::read(&path).expect("it is there");
    fs::write(&path, &whole[..whole.len() / 2]).expect("the folder can be written");
    assert!(feed.look().is_err());
    assert_eq!(ids(&feed, "six"), ["X-1"]);
    assert!(
        Feed::open(config(folder.path()), Path::new("none"), Clock::manual(NOW)).is_err(),
        "nor is it a start"
    );
    fs::remove_dir_all(folder.path()).expect("the folder is there");
    assert!(feed.look().is_err());
    assert_eq!(ids(&feed, "six"), ["X-1"]);
}

#[test]
fn a_record_of_an_archive_that_was_replaced_is_still_the_one_that_was_read() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("all.zip");
    zipped(&path, CompressionMethod::Deflated, &[everything("X-1", "six")]);
    let edition = open(folder.path()).current();
    fs::remove_file(&path).expect("it is there");
    zipped(&path, CompressionMethod::Deflated, &[everything("X-0", "other")]);
    let place = edition.advisories.record("X-1").expect("it is there");
    assert!(edition.sources[place.source as usize].read(place, "X-1").is_ok());
}

/// Asks the OSV API.
async fn ask(feed: &Arc<Feed>, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
    call(Arc::new(Osv(Arc::clone(feed))), method, path, body).await
}

async fn call(
    resource: Arc<dyn Resource>,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, Value) {
    let body = bytes::Bytes::from(body.to_owned()).into();
    let visit = Visit { method, body, ..Visit::reading(path) };
    let response = Api::new(&[resource]).answer(visit, path).await;
    let status = response.status();
    #[expect(clippy::disallowed_methods, reason = "the body is limited")]
    let whole = Limited::new(response.into_body(), 64 << 20).collect().await.expect("a body");
    (status, serde_json::from_slice(&whole.to_bytes()).expect("JSON"))
}

fn six(version: &str) -> String {
    json!({"package": {"name": "six", "ecosystem": "PyPI"}, "version": version}).to_string()
}

#[tokio::test]
async fn what_cannot_be_known_is_not_called_harmless() {
    let off = Arc::new(
        Feed::open(Config::default(), Path::new("none"), Clock::manual(NOW)).expect("a feed"),
    );
    let (status, told) = ask(&off, Method::POST, "query", &six("1")).await;
    assert_eq!((status, &told["code"]), (StatusCode::NOT_FOUND, &json!(5)));
    let folder = TempDir::new().expect("a folder");
    let feed = Arc::new(open(folder.path()));
    let other = six("1").replace("PyPI", "npm");
    for (path, body, expected) in [
        ("query", other.as_str(), "Invalid ecosystem"),
        ("query", "{", "not what this address takes"),
        ("query", "{}", "Invalid query"),
        ("querybatch", &format!("{{\"queries\": [{other}]}}"), "Invalid ecosystem"),
        ("querybatch", &format!("{{\"queries\": [{}]}}", vec!["{}"; 1001].join(",")), "Too many"),
    ] {
        let (status, told) = ask(&feed, Method::POST, path, body).await;
        assert_eq!((status, &told["code"]), (StatusCode::BAD_REQUEST, &json!(3)), "{body:.80}");
        let message = told["message"].as_str().expect("a message");
        assert!(message.contains(expected), "{message}");
    }
    let (status, told) = ask(&feed, Method::GET, "vulns/X-9", "").await;
    assert_eq!(
        (status, told),
        (StatusCode::NOT_FOUND, json!({"code": 5, "message": "Bug not found."}))
    );
    assert_eq!(ask(&feed, Method::GET, "query", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn questions_are_answered_in_the_public_apis_shapes() {
    let folder = TempDir::new().expect("a folder");
    let known = record("X-1", "six", &json!([{"introduced": "0"}, {"fixed": "1.5"}]));
    zipped(
        &folder.path().join("all.zip"),
        CompressionMethod::Deflated,
        std::slice::from_ref(&known),
    );
    let feed = Arc::new(open(folder.path()));
    let (status, told) = ask(&feed, Method::POST, "query", &six("1.4")).await;
    assert_eq!((status, told), (StatusCode::OK, json!({"vulns": [known]})));
    let (_, told) = ask(&feed, Method::POST, "query", &six("1.5")).await;
    assert_eq!(told, json!({}), "nothing is an empty object there");
    let purl = json!({"package": {"purl": "pkg:pypi/six@1.0"}}).to_string();
    assert_eq!(ask(&feed, Method::POST, "query", &purl).await.1, json!({"vulns": [known]}));
    let any = json!({"package": {"name": "six", "ecosystem": "PyPI"}}).to_string();
    assert_eq!(ask(&feed, Method::POST, "query", &any).await.1, json!({"vulns": [known]}));
    let commit = json!({"commit": "6879efc2c1596d11a6a6ad296f80063b558d5e0f"}).to_string();
    assert_eq!(ask(&feed, Method::POST, "query", &commit).await.1, json!({}));
    let batch = format!("{{\"queries\": [{}, {}, {commit}]}}", six("1.0"), six("2"));
    let (_, told) = ask(&feed, Method::POST, "querybatch", &batch).await;
    let one = json!({"vulns": [{"id": "X-1", "modified": "2026-01-01T00:00:00Z"}]});
    assert_eq!(told, json!({"results": [one, {}, {}]}));
    assert_eq!(ask(&feed, Method::GET, "vulns/X-1", "").await, (StatusCode::OK, known));
}

#[tokio::test]
async fn long_answers_come_in_pages() {
    let folder = TempDir::new().expect("a folder");
    let records: Vec<Value> =
        (0..1500).map(|number| everything(&format!("X-{number:04}"), "six")).collect();
    zipped(&folder.path().join("all.zip"), CompressionMethod::Deflated, &records);
    let feed = Arc::new(open(folder.path()));
    let question = |token: &Value| json!({"package": {"name": "six", "ecosystem": "PyPI"}, "version": "1", "page_token": token});
    let (_, first) = ask(&feed, Method::POST, "query", &question(&Value::Null).to_string()).await;
    assert_eq!(first["vulns"].as_array().map(Vec::len), Some(1000));
    let (_, rest) =
        ask(&feed, Method::POST, "query", &question(&first["next_page_token"]).to_string()).await;
    assert_eq!(rest["vulns"].as_array().map(Vec::len), Some(500));
    assert_eq!((&rest["vulns"][0], rest.get("next_page_token")), (&records[1000], None));
    let batch = |token: &Value| json!({"queries": [question(token)]}).to_string();
    let (_, first) = ask(&feed, Method::POST, "querybatch", &batch(&Value::Null)).await;
    let token = &first["results"][0]["next_page_token"];
    assert_eq!(token, "1000");
    let (_, rest) = ask(&feed, Method::POST, "querybatch", &batch(token)).await;
    assert_eq!(rest["results"][0]["vulns"].as_array().map(Vec::len), Some(500));
    let beyond = question(&json!(u64::MAX.to_string())).to_string();
    assert_eq!(ask(&feed, Method::POST, "query", &beyond).await.1, json!({}));
}

#[tokio::test]
async fn people_are_told_the_state_and_the_findings() {
    let folder = TempDir::new().expect("a folder");
    put(&folder.path().join("a.json"), &everything("MAL-1", "six"));
    fs::write(folder.path().join("b.json"), "{").expect("a file");
    let known = |feed: Feed| -> Arc<dyn Resource> { Arc::new(Known(Arc::new(feed))) };
    let feed = known(open(folder.path()));
    let (_, state) = call(Arc::clone(&feed), Method::GET, "advisories", "").await;
    assert_eq!(
        (&state["records"], &state["malicious"], &state["faulty"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(state["newest"], "2026-01-01T00:00:00Z");
    let (_, of) = call(Arc::clone(&feed), Method::GET, "advisories/PyPI/Six/1.0", "").await;
    assert_eq!((&of["malicious"], &of["findings"][0]["id"]), (&json!(true), &json!("MAL-1")));
    assert_eq!(
        call(feed, Method::GET, "advisories/npm/six/1", "").await.0,
        StatusCode::BAD_REQUEST
    );
    let off = known(
        Feed::open(Config::default(), Path::new("none"), Clock::manual(NOW)).expect("a feed"),
    );
    let (_, state) = call(Arc::clone(&off), Method::GET, "advisories", "").await;
    assert_eq!((&state["on"], &state["read"]), (&json!(false), &Value::Null));
    assert_eq!(call(off, Method::GET, "advisories/PyPI/six/1", "").await.0, StatusCode::CONFLICT);
}

const ADDRESS: &str = "http://osv.example/PyPI/all.zip";

/// What an address would give of these records.
fn archive(records: &[Value]) -> Vec<u8> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("all.zip");
    zipped(&path, CompressionMethod::Deflated, records);
    fs::read(&path).expect("it was written")
}

fn fetching(own: &Path, address: &str) -> Feed {
    let config = Config {
        sources: vec![address.to_owned()],
        most_fetched: ByteSize::mib(1),
        most_inflated: ByteSize::mib(20),
        ..Config::default()
    };
    Feed::open(config, own, Clock::manual(NOW)).expect("its folder can be made")
}

#[tokio::test]
async fn what_an_address_gives_is_in_force_and_outlives_it() {
    let (own, origin) = (TempDir::new().expect("a folder"), Scripted::new());
    let feed = fetching(own.path(), ADDRESS);
    assert!(feed.is_on() && feed.knows("PyPI") && feed.advisories().is_empty());
    origin.once(ADDRESS, Reply::file(archive(&[everything("X-1", "six")]), "\"v1\""));
    assert!(feed.refresh(&origin).await && feed.look().expect("it can be read"));
    assert_eq!(ids(&feed, "six"), ["X-1"]);
    origin.once(ADDRESS, Reply::new(StatusCode::NOT_MODIFIED));
    assert!(feed.refresh(&origin).await && !feed.look().expect("it can be read"));
    let asked = origin.requests();
    assert_eq!(asked[1].headers[http::header::IF_NONE_MATCH], "\"v1\"");
    origin.always(ADDRESS, Reply::new(StatusCode::BAD_GATEWAY));
    let later = fetching(own.path(), ADDRESS);
    assert_eq!(ids(&later, "six"), ["X-1"], "a start without the address");
    assert!(!later.refresh(&origin).await && !later.look().expect("it can be read"));
    assert_eq!(ids(&later, "six"), ["X-1"]);
    let without = Feed::open(Config::default(), own.path(), Clock::manual(NOW)).expect("a feed");
    assert!(!without.is_on() && without.advisories().is_empty());
}

#[tokio::test]
async fn what_cannot_be_used_replaces_nothing() {
    let good = archive(&[everything("X-1", "six")]);
    let bomb = ["X-2", "X-3", "X-4", "X-5", "X-6"].map(|id| {
        let mut inflating = everything(id, "six");
        inflating["details"] = "0".repeat(5 << 20).into();
        inflating
    });
    for (name, bad) in [
        ("torn", good[..good.len() / 2].to_vec()),
        ("an error page", b"<html>busy</html>".to_vec()),
        ("nothing", Vec::new()),
        ("without records", archive(&[])),
        (
            "of others",
            archive(&[
                json!({"id": "Y-1", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "npm", "name": "six"}}]}),
            ]),
        ),
        ("too long", vec![0; 2 << 20]),
        ("a bomb", archive(&bomb)),
    ] {
        let (own, origin) = (TempDir::new().expect("a folder"), Scripted::new());
        let feed = fetching(own.path(), ADDRESS);
        origin.once(ADDRESS, Reply::file(good.clone(), "\"v1\""));
        assert!(feed.refresh(&origin).await && feed.look().expect("it can be read"), "{name}");
        origin.once(ADDRESS, Reply::file(bad, "\"v2\""));
        assert!(!feed.refresh(&origin).await, "{name} is no success");
        assert!(!feed.look().expect("it can be read"), "{name} is nothing new");
        assert_eq!(ids(&fetching(own.path(), ADDRESS), "six"), ["X-1"], "{name}");
        origin.once(ADDRESS, Reply::new(StatusCode::NOT_MODIFIED));
        assert!(feed.refresh(&origin).await, "{name}");
        let asked = origin.requests();
        assert_eq!(asked[2].headers[http::header::IF_NONE_MATCH], "\"v1\"", "{name}");
    }
}

#[tokio::test]
async fn a_copy_that_the_disk_has_damaged_is_fetched_again() {
    let (own, origin) = (TempDir::new().expect("a folder"), Scripted::new());
    let feed = fetching(own.path(), ADDRESS);
    origin.always(ADDRESS, Reply::file(archive(&[everything("X-1", "six")]), "\"v1\""));
    assert!(feed.refresh(&origin).await);
    let copy = feed.copies[0].path().to_owned();
    fs::write(&copy, "torn").expect("it can be written");
    let later = fetching(own.path(), ADDRESS);
    assert!(later.advisories().is_empty());
    assert!(later.refresh(&origin).await && later.look().expect("it can be read"));
    assert!(!origin.requests()[1].headers.contains_key(http::header::IF_NONE_MATCH));
    assert_eq!(ids(&later, "six"), ["X-1"]);
}

#[tokio::test]
async fn records_may_stand_on_lines_or_alone() {
    let lines = format!("{}\n\n{}", everything("X-1", "six"), everything("X-2", "six"));
    for (address, body, expected) in [
        ("http://osv.example/all.jsonl", lines, vec!["X-1", "X-2"]),
        ("http://osv.example/X-3.json", everything("X-3", "six").to_string(), vec!["X-3"]),
    ] {
        let (own, origin) = (TempDir::new().expect("a folder"), Scripted::new());
        let feed = fetching(own.path(), address);
        origin.always(address, Reply::file(body, "\"v1\""));
        assert!(feed.refresh(&origin).await && feed.look().expect("it can be read"), "{address}");
        assert_eq!(ids(&feed, "six"), expected, "{address}");
        let edition = feed.current();
        let place = edition.advisories.record(expected[0]).expect("it is there");
        assert!(edition.sources[place.source as usize].read(place, expected[0]).is_ok());
    }
}

#[test]
fn addresses_are_checked() {
    let check = |address: &str, is_good: bool| {
        let config = Config { sources: vec![address.to_owned()], ..Config::default() };
        assert_eq!(addresses(&config).is_ok(), is_good, "{address}");
    };
    check("https://osv.example/PyPI/all.zip", true);
    check("http://127.0.0.1:1/a.jsonl?x=1", true);
    check("https://osv.example/PyPI/", false);
    check("https://me:it@osv.example/all.zip", false);
    check("file:///all.zip", false);
    check("all.zip", false);
}
