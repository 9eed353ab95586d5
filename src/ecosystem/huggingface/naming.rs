//! The hub's words for what is kept: `org/model@main`, `datasets/org/name@refs/pr/1`, as `huggingface_hub` writes them behind `hf://`.
//!
//! A group is a repository (`models/org/name`), a thing one commit of it by the best name that leads there, its parts the files that its tree names. Models
//! of Ollama's library are groups, too (`ollama/library/name`), their tags the things.
//!
//! The names of keys, as the rest of this folder writes them:
//!
//! ```text
//! repo/REPOSITORY               what the hub says of it, and its main branch      info
//! rev/REPOSITORY/REVISION       a branch or tag                                    info
//! commit/REPOSITORY/COMMIT      a commit                                           info
//! tree/REPOSITORY/COMMIT        its files                                          tree
//! file/REPOSITORY/COMMIT/PATH   the head of one                                    head
//! bytes/REPOSITORY/COMMIT/PATH  the bytes of one that has no digest                file
//! blob/DIGEST                   the bytes of all others, shared by everybody       file
//! licence/REPOSITORY/COMMIT/... the licence that the text in one is                licence_text
//! signature/REPOSITORY/COMMIT   who vouches for its files                          signed
//! signature/REPOSITORY/COMMIT/PATH the SHA-256 of a signed one within git           signed
//! scan/REPOSITORY/COMMIT        what the hub's scanners say of its files           info
//! auth/REPOSITORY, lfs/REPOSITORY/..., raw/api/...                                 info, lfs, raw
//! v2/NAME/manifests/TAG/AGENT, ollama/NAME/...                                     ollama
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::ecosystem::huggingface::account;
use crate::ecosystem::huggingface::config::ID;
use crate::ecosystem::huggingface::file::{Content, FileFacts, blob_key};
use crate::ecosystem::huggingface::head::{self, Seen, What};
use crate::ecosystem::huggingface::info::{Info, from_row};
use crate::ecosystem::huggingface::manifest::Manifest;
use crate::ecosystem::huggingface::repository::{
    Commit, FilePath, MAIN, Repository, RepositoryType, Revision, is_hex,
};
use crate::ecosystem::huggingface::tree::Tree;
use crate::ecosystem::huggingface::way;
use crate::ecosystem::naming::{
    Account, Misnamed, Name, Naming, Onward, Part, Role, Shelf, Thing, Unreadable, Wanted, Way,
    page_of,
};
use crate::types::CacheKey;

/// What stands before the colon of a name.
pub const SCHEME: &str = "hf";

/// The first segment of the groups of Ollama's library.
const LIBRARY: &str = "ollama";

/// The hub's words.
#[derive(Debug)]
pub struct Words;

impl Naming for Words {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn space(&self) -> &str {
        ID
    }

