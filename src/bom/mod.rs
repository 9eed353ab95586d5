//! Bills of materials: CycloneDX 1.6 in JSON, with models as CycloneDX's ML-BOM describes them.
//!
//! A bill is of models (`model`) and of what a lock names (`item`), or of what was pulled (`pulled`). The same input gives the same text: components stand in the order
//! of their references, and the serial number is made of what they and the bill's properties say. The time is the caller's, and is no part of it. Pure; left out:
//! vulnerabilities, which are facts of another day than the components.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::passport::Passport;
use crate::types::Timestamp;

mod component;
mod item;
mod model;
mod pulled;

pub use component::{
    Acknowledgement, Component, Contents, DataSource, Dataset, Hash, HashAlgorithm, LicenceEntry,
    ModelCard, ModelParameters, NamedLicence, Pedigree, Property, Reference,
};
pub use item::{Item, ItemFile, Unnamed};
pub use pulled::{Pull, Pulled, Range, nest, of_pulls, things};

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bom {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
    compositions: Vec<Composition>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    of: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

/// Whether all parts of some components are listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: Vec<String>,
}

/// The bill of some models.
pub fn of_passports(passports: &[Passport], now: Timestamp) -> Bom {
    bill(passports, &[], now)
}

/// The bill of models of which a passport is known, and of other things, as a lock names them.
pub fn bill(passports: &[Passport], items: &[Item], now: Timestamp) -> Bom {
    let mut parts: Vec<Parts> = passports.iter().map(model::parts).collect();
    parts.extend(items.iter().map(Item::parts));
    assemble(parts, Vec::new(), now)
}

/// Makes a bill of its parts; `properties` are of the bill as a whole.
fn assemble(parts: Vec<Parts>, properties: Vec<Property>, now: Timestamp) -> Bom {
    let mut components: Vec<Component> = Vec::new();
    let mut dependencies: Vec<Dependency> = Vec::new();
    let (mut complete, mut incomplete) = (Vec::new(), Vec::new());
    for Parts { main, data, is_complete } in parts {
        let of = main.bom_ref.clone();
        if components.iter().any(|known| known.bom_ref == of) {
            continue;
        }
        let mut depends_on: Vec<String> = data.iter().map(|one| one.bom_ref.clone()).collect();
        depends_on.sort();
        depends_on.dedup();
        dependencies.push(Dependency { of: of.clone(), depends_on });
        let place = if is_complete { &mut complete } else { &mut incomplete };
        place.push(of);
        components.push(main);
        for one in data {
            if !components.iter().any(|known| known.bom_ref == one.bom_ref) {
                dependencies.push(Dependency { of: one.bom_ref.clone(), depends_on: Vec::new() });
                components.push(one);
            }
        }
    }
    components.sort_by(|one, other| one.bom_ref.cmp(&other.bom_ref));
    dependencies.sort_by(|one, other| one.of.cmp(&other.of));
    let compositions = [("complete", complete), ("incomplete", incomplete)]
        .into_iter()
        .filter(|(_, assemblies)| !assemblies.is_empty())
        .map(|(aggregate, mut assemblies)| {
            assemblies.sort();
            Composition { aggregate, assemblies }
        })
        .collect();
    Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: serial(&components, &properties),
        version: 1,
        metadata: Metadata {
            timestamp: now.to_rfc3339(),
            tools: Tools { components: vec![tool()] },
            properties,
        },
        components,
        dependencies,
        compositions,
    }
}

/// What one thing adds to a bill.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    main: Component,
    /// What it depends on.
    data: Vec<Component>,
    /// All its files are listed, with their digests.
    is_complete: bool,
}

fn tool() -> Component {
    let mut tool = Component::new("application", "larder".to_owned(), "larder".to_owned());
    tool.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    tool
}

/// A UUID of version 8 (RFC 9562), made of what the components and properties say.
fn serial(components: &[Component], properties: &[Property]) -> String {
    let mut text = serde_json::to_vec(components).unwrap_or_default();
    if !properties.is_empty() {
        text.extend(serde_json::to_vec(properties).unwrap_or_default());
    }
    let digest = Sha256::digest(text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests;
