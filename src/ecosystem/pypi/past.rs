//! A project's page as it was at an instant.
//!
//! From the first observation on, the page's own spells tell what upstream listed, and how; before it, the time of upload that upstream names tells at least what was
//! there. The outcome is a page like any other, so that all renderings and look-ups hold for it. Left out: the policy, which is today's as well as
//! that of the state then ([`shown`]).

use crate::ecosystem::past::{Basis, Past, Unknown};
use crate::ecosystem::pypi::facts::OfPage;
use crate::ecosystem::pypi::page::{End, File, Page, Spell};
use crate::policy::{Point, Ruleset, Verdict};
use crate::types::Timestamp;

/// A page as it was, and how that is known.
#[derive(Debug)]
pub struct PastPage {
    pub page: Page,
    pub past: Past,
}

/// The file on today's page.
pub fn known_today<'a>(today: &'a Page, file: &File) -> Option<&'a File> {
    today
        .files
        .iter()
        .find(|known| known.first_url() == file.first_url() && known.first_seen == file.first_seen)
}

/// The page as of an instant, without what the policy holds more against today than for its state then: going back in time is no way around a rule.
pub fn shown(
    rules: &Ruleset,
    today: &Page,
    at: Timestamp,
    now: Timestamp,
) -> Result<PastPage, Unknown> {
    let mut then = today.as_of(at)?;
    let (of_today, of_then) = (OfPage::new(today, rules), OfPage::new(&then.page, rules));
    let verdict =
        |of: &OfPage<'_>, file: &File| rules.judge(&of.of(file), Point::Listing, now).verdict;
    let passes = |file: &File| {
        let Some(known) = known_today(today, file) else { return true };
        let today = verdict(&of_today, known);
        today < Verdict::Hide || today <= verdict(&of_then, file)
    };
    let shown: Vec<File> = then.page.files.iter().filter(|file| passes(file)).cloned().collect();
    then.page.files = shown;
    Ok(then)
}

impl Page {
    /// The page as of `at`.
    pub fn as_of(&self, at: Timestamp) -> Result<PastPage, Unknown> {
        match self.first_seen <= at {
            true => Ok(self.observed(at)),
            false => self.derived(at),
        }
    }

    fn observed(&self, at: Timestamp) -> PastPage {
        let mut page = self.without_files();
        let known: Vec<&File> = self.files.iter().filter(|file| file.first_seen <= at).collect();
        page.source = self.source_among(&known);
        page.files = known.into_iter().map(|file| file.as_of(at)).collect();
        page.status = up_to(&self.status, at);
        page.gone_since = self.gone_since.filter(|since| *since <= at);
        let seen = self.last_change(at);
        PastPage { page, past: Past { at, basis: Basis::Observed { seen } } }
    }

    /// What had been uploaded by then, as it was when it was first seen: what upstream said of it before is not known.
    fn derived(&self, at: Timestamp) -> Result<PastPage, Unknown> {
        let dated = self.files.iter().filter_map(|file| Some((file, file.uploaded()?)));
        let first = dated.clone().map(|(_, uploaded)| uploaded).min();
        let had: Vec<&File> =
            dated.filter(|(_, uploaded)| *uploaded <= at).map(|(file, _)| file).collect();
        match first {
            None => return Err(Unknown::SeenSince(self.first_seen)),
            Some(first)
                if had.is_empty() && self.files.iter().all(|one| one.uploaded().is_some()) =>
            {
                return Err(Unknown::Unborn(first));
            }
            Some(_) if had.is_empty() => return Err(Unknown::SeenSince(self.first_seen)),
            Some(_) => {}
        }
        let mut page = self.without_files();
        page.source = self.source_among(&had);
        page.files = had.into_iter().map(|file| file.as_of(file.first_seen)).collect();
        Ok(PastPage { page, past: Past { at, basis: Basis::Derived } })
    }

    /// What does not change with time; versions follow from the files.
    fn without_files(&self) -> Self {
        Self {
            name: self.name.clone(),
            sources: self.sources.clone(),
            source: self.source,
            serial: None,
            api_minor: self.api_minor,
            versions: Vec::new(),
            status: Vec::new(),
            extra: Vec::new(),
            first_seen: self.first_seen,
            gone_since: None,
            notice: None,
            files: Vec::new(),
        }
    }

    /// The upstream that had the project when it had these files: the present one, unless none of them is from there yet.
    fn source_among(&self, files: &[&File]) -> u16 {
        if files.iter().any(|file| file.source == self.source) {
            return self.source;
        }
        let newest = files.iter().max_by_key(|file| file.first_seen);
        newest.map_or(self.source, |file| file.source)
    }

    /// The last observation up to an instant that told anything new.
    fn last_change(&self, at: Timestamp) -> Timestamp {
        let spells = self.files.iter().flat_map(|file| file.spells.iter().flat_map(changes));
        let all = spells.chain(self.status.iter().flat_map(changes)).chain(self.gone_since);
        all.chain([self.first_seen]).filter(|time| *time <= at).max().unwrap_or(self.first_seen)
    }
}

impl File {
    /// The same file with what was said of it up to an instant at which it was known. Where the beginning of that was dropped, the oldest that is left stands for it.
    fn as_of(&self, at: Timestamp) -> Self {
        let mut spells = up_to(&self.spells, at);
        if spells.is_empty() {
            spells.extend(self.spells.first().map(|first| Spell { end: None, ..first.clone() }));
        }
        Self { spells, ..self.clone() }
    }
}

/// The spells that had begun, with the ends that had come.
fn up_to<T: Clone>(spells: &[Spell<T>], at: Timestamp) -> Vec<Spell<T>> {
    let begun = spells.iter().filter(|spell| spell.from <= at);
    let cut =
        |spell: &Spell<T>| Spell { end: spell.end.filter(|end| end.at <= at), ..spell.clone() };
    begun.map(cut).collect()
}

