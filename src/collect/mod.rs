//! What is to be had, as people, lock files and lists name it. Pure: texts in, [`Want`]s out.
//!
//! ```text
//! hf:org/model@main         pypi:six==1.17.0             oci:registry.example/team/app:1.0
//! hf:datasets/org/name      pypi:corp/tool[gpu]>=2,<3    oci:alpine@sha256:...
//! ```
//!
//! [`lists`] reads files of them: `requirements.txt`, `uv.lock`, `poetry.lock`, `pylock.toml`, `larder.toml` and `larder.lock`. [`requirement`] reads what
//! Python packages say they need, [`page`] what an index says it has, [`image`] what a manifest leads to. [`rewrite`] points the addresses of a lock
//! file elsewhere. Left out: asking anybody for anything (`bundle`).

use std::fmt;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};

use crate::ecosystem::huggingface::repository::{Repository, RepositoryType};
use crate::ecosystem::pypi;
use crate::types::Digest;

pub mod image;
pub mod lists;
pub mod lock;
pub mod page;
pub mod platform;
pub mod requirement;
pub mod rewrite;

pub use lock::LockedFile;
pub use platform::Platform;

/// One thing that is wanted, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    pub what: What,
    /// Builds for these only; all of them when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// Files of a repository whose path fits one of these patterns (`*.safetensors`); all of them when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Whether what a package requires is wanted, too.
    #[serde(default)]
    pub dependencies: Dependencies,
    /// The version of Python that packages are chosen for; the newest of each whatever it runs on when none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Exactly these files, each with the bytes that were seen when it was locked. Empty: whatever there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LockedFile>,
}

/// Whether to go on from a package to what it requires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dependencies {
    /// The list names everything itself, as lock files do.
    #[default]
    Listed,
    Followed,
}

/// The name of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    Hub(Revision),
    Package(Package),
    Image(Image),
}

/// A repository of the hub at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision {
    pub repository: Repository,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// A Python package and which versions of it will do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Package {
    /// The index that is asked, unless it is the default one.
    pub index: Option<String>,
    /// Normalised.
    pub name: String,
    pub extras: Vec<String>,
    /// As PEP 440 writes it: `==1.17.0`, `>=2,<3`. Empty: any.
    pub allowed: String,
}

/// An image, chart or whatever else a registry holds under a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    /// As a client writes it, with the registry before it where it is not the default one.
    pub name: String,
    /// A tag, or a digest.
    pub reference: String,
}

/// A text that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {fault}")]
pub struct Unnamed {
    pub text: String,
    pub fault: String,
}

impl Want {
    /// All of `what`.
    pub const fn all_of(what: What) -> Self {
        Self {
            what,
            platforms: Vec::new(),
            include: Vec::new(),
            dependencies: Dependencies::Listed,
            python: None,
            files: Vec::new(),
        }
    }
}

impl Package {
    /// The versions that will do; `None` where that is a version of no known form (`===`), which no file's name tells.
    pub fn specifiers(&self) -> Option<VersionSpecifiers> {
        self.allowed.parse().ok()
    }

    /// The one version that will do, if it is one.
    pub fn pinned(&self) -> Option<Version> {
        let version =
            self.allowed.strip_prefix("===").or_else(|| self.allowed.strip_prefix("=="))?;
        version.trim().parse().ok()
    }

    /// The address of the index's root, below Larder's.
    pub fn index_root(&self) -> String {
        format!("pypi/{}/", self.index.as_deref().unwrap_or(pypi::routes::DEFAULT))
    }
}

impl Image {
    /// The same name with another tag or digest.
    #[must_use]
    pub fn at(&self, reference: &str) -> Self {
        Self { name: self.name.clone(), reference: reference.to_owned() }
    }
}

impl FromStr for What {
    type Err = Unnamed;

    fn from_str(text: &str) -> Result<Self, Unnamed> {
        let unnamed = |fault: &str| Unnamed { text: text.to_owned(), fault: fault.to_owned() };
        let forms =
            "names nothing: write hf:ORG/MODEL@REVISION, pypi:NAME==VERSION or oci:NAME:TAG";
        let (scheme, rest) = text.split_once(':').ok_or_else(|| unnamed(forms))?;
        match scheme {
            "hf" => revision(rest).map(Self::Hub).ok_or_else(|| {
                unnamed("names no repository: write hf:ORG/MODEL, hf:ORG/MODEL@REVISION or hf:datasets/ORG/NAME")
            }),
            "pypi" => package(rest).map(Self::Package).map_err(|fault| unnamed(&fault)),
            "oci" => image(rest).map(Self::Image).ok_or_else(|| {
                unnamed("names no image: write oci:NAME:TAG or oci:REGISTRY/NAME@sha256:DIGEST")
            }),
            _ => Err(unnamed(forms)),
        }
    }
}

