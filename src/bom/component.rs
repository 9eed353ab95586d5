//! Components as CycloneDX writes them, as far as they are used here.

use serde::Serialize;

use crate::licence::{HUB_PREFIX, Licence};

/// A component.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub bom_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<LicenceEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pedigree: Option<Pedigree>,
    #[serde(rename = "externalReferences", skip_serializing_if = "Vec::is_empty")]
    pub external_references: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Self>,
    #[serde(rename = "modelCard", skip_serializing_if = "Option::is_none")]
    pub model_card: Option<ModelCard>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataSource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// A digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hash {
    pub alg: HashAlgorithm,
    pub content: String,
}

/// Algorithms of digests that lock files name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HashAlgorithm {
    #[serde(rename = "MD5")]
    Md5,
    #[serde(rename = "SHA-1")]
    Sha1,
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-384")]
    Sha384,
    #[serde(rename = "SHA-512")]
    Sha512,
}

/// A licence, or an expression, of which there may be one only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LicenceEntry {
    Named { license: NamedLicence },
    Expression { expression: String, acknowledgement: Acknowledgement },
}

/// A single licence: by SPDX's identifier, or by any other name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedLicence {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub acknowledgement: Acknowledgement,
}

/// Who says that it is this licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledgement {
    /// Its author.
    Declared,
    /// Whoever looked.
    Concluded,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pedigree {
    pub ancestors: Vec<Component>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// An address with its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    pub url: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// A fact that the format has no place for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Property {
    pub name: String,
    pub value: String,
}

/// What is said of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelCard {
    pub model_parameters: ModelParameters,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// What a model is for, and what it is built like.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture_family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_architecture: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<Dataset>,
}

/// A component that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dataset {
    #[serde(rename = "ref")]
    pub of: String,
}

/// What a component of data is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataSource {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
}

/// Where data is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    pub url: String,
}

impl Component {
    pub const fn new(kind: &'static str, bom_ref: String, name: String) -> Self {
        Self {
            kind,
            bom_ref,
            group: None,
            name,
            version: None,
            publisher: None,
            hashes: Vec::new(),
            licenses: Vec::new(),
            purl: None,
            pedigree: None,
            external_references: Vec::new(),
            components: Vec::new(),
            model_card: None,
            data: Vec::new(),
            properties: Vec::new(),
        }
    }
}

impl Hash {
    /// Reads `sha256:HEX`. `None` for an algorithm that the format has no name for.
    pub fn read(text: &str) -> Option<Self> {
        let (name, content) = text.split_once(':')?;
        let (alg, digits) = match name {
            "md5" => (HashAlgorithm::Md5, 32),
            "sha1" => (HashAlgorithm::Sha1, 40),
            "sha256" => (HashAlgorithm::Sha256, 64),
            "sha384" => (HashAlgorithm::Sha384, 96),
            "sha512" => (HashAlgorithm::Sha512, 128),
            _ => return None,
        };
        let is_hex =
            content.len() == digits && content.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| Self { alg, content: content.to_ascii_lowercase() })
    }
}

impl LicenceEntry {
    /// A licence as the format wants it: an identifier of SPDX's, another name, or an expression.
    pub fn of(licence: &Licence, acknowledgement: Acknowledgement) -> Self {
        let text = licence.as_str().to_owned();
        let is_single = !text.contains(' ');
        if !is_single {
            return Self::Expression { expression: text, acknowledgement };
        }
        let is_listed = spdx::license_id(&text).is_some();
        let name = text.strip_prefix(HUB_PREFIX).unwrap_or(&text).to_owned();
        let (id, name) = if is_listed { (Some(text), None) } else { (None, Some(name)) };
        Self::Named { license: NamedLicence { id, name, acknowledgement } }
    }

    /// A licence as somebody wrote it: by what it says where that can be read, else by that name.
    pub fn of_text(text: &str, acknowledgement: Acknowledgement) -> Self {
        match Licence::parse(text) {
            Ok(licence) => Self::of(&licence, acknowledgement),
            Err(_) => {
                let name = Some(text.trim().to_owned());
                Self::Named { license: NamedLicence { id: None, name, acknowledgement } }
            }
        }
    }
}

impl Property {
    /// One of ours, in a name space of its own.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: format!("larder:{name}"), value: value.into() }
    }
}
