//! Points the addresses of a lock file at Larder, and back.
//!
//! Only the addresses themselves are replaced, within their quotes: formatting, comments and order stay. An address is touched only if the way back
//! leads to exactly the same text, so that a file that went there and back is the file that it was; and what points at Larder already is left as
//! it is. Left out: files without addresses. A `requirements.txt` without `--index-url` and a `poetry.lock` without sources ask whatever the
//! installer is configured with.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::collect::lists::Kind;
use crate::ecosystem::pypi::links::{self, Address, FILES};

/// Where a Larder is, and which indexes it stands for.
#[derive(Debug, Clone)]
pub struct Map {
    /// The root, without a slash at its end.
    pub larder: String,
    /// Indexes by name, each with the address of its upstream.
    pub indexes: Vec<(String, String)>,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToLarder,
    Back,
}

/// A file, rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    pub text: String,
    /// Addresses that were replaced.
    pub replaced: usize,
    /// Addresses of indexes that no index of this Larder stands for, and of files of such.
    pub unknown: Vec<String>,
}

/// Rewrites the lock file called `file`. `Err`: what is wrong with it.
pub fn rewrite(
    map: &Map,
    direction: Direction,
    file: &str,
    text: &str,
) -> Result<Rewritten, String> {
    let found = match Kind::of(file, text) {
        Kind::Requirements => Ok(in_requirements(text)),
        Kind::Uv => in_uv(text),
        Kind::Poetry => in_poetry(text),
        Kind::Pylock => in_pylock(text),
        Kind::Larder | Kind::Lock => {
            Err("it names things, not addresses: there is nothing to rewrite".to_owned())
        }
    }?;
    let mut rewritten =
        Rewritten { text: String::with_capacity(text.len()), replaced: 0, unknown: Vec::new() };
    let mut done = 0;
    let mut places: Vec<Place> = found;
    places.sort_by_key(|place| place.span.start);
    for Place { span, project, index } in places {
        let Some(address) = text.get(span.clone()).filter(|_| span.start >= done) else { continue };
        let known = index.as_deref().map(|index| map.knows(index));
        let turned = match project {
            None => map.turn_index(direction, address),
            Some(project) if known != Some(false) => {
                map.turn_file(direction, address, &project, index.as_deref())
            }
            Some(_) => None,
        };
        match turned {
            Some(other) => {
                rewritten.text.push_str(&text[done..span.start]);
                rewritten.text.push_str(&other);
                done = span.end;
                rewritten.replaced += 1;
            }
            None if direction == Direction::ToLarder && !map.is_ours(address) => {
                rewritten.unknown.push(address.to_owned());
            }
            None => {}
        }
    }
    rewritten.text.push_str(&text[done..]);
    rewritten.unknown.dedup();
    Ok(rewritten)
}

/// An address in a text.
struct Place {
    span: Range<usize>,
    /// The project whose file it is; `None` for an index.
    project: Option<String>,
    /// The index that the file is of, where the lock says.
    index: Option<String>,
}

