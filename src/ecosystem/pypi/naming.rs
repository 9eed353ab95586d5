//! An index's words for what is kept: `six==1.17.0`, and `NAME/six==1.17.0` for an index that is not the default one.
//!
//! A group is a project, a thing one release of it, its parts the files that the project's page lists for it. The names of keys, as the rest of this folder
//! writes them:
//!
//! ```text
//! page/PROJECT                    everything that upstream ever listed       reach
//! file/HOST/PATH                  a file; its metadata lies beside it        listing
//! provenance/HOST/PATH            its provenance                             file
//! legacy/PROJECT/VERSION          the older JSON                             legacy
//! root, root-names                the list of projects                       root
//! ```

use std::collections::BTreeSet;

use crate::ecosystem::naming::{
    Account, Misnamed, Name, Naming, Onward, Part, Role, Shelf, Thing, Unreadable, Wanted, Way,
};
use crate::ecosystem::pypi::account;
use crate::ecosystem::pypi::config::Settings;
use crate::ecosystem::pypi::page::{File, Page, Provenance};
use crate::ecosystem::pypi::{links, listing, name};
use crate::types::{Algorithm, CacheKey};

/// What stands before the colon of a name.
pub const SCHEME: &str = "pypi";

/// The index that names need not say.
const DEFAULT: &str = "default";

/// The version of files whose name does not tell theirs.
const UNVERSIONED: &str = "unversioned";

/// An index's words.
#[derive(Debug)]
pub struct Words {
    space: String,
    index: String,
}

impl Words {
    pub fn of(settings: &Settings) -> Self {
        Self { space: settings.id.clone(), index: settings.name.to_string() }
    }

    /// The name of a project.
    pub fn name(&self, project: &str) -> Name {
        let group = match self.index == DEFAULT {
            true => project.to_owned(),
            false => format!("{}/{project}", self.index),
        };
        Name::of_group(SCHEME, group)
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
        let (kind, rest) = key.name().split_once('/')?;
        match kind {
            "page" => Some(self.name(rest)),
            "legacy" => match rest.split_once('/')? {
                (project, "") => Some(self.name(project)),
                (project, version) => Some(self.name(project).version("==", version)),
            },
            "file" | "provenance" => {
                let path = rest.split('?').next().unwrap_or(rest);
                let filename = links::decoded(links::last_segment(path));
                let split = name::splits(&filename).into_iter().next()?;
                Some(self.name(&split.project).version("==", split.version).part(&*filename))
            }
            _ => None,
        }
    }

    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed> {
        let (index, requirement) = match text.split_once('/') {
            Some((index, requirement)) => (Some(index), requirement),
            None => (None, text),
        };
        let (project, version) = match requirement.split_once("==") {
            Some((project, version)) => (project, Some(version.trim_start_matches('=').trim())),
            None => (requirement, None),
        };
        // Extras say what else is wanted with it, not what it is.
        let project = project.split('[').next().unwrap_or(project).trim();
        if !name::is_valid(project) || version == Some("") {
            return Err(Misnamed(format!(
                "{text:?} names no project: write NAME, NAME==VERSION or INDEX/NAME==VERSION"
            )));
        }
        if index.is_some_and(|index| index != self.index) {
            return Ok(None);
        }
        let group = name::normalised(project).into_owned();
        Ok(Some(Wanted { group, version: version.map(str::to_owned) }))
    }

    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable> {
        let mut found = Vec::new();
        let after = after.map(|project| format!("page/{project}"));
        shelf.each("page/", after.as_deref(), |key| {
            if found.len() == limit {
                return Ok(Onward::Stop);
            }
            found.push(key.name()["page/".len()..].to_owned());
            Ok(Onward::Next)
        })?;
        Ok(found)
    }

    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
        let Some(page) = page(shelf, group)? else { return Ok(Vec::new()) };
        let mut versions = BTreeSet::new();
        for file in &page.files {
            let version = version_of(group, file);
            if !versions.contains(version) && is_kept(shelf, file)? {
                versions.insert(version.to_owned());
            }
        }
        let thing = |version: String| Thing {
            group: group.to_owned(),
            name: self.name(group).version("==", &version),
            kind: "release",
            versions: vec![version],
            identity: String::new(),
        };
        Ok(versions.into_iter().map(thing).collect())
    }

    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable> {
        let Some(page) = page(shelf, &thing.group)? else { return Ok(()) };
        for file in files_of(&page, thing) {
            let key = listing::file_key(shelf.space, shelf.audience, file);
            let sidecar = listing::sidecar_key(&key);
            let digests = file.hashes.digests().unwrap_or_default();
            let sha256 = digests.into_iter().find(|one| one.algorithm() == Algorithm::Sha256);
            visit(Part::own(key, Role::Content, &*file.filename).of(sha256, file.size));
            if shelf.contents.holds(&sidecar)? {
                visit(Part::own(sidecar, Role::Note, format!("{}.metadata", file.filename)));
            }
            if let Provenance::At(url) = &file.attributes().provenance {
                let name = format!("provenance/{}", links::key_of(url));
                if shelf.holds(&name)? {
                    let said = format!("{}.provenance", file.filename);
                    visit(Part::own(shelf.key(&name), Role::Note, said));
                }
            }
        }
        Ok(())
    }

    fn account(&self, shelf: &Shelf<'_>, thing: &Thing) -> Result<Account, Unreadable> {
        let Some(page) = page(shelf, &thing.group)? else { return Ok(Account::default()) };
        account::account(shelf, thing, &page, &files_of(&page, thing))
    }

    fn about(
        &self,
        shelf: &Shelf<'_>,
        group: &str,
        visit: &mut dyn FnMut(CacheKey),
    ) -> Result<(), Unreadable> {
        let page = format!("page/{group}");
        if shelf.holds(&page)? {
            visit(shelf.key(&page));
        }
        shelf.keys(&format!("legacy/{group}/"))?.into_iter().for_each(visit);
        Ok(())
    }

    /// A file whose name does not tell its project is one that its key does not lead to.
    fn way_to(&self, _: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
        let root = format!("pypi/{}", self.index);
        let Some((kind, rest)) = key.name().split_once('/') else { return Ok(None) };
        let address = match kind {
            "page" => Some(format!("{root}/simple/{rest}/")),
            "legacy" => match rest.split_once('/') {
                Some((project, "")) => Some(format!("{root}/pypi/{project}/json")),
                Some(_) => Some(format!("{root}/pypi/{rest}/json")),
                None => None,
            },
            "file" => links::path_of_key(rest, key.selector() == Some(listing::METADATA))
                .map(|path| format!("{root}/{}{path}", links::FILES)),
            _ => None,
        };
        Ok(address.map(Way::to))
    }
}

