//! The page of a project: `simple/NAME/`.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use crate::ecosystem::pypi::accept::{self, Representation};
use crate::ecosystem::pypi::config::{OfflinePages, Settings};
use crate::ecosystem::pypi::listing::{Listing, Place};
use crate::ecosystem::pypi::page::Page;
use crate::ecosystem::pypi::past::{self, PastPage};
use crate::ecosystem::pypi::reach::{self, Reach};
use crate::ecosystem::pypi::routes::Slash;
use crate::ecosystem::pypi::{explain, merge, name, render_html, render_json};
use crate::ecosystem::{Ask, Plan, Render, Rendered, Reply, Serve, Step, Subject, View};
use crate::policy::Ruleset;
use crate::types::Timestamp;

/// Plans the page of the project that the path names.
pub fn plan(settings: &Arc<Settings>, ask: &Ask, named: &str, slash: Slash) -> Step {
    if !name::is_valid(named) {
        return Step::Reply(invalid(named));
    }
    let project = name::normalised(named);
    if project != named || slash == Slash::Missing {
        return Step::Reply(canonical(ask, &project, slash));
    }
    let Some(representation) = accept::negotiate(&ask.headers, ask.query.as_deref()) else {
        return Step::Reply(not_acceptable());
    };
    let reach = match Reach::of(settings, &project, ask) {
        Ok(reach) => reach,
        Err(reply) => return Step::Reply(reply),
    };
    let document = reach.page(&project, reach::demand_of(ask));
    let subject = Subject { package: Some(project.into_owned()), ..Subject::default() };
    let access = reach.access.clone();
    let place = reach.place(ask);
    let (rules, as_of) = (Arc::clone(&ask.rules), ask.as_of);
    let render = Arc::new(PageRender { representation, place, reach, rules, as_of });
    Step::Serve(Box::new(Plan { access, subject, serve: Serve::Document { document, render } }))
}

/// A name that cannot be a project's.
pub fn invalid(named: &str) -> Reply {
    let detail = format!(
        "{named:?} cannot be the name of a project: letters, digits, dots, dashes and underscores, with a letter or digit at both ends."
    );
    explain::problem(StatusCode::NOT_FOUND, "No project name", &detail)
}

/// Nothing that the client accepts can be given.
pub fn not_acceptable() -> Reply {
    let detail = format!("An index page can be had as: {}.", accept::OFFERED);
    explain::problem(StatusCode::NOT_ACCEPTABLE, "No such representation", &detail)
}

/// The normalised address, relative so that it holds behind any reverse proxy.
fn canonical(ask: &Ask, project: &str, slash: Slash) -> Reply {
    let location = match slash {
        Slash::Present => format!("../{project}/"),
        Slash::Missing => format!("{project}/"),
    };
    redirect(ask, &location)
}

/// A permanent redirect that keeps the query.
pub fn redirect(ask: &Ask, location: &str) -> Reply {
    let location = match &ask.query {
        Some(query) => format!("{location}?{query}"),
        None => location.to_owned(),
    };
    let reply =
        Reply::new(StatusCode::MOVED_PERMANENTLY, "text/plain; charset=utf-8", location.clone());
    match HeaderValue::from_str(&location) {
        Ok(value) => reply.with(header::LOCATION, value),
        Err(_) => explain::problem(
            StatusCode::BAD_REQUEST,
            "Bad address",
            "The query holds what no address may.",
        ),
    }
}

/// Writes the page as one kind of client reads it.
#[derive(Debug)]
struct PageRender {
    representation: Representation,
    place: Place,
    reach: Reach,
    rules: Arc<Ruleset>,
    as_of: Option<Timestamp>,
}

impl Render for PageRender {
    fn variant(&self) -> String {
        let Self { representation, place, as_of, .. } = self;
        let epoch = self.rules.epoch();
        let (relative, absolute) = (&place.relative_root, &place.absolute_root);
        format!("{representation:?} {relative} {absolute} {epoch:x} {as_of:?}")
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let mut valid_until = None;
        let reply = match view.document.get::<Page>() {
            _ if self.reach.is_withdrawn(&view.standing) => {
                explain::refused(&self.reach.settings, StatusCode::FORBIDDEN.as_u16())
            }
            Some(page) => match self.as_of {
                None => self.reply(page, view, &mut valid_until),
                Some(at) => self.reply_as_of(page, at, view, &mut valid_until),
            },
            None => explain::problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Not a page",
                "What is kept under the name of this page is something else; this is a fault of Larder's.",
            ),
        };
        Rendered { reply, valid_until }
    }
}

impl PageRender {
    fn reply_as_of(
        &self,
        today: &Page,
        at: Timestamp,
        view: &View<'_>,
        valid_until: &mut Option<Timestamp>,
    ) -> Reply {
        match past::shown(&self.rules, today, at, view.now) {
            Ok(PastPage { page, past }) => {
                let mut reply = self.reply(&page, view, valid_until);
                past.write(&mut reply.headers);
                reply
            }
            Err(unknown) => explain::unknown(&today.name, unknown, at),
        }
    }

    fn reply(&self, page: &Page, view: &View<'_>, valid_until: &mut Option<Timestamp>) -> Reply {
        let mut listing = Listing::of(page, &self.rules, &self.place, view);
        // What was so at an instant of the past is so for ever.
        if self.as_of.is_none() && self.reach.settings.offline_pages == OfflinePages::Kept {
            listing = listing.preferring_kept(&self.place, view);
        }
        *valid_until = listing.valid_until;
        let body = match self.representation {
            Representation::JsonV1 => render_json::page(&listing),
            Representation::Html | Representation::HtmlV1 => {
                render_html::page(&listing).into_bytes()
            }
        };
        let mut headers =
            reach::document_headers(self.reach.shareability(), self.representation, &view.standing);
        if let Some(serial) =
            page.serial.as_deref().and_then(|serial| HeaderValue::from_str(serial).ok())
        {
            headers.insert(merge::SERIAL, serial);
        }
        Reply { status: StatusCode::OK, headers, body: body.into(), phrase: None }
    }
}
