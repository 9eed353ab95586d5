//! Questions about a repository that its own document answers, or that are kept one by one: descriptions, references, commits, rights.

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::cache::lookup::Document;
use crate::ecosystem::huggingface::config::Settings;
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::judge::Hiding;
use crate::ecosystem::huggingface::listing::{siblings, with_tree};
use crate::ecosystem::huggingface::query::Query;
use crate::ecosystem::huggingface::raw::{self, Question};
use crate::ecosystem::huggingface::repository::{Commit, MAIN, Repository, Revision};
use crate::ecosystem::huggingface::settle::{
    Admitted, Marks, Purpose, Settled, admit, need, settle,
};
use crate::ecosystem::huggingface::tree::{self, Tree};
use crate::ecosystem::huggingface::{explain, pass, reach};
use crate::ecosystem::{Ask, Render, Rendered, Reply, Step, View};
use crate::types::Timestamp;

/// Plans `api/TYPE/ID` and `api/TYPE/ID/revision/REVISION`.
pub fn plan_info(
    settings: &Arc<Settings>,
    ask: &Ask,
    repository: Repository,
    revision: Option<Revision>,
) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let query = Query::of(ask.query.as_deref());
    let is_expanded = query.all("expand").next().is_some()
        || query.is_on("securityStatus")
        || query.has_others(&["blobs", "securityStatus", "full", "config", "cardData"]);
    let asked = ask.clone();
    if ask.as_of.is_some() {
        let with_blobs = query.is_on("blobs");
        let main = || Revision::Name(MAIN.into());
        let revision = revision.unwrap_or_else(main);
        return settle(settings, ask, repository, revision, Purpose::Listing, move |at| {
            match with_blobs {
                true => described_with_blobs(at, asked),
                false => described_then(at, asked),
            }
        });
    }
    if query.is_on("blobs") && !is_expanded {
        let revision = revision.or_else(|| Revision::parse(MAIN));
        let Some(revision) = revision else { return pass::plan(settings, ask) };
        return settle(settings, ask, repository, revision, Purpose::Listing, move |at| {
            described_with_blobs(at, asked)
        });
    }
    admit(settings, ask, repository, Purpose::Listing, move |admitted| match is_expanded {
        true => expanded(admitted, asked),
        false => described(admitted, asked, revision),
    })
}

/// The description of the commit that was meant at an instant of the past.
fn described_then(at: Settled, ask: Ask) -> Step {
    need(info::document(&at.reach, &at.repository, &ask), move |held| {
        let Settled { reach, files, repository, commit, before, marks, .. } = at;
        match held {
            Ok(document) => {
                let admitted = Admitted { reach, files, repository, before, marks, document };
                described(admitted, ask, Some(Revision::Commit(commit)))
            }
            Err(failure) => Step::Reply(reach.explain(&ask, &failure)),
        }
    })
}

/// The description as the hub wrote it last.
fn described(admitted: Admitted, ask: Ask, revision: Option<Revision>) -> Step {
    let Some(info) = admitted.document.parsed.get::<Info>() else {
        return Step::Reply(explain::lost());
    };
    let revision = match (revision, &info.commit) {
        (Some(Revision::Name(name)), _) if *name == *MAIN => None,
        (Some(Revision::Commit(commit)), Some(main)) if commit == *main => None,
        (revision, _) => revision,
    };
    let Some(revision) = revision else {
        let document = info::document(&admitted.reach, &admitted.repository, &ask);
        return shown(&admitted, &ask, document, Marks::default());
    };
    let Admitted { reach, repository, .. } = &admitted;
    let document = info::revision_document(reach, repository, &revision, Some(info), &ask);
    need(document.clone(), move |held| {
        let held = match held {
            Ok(held) => held,
            Err(failure) => {
                let reply = admitted.reach.explain(&ask, &failure);
                let marks = Marks::stale();
                return derived(admitted, ask, revision, marks, reply);
            }
        };
        match held.parsed.get::<Info>() {
            Some(Info { text: None, refusal: Some(word), .. }) => {
                let reply = explain::refusal(&ask, word);
                let marks = Marks { is_withdrawn: true, ..Marks::default() };
                derived(admitted, ask, revision, marks, reply)
            }
            Some(info) => {
                let is_withdrawn = info.refusal.is_some();
                let marks =
                    Marks { is_stale: held.standing.offline, is_withdrawn, ..Marks::default() };
                shown(&admitted, &ask, document, marks)
            }
            None => Step::Reply(explain::lost()),
        }
    })
}