    fn name_of(&self, key: &CacheKey) -> Option<Name> {
        let (kind, rest) = key.name().split_once('/')?;
        match kind {
            "repo" | "auth" => rest.parse().ok().map(|repository| of(&repository)),
            "rev" => {
                let (repository, revision) = split_revision(rest)?;
                Some(at(&repository, revision))
            }
            "lfs" => rest.rsplit_once('/')?.0.parse().ok().map(|repository| of(&repository)),
            "commit" | "tree" | "file" | "bytes" => {
                let (repository, commit, path) = split_commit(rest)?;
                Some(at(&repository, commit.as_str()).part(path))
            }
            "blob" => Some(Name::of_group(SCHEME, rest)),
            "v2" | LIBRARY => {
                let (name, tag) = shelved(rest)?;
                let group =
                    if kind == LIBRARY { format!("{LIBRARY}/{name}") } else { name.to_owned() };
                Some(Name::of_group(SCHEME, group).version("@", tag))
            }
            _ => None,
        }
    }

    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        let wrong = || {
            Misnamed(format!(
                "{text:?} names nothing on a hub: write org/name, org/name@REVISION, datasets/org/name or ollama/library/name@TAG"
            ))
        };
        let is_library = id.strip_prefix("ollama/").is_some_and(|name| name.contains('/'));
        let group = match is_library {
            true => id.to_owned(),
            false => repository_of(id).ok_or_else(wrong)?.to_string(),
        };
        if version.is_some_and(|version| Revision::parse(version).is_none()) {
            return Err(wrong());
        }
        Ok(Some(Wanted { group, version: version.map(str::to_owned) }))
    }

    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable> {
        let mut found = BTreeSet::new();
        shelf.each("repo/", None, |key| {
            found.insert(key.name()["repo/".len()..].to_owned());
            Ok(Onward::Next)
        })?;
        for kind in ["tree/", "commit/", "file/"] {
            shelf.each(kind, None, |key| {
                let Some((repository, ..)) = split_commit(&key.name()[kind.len()..]) else {
                    return Ok(Onward::Next);
                };
                found.insert(repository.to_string());
                Ok(Onward::Behind(format!("{kind}{repository}/")))
            })?;
        }
        shelf.each("ollama/", None, |key| {
            let Some((name, _)) = shelved(&key.name()["ollama/".len()..]) else {
                return Ok(Onward::Next);
            };
            found.insert(format!("{LIBRARY}/{name}"));
            Ok(Onward::Behind(format!("{LIBRARY}/{name}/")))
        })?;
        Ok(page_of(found, after, limit))
    }

    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
        match group.parse::<Repository>() {
            Ok(repository) => commits(shelf, &repository),
            Err(()) => library_tags(shelf, group),
        }
    }

    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable> {
        let Ok(repository) = thing.group.parse::<Repository>() else {
            return thing.versions.iter().try_for_each(|tag| {
                manifests(shelf, &format!("{}/manifests/{tag}/", thing.group), None, visit)
            });
        };
        let commit = &thing.identity;
        let mut note = |name: String, role: Role, said: &str| -> Result<(), Unreadable> {
            if shelf.holds(&name)? {
                visit(Part::own(shelf.key(&name), role, said));
            }
            Ok(())
        };
        for version in thing.versions.iter().filter(|version| *version != commit) {
            note(format!("rev/{repository}/{version}"), Role::Reference, version)?;
        }
        note(format!("commit/{repository}/{commit}"), Role::Note, commit)?;
        note(format!("tree/{repository}/{commit}"), Role::Manifest, "files")?;
        files(shelf, &repository, commit, visit)?;
        match repository.kind {
            RepositoryType::Models => {
                let under = format!("v2/{}/manifests/", repository.id());
                manifests(shelf, &under, Some(commit), visit)
            }
            _ => Ok(()),
        }
    }

    fn account(&self, shelf: &Shelf<'_>, thing: &Thing) -> Result<Account, Unreadable> {
        match thing.group.parse::<Repository>() {
            Ok(repository) => account::account(shelf, &repository, thing),
            Err(()) => Ok(Account::default()),
        }
    }

    fn about(
        &self,
        shelf: &Shelf<'_>,
        group: &str,
        visit: &mut dyn FnMut(CacheKey),
    ) -> Result<(), Unreadable> {
        let Ok(repository) = group.parse::<Repository>() else {
            return each_key(shelf, &format!("{group}/"), visit);
        };
        for name in ["repo", "auth"].map(|kind| format!("{kind}/{repository}")) {
            if shelf.holds(&name)? {
                visit(shelf.key(&name));
            }
        }
        let mut below = vec![
            format!("lfs/{repository}/"),
            format!("scan/{repository}/"),
            format!("licence/{repository}/"),
            format!("signature/{repository}/"),
            format!("raw/{}/", repository.api_path()),
            format!("raw/{}?", repository.api_path()),
        ];
        if repository.kind == RepositoryType::Models {
            below.push(format!("v2/{}/", repository.id()));
        }
        below.iter().try_for_each(|prefix| each_key(shelf, prefix, visit))
    }

    fn way_to(&self, shelf: &Shelf<'_>, key: &CacheKey) -> Result<Option<Way>, Unreadable> {
        way::to(shelf, key)
    }
}

