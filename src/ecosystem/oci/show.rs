//! `/-/oci/NAME:TAG`: what is kept of an image and what is not, for people. Nothing is asked upstream, and only what is kept for everybody is told.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;

use crate::cache::failure::Failure;
use crate::cache::lookup::Document;
use crate::ecosystem::oci::complete::Wish;
use crate::ecosystem::oci::config::Settings;
use crate::ecosystem::oci::manifest::{self, Content, Descriptor, Manifest};
use crate::ecosystem::oci::name::{Reference, Tag};
use crate::ecosystem::oci::place::{self, Hints};
use crate::ecosystem::oci::readers::kept_only;
use crate::ecosystem::oci::referrers::{self, Referrers};
use crate::ecosystem::oci::registry::Reader;
use crate::ecosystem::oci::scope::Scope;
use crate::ecosystem::oci::tag::{self, Pointer};
use crate::ecosystem::oci::{blob, complete, explain};
use crate::ecosystem::{
    Access, Held, Plan, Render, Rendered, Reply, Serve, Standing, Step, Subject, View,
};
use crate::types::{Digest, Presence, Timestamp};

/// Platforms of an index that are looked at; what is beyond is counted only.
const MOST_PLATFORMS: usize = 256;

/// Plans the page for `NAME:TAG` or `NAME@DIGEST`.
pub fn plan(settings: &Arc<Settings>, image: &str) -> Step {
    let (name, reference) = match image.split_once('@') {
        Some((name, digest)) => (name, digest),
        None => match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        },
    };
    let place = match place::find(settings, name, Hints::default()) {
        Ok(place) => place,
        Err(fault) => return Step::Reply(explain::misplaced(&fault)),
    };
    let scope = place.scope(&Reader::public());
    let page = Page { scope, title: format!("{name}:{reference}"), tagged: None };
    match Reference::parse(reference) {
        Ok(Some(Reference::Digest(digest))) => page.root(digest),
        Ok(Some(Reference::Tag(tag))) => page.tag(&tag),
        Ok(None) => Step::Reply(explain::no_manifest(reference)),
        Err(fault) => Step::Reply(explain::bad_digest(&fault)),
    }
}

/// A page in the making.
struct Page {
    scope: Scope,
    title: String,
    tagged: Option<(Pointer, Standing)>,
}

/// What is told of an image, but for what only the index knows.
#[derive(Debug)]
struct ShowForm {
    title: String,
    digest: Digest,
    tagged: Option<(Pointer, Standing)>,
    /// Each manifest of the image with what it refers to; `None` where it is not kept.
    manifests: Vec<(Descriptor, Option<Content>)>,
    more: usize,
    /// How many referrers are listed; `None`: never asked.
    referrers: Option<usize>,
    /// Tags that are named after the image, and whether each is kept.
    companions: Vec<(Tag, bool)>,
}

impl Page {
    fn tag(mut self, tag: &Tag) -> Step {
        let document = tag::document(&self.scope, tag, Wish::nothing());
        need(vec![document], move |held| {
            let held = held.into_iter().next()?;
            let pointer = held.parsed.get::<Pointer>()?.clone();
            let digest = pointer.digest;
            self.tagged = Some((pointer, held.standing));
            Some(self.root(digest))
        })
    }

    fn root(self, digest: Digest) -> Step {
        let document = self.manifest(digest);
        let again = document.clone();
        need(vec![document], move |held| {
            let root = held.into_iter().next()?.parsed.get::<Manifest>()?.clone();
            Some(self.parts(digest, &root, again))
        })
    }

    /// Looks at everything that belongs to the image.
    fn parts(self, digest: Digest, root: &Manifest, document: Document) -> Step {
        let children = &root.content.children;
        let shown: Vec<Descriptor> = children.iter().take(MOST_PLATFORMS).cloned().collect();
        let tags = complete::companion_tags(&digest);
        let mut documents: Vec<Document> =
            shown.iter().map(|child| self.manifest(child.digest)).collect();
        documents.push(referrers::document(&self.scope, &digest, Wish::nothing()));
        let companion = |tag: &Tag| tag::document(&self.scope, tag, Wish::nothing());
        documents.extend(tags.iter().map(companion));
        let own = Descriptor { digest, size: None, platform: None, is_foreign: false };
        let own = (own, Some(root.content.clone()));
        let more = children.len() - shown.len();
        Step::Need {
            documents: documents.into_iter().map(kept_only).collect(),
            then: Box::new(move |held| {
                let mut held = held.into_iter().map(Result::ok);
                let mut manifests = vec![own];
                for child in shown {
                    let kept = held.next().flatten();
                    let content = kept.and_then(|held| {
                        held.parsed.get::<Manifest>().map(|one| one.content.clone())
                    });
                    manifests.push((child, content));
                }
                let referrers = held
                    .next()
                    .flatten()
                    .and_then(|held| held.parsed.get().map(|Referrers(all)| all.now().count()));
                let companions = tags.into_iter().map(|tag| {
                    let is_kept = held.next().flatten().is_some();
                    (tag, is_kept)
                });
                let companions = companions.collect();
                let Self { title, tagged, .. } = self;
                let form =
                    ShowForm { title, digest, tagged, manifests, more, referrers, companions };
                Step::Serve(Box::new(Plan {
                    access: Access::Public,
                    subject: Subject::default(),
                    serve: Serve::Document {
                        document: kept_only(document),
                        render: Arc::new(form),
                    },
                }))
            }),
        }
    }