fn shown(admitted: &Admitted, ask: &Ask, document: Document, marks: Marks) -> Step {
    let render = InfoPage {
        settings: Arc::clone(&admitted.reach.settings),
        base: ask.base.clone(),
        sharing: admitted.reach.shareability(),
        marks: marks.with(admitted.marks),
        hiding: Hiding::of_admitted(admitted, ask),
    };
    raw::serve(document, Arc::new(render))
}

/// The description of a commit that the hub does not describe, because it cannot be asked or the branch was pushed over it: from that of the
/// repository and the kept tree.
fn derived(
    admitted: Admitted,
    ask: Ask,
    revision: Revision,
    marks: Marks,
    otherwise: Reply,
) -> Step {
    let Revision::Commit(commit) = revision else { return Step::Reply(otherwise) };
    let document = tree::kept_document(&admitted.reach, &admitted.repository, &commit);
    need(document.clone(), move |held| {
        let info = admitted.document.parsed.get::<Info>().and_then(|info| info.text.clone());
        let tree = held.as_ref().ok().and_then(|held| held.parsed.get::<Tree>());
        let covers = |tree: &&Tree| admitted.before.is_none_or(|closed| tree.kept() < closed);
        match (info, tree.filter(covers)) {
            (Some(text), Some(_)) => {
                let page = InfoPage {
                    settings: Arc::clone(&admitted.reach.settings),
                    base: ask.base.clone(),
                    sharing: admitted.reach.shareability(),
                    marks: marks.with(admitted.marks),
                    hiding: Hiding::of_admitted(&admitted, &ask),
                };
                let render = DerivedPage { page, text, commit, with_blobs: false };
                raw::serve(document, Arc::new(render))
            }
            _ => Step::Reply(otherwise),
        }
    })
}

/// The description with sizes and digests of all files, which the tree has.
fn described_with_blobs(at: Settled, ask: Ask) -> Step {
    let revision = Revision::Commit(at.commit.clone());
    let document = info::document(&at.reach, &at.repository, &ask);
    let of_commit = info::revision_document(&at.reach, &at.repository, &revision, None, &ask);
    need(document, move |held| {
        let info = held.as_ref().ok().and_then(|held| held.parsed.get::<Info>());
        match info.filter(|info| info.commit.as_ref() == Some(&at.commit)) {
            Some(info) => with_blobs(at, ask, info.text.clone()),
            None => need(of_commit, move |held| {
                let info = held.as_ref().ok().and_then(|held| held.parsed.get::<Info>());
                let text = info.and_then(|info| info.text.clone());
                with_blobs(at, ask, text)
            }),
        }
    })
}

fn with_blobs(at: Settled, ask: Ask, text: Option<String>) -> Step {
    with_tree(at, ask, None, move |at, ask, document, _| {
        let page = InfoPage {
            settings: Arc::clone(&at.reach.settings),
            hiding: Hiding::of(&at, &ask),
            base: ask.base,
            sharing: at.reach.shareability(),
            marks: at.marks,
        };
        let text = text.unwrap_or_else(|| format!("{{\"id\":\"{}\"}}", at.repository.id()));
        let render = DerivedPage { page, text, commit: at.commit, with_blobs: true };
        raw::serve(document, Arc::new(render))
    })
}

/// A description with chosen fields: kept as it was answered; while there is none, the whole description holds most of them.
fn expanded(admitted: Admitted, ask: Ask) -> Step {
    let question = Question {
        reach: admitted.reach.clone(),
        marks: admitted.marks,
        address: address(&ask),
        body: None,
        demand: reach::demand(&ask),
    };
    let asked = ask.clone();
    question.plan_or(&ask, move |_| {
        let marks = Marks::stale();
        let document = info::document(&admitted.reach, &admitted.repository, &asked);
        shown(&admitted, &asked, document, marks)
    })
}

/// Plans `api/TYPE/ID/refs`. While the hub's own list cannot be had, the main branch is known all the same.
pub fn plan_refs(settings: &Arc<Settings>, ask: &Ask, repository: Repository) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let asked = ask.clone();
    admit(settings, ask, repository, Purpose::Listing, move |admitted| {
        let info = admitted.document.parsed.get::<Info>();
        let main = info.and_then(|info| info.commit.clone());
        let question = Question {
            reach: admitted.reach.clone(),
            marks: admitted.marks,
            address: address(&asked),
            body: None,
            demand: reach::demand(&asked),
        };
        let ask = asked.clone();
        question.plan_or(&asked, move |failure| match main {
            Some(commit) => {
                let marks = Marks::stale().with(admitted.marks);
                let settings = &admitted.reach.settings;
                let sharing = admitted.reach.shareability();
                Step::Reply(raw::json(settings, "", refs(&commit).into(), sharing, marks))
            }
            None => Step::Reply(explain::failure(&ask, failure)),
        })
    })
}