/// The name of a repository as a whole.
fn of(repository: &Repository) -> Name {
    Name::of_group(SCHEME, repository.web_path())
}

/// The name of one of its revisions.
fn at(repository: &Repository, revision: &str) -> Name {
    of(repository).version("@", revision)
}

/// Reads `datasets/org/name`, `org/name`, `name`.
fn repository_of(id: &str) -> Option<Repository> {
    use RepositoryType::{Datasets, Kernels, Models, Spaces};
    let typed = [Datasets, Spaces, Kernels].into_iter().find_map(|kind| {
        let id = id.strip_prefix(kind.prefix())?;
        Repository::parse(kind, id)
    });
    typed.or_else(|| Repository::parse(Models, id.strip_prefix("models/").unwrap_or(id)))
}

/// Reads `models/org/name/COMMIT/path`; the path may be missing.
pub(super) fn split_commit(text: &str) -> Option<(Repository, Commit, &str)> {
    let mut end = 0;
    for segment in text.split('/') {
        let start = end;
        end = start + segment.len() + 1;
        if start > 0 && is_hex(segment, 40) {
            let repository = text[..start - 1].parse().ok()?;
            let path = text.get(end..).unwrap_or_default();
            return Some((repository, Commit::parse(segment)?, path));
        }
    }
    None
}

/// Reads `models/org/name/REVISION`. A repository without an owner is told by a revision that has no slash, or begins with `refs/`.
pub(super) fn split_revision(text: &str) -> Option<(Repository, &str)> {
    let mut segments = text.splitn(3, '/');
    let (kind, first, rest) = (segments.next()?, segments.next()?, segments.next()?);
    let kind = RepositoryType::parse(kind)?;
    match rest.split_once('/') {
        Some((second, revision)) if second != "refs" => {
            Some((Repository::parse(kind, &format!("{first}/{second}"))?, revision))
        }
        _ => Some((Repository::parse(kind, first)?, rest)),
    }
}

/// Reads `library/name/manifests/TAG/AGENT`.
fn shelved(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once("/manifests/")?;
    Some((name, rest.split_once('/').map_or(rest, |(tag, _)| tag)))
}

/// The commits of a repository of which something is kept, each with the branches and tags that lead to it.
fn commits(shelf: &Shelf<'_>, repository: &Repository) -> Result<Vec<Thing>, Unreadable> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let main = shelf.read(&format!("repo/{repository}"), Info::read)?;
    let under = format!("rev/{repository}/");
    for key in shelf.keys(&under)? {
        let revision = &key.name()[under.len()..];
        // `rev/models/a/b/c` may be of `a/b` as well as of `a`; the former has a document of its own.
        let stranger = revision.split_once('/').filter(|(first, _)| *first != "refs");
        if let Some((first, _)) = stranger
            && !repository.id().contains('/')
            && shelf.holds(&format!("repo/{repository}/{first}"))?
        {
            continue;
        }
        let info = shelf.read(key.name(), Info::read)?;
        if let Some(commit) = info.and_then(|info| info.commit) {
            found.entry(commit.to_string()).or_default().insert(revision.to_owned());
        }
    }
    for kind in ["tree/", "commit/", "file/"] {
        shelf.each(&format!("{kind}{repository}/"), None, |key| {
            match split_commit(&key.name()[kind.len()..]) {
                Some((of, commit, _)) if of == *repository => {
                    found.entry(commit.to_string()).or_default();
                    Ok(Onward::Behind(format!("{kind}{repository}/{commit}")))
                }
                _ => Ok(Onward::Next),
            }
        })?;
    }
    // That the repository's description names it makes nothing of a commit kept.
    if let Some(commit) = main.and_then(|info| info.commit)
        && let Some(names) = found.get_mut(commit.as_str())
    {
        names.insert(MAIN.to_owned());
    }
    let thing = |(commit, names): (String, BTreeSet<String>)| {
        let mut versions: Vec<String> = names.into_iter().collect();
        versions.sort_by_key(|name| (name != MAIN, name.clone()));
        let best = versions.first().map_or(commit.as_str(), String::as_str);
        Thing {
            group: repository.to_string(),
            name: at(repository, best),
            kind: kind_of(repository.kind),
            versions,
            identity: commit,
        }
    };
    Ok(found.into_iter().map(thing).collect())
}

