//! The files of a commit as the API lists them: folders of the tree, single paths, and the old list of siblings; all from the kept tree.
//!
//! Larder makes pages of its own, larger than the hub's: some clients read only the first.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::cache::failure::Failure;
use crate::cache::lookup::Document;
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::judge::Hiding;
use crate::ecosystem::huggingface::query::Query;
use crate::ecosystem::huggingface::raw::{self, Question};
use crate::ecosystem::huggingface::reach;
use crate::ecosystem::huggingface::repository::{FilePath, Repository, Revision};
use crate::ecosystem::huggingface::resolve::{REPO_COMMIT, insert, no_entry};
use crate::ecosystem::huggingface::settle::{Marks, Purpose, Settled, need, settle};
use crate::ecosystem::huggingface::tree::{self, Entry, Tree};
use crate::ecosystem::huggingface::{explain, pass};
use crate::ecosystem::{Ask, Render, Rendered, Reply, Step, View};

/// Entries on one page, unless the client wants fewer.
const PAGE_ENTRIES: usize = 20_000;

/// The largest list of paths that a client may ask about.
const PATHS_LIMIT_BYTES: usize = 8 << 20;

/// Marks cursors as Larder's own: the place of the next page's first entry follows.
const CURSOR: &str = "larder-";

/// Plans `tree/REVISION/FOLDER`.
pub fn plan_tree(
    settings: &Arc<Settings>,
    ask: &Ask,
    repository: Repository,
    revision: Revision,
    folder: Option<FilePath>,
) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let asked = ask.clone();
    settle(settings, ask, repository, revision, Purpose::Listing, move |at| {
        let query = Query::of(asked.query.as_deref());
        let start = match query.first("cursor") {
            None => Some(0),
            Some(cursor) => cursor.strip_prefix(CURSOR).and_then(|place| place.parse().ok()),
        };
        let (Some(start), false) = (start, query.is_on("expand")) else {
            return as_the_hub_says(&at, &asked, None);
        };
        let limit = query.first("limit").and_then(|limit| limit.parse().ok());
        let limit = limit.unwrap_or(PAGE_ENTRIES).clamp(1, PAGE_ENTRIES);
        let depth = if query.is_on("recursive") { Depth::All } else { Depth::One };
        with_tree(at, asked, None, move |at, ask, document, tree| {
            if folder.is_some() && tree.below(folder.as_ref()).is_empty() {
                return no_entry(&ask, &at);
            }
            let page = TreePage { shown: Shown::of(&at, &ask), folder, depth, start, limit };
            raw::serve(document, Arc::new(page))
        })
    })
}

/// Plans `paths-info/REVISION`.
pub fn plan_paths(
    settings: &Arc<Settings>,
    ask: &Ask,
    repository: Repository,
    revision: Revision,
) -> Step {
    if ask.method != Method::POST {
        return pass::plan(settings, ask);
    }
    let (settings, ask) = (Arc::clone(settings), ask.clone());
    Step::NeedBody {
        limit_bytes: PATHS_LIMIT_BYTES,
        then: Box::new(move |body| {
            let asked = ask.clone();
            settle(&settings, &ask, repository, revision, Purpose::Listing, move |at| {
                let wanted = Wanted::read(&body);
                match wanted.filter(|wanted| !wanted.expand) {
                    Some(wanted) => {
                        with_tree(at, asked, Some(body), move |at, ask, document, _| {
                            let shown = Shown::of(&at, &ask);
                            let render = PathsPage { shown, paths: wanted.paths };
                            raw::serve(document, Arc::new(render))
                        })
                    }
                    None => as_the_hub_says(&at, &asked, Some(body)),
                }
            })
        }),
    }
}

/// What a client wants to know paths of.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    paths: Vec<String>,
    expand: bool,
}

