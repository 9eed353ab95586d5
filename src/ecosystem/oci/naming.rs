//! The words of registries for what is kept: `registry.example/team/app:1.0`, `registry.example/team/app@sha256:...`.
//!
//! A group is a repository with its registry, a thing one manifest of it with the tags that lead there, its parts the manifests and blobs below. The names of
//! keys, as the rest of this folder writes them:
//!
//! ```text
//! tag/REGISTRY/REPOSITORY:TAG            what a tag stands for              tag
//! tag-by-bytes/REGISTRY/REPOSITORY:TAG   the same, by its own bytes         tag
//! manifest/REGISTRY/REPOSITORY@DIGEST    a manifest                         manifest
//! link/REGISTRY/REPOSITORY@DIGEST        that the repository has a blob     blob
//! referrers/REGISTRY/REPOSITORY@DIGEST   what refers to a manifest          referrers
//! filed/REGISTRY/REPOSITORY@DIGEST       where its signatures are           filed
//! signature/REGISTRY/REPOSITORY@DIGEST   a signature's bytes                payload
//! within/REGISTRY/REPOSITORY@DIGEST      which index names a manifest       within
//! image/REGISTRY/REPOSITORY@DIGEST       what an image's configuration says image
//! tags/..., access/..., catalog/...      of a repository as a whole         tags_list, access, catalog
//! blob/DIGEST, described/DIGEST          shared by everybody                blob, pull
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::ecosystem::naming::{
    Account, Misnamed, Name, Naming, Onward, Part, Role, Shelf, Thing, Unreadable, Wanted, Way,
    page_of,
};
use crate::ecosystem::oci::SPACE;
use crate::ecosystem::oci::account;
use crate::ecosystem::oci::blob;
use crate::ecosystem::oci::config::Settings;
use crate::ecosystem::oci::manifest::Manifest;
use crate::ecosystem::oci::name::{self, Reference};
use crate::ecosystem::oci::place::{self, Hints};
use crate::ecosystem::oci::registry::MANIFEST_TYPES;
use crate::ecosystem::oci::tag::Pointer;
use crate::types::{CacheKey, Digest};

/// What stands before the colon of a name.
pub const SCHEME: &str = "oci";

/// What a tag means that stands for all versions.
const ALL: &str = "*";

/// The tag of an image that is named without one.
const LATEST: &str = "latest";

/// How deep indexes lie within each other.
const MOST_LEVELS: usize = 4;

/// The words of all registries.
pub struct Words {
    settings: Arc<Settings>,
}

impl Words {
    pub fn of(settings: &Arc<Settings>) -> Self {
        Self { settings: Arc::clone(settings) }
    }
}

impl Naming for Words {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn space(&self) -> &str {
        SPACE
    }

