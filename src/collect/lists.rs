//! Files that list what is wanted: `requirements.txt`, `uv.lock`, `poetry.lock`, `pylock.toml` (PEP 751), `larder.toml` and `larder.lock`.
//!
//! Which of them a file is, its name tells, and where that is one's own, what is in it. What no index can give (a git repository, a folder) is told in
//! [`List::left_out`]; the project that a lock file belongs to is nothing to be had and is not mentioned.

use serde::Deserialize;

use crate::collect::lock::{Lock, LockedFile};
use crate::collect::requirement::Requirement;
use crate::collect::{Dependencies, Package, Platform, Want, What};
use crate::ecosystem::pypi::{links, name};

/// What a file lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    pub wants: Vec<Want>,
    /// What is listed and cannot be had from here, and why.
    pub left_out: Vec<(String, String)>,
}

/// Why a list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {fault}")]
pub struct ListError {
    pub file: String,
    pub fault: String,
}

/// Reads another file that a list names, by its path from there.
pub type Load<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

/// Most lists within each other.
const MOST_NESTED: usize = 16;

impl List {
    /// Reads the list called `file`.
    pub fn read(file: &str, text: &str, load: Load<'_>) -> Result<Self, ListError> {
        let mut list = Self::default();
        list.add(file, text, load, 0)?;
        Ok(list)
    }

    fn add(
        &mut self,
        file: &str,
        text: &str,
        load: Load<'_>,
        depth: usize,
    ) -> Result<(), ListError> {
        let fault = |fault: String| ListError { file: file.to_owned(), fault };
        if depth > MOST_NESTED {
            return Err(fault("lists name each other in a circle".to_owned()));
        }
        match Kind::of(file, text) {
            Kind::Larder => self.add_larder(file, text, load, depth),
            Kind::Lock => {
                self.wants.extend(Lock::read(text).map_err(fault)?.wants());
                Ok(())
            }
            Kind::Uv => self.add_uv(text).map_err(fault),
            Kind::Poetry => self.add_poetry(text).map_err(fault),
            Kind::Pylock => self.add_pylock(text).map_err(fault),
            Kind::Requirements => self.add_requirements(file, text, load, depth),
        }
    }

    fn add_larder(
        &mut self,
        file: &str,
        text: &str,
        load: Load<'_>,
        depth: usize,
    ) -> Result<(), ListError> {
        let fault = |fault: String| ListError { file: file.to_owned(), fault };
        let read: Pulls = toml::from_str(text).map_err(|error| fault(error.to_string()))?;
        for pull in read.pull {
            let begun = self.wants.len();
            match (pull.what, pull.file) {
                (Some(what), None) => {
                    let dependencies = Dependencies::Followed;
                    self.wants.push(Want { dependencies, ..Want::all_of(what) });
                }
                (None, Some(named)) => {
                    let path = beside(file, &named);
                    let text = load(&path).map_err(|why| fault(format!("{path}: {why}")))?;
                    self.add(&path, &text, load, depth + 1)?;
                }
                _ => return Err(fault("a [[pull]] has either `what` or `file`".to_owned())),
            }
            for want in &mut self.wants[begun..] {
                if !pull.platforms.is_empty() {
                    want.platforms.clone_from(&pull.platforms);
                }
                want.include.extend(pull.include.iter().cloned());
                want.python = pull.python.clone().or_else(|| want.python.take());
                if pull.dependencies == Some(false) {
                    want.dependencies = Dependencies::Listed;
                }
            }
        }
        Ok(())
    }

    fn add_uv(&mut self, text: &str) -> Result<(), String> {
        let read: UvLock = toml::from_str(text).map_err(|error| error.to_string())?;
        for package in read.package {
            let source = package.source.keys().next().map_or("registry", String::as_str);
            match source {
                "registry" => {}
                "editable" | "virtual" => continue,
                other => {
                    self.leave_out(&package.name, other);
                    continue;
                }
            }
            let files = package.sdist.into_iter().chain(package.wheels);
            let files = files.filter_map(|file| {
                let name = links::last_segment(file.url.as_deref().or(file.path.as_deref())?);
                Some(LockedFile {
                    name: links::decoded(name).into_owned(),
                    digest: file.hash?,
                    size: file.size,
                })
            });
            let files = files.collect();
            self.add_package(&package.name, package.version.as_deref(), files)?;
        }
        Ok(())
    }