fn refs(main: &Commit) -> String {
    let branch = serde_json::json!({
        "name": MAIN, "ref": format!("refs/heads/{MAIN}"), "targetCommit": main.as_str(),
    });
    serde_json::json!({ "branches": [branch], "converts": [], "tags": [], "pullRequests": [] })
        .to_string()
}

/// Plans `api/TYPE/ID/commits/REVISION`.
pub fn plan_commits(settings: &Arc<Settings>, ask: &Ask, repository: Repository) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let asked = ask.clone();
    admit(settings, ask, repository, Purpose::Listing, move |admitted| {
        let question = Question {
            reach: admitted.reach,
            marks: admitted.marks,
            address: address(&asked),
            body: None,
            demand: reach::demand(&asked),
        };
        question.plan(&asked)
    })
}

/// Plans `api/TYPE/ID/auth-check`.
pub fn plan_auth_check(settings: &Arc<Settings>, ask: &Ask, repository: Repository) -> Step {
    admit(settings, ask, repository, Purpose::Files, |_| {
        let reply = Reply::new(StatusCode::OK, "text/plain; charset=utf-8", "OK");
        Step::Reply(reply.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
    })
}

/// Plans whatever else belongs to a repository: passed through to those who may see it.
pub fn plan_other(settings: &Arc<Settings>, ask: &Ask, repository: Repository) -> Step {
    if !matches!(ask.method, Method::GET | Method::HEAD) {
        return pass::plan(settings, ask);
    }
    let (asked, hub) = (ask.clone(), Arc::clone(settings));
    admit(settings, ask, repository, Purpose::Listing, move |admitted| {
        pass::plan_as(&hub, &asked, admitted.reach, None)
    })
}

fn address(ask: &Ask) -> String {
    match &ask.query {
        Some(query) => format!("{}?{query}", ask.path),
        None => ask.path.clone(),
    }
}

/// A description as the hub wrote it.
#[derive(Debug)]
struct InfoPage {
    settings: Arc<Settings>,
    base: String,
    sharing: &'static str,
    marks: Marks,
    hiding: Option<Hiding>,
}

impl InfoPage {
    fn reply(&self, text: String) -> Reply {
        raw::json(&self.settings, &self.base, text.into(), self.sharing, self.marks)
    }

    /// Leaves out the files that rules hide, and says when time alone shows others.
    fn hide(&self, info: &mut Value, view: &View<'_>) -> Option<Timestamp> {
        let hiding = self.hiding.as_ref()?;
        let mut turn = None;
        info.get_mut("siblings")?.as_array_mut()?.retain(|file| {
            let path = file["rfilename"].as_str().unwrap_or_default();
            let size = file["size"].as_u64();
            !hiding.hides(path, size, view.now, &mut turn, view.note)
        });
        turn
    }
}

impl Render for InfoPage {
    fn variant(&self) -> String {
        let hiding = Hiding::variant(self.hiding.as_ref());
        format!("info {} {} {:?} {hiding}", self.base, self.sharing, self.marks)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let Some(text) = view.document.get::<Info>().and_then(|info| info.text.clone()) else {
            return Rendered { reply: explain::lost(), valid_until: None };
        };
        if self.hiding.is_none() {
            return Rendered { reply: self.reply(text), valid_until: None };
        }
        let mut info: Value = serde_json::from_str(&text).unwrap_or_default();
        let valid_until = self.hide(&mut info, view);
        Rendered { reply: self.reply(info.to_string()), valid_until }
    }
}

/// A description whose commit and files are put in from a tree.
#[derive(Debug)]
struct DerivedPage {
    page: InfoPage,
    text: String,
    commit: Commit,
    with_blobs: bool,
}

impl Render for DerivedPage {
    fn variant(&self) -> String {
        let Self { page, text, commit, with_blobs } = self;
        let text = crate::types::BlobId::of(text.as_bytes());
        format!("{} {commit} {with_blobs} {text}", page.variant())
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let tree = view.document.get::<Tree>();
        let info: Option<Value> = serde_json::from_str(&self.text).ok();
        let mut valid_until = None;
        let reply = match (tree, info) {
            (Some(tree), Some(mut info)) if info.is_object() => {
                info["sha"] = self.commit.as_str().into();
                info["siblings"] = siblings(tree, self.with_blobs);
                valid_until = self.page.hide(&mut info, view);
                self.page.reply(info.to_string())
            }
            _ => explain::lost(),
        };
        Rendered { reply, valid_until }
    }
}
