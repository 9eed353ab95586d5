//! Things that are known by name and digests alone, as a lock lists them: releases of packages, images, models.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Parts;
use super::component::{Acknowledgement, Component, Hash, LicenceEntry, Property};
use crate::passport::purl;

const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A thing with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    kind: Kind,
    name: String,
    version: String,
    pub files: Vec<ItemFile>,
    /// The licence that it declares, as far as that is known.
    pub licence: Option<String>,
    /// The tag by which an image was asked for.
    pub(super) tag: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Data,
    Package,
    Image,
    /// Bytes of which no more than their name is known.
    File,
}

/// A file of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemFile {
    pub name: String,
    /// `sha256:HEX`.
    pub digest: String,
    pub size: Option<u64>,
}

/// A text that names nothing exact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names nothing exact: hf:ORG/NAME@COMMIT, pypi:NAME==VERSION or oci:NAME@DIGEST is expected"
)]
pub struct Unnamed(String);

impl Item {
    /// Reads an exact name, as `larder lock` writes them.
    pub fn read(exact: &str, files: Vec<ItemFile>) -> Result<Self, Unnamed> {
        let unnamed = || Unnamed(exact.to_owned());
        let (scheme, rest) = exact.split_once(':').ok_or_else(unnamed)?;
        let (kind, parted) = match scheme {
            "hf" => match rest.strip_prefix("datasets/") {
                Some(rest) => (Kind::Data, rest.split_once('@')),
                None => (Kind::Model, rest.split_once('@')),
            },
            "pypi" => (Kind::Package, rest.split_once("==")),
            "oci" => (Kind::Image, rest.split_once('@').or_else(|| tagged(rest))),
            _ => return Err(unnamed()),
        };
        let (name, version) = parted.ok_or_else(unnamed)?;
        if name.is_empty() || version.is_empty() {
            return Err(unnamed());
        }
        let (name, version) = (name.to_owned(), version.to_owned());
        Ok(Self { kind, name, version, files, licence: None, tag: None })
    }

    /// Bytes of nothing that has a name of its own.
    pub(super) fn of_file(name: &str) -> Self {
        let (name, version) = (name.to_owned(), String::new());
        Self { kind: Kind::File, name, version, files: Vec::new(), licence: None, tag: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// As [`Item::read`] takes it. `None`: it has no such name.
    pub fn exact(&self) -> Option<String> {
        let Self { kind, name, version, .. } = self;
        match kind {
            Kind::Model => Some(format!("hf:{name}@{version}")),
            Kind::Data => Some(format!("hf:datasets/{name}@{version}")),
            Kind::Package => Some(format!("pypi:{name}=={version}")),
            Kind::Image => Some(format!("oci:{name}@{version}")),
            Kind::File => None,
        }
    }

    /// Whether a file was got from the repository of an image.
    pub(super) fn is_beside(&self, image: &Self) -> bool {
        let repository = self.name.strip_prefix("oci:").and_then(|name| name.split_once('@'));
        image.kind == Kind::Image && repository.is_some_and(|(name, _)| name == image.name)
    }

    /// Adds a file, unless it is there.
    pub(super) fn add(&mut self, file: Option<ItemFile>) {
        if let Some(file) = file.filter(|file| !self.files.contains(file)) {
            self.files.push(file);
        }
    }

    /// The repository and commit, where it is a model.
    pub fn model(&self) -> Option<(&str, &str)> {
        (self.kind == Kind::Model).then_some((self.name.as_str(), self.version.as_str()))
    }

    pub(super) fn parts(&self) -> Parts {
        let address = self.purl();
        let (kind, reference) = match self.kind {
            Kind::Model => ("machine-learning-model", address.clone()),
            Kind::Data => ("data", format!("datasets:{address}")),
            Kind::Package => ("library", address.clone()),
            Kind::Image => ("container", address.clone()),
            Kind::File => return self.alone(address),
        };
        let (group, name) = match self.name.rsplit_once('/') {
            Some((group, name)) => (Some(group.to_owned()), name.to_owned()),
            None => (None, self.name.clone()),
        };
        let mut main = Component::new(kind, reference, name);
        main.group = group;
        main.version = Some(self.version.clone());
        main.purl = Some(address);
        main.hashes = Hash::read(&self.version).into_iter().collect();
        main.licenses = self.licences();
        let mut files: Vec<Component> =
            self.files.iter().map(|file| component_of(file, &main.bom_ref)).collect();
        files.sort_by(|one, other| one.bom_ref.cmp(&other.bom_ref));
        files.dedup_by(|one, other| one.bom_ref == other.bom_ref);
        let is_complete = !files.is_empty() && files.iter().all(|file| !file.hashes.is_empty());
        main.components = files;
        Parts { main, data: Vec::new(), is_complete }
    }

    /// A file that is a component of its own.
    fn alone(&self, address: String) -> Parts {
        let file = self.files.first();
        let digest = file.map_or("", |file| file.digest.as_str());
        let mut main = Component::new("file", format!("{}#{digest}", self.name), self.name.clone());
        main.purl = Some(address);
        main.hashes = Hash::read(digest).into_iter().collect();
        main.licenses = self.licences();
        let is_complete = !main.hashes.is_empty();
        Parts { main, data: Vec::new(), is_complete }
    }

    fn licences(&self) -> Vec<LicenceEntry> {
        let said = self.licence.as_deref().filter(|text| !text.trim().is_empty());
        said.map(|text| LicenceEntry::of_text(text, Acknowledgement::Declared))
            .into_iter()
            .collect()
    }

    fn purl(&self) -> String {
        let plain = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        match self.kind {
            Kind::Model | Kind::Data => purl(&self.name, Some(&self.version), None),
            Kind::Package => format!("pkg:pypi/{}@{}", normal(&self.name), plain(&self.version)),
            Kind::File => {
                let digest = self.files.first().filter(|file| !file.digest.is_empty());
                let digest = digest.map(|file| format!("?checksum={}", file.digest));
                format!("pkg:generic/{}{}", plain(&self.name), digest.unwrap_or_default())
            }
            Kind::Image => {
                let last = self.name.rsplit('/').next().unwrap_or(&self.name);
                let (version, tag) = match self.version.contains(':') {
                    true => {
                        let tag = self.tag.as_deref().map(|tag| format!("&tag={}", plain(tag)));
                        (format!("@{}", plain(&self.version)), tag.unwrap_or_default())
                    }
                    false => (String::new(), format!("&tag={}", plain(&self.version))),
                };
                let place = self.name.split('/').map(plain).collect::<Vec<_>>().join("/");
                format!(
                    "pkg:oci/{}{version}?repository_url={place}{tag}",
                    plain(&last.to_ascii_lowercase())
                )
            }
        }
    }
}

/// A name with a tag; the colon of a port is no such thing.
fn tagged(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

/// The name of a project as indexes compare it.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for letter in name.to_ascii_lowercase().chars() {
        match letter {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            letter => normal.push(letter),
        }
    }
    utf8_percent_encode(&normal, PLAIN).to_string()
}

fn component_of(file: &ItemFile, of: &str) -> Component {
    let name = if file.name.is_empty() { &file.digest } else { &file.name };
    // Of one name there may be several: platforms of an image, twins of a release.
    let reference = format!("{of}#{name}@{}", file.digest);
    let mut component = Component::new("file", reference, name.clone());
    component.hashes = Hash::read(&file.digest).into_iter().collect();
    let size = file.size.map(|size| Property::new("size", size.to_string()));
    component.properties = size.into_iter().collect();
    component
}