impl Map {
    fn is_ours(&self, address: &str) -> bool {
        address
            .strip_prefix(&self.larder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether an index's address, on either side, is one of a declared index.
    fn knows(&self, index: &str) -> bool {
        self.is_ours(index) || self.turn_index(Direction::ToLarder, index).is_some()
    }

    /// The other address of an index; a slash at its end stays or stays away.
    fn turn_index(&self, direction: Direction, address: &str) -> Option<String> {
        let forwards = |address: &str| {
            let (plain, slash) = unslashed(address);
            let is_it = |(_, upstream): &&(String, String)| unslashed(upstream).0 == plain;
            let (name, _) = self.indexes.iter().find(is_it)?;
            let path =
                if name == "default" { "simple".to_owned() } else { format!("pypi/{name}/simple") };
            Some(format!("{}/{path}{slash}", self.larder))
        };
        let back = |address: &str| {
            let (plain, slash) = unslashed(address.strip_prefix(&self.larder)?);
            let name = match plain {
                "/simple" => "default",
                path => path.strip_prefix("/pypi/")?.strip_suffix("/simple")?,
            };
            let (_, upstream) = self.indexes.iter().find(|(known, _)| known == name)?;
            Some(format!("{}{slash}", unslashed(upstream).0))
        };
        there_and_back(direction, address, forwards, back)
    }

    /// The other address of a file.
    fn turn_file(
        &self,
        direction: Direction,
        address: &str,
        project: &str,
        index: Option<&str>,
    ) -> Option<String> {
        let name = index.and_then(|index| self.name_of(index)).unwrap_or("default");
        let root = format!("{}/pypi/{name}/{FILES}", self.larder);
        let forwards = |address: &str| {
            let is_address = address.starts_with("https://") || address.starts_with("http://");
            let is_foreign = is_address && !self.is_ours(address);
            is_foreign
                .then(|| links::path_of(address, project).map(|path| format!("{root}{path}")))
                .flatten()
        };
        let back = |address: &str| {
            let rest = address.strip_prefix(&self.larder)?.strip_prefix("/pypi/")?;
            let (_, rest) = rest.split_once('/')?;
            let rest = rest.strip_prefix(FILES)?;
            let (path, query) = match rest.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (rest, None),
            };
            Address::parse(path, query).map(|address| address.url.to_string())
        };
        there_and_back(direction, address, forwards, back)
    }

    /// The name of the index that an address, on either side, belongs to.
    fn name_of(&self, index: &str) -> Option<&str> {
        let ours = match self.is_ours(index) {
            true => index.to_owned(),
            false => self.turn_index(Direction::ToLarder, index)?,
        };
        let path = ours.strip_prefix(&self.larder)?.trim_end_matches('/');
        let name = match path {
            "/simple" => "default",
            path => path.strip_prefix("/pypi/")?.strip_suffix("/simple")?,
        };
        self.indexes.iter().map(|(known, _)| known.as_str()).find(|known| *known == name)
    }
}

/// The address that `address` becomes, if the way back leads to it again.
fn there_and_back(
    direction: Direction,
    address: &str,
    forwards: impl Fn(&str) -> Option<String>,
    back: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    match direction {
        Direction::ToLarder => {
            forwards(address).filter(|other| back(other).as_deref() == Some(address))
        }
        Direction::Back => {
            back(address).filter(|other| forwards(other).as_deref() == Some(address))
        }
    }
}

fn unslashed(address: &str) -> (&str, &str) {
    match address.strip_suffix('/') {
        Some(plain) => (plain, "/"),
        None => (address, ""),
    }
}

/// The text within a value's quotes, if it stands there as it is.
fn within(text: &str, value: &Spanned<String>) -> Option<Range<usize>> {
    let span = value.span();
    let quoted = text.get(span.clone())?;
    let at = quoted.find(value.as_ref().as_str())?;
    let start = span.start + at;
    Some(start..start + value.as_ref().len())
}

fn in_uv(text: &str) -> Result<Vec<Place>, String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        #[serde(default)]
        source: Source,
        sdist: Option<File>,
        #[serde(default)]
        wheels: Vec<File>,
    }
    #[derive(Default, Deserialize)]
    struct Source {
        registry: Option<Spanned<String>>,
    }
    let lock: Lock = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut places = Vec::new();
    for Package { name, source, sdist, wheels } in lock.package {
        let Some(registry) = source.registry else { continue };
        let files = sdist.into_iter().chain(wheels);
        add(&mut places, text, &name, Some(registry), files);
    }
    Ok(places)
}

fn in_pylock(text: &str) -> Result<Vec<Place>, String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        index: Option<Spanned<String>>,
        sdist: Option<File>,
        #[serde(default)]
        wheels: Vec<File>,
    }
    let lock: Lock = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut places = Vec::new();
    for Package { name, index, sdist, wheels } in lock.packages {
        add(&mut places, text, &name, index, sdist.into_iter().chain(wheels));
    }
    Ok(places)
}

fn in_poetry(text: &str) -> Result<Vec<Place>, String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        source: Option<Source>,
    }
    #[derive(Deserialize)]
    struct Source {
        #[serde(rename = "type")]
        kind: String,
        url: Spanned<String>,
    }
    let lock: Lock = toml::from_str(text).map_err(|error| error.to_string())?;
    let sources = lock.package.into_iter().filter_map(|package| package.source);
    let indexes = sources.filter(|source| source.kind == "legacy");
    let place = |source: Source| {
        Some(Place { span: within(text, &source.url)?, project: None, index: None })
    };
    Ok(indexes.filter_map(place).collect())
}

/// A file of a lock, as far as addresses go.
#[derive(Deserialize)]
struct File {
    url: Option<Spanned<String>>,
}

fn add(
    places: &mut Vec<Place>,
    text: &str,
    project: &str,
    index: Option<Spanned<String>>,
    files: impl Iterator<Item = File>,
) {
    let named = index.as_ref().map(|index| index.as_ref().clone());
    for url in files.filter_map(|file| file.url) {
        let project = Some(crate::ecosystem::pypi::name::normalised(project).into_owned());
        places.extend(within(text, &url).map(|span| Place { span, project, index: named.clone() }));
    }
    let span = index.and_then(|index| within(text, &index));
    places.extend(span.map(|span| Place { span, project: None, index: None }));
}