fn changes<T>(spell: &Spell<T>) -> impl Iterator<Item = Timestamp> + use<T> {
    let end = spell.end.map(|End { at, .. }| at);
    [spell.from].into_iter().chain(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::pypi::page::{Attributes, Cause, Hashes, Status, Yanked};
    use crate::policy::State;

    fn file(name: &str, first_seen: u64, upload: Option<&str>) -> File {
        File {
            filename: name.into(),
            url: format!("https://files.example/{name}").into(),
            former_urls: Vec::new(),
            hashes: Hashes::default(),
            size: None,
            upload_time: upload.map(Into::into),
            source: 0,
            is_twin: false,
            first_seen: Timestamp(first_seen),
            spells: vec![spell(first_seen, None, Attributes::default())],
        }
    }

    fn spell<T>(from: u64, end: Option<(u64, Cause)>, value: T) -> Spell<T> {
        let end = end.map(|(at, cause)| End { at: Timestamp(at), cause });
        Spell { from: Timestamp(from), end, value }
    }

    fn page(files: Vec<File>) -> Page {
        let mut page = Page::new("demo", "https://index.example/simple/", Timestamp(100));
        page.files = files;
        page
    }

    /// What is listed at an instant, with the state of each.
    fn told(page: &Page, at: u64) -> Result<Vec<(String, State)>, Unknown> {
        let then = page.as_of(Timestamp(at))?.page;
        Ok(then.listed().map(|file| (file.filename.to_string(), then.state(file))).collect())
    }

    #[test]
    fn deletions_and_yanks_are_as_they_were() {
        let yanked = Attributes { yanked: Yanked::Yes, ..Attributes::default() };
        let mut one = file("demo-1.zip", 100, None);
        one.spells = vec![
            spell(100, Some((200, Cause::Changed)), Attributes::default()),
            spell(200, Some((300, Cause::Deleted)), yanked),
        ];
        let page = page(vec![one, file("demo-2.zip", 250, None)]);
        let check = |at, expected: &[(&str, State)]| {
            let expected = expected.iter().map(|(name, state)| ((*name).to_owned(), *state));
            assert_eq!(told(&page, at), Ok(expected.collect()), "{at}");
        };
        check(100, &[("demo-1.zip", State::Listed)]);
        check(199, &[("demo-1.zip", State::Listed)]);
        check(200, &[("demo-1.zip", State::Yanked)]);
        check(299, &[("demo-1.zip", State::Yanked), ("demo-2.zip", State::Listed)]);
        let deleted = State::Deleted { since: Timestamp(300) };
        check(300, &[("demo-1.zip", deleted), ("demo-2.zip", State::Listed)]);
        assert_eq!(told(&page, 99), Err(Unknown::SeenSince(Timestamp(100))));
        let seen = |at| page.as_of(Timestamp(at)).expect("known").past.basis;
        assert_eq!(seen(249), Basis::Observed { seen: Timestamp(200) });
    }

    #[test]
    fn other_bytes_at_an_address_come_later() {
        let mut first = file("demo-1.zip", 100, None);
        first.spells = vec![spell(100, Some((200, Cause::Replaced)), Attributes::default())];
        let twin = File { is_twin: true, ..file("demo-1.zip", 200, None) };
        let page = page(vec![first, twin]);
        let twin_at = |at| {
            let then = page.as_of(Timestamp(at)).expect("known").page;
            then.file_at("https://files.example/demo-1.zip").map(|file| file.is_twin)
        };
        assert_eq!((twin_at(199), twin_at(200)), (Some(false), Some(true)));
    }

    #[test]
    fn before_anything_was_seen_the_time_of_upload_counts() {
        let uploaded = |name, time| file(name, 1_000_000_000_000, Some(time));
        let old = uploaded("demo-1.zip", "2000-01-01T00:00:00Z");
        let new = uploaded("demo-2.zip", "2001-01-01T00:00:00Z");
        let mut page = page(vec![old, new]);
        page.first_seen = Timestamp(1_000_000_000_000);
        let at = |text| Timestamp::from_text(text).expect("an instant");
        let names = |text| told(&page, at(text).0).map(|all| all.len());
        assert_eq!((names("2000-12-31"), names("2001-01-01")), (Ok(1), Ok(2)));
        assert_eq!(names("1999-12-31"), Err(Unknown::Unborn(at("2000-01-01T00:00:00Z"))));
        let past = page.as_of(at("2000-06-01")).expect("derived").past;
        assert_eq!(past.basis, Basis::Derived);
        page.files.iter_mut().for_each(|file| file.upload_time = None);
        assert_eq!(told(&page, at("2000-12-31").0), Err(Unknown::SeenSince(page.first_seen)));
    }

    #[test]
    fn what_is_held_today_is_held_at_any_date() {
        let mut today = page(vec![file("demo-1.zip", 100, None)]);
        let quarantined = Status { status: "quarantined".into(), reason: None };
        today.status = vec![spell(500, None, quarantined)];
        let then = today.as_of(Timestamp(200)).expect("known").page;
        assert_eq!(then.state(&then.files[0]), State::Listed);
        let rules = Ruleset::default();
        let shows = |today: &Page| {
            let shown = shown(&rules, today, Timestamp(200), Timestamp(600)).expect("known");
            !shown.page.files.is_empty()
        };
        assert!(!shows(&today));
        today.status.clear();
        assert!(shows(&today));
        // Deleted long after it was published: that may be seen, and was not so then.
        let end = End { at: Timestamp(u64::from(u32::MAX)), cause: Cause::Deleted };
        today.files[0].spells[0].end = Some(end);
        assert!(shows(&today));
    }
}
