//! Reads project pages in JSON (PEP 691 and the PEPs that extend it).
//!
//! Keys that are not known are kept as raw JSON, those that start with `_` are another server's own and are dropped. A key whose value is null counts as
//! missing, except for `provenance`, where null has a meaning.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::ecosystem::pypi::offer::{self, Offer, Offered};
use crate::ecosystem::pypi::page::{
    Attributes, Extra, Hashes, Provenance, Sidecar, Status, Yanked,
};

/// Reads a page whose text starts with a brace.
pub fn page(text: &str, url: &Url) -> Result<Offer, String> {
    let read: JsonPage = serde_json::from_str(text)
        .map_err(|error| format!("the page is no JSON page of a project: {error}"))?;
    let Some(files) = read.files else {
        return Err("the JSON lists no files at all, so it is no page of a project".to_owned());
    };
    let api_minor = match read.meta.api_version {
        Some(version) => offer::api_minor(&version)?,
        None => 0,
    };
    let files = files.into_iter().filter_map(|file| file.offered(url)).collect();
    Ok(Offer {
        name: read.name,
        api_minor,
        serial: read.meta.serial,
        versions: read.versions,
        status: read.status,
        extra: read.extra,
        files,
    })
}

#[derive(Default)]
struct JsonPage {
    name: Option<String>,
    meta: Meta,
    files: Option<Vec<JsonFile>>,
    versions: Vec<Box<str>>,
    status: Option<Status>,
    extra: Vec<Extra>,
}

#[derive(Default)]
struct Meta {
    api_version: Option<String>,
    serial: Option<Box<str>>,
}

#[derive(Default)]
struct JsonFile {
    filename: Box<str>,
    url: String,
    hashes: Hashes,
    size: Option<u64>,
    upload_time: Option<Box<str>>,
    attributes: Attributes,
}

impl JsonFile {
    /// `None` for a file that cannot be offered: no web address, or a hostile name.
    fn offered(self, base: &Url) -> Option<Offered> {
        let Self { filename, url, mut hashes, size, upload_time, attributes } = self;
        let (url, digest) = offer::resolve(base, &url)?;
        if let Some((name, value)) = digest
            && hashes.is_empty()
        {
            hashes.insert(&name, &value);
        }
        let url = String::from(url).into_boxed_str();
        offer::is_filename(&filename).then_some(Offered {
            filename,
            url,
            hashes,
            size,
            upload_time,
            attributes,
        })
    }
}

/// A map that is read key by key into a default value.
trait Keyed: Default {
    const EXPECTING: &'static str;

    /// Takes the value of `key` from the map. Every key's value must be taken.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

struct KeyedVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Keyed> Visitor<'de> for KeyedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(Key(key)) = map.next_key()? {
            value.take(&key, &mut map)?;
        }
        Ok(value)
    }
}

/// A key or a text, borrowed from the page unless it was escaped.
struct Key<'de>(std::borrow::Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(key.into()))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(key.to_owned().into()))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

macro_rules! deserialize_keyed {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(KeyedVisitor(std::marker::PhantomData))
            }
        }
    )*};
}

deserialize_keyed!(JsonPage, Meta, JsonFile, HashesJson);

#[derive(Default)]
struct HashesJson(Hashes);

impl Keyed for HashesJson {
    const EXPECTING: &'static str = "digests by their names";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if let Some(Key(value)) = map.next_value()? {
            self.0.insert(key, &value);
        }
        Ok(())
    }
}

/// A boolean, or digests, or nothing.
struct SidecarJson(Sidecar);

impl<'de> Deserialize<'de> for SidecarJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SidecarVisitor;

        impl<'de> Visitor<'de> for SidecarVisitor {
            type Value = SidecarJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean or digests by their names")
            }

            fn visit_bool<E>(self, there: bool) -> Result<SidecarJson, E> {
                Ok(SidecarJson(if there { Sidecar::Yes } else { Sidecar::No }))
            }

            fn visit_unit<E>(self) -> Result<SidecarJson, E> {
                Ok(SidecarJson(Sidecar::Unsaid))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SidecarJson, A::Error> {
                let HashesJson(hashes) =
                    KeyedVisitor::<HashesJson>(std::marker::PhantomData).visit_map(map)?;
                let there = if hashes.is_empty() { Sidecar::Yes } else { Sidecar::Hashed(hashes) };
                Ok(SidecarJson(there))
            }
        }

        deserializer.deserialize_any(SidecarVisitor)
    }
}

impl Keyed for JsonPage {
    const EXPECTING: &'static str = "a project page";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = map.next_value()?,
            "meta" => self.meta = map.next_value()?,
            "files" => self.files = map.next_value()?,
            "versions" => self.versions = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "project-status" => self.status = status(map.next_value()?),
            other => take_unknown(&mut self.extra, other, map)?,
        }
        Ok(())
    }
}