    fn add_poetry(&mut self, text: &str) -> Result<(), String> {
        let mut read: PoetryLock = toml::from_str(text).map_err(|error| error.to_string())?;
        for package in read.package {
            let source = package.source.map_or_else(|| "legacy".to_owned(), |source| source.kind);
            if source != "legacy" {
                self.leave_out(&package.name, &source);
                continue;
            }
            // Before version 2 of the format the files stood apart.
            let apart = read.metadata.files.remove(&package.name).unwrap_or_default();
            let files = package.files.into_iter().chain(apart);
            let files =
                files.map(|file| LockedFile { name: file.file, digest: file.hash, size: None });
            self.add_package(&package.name, Some(&package.version), files.collect())?;
        }
        Ok(())
    }

    fn add_pylock(&mut self, text: &str) -> Result<(), String> {
        let read: Pylock = toml::from_str(text).map_err(|error| error.to_string())?;
        for package in read.packages {
            let elsewhere = [
                ("git", &package.vcs),
                ("directory", &package.directory),
                ("archive", &package.archive),
            ];
            if let Some((kind, _)) = elsewhere.into_iter().find(|(_, source)| source.is_some()) {
                self.leave_out(&package.name, kind);
                continue;
            }
            let files = package.sdist.into_iter().chain(package.wheels);
            let files = files.filter_map(|file| {
                let name = match (file.name, file.url.or(file.path)) {
                    (Some(name), _) => name,
                    (None, Some(place)) => links::decoded(links::last_segment(&place)).into_owned(),
                    (None, None) => return None,
                };
                let digest =
                    file.hashes.get_key_value("sha256").or_else(|| file.hashes.first_key_value());
                let digest = digest.map(|(algorithm, digits)| format!("{algorithm}:{digits}"))?;
                Some(LockedFile { name, digest, size: file.size })
            });
            let files = files.collect();
            self.add_package(&package.name, package.version.as_deref(), files)?;
        }
        Ok(())
    }

    fn add_package(
        &mut self,
        project: &str,
        version: Option<&str>,
        files: Vec<LockedFile>,
    ) -> Result<(), String> {
        let version = version.ok_or_else(|| format!("the package {project} has no version"))?;
        if !name::is_valid(project) {
            return Err(format!("{project:?} is no name of a project"));
        }
        let package = Package {
            index: None,
            name: name::normalised(project).into_owned(),
            extras: Vec::new(),
            allowed: format!("=={version}"),
        };
        self.wants.push(Want { files, ..Want::all_of(What::Package(package)) });
        Ok(())
    }

    fn leave_out(&mut self, package: &str, source: &str) {
        let why = format!("it comes from a place of the kind {source:?}, not from an index");
        self.left_out.push((package.to_owned(), why));
    }

    fn add_requirements(
        &mut self,
        file: &str,
        text: &str,
        load: Load<'_>,
        depth: usize,
    ) -> Result<(), ListError> {
        let begun = self.wants.len();
        let mut hashed = true;
        for (number, line) in joined(text) {
            let fault = |fault: String| ListError { file: format!("{file}:{number}"), fault };
            let mut words = line.split_whitespace().peekable();
            let Some(first) = words.peek().copied() else { continue };
            if let Some(named) = value_of(&line, &["-r", "--requirement"]) {
                let path = beside(file, named);
                let text = load(&path).map_err(|why| fault(format!("{path}: {why}")))?;
                self.add(&path, &text, load, depth + 1)?;
                continue;
            }
            if value_of(&line, &["-c", "--constraint"]).is_some() {
                return Err(fault(
                    "constraints are not understood; list what they come to instead".to_owned(),
                ));
            }
            if let Some(named) = value_of(&line, &["-e", "--editable"]) {
                self.leave_out(named, "directory");
                continue;
            }
            if first.starts_with('-') {
                // Which index is asked, and how the installer installs, is not the list's to say here.
                continue;
            }
            let (requirement, options) = match line.find(" --") {
                Some(at) => line.split_at(at),
                None => (line.as_str(), ""),
            };
            if first.contains("://") || first.starts_with(['.', '/']) {
                self.leave_out(first, "address");
                continue;
            }
            let read = Requirement::read(requirement).map_err(fault)?;
            if read.address.is_some() {
                self.leave_out(&read.name, "address");
                continue;
            }
            let hashes =
                options.split_whitespace().filter_map(|option| option.strip_prefix("--hash="));
            let files: Vec<LockedFile> = hashes
                .map(|digest| LockedFile {
                    name: String::new(),
                    digest: digest.to_owned(),
                    size: None,
                })
                .collect();
            hashed &= !files.is_empty();
            self.wants.push(Want { files, ..Want::all_of(What::Package(read.package())) });
        }
        // Installers insist that either every requirement has its hashes, those of requirements included, or none.
        if !hashed {
            for want in &mut self.wants[begun..] {
                want.dependencies = Dependencies::Followed;
            }
        }
        Ok(())
    }
}