const fn kind_of(kind: RepositoryType) -> &'static str {
    match kind {
        RepositoryType::Models => "model",
        RepositoryType::Datasets => "dataset",
        RepositoryType::Spaces => "space",
        RepositoryType::Kernels => "kernel",
    }
}

/// The files of a commit: from its tree, or as long as that is not kept, from the heads of those that were asked for.
fn files(
    shelf: &Shelf<'_>,
    repository: &Repository,
    commit: &str,
    visit: &mut dyn FnMut(Part),
) -> Result<(), Unreadable> {
    let tree =
        shelf.read(&format!("tree/{repository}/{commit}"), |body| Tree::read(body.clone()))?;
    let under = format!("file/{repository}/{commit}/");
    shelf.each(&under, None, |key| {
        let path = &key.name()[under.len()..];
        visit(Part::own(key.clone(), Role::Note, path));
        let facts = match tree {
            Some(_) => None,
            None => shelf.read(key.name(), |body| facts_of(body, path))?.flatten(),
        };
        if let Some(facts) = facts {
            file(&facts, visit);
        }
        Ok(Onward::Next)
    })?;
    let under = format!("bytes/{repository}/{commit}/");
    for key in shelf.keys(&under)? {
        let path = key.name()[under.len()..].to_owned();
        visit(Part::own(key, Role::Content, path));
    }
    let Some(tree) = tree else { return Ok(()) };
    for (_, entry) in tree.entries(0..tree.len()) {
        if let Some(facts) = entry.facts() {
            file(&facts, visit);
            if let Content::Large { pointer: Some(pointer), .. } = &facts.content {
                let key = blob_key(&pointer.oid);
                if shelf.contents.holds(&key)? {
                    visit(Part::shared(key, Role::Note, facts.path.as_str()));
                }
            }
        }
    }
    Ok(())
}

fn facts_of(body: &Bytes, path: &str) -> Result<Option<FileFacts>, String> {
    let Seen { what, .. } = from_row(body)?;
    Ok(match (what, FilePath::parse(path)) {
        (What::File(row), Some(path)) => Some(head::Row::facts(&row, path)),
        _ => None,
    })
}

fn file(facts: &FileFacts, visit: &mut dyn FnMut(Part)) {
    if let Some(digest) = facts.content.digest() {
        let part = Part::shared(blob_key(&digest), Role::Content, facts.path.as_str());
        visit(part.of(Some(digest), facts.size));
    }
}

/// What manifests below a name refer to; of a commit alone, where one is given.
fn manifests(
    shelf: &Shelf<'_>,
    under: &str,
    commit: Option<&str>,
    visit: &mut dyn FnMut(Part),
) -> Result<(), Unreadable> {
    for key in shelf.keys(under)? {
        let Some(manifest) = shelf.read(key.name(), Manifest::read)? else { continue };
        if commit.is_some_and(|commit| manifest.commit.as_ref().map(Commit::as_str) != Some(commit))
        {
            continue;
        }
        visit(Part::own(key.clone(), Role::Manifest, "manifest"));
        for (digest, size) in manifest.blobs() {
            let part = Part::shared(blob_key(&digest), Role::Content, digest.to_string());
            visit(part.of(Some(digest), size));
        }
    }
    Ok(())
}

/// The tags of a model of Ollama's library.
fn library_tags(shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
    let under = format!("{group}/manifests/");
    let mut tags = BTreeSet::new();
    for key in shelf.keys(&under)? {
        let rest = &key.name()[under.len()..];
        tags.insert(rest.split_once('/').map_or(rest, |(tag, _)| tag).to_owned());
    }
    let thing = |tag: String| Thing {
        group: group.to_owned(),
        name: Name::of_group(SCHEME, group).version("@", &tag),
        kind: "model",
        versions: vec![tag],
        identity: String::new(),
    };
    Ok(tags.into_iter().map(thing).collect())
}