fn in_requirements(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let is_option = ["-i ", "-i=", "--index-url", "--extra-index-url"]
            .iter()
            .any(|name| trimmed.starts_with(name));
        if is_option && let Some(at) = line.find("http") {
            let length = line[at..].find(char::is_whitespace).unwrap_or(line.len() - at);
            places.push(Place {
                span: start + at..start + at + length,
                project: None,
                index: None,
            });
        }
        start += line.len();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> Map {
        Map {
            larder: "http://larder.example:8484".to_owned(),
            indexes: vec![
                ("default".to_owned(), "https://index.example/simple/".to_owned()),
                ("corp".to_owned(), "https://corp.example/simple".to_owned()),
            ],
        }
    }

    const UV: &str = "version = 1 # kept\n\n[[package]]\nname = 'six'\nversion = \"1\"\nsource   = { registry = 'https://index.example/simple' }\nwheels = [\n    { url = \"https://files.example/b/six-1-py3-none-any.whl\", hash = \"sha256:bb\" }, # why\n]\n[[package]]\nname = \"tool\"\nsource = { registry = \"https://corp.example/simple/\" }\nsdist = { url = \"http://files.corp.example:81/tool-1.zip?x=1\" }\n[[package]]\nname = \"other\"\nsource = { registry = \"https://elsewhere.example/simple\" }\nsdist = { url = \"https://elsewhere.example/other-1.zip\" }\n";

    fn round(file: &str, text: &str, expected: &[&str], replaced: usize) -> Rewritten {
        let there = rewrite(&map(), Direction::ToLarder, file, text).expect("a lock file");
        for part in expected {
            assert!(there.text.contains(part), "{part} is not in\n{}", there.text);
        }
        assert_eq!(there.replaced, replaced, "{}", there.text);
        let again = rewrite(&map(), Direction::ToLarder, file, &there.text).expect("a lock file");
        assert_eq!(
            (again.text.as_str(), again.replaced),
            (there.text.as_str(), 0),
            "it is idempotent"
        );
        let back = rewrite(&map(), Direction::Back, file, &there.text).expect("a lock file");
        assert_eq!((back.text.as_str(), back.replaced), (text, replaced));
        let still = rewrite(&map(), Direction::Back, file, text).expect("a lock file");
        assert_eq!((still.text.as_str(), still.replaced), (text, 0));
        there
    }

    #[test]
    fn a_lock_file_goes_there_and_back() {
        let there = round(
            "uv.lock",
            UV,
            &[
                "source   = { registry = 'http://larder.example:8484/simple' }",
                "\"http://larder.example:8484/pypi/default/files/files.example/b/six-1-py3-none-any.whl\", hash",
                "registry = \"http://larder.example:8484/pypi/corp/simple/\"",
                "/pypi/corp/files/~http~files.corp.example~81/tool-1.zip?x=1",
                "https://elsewhere.example/other-1.zip",
            ],
            4,
        );
        assert_eq!(
            there.unknown,
            ["https://elsewhere.example/simple", "https://elsewhere.example/other-1.zip"]
        );
    }

    #[test]
    fn every_kind_has_its_addresses() {
        let pylock = "[[packages]]\nname = \"six\"\nindex = \"https://index.example/simple/\"\n[[packages.wheels]]\nurl = \"https://files.example/six-1-py3-none-any.whl\"\n";
        round(
            "pylock.toml",
            pylock,
            &["larder.example:8484/simple/", "/pypi/default/files/files.example/six"],
            2,
        );
        let poetry = "[[package]]\nname = \"six\"\n[package.source]\ntype = \"legacy\"\nurl = \"https://corp.example/simple\"\n";
        round("poetry.lock", poetry, &["url = \"http://larder.example:8484/pypi/corp/simple\""], 1);
        let requirements = "--index-url https://index.example/simple  # ours\nsix==1\n-i=https://corp.example/simple/\n";
        round(
            "requirements.txt",
            requirements,
            &["--index-url http://larder.example:8484/simple  # ours\n"],
            2,
        );
        round("requirements.txt", "six==1\r\n", &[], 0);
    }

    #[test]
    fn what_would_not_come_back_is_left() {
        // The way back writes addresses as the WHATWG does; this one is written otherwise.
        let text = UV.replace("https://files.example/b/", "https://FILES.example/b/../b/");
        round("uv.lock", &text, &["https://FILES.example/b/../b/six"], 3);
        assert!(rewrite(&map(), Direction::Back, "larder.lock", "").is_err());
        assert!(rewrite(&map(), Direction::Back, "uv.lock", "[[package]]\nname = 1").is_err());
    }
}
