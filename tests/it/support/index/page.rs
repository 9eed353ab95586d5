//! Writes a project's page the ways that indexes do: JSON, rich HTML, poor HTML.

use serde_json::{Map, Value, json};

use super::{Project, Style, Upload};

/// A page in one representation.
pub struct Page {
    pub content_type: &'static str,
    pub text: String,
}

/// Media types of the simple API, version 1.
pub const JSON: &str = "application/vnd.pypi.simple.v1+json";
pub const HTML: &str = "application/vnd.pypi.simple.v1+html";

/// Writes the page of `project` for a client that sends `accept`.
pub fn render(name: &str, project: &Project, style: Style, files: &str, accept: &str) -> Page {
    match (style, wants_json(accept)) {
        (Style::HtmlOnly, _) => Page {
            content_type: "text/html; charset=utf-8",
            text: html(name, project, style, files),
        },
        (Style::MislabelledJson, _) => {
            Page { content_type: "application/json", text: json(name, project, style, files) }
        }
        (_, true) => Page { content_type: JSON, text: json(name, project, style, files) },
        (_, false) if accept.contains(HTML) => {
            Page { content_type: HTML, text: html(name, project, style, files) }
        }
        (_, false) => Page { content_type: "text/html", text: html(name, project, style, files) },
    }
}

/// Whether JSON is what `accept` likes best; HTML wins ties and wildcards, as at the real index.
fn wants_json(accept: &str) -> bool {
    let quality = |part: &str| {
        let weight = part.split(';').find_map(|field| field.trim().strip_prefix("q="));
        weight.and_then(|text| text.parse::<f32>().ok()).unwrap_or(1.0)
    };
    let best = |wanted: &[&str]| {
        let names =
            |part: &&str| wanted.contains(&part.split(';').next().unwrap_or_default().trim());
        accept.split(',').filter(names).map(quality).fold(0.0, f32::max)
    };
    best(&[JSON, "application/vnd.pypi.simple.latest+json"]) > best(&["*/*", "text/html", HTML])
}

fn json(name: &str, project: &Project, style: Style, files: &str) -> String {
    let rich = style != Style::HeaderPoor;
    let serial = if rich { json!(project.serial) } else { json!(project.serial.to_string()) };
    let version = if rich { "1.4" } else { "1.1" };
    let entries: Vec<Value> = project.listed().map(|upload| entry(upload, rich, files)).collect();
    let mut versions: Vec<&str> = project.listed().map(|upload| upload.version.as_str()).collect();
    versions.dedup();
    let mut page = json!({
        "meta": { "api-version": version, "_last-serial": serial },
        "name": name,
        "files": entries,
        "versions": versions,
    });
    if let Some((status, reason)) = &project.status {
        page["project-status"] = json!({ "status": status, "reason": reason });
    }
    page.to_string()
}

fn entry(upload: &Upload, rich: bool, files: &str) -> Value {
    let mut entry = Map::new();
    entry.insert("filename".to_owned(), json!(upload.filename));
    entry.insert("url".to_owned(), json!(link(upload, files)));
    let hashes = upload.sha256.iter().map(|hash| ("sha256".to_owned(), json!(hash)));
    entry.insert("hashes".to_owned(), Value::Object(hashes.collect()));
    if let Some(length) = upload.content.length() {
        entry.insert("size".to_owned(), json!(length));
    }
    let text = |value: &Option<String>| value.as_ref().map(|text| json!(text));
    let optional = [
        ("requires-python", text(&upload.requires_python)),
        ("upload-time", text(&upload.uploaded)),
        ("provenance", text(&upload.provenance)),
        ("yanked", text(&upload.yanked).or_else(|| rich.then_some(Value::Bool(false)))),
        ("core-metadata", rich.then(|| core_metadata(upload)).flatten()),
        ("x-future-key", rich.then(|| json!({ "kept": true }))),
    ];
    entry.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Value::Object(entry)
}

fn core_metadata(upload: &Upload) -> Option<Value> {
    let hash = super::sha256(upload.metadata.as_ref()?.as_bytes());
    upload.advertises_metadata.then(|| json!({ "sha256": hash }))
}

fn html(name: &str, project: &Project, style: Style, files: &str) -> String {
    let rich = style == Style::Full;
    let anchors: String = project.listed().map(|upload| anchor(upload, rich, files)).collect();
    let version = if rich { "<meta name=\"pypi:repository-version\" content=\"1.4\">" } else { "" };
    format!(
        "<!DOCTYPE html>\n<html><head>{version}<title>Links for {name}</title></head>\n\
         <body><h1>Links for {name}</h1>\n{anchors}</body></html>\n"
    )
}

fn anchor(upload: &Upload, rich: bool, files: &str) -> String {
    let fragment =
        upload.sha256.as_ref().map_or_else(String::new, |hash| format!("#sha256={hash}"));
    let mut attributes = String::new();
    let mut add = |name: &str, value: &str| {
        let value = value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        attributes.push_str(&format!(" {name}=\"{value}\""));
    };
    if let Some(range) = &upload.requires_python {
        add("data-requires-python", range);
    }
    if let Some(reason) = &upload.yanked {
        add("data-yanked", reason);
    }
    if let (true, Some(metadata), true) = (rich, &upload.metadata, upload.advertises_metadata) {
        add("data-core-metadata", &format!("sha256={}", super::sha256(metadata.as_bytes())));
    }
    format!(
        "<a href=\"{}{fragment}\"{attributes}>{}</a><br>\n",
        link(upload, files),
        upload.filename
    )
}

fn link(upload: &Upload, files: &str) -> String {
    match &upload.link {
        Some(link) => link.replace("{path}", &upload.path),
        None => format!("{files}{}", upload.path),
    }
}