    fn manifest(&self, digest: Digest) -> Document {
        manifest::document(&self.scope, digest, Wish::nothing())
    }
}

/// Looks at what is kept of `documents`; `then` gets them all, or nobody does.
fn need(
    documents: Vec<Document>,
    then: impl FnOnce(Vec<Held>) -> Option<Step> + Send + 'static,
) -> Step {
    Step::Need {
        documents: documents.into_iter().map(kept_only).collect(),
        then: Box::new(move |held: Vec<Result<Held, Failure>>| {
            let held: Result<Vec<Held>, Failure> = held.into_iter().collect();
            held.ok().and_then(then).unwrap_or_else(|| {
                let message = "nothing of this image is kept for everybody";
                Step::Reply(explain::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message))
            })
        }),
    }
}

impl Render for ShowForm {
    fn variant(&self) -> String {
        format!("show/{}", self.title)
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let reply = Reply::new(StatusCode::OK, "text/plain; charset=utf-8", self.text(view));
        // What is kept changes without a word to anybody here.
        Rendered { reply, valid_until: Some(view.now) }
    }
}

impl ShowForm {
    fn text(&self, view: &View<'_>) -> String {
        let mut text = format!("{}\n", self.title);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<18}{value}");
        };
        line("digest", self.digest.to_string());
        if let Some((pointer, standing)) = &self.tagged {
            line("tag", tag_line(pointer, standing, view.now));
        }
        for (at, (own, content)) in self.manifests.iter().enumerate() {
            let unnamed = if at == 0 { "manifest" } else { "(no platform)" };
            let name = own.platform.as_deref().unwrap_or(unnamed);
            match content {
                None => line(name, format!("not kept ({})", own.digest)),
                Some(content) => line(name, blobs_line(content, view)),
            }
        }
        if self.more > 0 {
            line("", format!("and {} more", self.more));
        }
        line(
            "referrers",
            match self.referrers {
                Some(count) => format!("{count} listed"),
                None => "never asked for".to_owned(),
            },
        );
        for (tag, is_kept) in &self.companions {
            line("companion", format!("{tag}: {}", if *is_kept { "kept" } else { "not kept" }));
        }
        text
    }
}

fn tag_line(pointer: &Pointer, standing: &Standing, now: Timestamp) -> String {
    let state = match standing.presence {
        Presence::Present => "there upstream",
        Presence::Gone { .. } => "gone upstream",
        Presence::Withdrawn { .. } => "withdrawn upstream",
    };
    let age_secs = now.since(standing.validated).as_secs();
    let moves = pointer.history.len().saturating_sub(1);
    format!("{state}, confirmed {age_secs} s ago, moved {moves} times")
}

/// How much of a manifest's content is kept.
fn blobs_line(content: &Content, view: &View<'_>) -> String {
    if content.blobs.is_empty() {
        return format!("kept, {} manifests below it", content.children.len());
    }
    let is_kept = |one: &&Descriptor| (view.is_kept)(&blob::key(&one.digest));
    let kept: Vec<&Descriptor> = content.blobs.iter().filter(is_kept).collect();
    let bytes = |all: &mut dyn Iterator<Item = &Descriptor>| -> u64 {
        all.filter_map(|one| one.size).sum()
    };
    let (have, whole) = (bytes(&mut kept.iter().copied()), bytes(&mut content.blobs.iter()));
    let (count, all) = (kept.len(), content.blobs.len());
    let word = if count == all { "whole" } else { "in part" };
    format!("{word}: {count} of {all} blobs, {have} of {whole} bytes")
}
