//! Merges what upstream says now into what it ever said. Nothing is forgotten: what vanishes is marked with when and how.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;

use crate::cache::lookup::{Fresh, Keep, Kept, Parsed};
use crate::ecosystem::pypi::offer::{self, Offer, Offered};
use crate::ecosystem::pypi::page::{Cause, End, File, Page, Spell};
use crate::ecosystem::pypi::{changes, name};
use crate::types::Timestamp;

/// The serial of the last change, which mirrors read.
pub const SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");

/// Most spells that are kept of one thing, so that an upstream that flaps does not grow the page without bound.
const MOST_SPELLS: usize = 64;

/// Most former addresses that are kept of one file: the first, and the last ones.
const MOST_FORMER_URLS: usize = 4;

/// Keeps the page of one project.
#[derive(Debug)]
pub struct ProjectPage {
    /// Normalised.
    pub name: String,
    /// Base addresses of the upstreams, in the order of the lookup's origins.
    pub sources: Vec<Arc<str>>,
    /// Whether each upstream is a flat page of links, where files of other projects are left out.
    pub flat: Vec<bool>,
    /// What events are about: `pypi:six`.
    pub subject: String,
}

impl Keep for ProjectPage {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Page::decode(kept).map(Parsed::new)
    }

    fn merge(&self, previous: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let offer = self.offer(fresh)?;
        let source =
            self.sources.get(fresh.origin).ok_or("an answer of an origin that was not asked")?;
        let page = match previous.and_then(Parsed::get::<Page>) {
            None => merged(Page::new(&self.name, source, fresh.now), offer, fresh.now),
            Some(page) => self.succeed(page.clone(), offer, source, fresh)?,
        };
        let before = previous.and_then(Parsed::get::<Page>);
        let told = before.map(|before| changes::changes(&self.subject, before, &page, fresh.now));
        Ok(kept(page).telling(told.unwrap_or_default()))
    }

    fn subject(&self) -> Option<String> {
        Some(self.subject.clone())
    }

    fn absent(&self, previous: &Parsed, now: Timestamp) -> Option<Kept> {
        let page = previous.get::<Page>()?;
        page.gone_since.is_none().then(|| kept(gone(page.clone(), now)))
    }
}

fn kept(page: Page) -> Kept {
    Kept::alone(page.encode(), Parsed::new(page))
}

impl ProjectPage {
    /// Parses the answer and refuses what is no page of this project.
    fn offer(&self, fresh: &Fresh<'_>) -> Result<Offer, String> {
        let mut offer = offer::read(fresh.body, fresh.url)?;
        if let Some(serial) = fresh.head.text(&SERIAL) {
            offer.serial = Some(serial.into());
        }
        if let Some(named) = &offer.name
            && *name::normalised(named) != *self.name
        {
            return Err(format!("upstream answered with the page of {named:?}"));
        }
        let ours = |file: &Offered| name::is_of(&self.name, &file.filename);
        let other = |file: &Offered| name::is_distribution(&file.filename) && !ours(file);
        if self.flat.get(fresh.origin) == Some(&true) {
            offer.files.retain(ours);
        } else if !offer.files.is_empty() && offer.files.iter().all(other) {
            return Err(format!(
                "upstream answered with files of other projects, such as {}",
                offer.files[0].filename
            ));
        }
        Ok(offer)
    }

    /// Merges into a page that is known.
    fn succeed(
        &self,
        mut page: Page,
        offer: Offer,
        source: &Arc<str>,
        fresh: &Fresh<'_>,
    ) -> Result<Page, String> {
        let known = page.sources[usize::from(page.source)].clone();
        let rank = self.sources.iter().position(|source| **source == *known);
        match rank {
            // A higher upstream that had the project has it no longer. What it gave stays; that a lower one has a project of
            // that name is no reason to mix the two, it may be anybody's.
            Some(rank) if rank < fresh.origin => {
                let mut page = if page.gone_since.is_none() { gone(page, fresh.now) } else { page };
                page.notice = Some(
                    format!("{known} no longer has this project; {source} has one of the same name, which is not taken over")
                        .into(),
                );
                return Ok(page);
            }
            // A higher upstream has the project now: from here on its files are the project's.
            Some(rank) if rank > fresh.origin => page.turn_to(source),
            Some(_) => {}
            // The upstream was given another address.
            None => page.sources[usize::from(page.source)] = source.as_ref().into(),
        }
        let quarantined =
            offer.status.as_ref().is_some_and(|status| &*status.status == "quarantined");
        let had = page.listed().filter(|file| file.is_live()).count();
        if offer.files.is_empty() && had > 0 && !quarantined {
            return Err(format!(
                "upstream answered with an empty page in place of one with {had} files"
            ));
        }
        Ok(merged(page, offer, fresh.now))
    }
}

