//! The words of git-lfs's batch API: what a client asks for, what it is told.
//!
//! Left out: where objects come from (`lfs`).

use serde::{Deserialize, Serialize};

use crate::types::{Algorithm, Digest};

/// The media type of both directions.
pub const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Request {
    pub operation: String,
    /// Ways in which the client can transfer; none means `basic`.
    #[serde(default)]
    pub transfers: Vec<String>,
    #[serde(default, rename = "ref")]
    pub reference: Option<Reference>,
    #[serde(default)]
    pub objects: Vec<Named>,
    #[serde(default)]
    pub hash_algo: Option<String>,
}

/// The ref that the client is on: `refs/heads/main`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Reference {
    pub name: String,
}

/// An object by its SHA-256 and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub oid: String,
    pub size: u64,
}

impl Request {
    /// Reads a request's body. `Err` tells the client what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("this is no batch request: {error}"))
    }

    /// Whether it asks to download by plain HTTP, objects that are named by their SHA-256: what can be answered from what is kept.
    pub fn is_plain_download(&self) -> bool {
        let basic = self.transfers.is_empty() || self.transfers.iter().any(|name| name == "basic");
        let sha256 = self.hash_algo.as_deref().is_none_or(|name| name == "sha256");
        self.operation == "download" && basic && sha256
    }

    /// The branch or tag that the client is on, when it says.
    pub fn revision(&self) -> Option<&str> {
        let name = self.reference.as_ref()?.name.as_str();
        let short = ["refs/heads/", "refs/tags/"];
        Some(short.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name))
    }
}

impl Named {
    /// The object's digest. `None`: it is named by no SHA-256.
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_hex(Algorithm::Sha256, &self.oid).ok()
    }
}

/// What the client is told of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is at this address, for this many seconds, without credentials.
    At { href: String, seconds: u64 },
    /// It is not to be had.
    Error { code: u16, message: String },
}

/// The answer to a download.
pub fn answer(objects: &[(Named, Told)]) -> Vec<u8> {
    let objects = objects.iter().map(|(named, told)| match told {
        Told::At { href, seconds } => serde_json::json!({
            "oid": named.oid,
            "size": named.size,
            "authenticated": true,
            "actions": { "download": { "href": href, "expires_in": seconds } },
        }),
        Told::Error { code, message } => serde_json::json!({
            "oid": named.oid,
            "size": named.size,
            "error": { "code": code, "message": message },
        }),
    });
    let objects: Vec<serde_json::Value> = objects.collect();
    let answer =
        serde_json::json!({ "transfer": "basic", "objects": objects, "hash_algo": "sha256" });
    answer.to_string().into_bytes()
}

/// What upstream said of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub named: Named,
    pub place: Place,
}

/// Where upstream has an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    At(String),
    Error { code: u16, message: String },
}

/// Reads upstream's answer to a download by plain HTTP. `Err` for anything else, which must not be passed on.
pub fn heard(body: &[u8]) -> Result<Vec<Heard>, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("upstream's batch answer cannot be read: {error}"))?;
    if answer.transfer.as_deref().is_some_and(|name| name != "basic") {
        return Err("upstream's batch answer is for a transfer that was not asked for".to_owned());
    }
    let read = answer.objects.into_iter().map(|object| {
        let Object { oid, size, actions, error } = object;
        let place = match (actions.and_then(|actions| actions.download), error) {
            (Some(download), None) => Place::At(download.href),
            (None, Some(Fault { code, message })) => Place::Error { code, message },
            _ => return Err(format!("upstream's batch answer does not say where {oid} is")),
        };
        Ok(Heard { named: Named { oid, size }, place })
    });
    read.collect()
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    download: Option<Download>,
}

#[derive(Deserialize)]
struct Download {
    href: String,
}

#[derive(Deserialize)]
struct Fault {
    code: u16,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(oid: &str, size: u64) -> Named {
        Named { oid: oid.to_owned(), size }
    }

    #[test]
    fn requests_are_read() {
        let text = r#"{"operation":"download","transfers":["lfs-standalone-file","basic"],"ref":{"name":"refs/heads/a/b"},
            "objects":[{"oid":"aa","size":3}],"hash_algo":"sha256","more":1}"#;
        let request = Request::parse(text.as_bytes()).expect("a request");
        assert!(request.is_plain_download());
        assert_eq!(request.revision(), Some("a/b"));
        assert_eq!(request.objects, [named("aa", 3)]);
        assert_eq!(request.objects[0].digest(), None);
        let plain = |text: &str| Request::parse(text.as_bytes()).map(|r| r.is_plain_download());
        assert_eq!(plain(r#"{"operation":"download"}"#), Ok(true));
        assert_eq!(plain(r#"{"operation":"upload"}"#), Ok(false));
        assert_eq!(plain(r#"{"operation":"download","transfers":["ssh"]}"#), Ok(false));
        assert_eq!(plain(r#"{"operation":"download","hash_algo":"sha512"}"#), Ok(false));
        for broken in ["", "[]", "{}", r#"{"operation":"download","objects":[{"oid":"a"}]}"#] {
            assert!(Request::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_upstream_says_is_read_or_refused() {
        let text = r#"{"transfer":"basic","objects":[
            {"oid":"aa","size":1,"authenticated":true,"actions":{"download":{"href":"http://cdn.example/a?s=1","expires_in":60}}},
            {"oid":"bb","size":2,"error":{"code":404,"message":"no such object"}}]}"#;
        let heard_of = heard(text.as_bytes()).expect("an answer");
        assert_eq!(heard_of[0].place, Place::At("http://cdn.example/a?s=1".to_owned()));
        assert!(matches!(heard_of[1].place, Place::Error { code: 404, .. }));
        for broken in [
            "<html>",
            r#"{"message":"gone"}"#,
            r#"{"transfer":"ssh","objects":[]}"#,
            r#"{"objects":[{"oid":"aa","size":1}]}"#,
        ] {
            assert!(heard(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn answers_are_what_the_client_reads() {
        let told = [
            (named("aa", 1), Told::At { href: "http://l.example/x".to_owned(), seconds: 60 }),
            (named("bb", 2), Told::Error { code: 404, message: "no".to_owned() }),
        ];
        let answer: serde_json::Value = serde_json::from_slice(&answer(&told)).expect("JSON");
        assert_eq!(answer["objects"][0]["actions"]["download"]["href"], "http://l.example/x");
        assert_eq!(answer["objects"][1]["error"]["code"], 404);
        assert!(answer["objects"][1].get("actions").is_none());
    }
}