fn page(shelf: &Shelf<'_>, project: &str) -> Result<Option<Page>, Unreadable> {
    shelf.read(&format!("page/{project}"), |body| Page::decode(body))
}

/// The files of a release.
fn files_of<'a>(page: &'a Page, thing: &Thing) -> Vec<&'a File> {
    let is_of = |file: &&File| {
        thing.versions.iter().any(|version| version == version_of(&thing.group, file))
    };
    page.files.iter().filter(is_of).collect()
}

fn version_of<'a>(project: &str, file: &'a File) -> &'a str {
    name::version_of(project, &file.filename).unwrap_or(UNVERSIONED)
}

/// Whether a file or its metadata is kept.
fn is_kept(shelf: &Shelf<'_>, file: &File) -> Result<bool, Unreadable> {
    let key = listing::file_key(shelf.space, shelf.audience, file);
    Ok(shelf.contents.holds(&key)? || shelf.contents.holds(&listing::sidecar_key(&key))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::naming::tests::{Held, check_name, check_read, names_of, parts_of};
    use crate::ecosystem::pypi::page::{Attributes, Spell};
    use crate::types::{Audience, Timestamp};

    fn words(index: &str) -> Words {
        Words { space: format!("pypi/{index}"), index: index.to_owned() }
    }

    fn page(name: &str, files: &[&str]) -> Page {
        let file = |filename: &&str| File {
            filename: (*filename).into(),
            url: format!("https://files.example/p/{filename}").into(),
            former_urls: Vec::new(),
            hashes: crate::ecosystem::pypi::page::Hashes::default(),
            size: Some(10),
            upload_time: None,
            source: 0,
            is_twin: false,
            first_seen: Timestamp(1),
            spells: vec![Spell { from: Timestamp(1), end: None, value: Attributes::default() }],
        };
        Page {
            name: name.into(),
            sources: vec!["https://index.example/simple/".into()],
            source: 0,
            serial: None,
            api_minor: 0,
            versions: Vec::new(),
            status: Vec::new(),
            extra: Vec::new(),
            first_seen: Timestamp(1),
            gone_since: None,
            notice: None,
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn keys_are_named_as_requirements() {
        let check = |name: &str, expected: Option<&str>| {
            check_name(&words("default"), "pypi/default", name, expected);
        };
        check("page/six", Some("pypi:six"));
        check("legacy/six/1.17.0", Some("pypi:six==1.17.0"));
        check("legacy/six/", Some("pypi:six"));
        let wheel = "torch-2.3.0+cu118-cp311-cp311-linux_x86_64.whl";
        check(
            "file/f.example/whl/torch-2.3.0%2Bcu118-cp311-cp311-linux_x86_64.whl?x=1",
            Some(&format!("pypi:torch==2.3.0+cu118/{wheel}")),
        );
        check("root", None);
        check("file/f.example/odd", None);
        check_name(&words("torch"), "pypi/torch", "page/torch", Some("pypi:torch/torch"));
    }

    #[test]
    fn keys_lead_back_to_addresses() {
        let held = Held::default();
        let shelf = held.shelf("pypi/default");
        let key = |name: &str| CacheKey::new("pypi/default", &Audience::Public, name);
        let check = |key: CacheKey, expected: Option<&str>| {
            let way = words("default").way_to(&shelf, &key).expect("it can be read");
            assert_eq!(way.map(|way| way.address).as_deref(), expected, "{key}");
        };
        check(key("page/six"), Some("pypi/default/simple/six/"));
        check(key("legacy/six/"), Some("pypi/default/pypi/six/json"));
        check(key("legacy/six/1.0"), Some("pypi/default/pypi/six/1.0/json"));
        let file = key("file/~http~f.example:8080/p/six-1.0.zip?x=1");
        let address = "pypi/default/files/~http~f.example~8080/p/six-1.0.zip";
        check(file.clone(), Some(&format!("{address}?x=1")));
        check(listing::sidecar_key(&file), Some(&format!("{address}.metadata?x=1")));
        check(key("file/f.example/odd"), None);
        check(key("root"), None);
    }

    #[test]
    fn requirements_are_read() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            check_read(&words("default"), text, expected);
        };
        check("Six", Some(("six", None)));
        check("six==1.17.0", Some(("six", Some("1.17.0"))));
        check("requests[socks] == 2.0", Some(("requests", Some("2.0"))));
        check("default/zope.interface", Some(("zope-interface", None)));
        check("torch/torch==1", None);
        for text in ["", "six==", "-six", "six>=1"] {
            assert!(words("default").read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn releases_are_things_with_the_files_that_the_page_lists() {
        let files = ["six-1.0.tar.gz", "six-1.0-py3-none-any.whl", "six-2.0.tar.gz", "six-3.0.zip"];
        let mut held = Held::default();
        held.put("pypi/default", "page/six", page("six", &files).encode());
        held.put("pypi/default", "page/odd", "no page");
        let wheel = held.put("pypi/default", &format!("file/files.example/p/{}", files[1]), "zip");
        held.0.insert(listing::sidecar_key(&wheel), "metadata".into());
        held.put("pypi/default", &format!("file/files.example/p/{}", files[2]), "tar");
        held.put("pypi/default", "legacy/six/1.0", "{}");
        let (words, shelf) = (words("default"), held.shelf("pypi/default"));

        assert_eq!(words.groups(&shelf, None, 1), Ok(vec!["odd".to_owned()]));
        assert_eq!(words.groups(&shelf, Some("odd"), 9), Ok(vec!["six".to_owned()]));
        assert_eq!(words.things(&shelf, "odd"), Ok(Vec::new()));
        let things = words.things(&shelf, "six").expect("they can be read");
        assert_eq!(names_of(&things), ["pypi:six==1.0", "pypi:six==2.0"]);
        let parts = parts_of(&words, &shelf, &things[0]);
        let shown: Vec<_> = parts.iter().map(|part| (part.role, part.name.as_str())).collect();
        let metadata = format!("{}.metadata", files[1]);
        let expected =
            [(Role::Content, files[0]), (Role::Content, files[1]), (Role::Note, metadata.as_str())];
        assert_eq!(shown, expected);
        let mut about = Vec::new();
        let whole = words.about(&shelf, "six", &mut |key| about.push(key.name().to_owned()));
        assert_eq!((whole, about.len()), (Ok(()), 2));
    }
}
