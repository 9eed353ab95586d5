//! Every fault of upstream, in every state of what is kept, for one client and for twenty at once.
//!
//! The tables say what a client gets when nothing is kept. The rest holds for every row: nothing wrong is stored, what was kept is served and
//! says so, an outage is never called absence, and the first good answer heals.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::client::Reply;
use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::larder::Larder;
use crate::support::origin::{Answer, Cut, Fault, Origin};
use crate::support::wait::eventually;

/// One way for upstream to fail, and the statuses that are honest about it when nothing is kept.
struct Row {
    name: &'static str,
    trouble: Trouble,
    honest: &'static [u16],
    /// How the answer is marked when something is kept.
    mark: &'static str,
}

enum Trouble {
    Path(Fault),
    Refused,
}

/// An outage, or an answer that must not be passed on.
const OUTAGE: &[u16] = &[502, 503, 504];
const ABSENT: &[u16] = &[404];
/// Upstream's refusal; never 401, at which clients would ask people for a password that does not help.
const REFUSED: &[u16] = &[403, 502];

fn row(name: &'static str, fault: Fault, honest: &'static [u16], mark: &'static str) -> Row {
    Row { name, trouble: Trouble::Path(fault), honest, mark }
}

fn page_rows() -> Vec<Row> {
    let outage = |name, fault| row(name, fault, OUTAGE, "stale");
    let link_local = "http://169.254.169.254/simple/six/";
    vec![
        Row { name: "refused", trouble: Trouble::Refused, honest: &[504], mark: "stale" },
        outage("silent", Fault::Silence),
        outage("dripping", Fault::Drip(Duration::from_millis(500))),
        outage("500", Fault::status(500)),
        outage("502", Fault::status(502)),
        outage("503", Fault::status(503)),
        outage("504", Fault::status(504)),
        outage("429 with Retry-After", Fault::retry_after(429, 3600)),
        outage("400", Fault::status(400)),
        outage("451", Fault::status(451)),
        row("404", Fault::status(404), ABSENT, "gone"),
        row("410", Fault::status(410), ABSENT, "gone"),
        row("401", Fault::status(401), REFUSED, "withdrawn"),
        row("403", Fault::status(403), REFUSED, "withdrawn"),
        outage("cut", Fault::Cut { after: 20, how: Cut::Close }),
        outage("reset", Fault::Cut { after: 20, how: Cut::Reset }),
        outage("cut in chunks", Fault::ChunkedCut { after: 20 }),
        outage("empty 200", Fault::empty()),
        outage("empty JSON 200", Fault::Instead(Answer::ok(JSON, ""))),
        outage("error page with 200", Fault::error_page()),
        outage("page of another project", Fault::Instead(Answer::ok(JSON, OTHER_PAGE))),
        outage("half a JSON document", Fault::Instead(Answer::ok(JSON, &OTHER_PAGE[..40]))),
        outage("future major version", Fault::Instead(Answer::ok(JSON, FUTURE_PAGE))),
        outage(
            "false gzip",
            Fault::Instead(Answer::ok(JSON, "no gzip").with("content-encoding", "gzip")),
        ),
        outage(
            "unknown coding",
            Fault::Instead(Answer::ok(JSON, "?").with("content-encoding", "zz")),
        ),
        outage("gzip bomb", Fault::gzip_bomb(JSON, 256)),
        outage("page of 100 MB", Fault::vast_page("six", 100)),
        outage("redirect in a circle", Fault::redirect("/simple/six/")),
        outage("redirect to nowhere", Fault::redirect("http://127.0.0.1:1/simple/six/")),
        outage("redirect to link-local", Fault::redirect(link_local)),
        outage("redirect to another host", Fault::redirect("http://localhost:1/simple/six/")),
        outage("redirect to a file", Fault::redirect("file:///etc/passwd")),
        outage(
            "206 unasked",
            Fault::Instead(Answer::new(206).with("content-range", "bytes 0-1/9").of("{}")),
        ),
        outage("204", Fault::status(204)),
    ]
}

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const OTHER_PAGE: &str =
    r#"{"meta":{"api-version":"1.1"},"name":"seven","files":[],"versions":[]}"#;