impl Page {
    /// A page of which nothing is known but its name and upstream.
    pub fn new(name: &str, source: &str, now: Timestamp) -> Self {
        Self {
            name: name.into(),
            sources: vec![source.into()],
            source: 0,
            serial: None,
            api_minor: 0,
            versions: Vec::new(),
            status: Vec::new(),
            extra: Vec::new(),
            first_seen: now,
            gone_since: None,
            notice: None,
            files: Vec::new(),
        }
    }

    fn turn_to(&mut self, source: &str) {
        let known = self.sources.iter().position(|known| **known == *source);
        let index = known.unwrap_or_else(|| {
            self.sources.push(source.into());
            self.sources.len() - 1
        });
        self.source = u16::try_from(index).unwrap_or(self.source);
    }
}

/// The page after its project vanished.
fn gone(mut page: Page, now: Timestamp) -> Page {
    page.gone_since = Some(now);
    for file in page.files.iter_mut().filter(|file| file.source == page.source) {
        file.end(now, Cause::ProjectDeleted);
    }
    page
}

/// The page after upstream said `offer`.
fn merged(mut page: Page, offer: Offer, now: Timestamp) -> Page {
    let Offer { name: _, api_minor, serial, versions, status, extra, files } = offer;
    let quarantined = status.as_ref().is_some_and(|status| &*status.status == "quarantined");
    page.gone_since = None;
    page.api_minor = api_minor;
    page.serial = serial;
    page.versions = versions;
    page.extra = extra;
    change(&mut page.status, status, now);
    let cause = if quarantined { Cause::Quarantined } else { Cause::Deleted };
    let had = page.listed().filter(|file| file.is_live()).count();
    let mut joined = Join::of(&mut page, files, now);
    joined.end_missing(now, cause);
    let missing = joined.missing;
    page.files = joined.in_order();
    if missing * 2 > had && !quarantined {
        page.notice = Some(
            format!("{missing} of {had} files vanished at once on {}", now.to_http_date()).into(),
        );
    }
    page
}

/// Known files matched with offered ones.
struct Join {
    /// Known files that no offered one matched, by their old place.
    old: Vec<Option<File>>,
    /// Files as offered, each with the old place it came from.
    new: Vec<(Option<usize>, File)>,
    /// The first address of every known file.
    taken: HashSet<Box<str>>,
    /// Places in `old` that belong to the page's present upstream.
    ours: Vec<bool>,
    /// How many live files vanished.
    missing: usize,
}

impl Join {
    fn of(page: &mut Page, offered: Vec<Offered>, now: Timestamp) -> Self {
        let source = page.source;
        let old: Vec<Option<File>> =
            std::mem::take(&mut page.files).into_iter().map(Some).collect();
        let ours = old
            .iter()
            .map(|file| file.as_ref().is_some_and(|file| file.source == source))
            .collect();
        let taken = old.iter().flatten().map(|file| file.first_url().into()).collect();
        let new = Vec::with_capacity(offered.len());
        let mut join = Self { old, new, taken, ours, missing: 0 };
        let places = join.places();
        let mut seen = HashSet::with_capacity(offered.len());
        for file in offered {
            if seen.insert(file.url.clone()) {
                join.take(file, &places, source, now);
            }
        }
        join
    }

    /// Where the known files of this upstream are, by address and by name.
    fn places(&self) -> HashMap<Box<str>, Vec<usize>> {
        let mut places: HashMap<Box<str>, Vec<usize>> = HashMap::with_capacity(2 * self.old.len());
        for (place, file) in self.old.iter().enumerate() {
            let Some(file) = file.as_ref().filter(|_| self.ours[place]) else { continue };
            places.entry(file.url.clone()).or_default().push(place);
            places.entry(file.filename.clone()).or_default().push(place);
        }
        places
    }

