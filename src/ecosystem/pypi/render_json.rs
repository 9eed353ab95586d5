//! Writes project pages in JSON (PEP 691, 700, 714, 740, 792).
//!
//! A key without a value is left out, never null: uv refuses a whole page for one null size. Keys that upstream sent and we do not know are passed on.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ecosystem::pypi::listing::{Entry, Listing, known_hashes};
use crate::ecosystem::pypi::page::{Extra, Hashes, Provenance, Sidecar, Yanked};

/// The page as bytes.
pub fn page(listing: &Listing<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024 + 640 * listing.entries.len());
    serde_json::to_writer(&mut bytes, &PageJson(listing))
        .expect("texts, numbers and checked raw values go into memory without fail");
    bytes
}

struct PageJson<'a>(&'a Listing<'a>);

impl Serialize for PageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let listing = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("meta", &Meta(listing))?;
        map.serialize_entry("name", &listing.page.name)?;
        if let Some(status) = listing.status {
            map.serialize_entry(
                "project-status",
                &StatusJson(&status.status, status.reason.as_deref()),
            )?;
        }
        map.serialize_entry("versions", &listing.versions)?;
        map.serialize_entry("files", &Files(&listing.entries))?;
        extras(&mut map, &listing.page.extra)?;
        map.end()
    }
}

struct Meta<'a>(&'a Listing<'a>);

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("api-version", &format!("1.{}", self.0.api_minor()))?;
        if let Some(serial) = &self.0.page.serial {
            match serial.parse::<u64>() {
                Ok(number) => map.serialize_entry("_last-serial", &number)?,
                Err(_) => map.serialize_entry("_last-serial", serial)?,
            }
        }
        if let Some(mark) = &self.0.mark {
            map.serialize_entry("_larder-state", mark)?;
        }
        if let Some(notice) = &self.0.page.notice {
            map.serialize_entry("_larder-notice", notice)?;
        }
        map.end()
    }
}

struct StatusJson<'a>(&'a str, Option<&'a str>);

impl Serialize for StatusJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", self.0)?;
        if let Some(reason) = self.1 {
            map.serialize_entry("reason", reason)?;
        }
        map.end()
    }
}

struct Files<'a>(&'a [Entry<'a>]);

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        for entry in self.0 {
            sequence.serialize_element(&FileJson(entry))?;
        }
        sequence.end()
    }
}

struct FileJson<'a>(&'a Entry<'a>);

impl Serialize for FileJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry { file, attributes, yanked, href, mark, sidecar, provenance } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("filename", &file.filename)?;
        map.serialize_entry("url", href)?;
        map.serialize_entry("hashes", &HashesJson(&file.hashes))?;
        optional(&mut map, "size", file.size)?;
        optional(&mut map, "upload-time", file.upload_time.as_deref())?;
        optional(&mut map, "requires-python", attributes.requires_python.as_deref())?;
        match &**yanked {
            Yanked::No => map.serialize_entry("yanked", &false)?,
            Yanked::Yes => map.serialize_entry("yanked", &true)?,
            Yanked::Because(reason) => map.serialize_entry("yanked", reason)?,
        }
        if let Some(sidecar) = sidecar {
            let value = SidecarJson(*sidecar, &attributes.core_metadata);
            map.serialize_entry("core-metadata", &value)?;
            map.serialize_entry("data-dist-info-metadata", &value)?;
        }
        match (&attributes.provenance, provenance) {
            (Provenance::Unsaid, _) => {}
            (_, Some(address)) => map.serialize_entry("provenance", address)?,
            (_, None) => map.serialize_entry("provenance", &None::<&str>)?,
        }
        optional(&mut map, "gpg-sig", attributes.gpg_sig)?;
        optional(&mut map, "_larder-state", mark.as_deref())?;
        extras(&mut map, &attributes.extra)?;
        map.end()
    }
}

struct HashesJson<'a>(&'a Hashes);

impl Serialize for HashesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(known_hashes(self.0))
    }
}

struct SidecarJson<'a>(bool, &'a Sidecar);

impl Serialize for SidecarJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, self.1) {
            (true, Sidecar::Hashed(hashes)) if !known_hashes(hashes).is_empty() => {
                HashesJson(hashes).serialize(serializer)
            }
            (flag, _) => serializer.serialize_bool(flag),
        }
    }
}

fn optional<M: SerializeMap>(
    map: &mut M,
    key: &str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

fn extras<M: SerializeMap>(map: &mut M, extras: &[Extra]) -> Result<(), M::Error> {
    for Extra { key, json } in extras {
        // It was a valid value when it was read; a damaged one is left out rather than written.
        if let Ok(value) = serde_json::from_str::<&RawValue>(json) {
            map.serialize_entry(key, value)?;
        }
    }
    Ok(())
}