const FUTURE_PAGE: &str = r#"{"meta":{"api-version":"2.0"},"name":"six","files":[],"versions":[]}"#;

/// The file is of a size whose bytes may leave before its digest is known.
const LARGE: usize = 3 << 20;

fn file_rows() -> Vec<Row> {
    let outage = |name, fault| row(name, fault, OUTAGE, "");
    vec![
        Row { name: "refused", trouble: Trouble::Refused, honest: &[504], mark: "" },
        outage("silent", Fault::Silence),
        outage("500", Fault::status(500)),
        outage("503", Fault::status(503)),
        outage("429 with Retry-After", Fault::retry_after(429, 3600)),
        row("404", Fault::status(404), ABSENT, ""),
        row("403", Fault::status(403), REFUSED, ""),
        outage("cut", Fault::Cut { after: 100, how: Cut::Close }),
        outage("reset", Fault::Cut { after: 100, how: Cut::Reset }),
        outage("cut in chunks", Fault::ChunkedCut { after: 100 }),
        outage("wrong bytes", Fault::Corrupt),
        outage("empty 200", Fault::empty()),
        outage("error page with 200", Fault::error_page()),
        outage("redirect to link-local", Fault::redirect("http://169.254.169.254/file")),
    ]
}

/// What is kept when the trouble begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Fresh,
    Stale,
}

/// An index with one project, a Larder over it, and trouble.
struct Trial {
    index: FakeIndex,
    larder: Larder,
}

impl Trial {
    async fn new(upload: Upload) -> Self {
        let index = FakeIndex::start(Style::Full).await;
        index.publish("six", [upload]);
        let larder = Larder::over(&index).await;
        Self { index, larder }
    }

    /// Sends the same request from `clients` connections that are open already.
    async fn ask(&self, clients: usize, path: &str) -> Vec<Reply> {
        let one = async || match path {
            "" => self.larder.page("six").await,
            address => self.larder.client.get(address).send().await,
        };
        join_all((0..clients).map(|_| self.larder.get("/-/health"))).await;
        join_all((0..clients).map(|_| one())).await
    }
}

impl Trouble {
    async fn begin(&self, origin: &Origin) {
        match self {
            Self::Path(fault) => origin.fault("*", fault.clone()),
            Self::Refused => origin.refuse().await,
        }
    }

    fn end(&self, origin: &Origin) {
        match self {
            Self::Path(_) => origin.heal(),
            Self::Refused => origin.listen(),
        }
    }
}

const WHEEL: &str = "six-1.0-py3-none-any.whl";

async fn check_page(row: &Row, kept: Kept, clients: usize) {
    let trial = Trial::new(Upload::wheel("six", "1.0")).await;
    let Trial { index, larder } = &trial;
    let said = |reply: &Reply| format!("{}, {kept:?}, {clients}: {reply:?}", row.name);
    if kept != Kept::Nothing {
        assert_eq!(larder.page("six").await.status, 200);
    }
    if kept == Kept::Stale {
        larder.advance(3600);
        // With something new to say, upstream cannot do with a 304, which no body's fault would touch.
        index.publish("six", [Upload::wheel("six", "1.1")]);
    }
    index.pages.forget();
    row.trouble.begin(&index.pages).await;

    for reply in trial.ask(clients, "").await {
        let listed = reply.text().contains(WHEEL);
        match kept {
            Kept::Nothing => {
                assert!(row.honest.contains(&reply.status.as_u16()) && !listed, "{}", said(&reply));
                assert_eq!(
                    reply.header("content-type"),
                    "application/problem+json",
                    "{}",
                    said(&reply)
                );
                assert!(
                    !reply.json()["detail"].as_str().unwrap_or_default().is_empty(),
                    "{}",
                    said(&reply)
                );
            }
            Kept::Fresh | Kept::Stale => {
                assert!(reply.status == 200 && listed && !reply.cut, "{}", said(&reply));
            }
        }
        // To a question with a condition, a 304 is an answer like any other.
        let confirmed = reply.header("cache-status").contains("fwd-status=304");
        let marked = reply.header("warning").contains(row.mark);
        assert_eq!(marked, kept == Kept::Stale && !confirmed, "{}", said(&reply));
    }
    let asked = index.pages.asked("/simple/six/").len();
    match kept {
        Kept::Fresh => assert_eq!(asked, 0, "{}", row.name),
        Kept::Nothing | Kept::Stale if clients > 1 => {
            assert!(asked < clients, "{}: {asked} requests for {clients} clients", row.name);
        }
        Kept::Nothing | Kept::Stale => {}
    }

    row.trouble.end(&index.pages);
    index.publish("six", [Upload::wheel("six", "2.0")]);
    eventually(&format!("{} heals", row.name), async || {
        larder.advance(3600);
        let reply = larder.page("six").await;
        reply.status == 200 && reply.text().contains("six-2.0-py3-none-any.whl")
    })
    .await;
}

