//! A generic mount's words for what is kept: `NAME/path?query`, the address below the mount. Each address is a group with one thing, whose parts are the
//! representations that were selected of it.

use crate::ecosystem::naming::{
    Misnamed, Name, Naming, Onward, Part, Role, Shelf, Thing, Unreadable, Wanted, Way,
};
use crate::types::CacheKey;

/// What stands before the colon of a name.
pub const SCHEME: &str = "generic";

/// A generic mount's words.
#[derive(Debug)]
pub struct Words {
    /// `generic/NAME`.
    space: String,
}

impl Words {
    pub fn of(space: &str) -> Self {
        Self { space: space.to_owned() }
    }

    fn mount(&self) -> &str {
        self.space.strip_prefix("generic/").unwrap_or(&self.space)
    }

    fn name(&self, target: &str) -> Name {
        Name::of_group(SCHEME, format!("{}{target}", self.mount()))
    }
}

impl Naming for Words {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn space(&self) -> &str {
        &self.space
    }

    fn name_of(&self, key: &CacheKey) -> Option<Name> {
        Some(self.name(key.name()))
    }

    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed> {
        let Some((mount, path)) = text.split_once('/') else {
            let hint = format!("{text:?} names no address: write NAME/path, as below /generic/");
            return Err(Misnamed(hint));
        };
        let wanted = Wanted { group: format!("/{path}"), version: None };
        Ok((mount == self.mount()).then_some(wanted))
    }

    /// Some clients put tokens into queries.
    fn is_told(&self, group: &str) -> bool {
        !group.contains('?')
    }

    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable> {
        let mut found: Vec<String> = Vec::new();
        shelf.each("", after, |key| {
            let name = key.name();
            // Representations of one address follow each other.
            if after == Some(name) || found.last().is_some_and(|last| last == name) {
                return Ok(Onward::Next);
            }
            if found.len() == limit {
                return Ok(Onward::Stop);
            }
            found.push(name.to_owned());
            Ok(Onward::Next)
        })?;
        Ok(found)
    }

    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
        let thing = Thing {
            group: group.to_owned(),
            name: self.name(group),
            kind: "response",
            versions: Vec::new(),
            identity: String::new(),
        };
        let mut is_kept = false;
        self.parts(shelf, &thing, &mut |_| is_kept = true)?;
        Ok(is_kept.then_some(thing).into_iter().collect())
    }

    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable> {
        shelf.each(&thing.group, None, |key| {
            if key.name() != thing.group {
                return Ok(Onward::Stop);
            }
            let said = key.selector().unwrap_or("response");
            visit(Part::own(key.clone(), Role::Content, said));
            Ok(Onward::Next)
        })
    }

    fn about(&self, _: &Shelf<'_>, _: &str, _: &mut dyn FnMut(CacheKey)) -> Result<(), Unreadable> {
        Ok(())
    }

    /// The fields that selected a representation are not told by its key.
    fn way_to(&self, _: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
        let way = || Way::to(format!("{}{}", self.space, key.name()));
        Ok(key.selector().is_none().then(way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::naming::tests::{Held, names_of, parts_of};

    #[test]
    fn addresses_are_things_and_representations_their_parts() {
        let mut held = Held::default();
        for name in ["/a", "/a!", "/a/b?x=1"] {
            held.put("generic/files", name, "");
        }
        let gzip = held.put("generic/files", "/a", "").variant("gzip");
        held.0.insert(gzip, "".into());
        let (words, shelf) = (Words::of("generic/files"), held.shelf("generic/files"));
        assert_eq!(words.groups(&shelf, None, 2), Ok(vec!["/a".to_owned(), "/a!".to_owned()]));
        let rest = words.groups(&shelf, Some("/a"), 9).expect("they can be read");
        assert_eq!(rest, ["/a!", "/a/b?x=1"]);
        let things = words.things(&shelf, "/a").expect("they can be read");
        assert_eq!(names_of(&things), ["generic:files/a"]);
        assert_eq!(parts_of(&words, &shelf, &things[0]).len(), 2);
        assert_eq!(words.things(&shelf, "/none"), Ok(Vec::new()));
        let wanted = Wanted { group: "/a/b?x=1".to_owned(), version: None };
        assert_eq!(words.read("files/a/b?x=1"), Ok(Some(wanted)));
        assert_eq!(words.read("others/a"), Ok(None));
        assert!(words.read("files").is_err());
        let ways: Vec<_> = held.0.keys().map(|key| words.way_to(&shelf, key)).collect();
        assert_eq!(ways[0], Ok(Some(Way::to("generic/files/a".to_owned()))));
        assert_eq!(ways[1], Ok(None), "another representation");
        assert!(words.is_told("/a") && !words.is_told("/a?token=x"));
    }
}