    fn take(
        &mut self,
        offered: Offered,
        places: &HashMap<Box<str>, Vec<usize>>,
        source: u16,
        now: Timestamp,
    ) {
        let candidates = |key: &str| {
            places.get(key).map(Vec::as_slice).unwrap_or_default().iter().rev().copied()
        };
        let at_its_address = candidates(&offered.url)
            .find(|place| self.fits(*place, |file| !file.hashes.contradict(&offered.hashes)));
        let moved = || {
            candidates(&offered.filename)
                .find(|place| self.fits(*place, |file| file.hashes.agree(&offered.hashes)))
        };
        let place = at_its_address.or_else(moved);
        let file = match place.and_then(|place| self.old[place].take()) {
            Some(mut file) => {
                file.renew(offered, now);
                file
            }
            None => {
                let is_twin = self.taken.contains(&offered.url);
                File { is_twin, ..File::new(offered, source, now) }
            }
        };
        for other in candidates(&file.url) {
            self.replace(other, now);
        }
        self.new.push((place, file));
    }

    fn fits(&self, place: usize, test: impl Fn(&File) -> bool) -> bool {
        self.old[place].as_ref().is_some_and(test)
    }

    /// Other bytes are at this file's address now.
    fn replace(&mut self, place: usize, now: Timestamp) {
        if let Some(file) = &mut self.old[place] {
            file.end(now, Cause::Replaced);
        }
    }

    fn end_missing(&mut self, now: Timestamp, cause: Cause) {
        for (file, ours) in self.old.iter_mut().zip(&self.ours) {
            if let Some(file) = file
                && *ours
                && file.is_live()
            {
                file.end(now, cause);
                self.missing += 1;
            }
        }
    }

    /// All files: offered ones in their order, the others behind the one that they followed.
    fn in_order(self) -> Vec<File> {
        let mut followers: HashMap<Option<usize>, Vec<File>> = HashMap::new();
        let mut leader = None;
        for (place, file) in self.old.into_iter().enumerate() {
            match file {
                None => leader = Some(place),
                Some(file) => followers.entry(leader).or_default().push(file),
            }
        }
        let mut files = followers.remove(&None).unwrap_or_default();
        for (place, file) in self.new {
            files.push(file);
            if place.is_some() {
                files.extend(followers.remove(&place).unwrap_or_default());
            }
        }
        files
    }
}

impl File {
    fn new(offered: Offered, source: u16, now: Timestamp) -> Self {
        let Offered { filename, url, hashes, size, upload_time, attributes } = offered;
        Self {
            filename,
            url,
            former_urls: Vec::new(),
            hashes,
            size,
            upload_time,
            source,
            is_twin: false,
            first_seen: now,
            spells: vec![Spell { from: now, end: None, value: attributes }],
        }
    }

    /// Takes over what upstream says now of these same bytes. What it no longer says (an HTML page names no sizes) is kept.
    fn renew(&mut self, offered: Offered, now: Timestamp) {
        let Offered { filename, url, hashes, size, upload_time, attributes } = offered;
        self.filename = filename;
        if self.url != url {
            let former = std::mem::replace(&mut self.url, url);
            self.former_urls.push(former);
            if self.former_urls.len() > MOST_FORMER_URLS {
                self.former_urls.remove(1);
            }
        }
        self.hashes.complete_from(&hashes);
        self.size = size.or(self.size);
        self.upload_time = upload_time.or_else(|| self.upload_time.take());
        change(&mut self.spells, Some(attributes), now);
    }

    fn end(&mut self, now: Timestamp, cause: Cause) {
        let spell =
            self.spells.last_mut().expect("a file is made with a spell and never loses its last");
        // What vanished before it was replaced did end then; that other bytes came later still has to be known.
        match &mut spell.end {
            None => spell.end = Some(End { at: now, cause }),
            Some(end) if cause == Cause::Replaced => end.cause = cause,
            Some(_) => {}
        }
    }
}

/// Lets the spell that goes on end where `now` says something else.
fn change<T: PartialEq>(spells: &mut Vec<Spell<T>>, now_said: Option<T>, now: Timestamp) {
    let current = spells.last_mut().filter(|spell| spell.end.is_none());
    if current.as_ref().map(|spell| &spell.value) == now_said.as_ref() {
        return;
    }
    if let Some(spell) = current {
        spell.end = Some(End { at: now, cause: Cause::Changed });
    }
    if let Some(value) = now_said {
        spells.push(Spell { from: now, end: None, value });
    }
    if spells.len() > MOST_SPELLS {
        spells.remove(0);
    }
}