async fn check_file(row: &Row, kept: Kept, clients: usize, ballast: usize) {
    let upload = Upload::large_wheel("six", "1.0", ballast);
    let digest = upload.digest.clone();
    let path = upload.path.clone();
    let trial = Trial::new(upload).await;
    let Trial { index, larder } = &trial;
    let right = |reply: &Reply| crate::support::index::sha256(&reply.body) == digest;
    let said = |reply: &Reply| {
        let Reply { status, headers, cut, body } = reply;
        format!(
            "{}, {kept:?}, {clients}: {status} {headers:?} {} bytes, cut: {cut}",
            row.name,
            body.len()
        )
    };
    let link = larder.link("six", WHEEL).await;
    if kept != Kept::Nothing {
        assert!(right(&larder.client.get(&link).send().await));
    }
    if kept == Kept::Stale {
        larder.advance(100_000_000);
    }
    index.files.forget();
    row.trouble.begin(&index.files).await;

    for reply in trial.ask(clients, &link).await {
        match kept {
            Kept::Nothing if reply.status == 200 => assert!(reply.cut, "{}", said(&reply)),
            Kept::Nothing => {
                assert!(row.honest.contains(&reply.status.as_u16()), "{}", said(&reply));
                assert_eq!(
                    reply.header("content-type"),
                    "application/problem+json",
                    "{}",
                    said(&reply)
                );
            }
            Kept::Fresh | Kept::Stale => {
                assert!(reply.status == 200 && right(&reply) && !reply.cut, "{}", said(&reply));
            }
        }
    }
    if kept != Kept::Nothing {
        assert_eq!(
            index.files.asked(&path).len(),
            0,
            "{}: a file is not asked for twice",
            row.name
        );
    }

    row.trouble.end(&index.files);
    eventually(&format!("{} heals", row.name), async || {
        larder.advance(3600);
        let reply = larder.client.get(&link).send().await;
        assert!(reply.status != 200 || reply.cut || right(&reply), "{}", said(&reply));
        reply.status == 200 && right(&reply)
    })
    .await;
}

async fn check_pages(kept: Kept, clients: usize) {
    for row in page_rows() {
        check_page(&row, kept, clients).await;
    }
}

async fn check_files(kept: Kept, clients: usize) {
    for row in file_rows() {
        for ballast in [0, LARGE] {
            check_file(&row, kept, clients, ballast).await;
        }
    }
}

/// One test for each state, so that they run beside each other.
macro_rules! table {
    ($($name:ident: $check:ident($kept:ident, $clients:literal);)*) => {
        $(#[tokio::test]
        async fn $name() {
            $check(Kept::$kept, $clients).await;
        })*
    };
}

table! {
    a_page_of_which_nothing_is_kept: check_pages(Nothing, 1);
    a_page_of_which_nothing_is_kept_for_twenty: check_pages(Nothing, 20);
    a_fresh_page: check_pages(Fresh, 1);
    a_fresh_page_for_twenty: check_pages(Fresh, 20);
    a_stale_page: check_pages(Stale, 1);
    a_stale_page_for_twenty: check_pages(Stale, 20);
    a_file_of_which_nothing_is_kept: check_files(Nothing, 1);
    a_file_of_which_nothing_is_kept_for_twenty: check_files(Nothing, 20);
    a_kept_file: check_files(Fresh, 1);
    an_old_file_for_twenty: check_files(Stale, 20);
}