    fn name_of(&self, key: &CacheKey) -> Option<Name> {
        let (kind, rest) = key.name().split_once('/')?;
        match kind {
            "tag" | "tag-by-bytes" => {
                let (group, tag) = rest.rsplit_once(':')?;
                Some(Name::of_group(SCHEME, group).version(":", tag))
            }
            "manifest" | "link" | "referrers" | "filed" | "signature" | "within" => {
                let (group, digest) = rest.split_once('@')?;
                Some(Name::of_group(SCHEME, group).version("@", digest))
            }
            "tags" | "access" | "catalog" | "blob" | "described" => {
                Some(Name::of_group(SCHEME, rest))
            }
            _ => None,
        }
    }

    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed> {
        let (image, version) = match text.split_once('@') {
            Some((image, digest)) => (image, digest),
            None => match text.rsplit_once(':') {
                Some((image, tag)) if !tag.contains('/') => (image, tag),
                _ => (text, LATEST),
            },
        };
        let place = place::find(&self.settings, image, Hints::default())
            .map_err(|fault| Misnamed(fault.to_string()))?;
        let is_version = version == ALL || matches!(Reference::parse(version), Ok(Some(_)));
        if !is_version {
            return Err(Misnamed(format!(
                "{version:?} is no tag and no digest: write NAME:TAG, NAME@sha256:..., or NAME:* for all that is kept of NAME"
            )));
        }
        let group = format!("{}/{}", place.registry.name, place.repository);
        let version = (version != ALL).then(|| version.to_owned());
        Ok(Some(Wanted { group, version }))
    }

    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable> {
        let mut found = BTreeSet::new();
        for (kind, mark) in [("manifest/", '@'), ("tag/", ':')] {
            shelf.each(kind, None, |key| {
                let rest = &key.name()[kind.len()..];
                let end = if mark == '@' { rest.find(mark) } else { rest.rfind(mark) };
                let Some(group) = end.map(|end| &rest[..end]) else { return Ok(Onward::Next) };
                found.insert(group.to_owned());
                Ok(Onward::Behind(format!("{kind}{group}{mark}")))
            })?;
        }
        Ok(page_of(found, after, limit))
    }

    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
        let mut tagged: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let under = format!("tag/{group}:");
        for key in shelf.keys(&under)? {
            let tag = &key.name()[under.len()..];
            let by_bytes = shelf.read(&format!("tag-by-bytes/{group}:{tag}"), Pointer::read)?;
            let pointer = match by_bytes {
                Some(pointer) => Some(pointer),
                None => shelf.read(key.name(), Pointer::read)?,
            };
            if let Some(pointer) = pointer {
                tagged.entry(pointer.digest.to_string()).or_default().push(tag.to_owned());
            }
        }
        // What is of an index is no image of its own, unless a tag makes it one.
        let under = format!("manifest/{group}@");
        let mut whole = BTreeSet::new();
        let mut children = BTreeSet::new();
        for key in shelf.keys(&under)? {
            whole.insert(key.name()[under.len()..].to_owned());
            if let Some(manifest) = shelf.read(key.name(), Manifest::read)? {
                let below = manifest.content.children.iter().map(|child| child.digest.to_string());
                children.extend(below);
            }
        }
        for digest in whole.difference(&children) {
            tagged.entry(digest.clone()).or_default();
        }
        let thing = |(identity, mut versions): (String, Vec<String>)| {
            // Signatures and the like are filed under tags that begin with the digest of what they are of.
            versions.sort_by_key(|tag| (tag != LATEST, tag.starts_with("sha256-"), tag.clone()));
            let name = Name::of_group(SCHEME, group);
            let name = match versions.first() {
                Some(tag) => name.version(":", tag),
                None => name.version("@", &identity),
            };
            Thing { group: group.to_owned(), name, kind: "image", versions, identity }
        };
        Ok(tagged.into_iter().map(thing).collect())
    }

    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable> {
        let group = &thing.group;
        for tag in &thing.versions {
            for name in ["tag", "tag-by-bytes"].map(|kind| format!("{kind}/{group}:{tag}")) {
                if shelf.holds(&name)? {
                    visit(Part::own(shelf.key(&name), Role::Reference, tag));
                }
            }
        }
        for note in ["referrers", "filed"] {
            let name = format!("{note}/{group}@{}", thing.identity);
            if shelf.holds(&name)? {
                visit(Part::own(shelf.key(&name), Role::Note, note));
            }
        }
        match name::digest(&thing.identity) {
            Ok(digest) => Walk { shelf, group, visit }.manifest(&digest, None, "manifest", 0),
            Err(_) => Ok(()),
        }
    }

    fn account(&self, shelf: &Shelf<'_>, thing: &Thing) -> Result<Account, Unreadable> {
        account::account(shelf, thing)
    }

    fn about(
        &self,
        shelf: &Shelf<'_>,
        group: &str,
        visit: &mut dyn FnMut(CacheKey),
    ) -> Result<(), Unreadable> {
        for name in ["tags", "access", "catalog"].map(|kind| format!("{kind}/{group}")) {
            if shelf.holds(&name)? {
                visit(shelf.key(&name));
            }
        }
        let lists = ["link", "referrers", "image", "filed", "signature", "within"]
            .map(|kind| format!("{kind}/{group}@"));
        lists.iter().try_for_each(|prefix| {
            shelf.keys(prefix)?.into_iter().for_each(&mut *visit);
            Ok(())
        })
    }

    /// A blob is reached by way of any repository that links it.
    fn way_to(&self, shelf: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
        let Some((kind, rest)) = key.name().split_once('/') else { return Ok(None) };
        let manifest = |(group, reference): (&str, &str)| Way {
            address: format!("v2/{group}/manifests/{reference}"),
            accept: Some(MANIFEST_TYPES),
        };
        Ok(match kind {
            "tag" | "tag-by-bytes" => rest.rsplit_once(':').map(manifest),
            "manifest" => rest.split_once('@').map(manifest),
            "referrers" => rest
                .split_once('@')
                .map(|(group, digest)| Way::to(format!("v2/{group}/referrers/{digest}"))),
            "tags" => Some(Way::to(format!("v2/{rest}/tags/list"))),
            "blob" => {
                linking(shelf, rest)?.map(|group| Way::to(format!("v2/{group}/blobs/{rest}")))
            }
            _ => None,
        })
    }
}