impl Keyed for Meta {
    const EXPECTING: &'static str = "the page's meta object";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "api-version" => self.api_version = map.next_value()?,
            "_last-serial" => self.serial = serial(&map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl Keyed for JsonFile {
    const EXPECTING: &'static str = "a file of a project page";

    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let attributes = &mut self.attributes;
        match key {
            "filename" => self.filename = map.next_value()?,
            "url" => self.url = map.next_value()?,
            "hashes" => self.hashes = map.next_value::<Option<HashesJson>>()?.unwrap_or_default().0,
            "size" => self.size = map.next_value()?,
            "upload-time" => self.upload_time = map.next_value()?,
            "requires-python" => attributes.requires_python = map.next_value()?,
            "gpg-sig" => attributes.gpg_sig = map.next_value()?,
            "yanked" => attributes.yanked = yanked(map.next_value()?).map_err(A::Error::custom)?,
            "core-metadata" => {
                attributes.core_metadata = map.next_value::<SidecarJson>()?.0;
            }
            // The older spelling counts only where the newer one is missing (PEP 714).
            "dist-info-metadata" | "data-dist-info-metadata" => {
                let SidecarJson(older) = map.next_value()?;
                if attributes.core_metadata == Sidecar::Unsaid {
                    attributes.core_metadata = older;
                }
            }
            "provenance" => {
                attributes.provenance =
                    map.next_value::<Option<Box<str>>>()?.map_or(Provenance::None, Provenance::At);
            }
            other => take_unknown(&mut attributes.extra, other, map)?,
        }
        Ok(())
    }
}

fn take_unknown<'de, A: MapAccess<'de>>(
    extra: &mut Vec<Extra>,
    key: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    if key.starts_with('_') {
        map.next_value::<IgnoredAny>()?;
        return Ok(());
    }
    let json: Box<str> = map.next_value::<Box<RawValue>>()?.into();
    extra.push(Extra { key: key.into(), json });
    Ok(())
}

fn yanked(value: Value) -> Result<Yanked, &'static str> {
    match value {
        Value::Null | Value::Bool(false) => Ok(Yanked::No),
        Value::Bool(true) => Ok(Yanked::Yes),
        Value::String(reason) if reason.is_empty() => Ok(Yanked::Yes),
        Value::String(reason) => Ok(Yanked::Because(reason.into())),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("`yanked` is neither a boolean nor a text")
        }
    }
}

/// Upstreams write the serial as a number or as a text.
fn serial(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Number(number) => Some(number.to_string().into()),
        Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
        _ => None,
    }
}

fn status(value: Value) -> Option<Status> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(Into::into);
    Some(Status { status: text("status")?, reason: text("reason") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Offer, String> {
        page(text, &Url::parse("https://index.example/simple/six/").expect("an address"))
    }

    #[test]
    fn malformed_pages_are_refused() {
        for text in [
            "{\"meta\": {\"api-version\": \"2.0\"}, \"files\": []}",
            "{\"files\": [{\"filename\": 1}]}",
            "{\"files\": [{\"filename\": \"a\", \"url\": \"b\", \"yanked\": 3}]}",
            "{\"files\": [{\"filename\": \"a\", \"url\": \"b\", \"size\": -1}]}",
            "{\"projects\": []}",
            "{\"files\": []} trailing",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn null_is_missing_and_private_keys_are_dropped() {
        let offer = read(
            r#"{"meta": {"api-version": "1.3", "_last-serial": "17", "tracks": 1}, "name": "six", "_own": 1, "future": [1, 2],
                "files": [{"filename": "six-1.zip", "url": "six-1.zip", "hashes": {}, "size": null, "yanked": null,
                "upload-time": null, "provenance": null, "core-metadata": null, "_private": 1, "next": {"a": null}}]}"#,
        )
        .expect("a page");
        assert_eq!((offer.serial.as_deref(), offer.api_minor), (Some("17"), 3));
        assert_eq!(offer.extra, [Extra { key: "future".into(), json: "[1, 2]".into() }]);
        let file = &offer.files[0];
        assert_eq!((file.size, &file.upload_time), (None, &None));
        let expected = Attributes {
            provenance: Provenance::None,
            extra: vec![Extra { key: "next".into(), json: "{\"a\": null}".into() }],
            ..Attributes::default()
        };
        assert_eq!(file.attributes, expected);
    }

    #[test]
    fn the_newer_spelling_of_core_metadata_wins() {
        for (keys, expected) in [
            (r#""core-metadata": true, "data-dist-info-metadata": false"#, Sidecar::Yes),
            (r#""data-dist-info-metadata": false, "core-metadata": true"#, Sidecar::Yes),
            (r#""dist-info-metadata": true"#, Sidecar::Yes),
            (r#""core-metadata": {}"#, Sidecar::Yes),
            (r#""core-metadata": false"#, Sidecar::No),
        ] {
            let text = format!(r#"{{"files": [{{"filename": "a.zip", "url": "a.zip", {keys}}}]}}"#);
            let offer = read(&text).expect("a page");
            assert_eq!(offer.files[0].attributes.core_metadata, expected, "{keys}");
        }
    }

    #[test]
    fn files_that_cannot_be_offered_are_left_out() {
        let offer = read(
            r#"{"files": [{"filename": "../x", "url": "a.zip"}, {"filename": "x\r\n", "url": "a.zip"},
                {"filename": "a.zip", "url": "ftp://h/a.zip"}, {"filename": "b.zip", "url": "b.zip#sha1=00"}, {"filename": "c.zip"}]}"#,
        )
        .expect("a page");
        let names: Vec<_> = offer.files.iter().map(|file| &*file.filename).collect();
        assert_eq!(names, ["b.zip"]);
    }
}