fn revision(text: &str) -> Option<Revision> {
    let (id, revision) = match text.split_once('@') {
        Some((id, revision)) => (id, revision),
        None => (text, "main"),
    };
    let (kind, id) = match id.split_once('/') {
        Some((first, rest)) => match RepositoryType::parse(first) {
            Some(kind) => (kind, rest),
            None => (RepositoryType::Models, id),
        },
        None => (RepositoryType::Models, id),
    };
    let is_revision = !revision.is_empty() && !revision.contains(['?', '#', ' ']);
    let repository = Repository::parse(kind, id).filter(|_| is_revision)?;
    Some(Revision { repository, revision: revision.to_owned() })
}

fn package(text: &str) -> Result<Package, String> {
    let (index, rest) = match text.split_once('/') {
        Some((index, rest)) => (Some(index), rest),
        None => (None, text),
    };
    if index.is_some_and(|index| !pypi::name::is_valid(index)) {
        return Err("names no index: write pypi:INDEX/NAME==VERSION".to_owned());
    }
    let read = requirement::Requirement::read(rest)
        .map_err(|fault| format!("names no package: {fault}"))?;
    if read.address.is_some() || read.marker.is_some() {
        return Err("names no package of an index: write pypi:NAME==VERSION".to_owned());
    }
    Ok(Package { index: index.map(str::to_owned), ..read.package() })
}

fn image(text: &str) -> Option<Image> {
    let (name, reference) = match text.split_once('@') {
        // A tag beside a digest says nothing more.
        Some((name, digest)) => {
            digest.parse::<Digest>().ok()?;
            let untagged = match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => name,
            };
            (untagged, digest)
        }
        None => match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        },
    };
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./_-:".contains(&byte);
    let is_name = name.bytes().all(plain)
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    let is_reference = !reference.is_empty() && reference.bytes().all(word);
    (is_name && is_reference)
        .then(|| Image { name: name.to_owned(), reference: reference.to_owned() })
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(Revision { repository, revision }) => {
                write!(f, "hf:{}@{revision}", repository.web_path())
            }
            Self::Package(Package { index, name, extras, allowed }) => {
                f.write_str("pypi:")?;
                if let Some(index) = index {
                    write!(f, "{index}/")?;
                }
                f.write_str(name)?;
                if !extras.is_empty() {
                    write!(f, "[{}]", extras.join(","))?;
                }
                f.write_str(allowed)
            }
            Self::Image(Image { name, reference }) if reference.contains(':') => {
                write!(f, "oci:{name}@{reference}")
            }
            Self::Image(Image { name, reference }) => write!(f, "oci:{name}:{reference}"),
        }
    }
}

impl Serialize for What {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let read = text.parse::<What>().map(|what| what.to_string());
            match (read, expected) {
                (Err(fault), Err(part)) => assert!(fault.to_string().contains(part), "{fault}"),
                (read, expected) => assert_eq!(
                    read,
                    expected.map_err(|_| unreachable!()).map(str::to_owned),
                    "{text}"
                ),
            }
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        check("nonsense", Err("write hf:"));
        check("npm:left-pad", Err("write hf:"));
        check("hf:a/b/c", Err("names no repository"));
        check("hf:../x", Err("names no repository"));
        check("hf:a/b@", Err("names no repository"));
        check("pypi:-x", Err("names no package"));
        check("pypi:six==", Err("names no package"));
        check("pypi:six @ https://files.example/six.zip", Err("names no index"));
        check("oci:", Err("names no image"));
        check("oci:Alpine", Err("names no image"));
        check("oci:alpine@sha256:12", Err("names no image"));
        check("hf:org/model", Ok("hf:org/model@main"));
        check("hf:gpt2@v1", Ok("hf:gpt2@v1"));
        check("hf:models/org/model@refs/pr/1", Ok("hf:org/model@refs/pr/1"));
        check("hf:datasets/org/name", Ok("hf:datasets/org/name@main"));
        check("pypi:Six == 1.17.0", Ok("pypi:six==1.17.0"));
        check("pypi:corp/tool[gpu, cpu]>=2,<3", Ok("pypi:corp/tool[cpu,gpu]>=2,<3"));
        check("pypi:six", Ok("pypi:six"));
        check("oci:alpine", Ok("oci:alpine:latest"));
        check(
            "oci:registry.example:5000/team/app",
            Ok("oci:registry.example:5000/team/app:latest"),
        );
        check("oci:registry.example/team/app:1.0", Ok("oci:registry.example/team/app:1.0"));
        check(&format!("oci:app:1@{digest}"), Ok(&format!("oci:app@{digest}")));
    }
}