impl Wanted {
    /// Python sends a form, others JSON; `None` for what is neither.
    fn read(body: &Bytes) -> Option<Self> {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            let form = Query::of_form(body);
            let paths: Vec<String> = form.all("paths").map(str::to_owned).collect();
            return (!paths.is_empty()).then(|| Self { paths, expand: form.is_on("expand") });
        };
        let paths = match json.get("paths")? {
            Value::String(path) => vec![path.clone()],
            Value::Array(paths) => {
                paths.iter().map(|path| path.as_str().map(str::to_owned)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let expand = json.get("expand").and_then(Value::as_bool).unwrap_or(false);
        Some(Self { paths, expand })
    }
}

/// Goes on with the tree, fetched if need be. A tree that cannot be kept (too large, or odd) leaves the hub's own answer.
pub fn with_tree(
    at: Settled,
    ask: Ask,
    body: Option<Bytes>,
    then: impl FnOnce(Settled, Ask, Document, &Tree) -> Step + Send + 'static,
) -> Step {
    let document = tree::document(&at.reach, &at.repository, &at.commit);
    need(document.clone(), move |held| match held {
        Ok(held) => match held.parsed.get::<Tree>() {
            Some(tree) if at.covers(tree.kept()) => then(at, ask, document, tree),
            Some(_) => Step::Reply(at.reach.explain(&ask, &Failure::NotKept)),
            None => Step::Reply(explain::lost()),
        },
        Err(Failure::BadAnswer(_) | Failure::Absent | Failure::Refused { .. }) => {
            as_the_hub_says(&at, &ask, body)
        }
        Err(failure) => Step::Reply(at.reach.explain(&ask, &failure)),
    })
}

/// The hub's own answer to the same question.
fn as_the_hub_says(at: &Settled, ask: &Ask, body: Option<Bytes>) -> Step {
    let query = ask.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let kind = ask.headers.get(header::CONTENT_TYPE).cloned();
    let question = Question {
        reach: at.reach.clone(),
        marks: at.marks,
        address: format!("{}{query}", ask.path),
        body: body.map(|body| (body, kind)),
        demand: reach::demand(ask),
    };
    question.plan(ask)
}

/// What every list is shown with.
#[derive(Debug)]
struct Shown {
    settings: Arc<Settings>,
    base: String,
    /// `api/TYPE/ID/tree/COMMIT`: where further pages are.
    path: String,
    commit: String,
    sharing: &'static str,
    marks: Marks,
    hiding: Option<Hiding>,
}

impl Shown {
    fn of(at: &Settled, ask: &Ask) -> Self {
        Self {
            settings: Arc::clone(&at.reach.settings),
            base: ask.base.clone(),
            path: format!("{}/tree/{}", at.repository.api_path(), at.commit),
            commit: at.commit.to_string(),
            sharing: at.reach.shareability(),
            marks: at.marks,
            hiding: Hiding::of(at, ask),
        }
    }

    fn variant(&self) -> String {
        let hiding = Hiding::variant(self.hiding.as_ref());
        format!("{} {} {:?} {hiding}", self.base, self.sharing, self.marks)
    }

    fn reply(&self, entries: &[Listed<'_>]) -> Reply {
        let body = serde_json::to_vec(entries);
        let body = body.expect("texts and numbers can be written as JSON");
        let mut reply = Reply::new(StatusCode::OK, "application/json; charset=utf-8", body)
            .with(header::CACHE_CONTROL, reach::changing(self.sharing, self.settings.ref_ttl))
            .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        insert(&mut reply.headers, REPO_COMMIT, &self.commit);
        self.marks.write(&mut reply.headers);
        reply
    }
}

/// How deep a folder is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

#[derive(Debug)]
struct TreePage {
    shown: Shown,
    folder: Option<FilePath>,
    depth: Depth,
    /// The place in the tree that the page begins at.
    start: usize,
    limit: usize,
}

impl TreePage {
    /// The address of the page that begins at `place`.
    fn link(&self, place: usize) -> String {
        let Shown { base, path, .. } = &self.shown;
        let folder = self.folder.as_ref();
        let folder = folder.map_or_else(String::new, |folder| format!("/{}", folder.encoded()));
        let recursive = self.depth == Depth::All;
        let limit = self.limit;
        format!(
            "<{base}/{path}{folder}?recursive={recursive}&expand=false&limit={limit}&cursor={CURSOR}{place}>; rel=\"next\""
        )
    }
}

impl Render for TreePage {
    fn variant(&self) -> String {
        let Self { shown, folder, depth, start, limit } = self;
        let folder = folder.as_ref().map_or("", FilePath::as_str);
        format!("tree {} {depth:?} {start} {limit} {folder}", shown.variant())
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(tree) = view.document.get::<Tree>() else {
            return Rendered { reply: explain::lost(), valid_until: None };
        };
        let folder = self.folder.as_ref();
        let places: Vec<usize> = match self.depth {
            Depth::All => {
                let below = tree.below(folder);
                (self.start.max(below.start)..below.end).take(self.limit + 1).collect()
            }
            Depth::One => {
                let children = tree.children(folder);
                children.skip_while(|place| *place < self.start).take(self.limit + 1).collect()
            }
        };
        let (page, next) = places.split_at(places.len().min(self.limit));
        let mut turn = None;
        let entries = page.iter().filter_map(|place| tree.entry(*place));
        let entries = entries.filter(|entry| {
            let hiding = self.shown.hiding.as_ref().filter(|_| !entry.is_folder);
            !hiding.is_some_and(|hiding| {
                hiding.hides(entry.path, Some(entry.size), view.now, &mut turn, view.note)
            })
        });
        let entries: Vec<_> = entries.map(Listed::from).collect();
        let mut reply = self.shown.reply(&entries);
        if let Some(place) = next.first() {
            insert(&mut reply.headers, header::LINK, &self.link(*place));
        }
        Rendered { reply, valid_until: turn }
    }
}

#[derive(Debug)]
struct PathsPage {
    shown: Shown,
    paths: Vec<String>,
}

impl Render for PathsPage {
    fn variant(&self) -> String {
        format!("paths {} {:?}", self.shown.variant(), self.paths)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(tree) = view.document.get::<Tree>() else {
            return Rendered { reply: explain::lost(), valid_until: None };
        };
        let mut told = BTreeSet::new();
        let paths = self.paths.iter().map(|path| path.trim_matches('/'));
        let entries = paths.filter(|path| told.insert(*path)).filter_map(|path| tree.find(path));
        let entries: Vec<_> = entries.map(Listed::from).collect();
        Rendered { reply: self.shown.reply(&entries), valid_until: None }
    }
}

/// An entry as the hub writes it.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    oid: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs: Option<ListedLarge>,
    #[serde(rename = "xetHash", skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
    path: &'a str,
}

#[derive(Debug, Serialize)]
struct ListedLarge {
    oid: String,
    size: u64,
    #[serde(rename = "pointerSize")]
    pointer_size: u32,
}

impl<'a> From<Entry<'a>> for Listed<'a> {
    fn from(entry: Entry<'a>) -> Self {
        let large = |large: tree::Large<'_>| ListedLarge {
            oid: hex::encode(large.sha256),
            size: entry.size,
            pointer_size: large.pointer_size,
        };
        Self {
            kind: if entry.is_folder { "directory" } else { "file" },
            oid: hex::encode(entry.oid),
            size: entry.size,
            lfs: entry.large.map(large),
            xet_hash: entry.xet_hash.map(hex::encode),
            path: entry.path,
        }
    }
}

/// The files of a tree as a description of its repository lists them.
pub fn siblings(tree: &Tree, with_blobs: bool) -> Value {
    let files = tree.entries(0..tree.len()).map(|(_, entry)| entry);
    let sibling = |entry: Entry<'_>| {
        let mut shown = serde_json::json!({ "rfilename": entry.path });
        if with_blobs {
            shown["blobId"] = hex::encode(entry.oid).into();
            shown["size"] = entry.size.into();
            if let Some(large) = entry.large {
                shown["lfs"] = serde_json::json!({
                    "sha256": hex::encode(large.sha256),
                    "size": entry.size,
                    "pointerSize": large.pointer_size,
                });
            }
        }
        shown
    };
    files.filter(|entry| !entry.is_folder).map(sibling).collect()
}