/// The kinds of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Larder,
    Lock,
    Uv,
    Poetry,
    Pylock,
    Requirements,
}

impl Kind {
    /// The kind of a file.
    pub fn of(file: &str, text: &str) -> Self {
        let name = file.rsplit('/').next().unwrap_or(file);
        match name {
            "uv.lock" => return Self::Uv,
            "poetry.lock" => return Self::Poetry,
            "larder.lock" => return Self::Lock,
            _ if name.starts_with("pylock.") && name.ends_with(".toml") => return Self::Pylock,
            _ if name.ends_with(".txt") || name.ends_with(".in") => return Self::Requirements,
            _ => {}
        }
        let has = |line: &str| text.lines().any(|one| one.trim_end() == line);
        match () {
            () if has("[[locked]]") => Self::Lock,
            () if has("[[packages]]") => Self::Pylock,
            () if has("[[package]]") && text.contains("generated by Poetry") => Self::Poetry,
            () if has("[[package]]") => Self::Uv,
            () if name.ends_with(".toml") || has("[[pull]]") => Self::Larder,
            () => Self::Requirements,
        }
    }
}

/// The path of a file named by another one.
fn beside(file: &str, named: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !named.starts_with('/') => format!("{folder}/{named}"),
        _ => named.to_owned(),
    }
}

/// The value of an option at the start of a line, however it is written.
fn value_of<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let rest = line.trim_start().strip_prefix(name)?;
        let is_long = name.starts_with("--");
        let fits = rest.starts_with([' ', '=', '\t']) || !is_long && !rest.is_empty();
        fits.then(|| rest.trim_start_matches(['=', ' ', '\t']).trim_end())
    })
}

/// Lines with what continues them, without comments, each with the number of its first line.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut current: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let without_comment = match line.find('#') {
            Some(0) => "",
            Some(at) if line[..at].ends_with([' ', '\t']) => &line[..at],
            _ => line,
        };
        let (part, continues) = match without_comment.trim_end().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (without_comment, false),
        };
        let (_, joined) = current.get_or_insert_with(|| (index + 1, String::new()));
        joined.push_str(part);
        if !continues {
            lines.extend(current.take());
        }
    }
    lines.extend(current);
    lines.into_iter().map(|(number, line)| (number, line.trim().to_owned())).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pulls {
    pull: Vec<Pull>,
}

/// One entry of `larder.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pull {
    what: Option<What>,
    /// Another list, by its path from this one.
    file: Option<String>,
    #[serde(default)]
    platforms: Vec<Platform>,
    #[serde(default)]
    include: Vec<String>,
    dependencies: Option<bool>,
    python: Option<String>,
}

#[derive(Debug, Deserialize)]
struct UvLock {
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Debug, Deserialize)]
struct UvPackage {
    name: String,
    version: Option<String>,
    #[serde(default)]
    source: std::collections::BTreeMap<String, toml::Value>,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
}

#[derive(Debug, Deserialize)]
struct UvFile {
    url: Option<String>,
    path: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct PoetryLock {
    #[serde(default)]
    package: Vec<PoetryPackage>,
    #[serde(default)]
    metadata: PoetryMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct PoetryMetadata {
    #[serde(default)]
    files: std::collections::BTreeMap<String, Vec<PoetryFile>>,
}

#[derive(Debug, Deserialize)]
struct PoetryPackage {
    name: String,
    version: String,
    #[serde(default)]
    files: Vec<PoetryFile>,
    source: Option<PoetrySource>,
}

#[derive(Debug, Deserialize)]
struct PoetrySource {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct PoetryFile {
    file: String,
    hash: String,
}

#[derive(Debug, Deserialize)]
struct Pylock {
    #[serde(default)]
    packages: Vec<PylockPackage>,
}

#[derive(Debug, Deserialize)]
struct PylockPackage {
    name: String,
    version: Option<String>,
    sdist: Option<PylockFile>,
    #[serde(default)]
    wheels: Vec<PylockFile>,
    vcs: Option<toml::Value>,
    directory: Option<toml::Value>,
    archive: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
struct PylockFile {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests;