/// A repository that has a blob.
fn linking(shelf: &Shelf<'_>, digest: &str) -> Result<Option<String>, Unreadable> {
    let mut found = None;
    shelf.each("link/", None, |key| {
        let link = key.name()["link/".len()..].split_once('@');
        found = link.filter(|(_, of)| *of == digest).map(|(group, _)| group.to_owned());
        Ok(if found.is_some() { Onward::Stop } else { Onward::Next })
    })?;
    Ok(found)
}

/// A walk down from a manifest.
struct Walk<'a, 'v> {
    shelf: &'a Shelf<'a>,
    group: &'a str,
    visit: &'v mut dyn FnMut(Part),
}

impl Walk<'_, '_> {
    fn manifest(
        &mut self,
        digest: &Digest,
        size: Option<u64>,
        said: &str,
        level: usize,
    ) -> Result<(), Unreadable> {
        let name = format!("manifest/{}@{digest}", self.group);
        let part = Part::shared(self.shelf.key(&name), Role::Manifest, said);
        (self.visit)(part.of(Some(*digest), size));
        let described =
            CacheKey::new(SPACE, &crate::types::Audience::Public, &format!("described/{digest}"));
        if self.shelf.contents.holds(&described)? {
            (self.visit)(Part::shared(described, Role::Note, said));
        }
        let manifest = self.shelf.read(&name, Manifest::read)?;
        let Some(content) = manifest.map(|manifest| manifest.content) else { return Ok(()) };
        for blob in &content.blobs {
            let link = format!("link/{}@{}", self.group, blob.digest);
            if self.shelf.holds(&link)? {
                let key = self.shelf.key(&link);
                (self.visit)(Part::shared(key, Role::Note, blob.digest.to_string()));
            }
            let key = blob::key(&blob.digest);
            let is_wanted = !blob.is_foreign || self.shelf.contents.holds(&key)?;
            if is_wanted {
                let part = Part::shared(key, Role::Content, said);
                (self.visit)(part.of(Some(blob.digest), blob.size));
            }
        }
        if level < MOST_LEVELS {
            for child in &content.children {
                let within = format!("within/{}@{}", self.group, child.digest);
                if self.shelf.holds(&within)? {
                    let key = self.shelf.key(&within);
                    (self.visit)(Part::shared(key, Role::Note, child.digest.to_string()));
                }
                let said = child.platform.as_deref().unwrap_or("manifest");
                self.manifest(&child.digest, child.size, said, level + 1)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::naming::tests::{Held, check_name, check_read, names_of, parts_of};
    use crate::ecosystem::oci::config::Config;
    use crate::types::{Audience, BlobId, Secret};

    const REPOSITORY: &str = "hub.example/library/alpine";

    fn words() -> Words {
        let text = "default = \"hub.example\"\n[registries.\"hub.example\"]\nupstream = \"https://r.hub.example\"\n\
            namespace = \"library\"\n";
        let config: Config = toml::from_str(text).expect("settings");
        let resolved = config.resolve(|_| Ok(Secret::new("s")));
        Words::of(&Arc::new(resolved.expect("good settings").expect("a registry")))
    }

    fn manifest(held: &mut Held, json: &str) -> String {
        let digest = BlobId::of(json.as_bytes()).digest().to_string();
        let mut kept = postcard::to_stdvec("application/json").expect("a text");
        kept.extend_from_slice(json.as_bytes());
        held.put(SPACE, &format!("manifest/{REPOSITORY}@{digest}"), kept);
        digest
    }

    fn tag(held: &mut Held, name: &str, digest: &str) {
        let row = (digest, None::<String>, None::<u64>, Vec::<(String, u64)>::new());
        let kept = postcard::to_stdvec(&row).expect("plain values");
        held.put(SPACE, &format!("tag/{REPOSITORY}:{name}"), kept);
    }

    #[test]
    fn keys_are_named_as_images_are() {
        let check =
            |name: &str, expected: Option<&str>| check_name(&words(), SPACE, name, expected);
        check("tag/host:5000/a/b:1.0", Some("oci:host:5000/a/b:1.0"));
        check("manifest/host:5000/a@sha256:ab", Some("oci:host:5000/a@sha256:ab"));
        check("catalog/h.example/a", Some("oci:h.example/a"));
        check("blob/sha256:ab", Some("oci:sha256:ab"));
        check("odd", None);
    }

    #[test]
    fn names_mean_what_they_mean_to_engines() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            check_read(&words(), text, expected);
        };
        check("alpine", Some((REPOSITORY, Some("latest"))));
        check("alpine:3", Some((REPOSITORY, Some("3"))));
        check("hub.example/library/alpine:*", Some((REPOSITORY, None)));
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("alpine@{digest}"), Some((REPOSITORY, Some(&digest))));
        for text in ["", "Alpine", "alpine:", "alpine:-x", "alpine@sha256:1", "evil.example/a"] {
            check(text, None);
        }
    }