fn each_key(
    shelf: &Shelf<'_>,
    prefix: &str,
    visit: &mut dyn FnMut(CacheKey),
) -> Result<(), Unreadable> {
    shelf.each(prefix, None, |key| {
        visit(key.clone());
        Ok(Onward::Next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::huggingface::tree::kept_form;
    use crate::ecosystem::naming::tests::{Held, check_name, check_read, names_of, parts_of};
    use crate::types::{Audience, Timestamp};

    fn commit(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn info(commit: &str) -> Bytes {
        let commit = Commit::parse(commit);
        Info { commit, text: Some(String::new()), ..Info::default() }.to_bytes()
    }

    fn tree(large: &str) -> Bytes {
        let list = format!(
            r#"[{{"type":"file","path":"config.json","oid":"{small}","size":2}},
                {{"type":"directory","path":"d","oid":"{small}","size":0}},
                {{"type":"file","path":"d/w.safetensors","oid":"{pointer}","size":9,
                  "lfs":{{"oid":"{large}","size":900,"pointerSize":130}}}}]"#,
            small = commit('c'),
            pointer = commit('d'),
        );
        kept_form([&Bytes::from(list)].into_iter(), Timestamp(1)).expect("a list of files")
    }

    /// Two repositories: one with a commit under two names and one under none, one of which only a file's head is kept.
    fn held() -> Held {
        let (one, two) = (commit('1'), commit('2'));
        let mut held = Held::default();
        held.put(ID, "repo/models/org/m", info(&one));
        held.put(ID, "rev/models/org/m/refs/pr/1", info(&one));
        held.put(ID, "commit/models/org/m/1", info(&one));
        held.put(ID, &format!("tree/models/org/m/{one}"), tree(&"e".repeat(64)));
        held.put(ID, &format!("tree/models/org/m/{two}"), tree(&"f".repeat(64)));
        held.put(ID, &format!("blob/sha256:{}", "e".repeat(64)), "weights");
        held.put(ID, "raw/api/models/org/m/refs", "{}");
        held.put(ID, "raw/api/models/org/model/refs", "{}");
        let row = (Timestamp(1), 0_u32, "\"x\"", Some(5_u64), None::<String>);
        let seen = postcard::to_extend(&row, vec![1]).expect("plain values");
        held.put(ID, &format!("file/datasets/gpt2/{two}/a b.txt"), seen);
        held
    }

    #[test]
    fn keys_are_named_as_the_hub_writes_things() {
        let check = |name: &str, expected: Option<&str>| check_name(&Words, ID, name, expected);
        let one = commit('1');
        check("repo/models/org/m", Some("hf:org/m"));
        check("repo/datasets/squad", Some("hf:datasets/squad"));
        check("rev/models/org/m/main", Some("hf:org/m@main"));
        check("rev/models/gpt2/refs/pr/1", Some("hf:gpt2@refs/pr/1"));
        check("rev/models/org/m/refs/pr/1", Some("hf:org/m@refs/pr/1"));
        check(&format!("tree/models/gpt2/{one}"), Some(&format!("hf:gpt2@{one}")));
        let file = format!("file/models/org/m/{one}/d/e.txt");
        check(&file, Some(&format!("hf:org/m@{one}/d/e.txt")));
        check("ollama/library/llama/manifests/1b/curl", Some("hf:ollama/library/llama@1b"));
        check("blob/sha256:ab", Some("hf:sha256:ab"));
        check("tree/models/org/m/short", None);
        check("odd", None);
    }

    #[test]
    fn names_are_read_and_nonsense_is_told() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            check_read(&Words, text, expected);
        };
        check("org/m", Some(("models/org/m", None)));
        check("models/org/m@v1", Some(("models/org/m", Some("v1"))));
        check("gpt2@refs/pr/1", Some(("models/gpt2", Some("refs/pr/1"))));
        check("datasets/squad", Some(("datasets/squad", None)));
        check("datasets/org/d@main", Some(("datasets/org/d", Some("main"))));
        check("ollama/library/llama@1b", Some(("ollama/library/llama", Some("1b"))));
        for text in ["", "@main", "a/b/c", "org/m@", "org/m@..", "../x"] {
            check(text, None);
        }
    }

    #[test]
    fn commits_are_things_under_the_names_that_lead_there() {
        let mut held = held();
        let notes = [
            "scan/models/org/m/1",
            "licence/models/org/m/1/LICENSE",
            "signature/models/org/m/1",
            "signature/models/org/m/1/a.txt",
        ];
        for name in notes {
            held.put(ID, name, "{}");
        }
        held.put(ID, "scan/models/org/model/1", "{}");
        let shelf = held.shelf(ID);
        let groups = Words.groups(&shelf, None, 9).expect("they can be read");
        assert_eq!(groups, ["datasets/gpt2", "models/org/m"]);
        let things = Words.things(&shelf, "models/org/m").expect("they can be read");
        assert_eq!(
            names_of(&things),
            ["hf:org/m@main".to_owned(), format!("hf:org/m@{}", commit('2'))]
        );
        assert_eq!(things[0].versions, ["main", "refs/pr/1"]);
        assert!(things[0].is_called("refs/pr/1") && things[1].is_called("2222222"));

        let parts = parts_of(&Words, &shelf, &things[0]);
        let shown: Vec<_> = parts
            .iter()
            .map(|part| (part.role, part.name.as_str(), part.size, part.is_shared))
            .collect();
        let expected = [
            (Role::Reference, "refs/pr/1", None, false),
            (Role::Manifest, "files", None, false),
            (Role::Content, "config.json", Some(2), true),
            (Role::Content, "d/w.safetensors", Some(900), true),
        ];
        assert_eq!(shown, expected);
        let kept = parts.iter().filter(|part| held.0.contains_key(&part.key)).count();
        assert_eq!(kept, 3, "the branch, the tree, the weights");

        let way = |name: String| {
            let key = CacheKey::new(ID, &Audience::Public, &name);
            Words.way_to(&shelf, &key).expect("it can be read").map(|way| way.address)
        };
        let (one, weights) = (commit('1'), "e".repeat(64));
        let file = format!("org/m/resolve/{one}/d/w.safetensors");
        assert_eq!(way(format!("blob/sha256:{weights}")), Some(file));
        assert_eq!(way(format!("blob/sha256:{}", "0".repeat(64))), None);
        let tree = format!("api/models/org/m/tree/{one}?recursive=true");
        assert_eq!(way(format!("tree/models/org/m/{one}")), Some(tree));
        let branch = "api/models/org/m/revision/refs%2Fpr%2F1".to_owned();
        assert_eq!(way("rev/models/org/m/refs/pr/1".to_owned()), Some(branch));
        assert_eq!(way("raw/api/models?x=1".to_owned()), Some("api/models?x=1".to_owned()));

        let mut about = Vec::new();
        let whole =
            Words.about(&shelf, "models/org/m", &mut |key| about.push(key.name().to_owned()));
        assert_eq!(whole, Ok(()));
        let [scan, licence, signature, digest] = notes;
        let others = [scan, licence, signature, digest, "raw/api/models/org/m/refs"];
        assert_eq!(about, [&["repo/models/org/m"], others.as_slice()].concat());
    }

    #[test]
    fn without_a_tree_the_heads_tell_the_files() {
        let held = held();
        let shelf = held.shelf(ID);
        let things = Words.things(&shelf, "datasets/gpt2").expect("they can be read");
        assert_eq!((things.len(), things[0].kind), (1, "dataset"));
        let mut notes = 0;
        let walked = Words.parts(&shelf, &things[0], &mut |part| {
            notes += u32::from(part.role == Role::Note && part.name == "a b.txt");
        });
        assert_eq!((walked, notes), (Ok(()), 1));
    }
}
