//! From thing to thing, over all mounts and audiences.

use std::ops::ControlFlow;

use crate::ecosystem::naming::{Contents, Misnamed, Naming, Shelf, Thing, Unreadable};
use crate::keep::contents::Kept;
use crate::keep::{KeepError, Parts, Sight};
use crate::types::{Audience, CacheKey};

/// Groups that are asked for together.
const RUN: usize = 64;

/// A mount's words and an audience: what is kept of the one for the other.
#[derive(Clone)]
pub(super) struct Aisle<'a> {
    pub(super) words: &'a dyn Naming,
    pub(super) audience: Audience,
}

/// A thing and where it stands.
pub(super) struct Located<'a> {
    pub(super) aisle: Aisle<'a>,
    pub(super) thing: Thing,
}

/// What a person's text leads to.
pub(super) struct Named<'a> {
    /// Every group of that name, with the audience that it is kept for.
    pub(super) groups: Vec<(Aisle<'a>, String)>,
    pub(super) things: Vec<Located<'a>>,
    /// The version that was asked for; `None`: all.
    pub(super) version: Option<String>,
}

impl<'a> Aisle<'a> {
    pub(super) fn shelf(&self, contents: &'a dyn Contents) -> Shelf<'_> {
        Shelf { contents, space: self.words.space(), audience: &self.audience }
    }

    /// Where a group stands in the order of all: the key that its name would have.
    pub(super) fn place(&self, group: &str) -> CacheKey {
        CacheKey::new(self.words.space(), &self.audience, group)
    }
}

impl Parts {
    pub(super) fn kept(&self) -> Kept<'_> {
        Kept(&*self.store)
    }

    /// All aisles of mounts whose words have this scheme, or of all mounts, in order.
    pub(super) fn aisles(
        &self,
        scheme: Option<&str>,
        sight: Sight,
    ) -> Result<Vec<Aisle<'_>>, KeepError> {
        let mut found = Vec::new();
        let words = self.words.iter().filter(|one| scheme.is_none_or(|name| name == one.scheme()));
        for words in words {
            for audience in self.audiences(words.space(), sight)? {
                found.push(Aisle { words: &**words, audience });
            }
        }
        Ok(found)
    }

    /// Whom something of a space is kept for.
    fn audiences(&self, space: &str, sight: Sight) -> Result<Vec<Audience>, Unreadable> {
        if sight == Sight::Public {
            return Ok(vec![Audience::Public]);
        }
        let start = CacheKey::start_of_space(space);
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let keys = self.kept().keys(&start, after.as_ref(), 1)?;
            let Some(key) = keys.first() else { return Ok(found) };
            found.extend(key.audience());
            after = Some(key.behind_audience());
        }
    }

    /// Visits the groups of an aisle that come after `after`, in order.
    pub(super) fn each_group(
        &self,
        aisle: &Aisle<'_>,
        after: Option<&str>,
        mut visit: impl FnMut(&str) -> Result<ControlFlow<()>, KeepError>,
    ) -> Result<ControlFlow<()>, KeepError> {
        let kept = self.kept();
        let mut after = after.map(str::to_owned);
        loop {
            let groups = aisle.words.groups(&aisle.shelf(&kept), after.as_deref(), RUN)?;
            let Some(last) = groups.last() else { return Ok(ControlFlow::Continue(())) };
            after = Some(last.clone());
            for group in &groups {
                if visit(group)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }

    /// Everything of which something is kept that a text names: `hf:org/model@main`.
    pub(super) fn named(&self, text: &str, sight: Sight) -> Result<Named<'_>, KeepError> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| self.no_name(text))?;
        let mut wrong: Option<Misnamed> = None;
        let (mut is_known, mut is_read) = (false, false);
        let mut named = Named { groups: Vec::new(), things: Vec::new(), version: None };
        for words in self.words.iter().filter(|words| words.scheme() == scheme) {
            is_known = true;
            let wanted = match words.read(rest) {
                Ok(Some(wanted)) => wanted,
                Ok(None) => continue,
                Err(misnamed) => {
                    wrong = Some(misnamed);
                    continue;
                }
            };
            is_read = true;
            named.version = wanted.version;
            if sight == Sight::Public && !words.is_told(&wanted.group) {
                continue;
            }
            for audience in self.audiences(words.space(), sight)? {
                let aisle = Aisle { words: &**words, audience };
                let kept = self.kept();
                let things = aisle.words.things(&aisle.shelf(&kept), &wanted.group)?;
                let version = named.version.as_deref();
                let fits = |thing: &Thing| version.is_none_or(|version| thing.is_called(version));
                let things = things.into_iter().filter(fits);
                let located = things.map(|thing| Located { aisle: aisle.clone(), thing });
                named.things.extend(located);
                named.groups.push((aisle, wanted.group.clone()));
            }
        }
        match (is_read, wrong) {
            (false, Some(misnamed)) => Err(misnamed.into()),
            (false, None) if !is_known => Err(self.no_name(text)),
            _ => Ok(named),
        }
    }

    /// Visits every thing of an aisle's space, whomever it is kept for.
    pub(super) fn each_of_space(
        &self,
        space: &str,
        mut visit: impl FnMut(&Aisle<'_>, Thing) -> Result<ControlFlow<()>, KeepError>,
    ) -> Result<(), KeepError> {
        let kept = self.kept();
        let aisles = self.aisles(None, Sight::Everything)?;
        for aisle in aisles.iter().filter(|aisle| aisle.words.space() == space) {
            let walked = self.each_group(aisle, None, |group| {
                for thing in aisle.words.things(&aisle.shelf(&kept), group)? {
                    if visit(aisle, thing)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            });
            if walked?.is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn no_name(&self, text: &str) -> KeepError {
        let mut schemes: Vec<&str> = self.words.iter().map(|words| words.scheme()).collect();
        schemes.sort_unstable();
        schemes.dedup();
        let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}:NAME")).collect();
        let known = match schemes.is_empty() {
            true => "no mount of this server has names".to_owned(),
            false => format!("write {}", schemes.join(", ")),
        };
        KeepError::Misnamed(format!("{text:?} names nothing here: {known}"))
    }
}