    #[test]
    fn images_are_manifests_with_their_tags_and_all_below() {
        let mut held = Held::default();
        let (layer, other) = ("a".repeat(64), "b".repeat(64));
        let child = manifest(
            &mut held,
            &format!(r#"{{"layers":[{{"digest":"sha256:{layer}","size":7}}]}}"#),
        );
        let json = format!(
            r#"{{"manifests":[{{"digest":"{child}","size":5,"platform":{{"os":"linux","architecture":"arm64"}}}},
                {{"digest":"sha256:{other}","platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
        );
        let index = manifest(&mut held, &json);
        let alone = manifest(&mut held, r#"{"layers":[]}"#);
        tag(&mut held, "3", &index);
        tag(&mut held, "latest", &index);
        held.put(SPACE, &format!("link/{REPOSITORY}@sha256:{layer}"), "x");
        held.put(SPACE, &format!("catalog/{REPOSITORY}"), "");
        held.put(SPACE, &format!("image/{REPOSITORY}@sha256:{layer}"), "{}");
        let (words, shelf) = (words(), held.shelf(SPACE));

        assert_eq!(words.groups(&shelf, None, 9), Ok(vec![REPOSITORY.to_owned()]));
        let mut things = words.things(&shelf, REPOSITORY).expect("they can be read");
        things.sort_by_key(|thing| thing.versions.is_empty());
        assert_eq!(
            names_of(&things),
            [format!("oci:{REPOSITORY}:latest"), format!("oci:{REPOSITORY}@{alone}")]
        );

        let parts = parts_of(&words, &shelf, &things[0]);
        let shown: Vec<_> =
            parts.iter().map(|part| (part.role, part.name.clone(), part.size)).collect();
        let expected = [
            (Role::Reference, "latest".to_owned(), None),
            (Role::Reference, "3".to_owned(), None),
            (Role::Manifest, "manifest".to_owned(), None),
            (Role::Manifest, "linux/arm64".to_owned(), Some(5)),
            (Role::Note, format!("sha256:{layer}"), None),
            (Role::Content, "linux/arm64".to_owned(), Some(7)),
            (Role::Manifest, "linux/amd64".to_owned(), None),
        ];
        assert_eq!(shown, expected);
        let mut about = 0;
        assert_eq!(words.about(&shelf, REPOSITORY, &mut |_| about += 1), Ok(()));
        assert_eq!(about, 3, "the catalogue's row, the link, and what an image says of itself");

        let way = |name: String| {
            let key = CacheKey::new(SPACE, &Audience::Public, &name);
            words.way_to(&shelf, &key).expect("it can be read").map(|way| way.address)
        };
        let blob = format!("v2/{REPOSITORY}/blobs/sha256:{layer}");
        assert_eq!(way(format!("blob/sha256:{layer}")), Some(blob));
        assert_eq!(way(format!("blob/sha256:{other}")), None, "no repository has it");
        let under = format!("v2/{REPOSITORY}/manifests/");
        let by_digest = way(format!("manifest/{REPOSITORY}@{child}"));
        assert_eq!(by_digest, Some(format!("{under}{child}")));
        assert_eq!(way(format!("tag/{REPOSITORY}:3")), Some(format!("{under}3")));
    }
}
