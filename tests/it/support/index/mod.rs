//! A fake package index: pages on one host, files on another, both over real sockets, and a shelf that tests rearrange.

pub mod page;
mod upload;
mod wheel;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, header};
use sha2::{Digest as _, Sha256};

use super::origin::{Answer, Content, Origin};
pub use upload::Upload;

/// How an index speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Both representations, validators, freshness, `Vary`, serial, gzip.
    Full,
    /// Both representations and not one header field more than a type and a length.
    HeaderPoor,
    /// Whatever is asked, HTML without metadata attributes; validators.
    HtmlOnly,
    /// JSON under a type that clients refuse; no validators.
    MislabelledJson,
}

pub const EVERY_STYLE: [Style; 4] =
    [Style::Full, Style::HeaderPoor, Style::HtmlOnly, Style::MislabelledJson];

/// A running index.
pub struct FakeIndex {
    /// Serves `/simple/` and the JSON API.
    pub pages: Origin,
    /// Serves `/packages/`.
    pub files: Origin,
    shelf: Arc<Shelf>,
}

/// What the index holds, shared by its two hosts.
struct Shelf {
    style: Style,
    projects: Mutex<BTreeMap<String, Project>>,
    /// By path. Deleting a release takes it off the page, not off the file host.
    uploads: Mutex<BTreeMap<String, Upload>>,
    /// `Authorization` that pages ask for.
    authorization: Mutex<Option<String>>,
}

/// What the index has of a project.
#[derive(Default, Clone)]
pub struct Project {
    uploads: Vec<Upload>,
    /// Status and reason.
    pub status: Option<(String, String)>,
    /// What the JSON API says of each release beside its name and version.
    pub info: serde_json::Map<String, serde_json::Value>,
    /// Who may publish, as the JSON API tells it.
    pub maintainers: Option<usize>,
    pub serial: u64,
}

impl Project {
    /// Files that the page shows: none of a quarantined project.
    pub fn listed(&self) -> impl Iterator<Item = &Upload> {
        let hidden = self.status.as_ref().is_some_and(|(status, _)| status == "quarantined");
        self.uploads.iter().filter(move |_| !hidden)
    }
}

impl FakeIndex {
    pub async fn start(style: Style) -> Self {
        let shelf = Arc::new(Shelf {
            style,
            projects: Mutex::default(),
            uploads: Mutex::default(),
            authorization: Mutex::default(),
        });
        let files = Origin::start("127.0.0.2", Files(Arc::clone(&shelf))).await;
        let pages = Pages { shelf: Arc::clone(&shelf), files: files.url("") };
        Self { pages: Origin::start("127.0.0.1", pages).await, files, shelf }
    }

    /// The address that a proxy is configured with.
    pub fn simple(&self) -> String {
        self.pages.url("/simple/")
    }

    /// Adds files to a project, which comes to be if it was not.
    pub fn publish(&self, name: &str, uploads: impl IntoIterator<Item = Upload>) {
        for upload in uploads {
            lock(&self.shelf.uploads).insert(upload.path.clone(), upload.clone());
            self.edit(name, |project| project.uploads.push(upload));
        }
    }

    /// Takes a release off the page. Its files stay where they are, as at the real index.
    pub fn delete_release(&self, name: &str, version: &str) {
        self.edit(name, |project| project.uploads.retain(|upload| upload.version != version));
    }

    /// Takes a project away: its page is 404.
    pub fn delete_project(&self, name: &str) {
        lock(&self.shelf.projects).remove(name);
    }

    /// Takes a file off the file host too.
    pub fn destroy_file(&self, upload: &Upload) {
        lock(&self.shelf.uploads).remove(&upload.path);
    }

    /// Puts other bytes under a file's address.
    pub fn replace_file(&self, upload: &Upload, content: impl Into<Content>) {
        let content = content.into();
        let replaced = Upload { digest: content.sha256(), content, ..upload.clone() };
        lock(&self.shelf.uploads).insert(upload.path.clone(), replaced);
    }

    pub fn yank(&self, name: &str, version: &str, reason: Option<&str>) {
        self.edit(name, |project| {
            for upload in project.uploads.iter_mut().filter(|upload| upload.version == version) {
                upload.yanked = reason.map(str::to_owned);
            }
        });
    }

    pub fn set_status(&self, name: &str, status: &str, reason: &str) {
        self.edit(name, |project| project.status = Some((status.to_owned(), reason.to_owned())));
    }

    /// Says more of each release in the JSON API.
    pub fn describe(&self, name: &str, maintainers: usize, info: serde_json::Value) {
        self.edit(name, |project| {
            project.maintainers = Some(maintainers);
            project.info = info.as_object().cloned().unwrap_or_default();
        });
    }

    /// Pages answer 401 to whoever does not send this.
    pub fn require_basic(&self, user: &str, password: &str) {
        let token = STANDARD.encode(format!("{user}:{password}"));
        *lock(&self.shelf.authorization) = Some(format!("Basic {token}"));
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Project)) {
        let mut projects = lock(&self.shelf.projects);
        let project = projects.entry(name.to_owned()).or_default();
        change(project);
        project.serial += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host of pages and of the JSON API.
struct Pages {
    shelf: Arc<Shelf>,
    /// The address of the file host.
    files: String,
}

impl super::origin::Respond for Pages {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let sent =
            request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let wanted = lock(&self.shelf.authorization).clone();
        if wanted.is_some() && sent != wanted.as_deref() {
            return Answer::new(401).with("www-authenticate", "Basic realm=\"index\"");
        }
        let segments: Vec<&str> = request.uri().path().trim_start_matches('/').split('/').collect();
        match segments.as_slice() {
            ["simple", ""] => self.root(request),
            ["simple", name] => Answer::new(301).with("location", &format!("/simple/{name}/")),
            ["simple", name, ""] => self.page(name, request),
            ["pypi", name, "json"] => self.api(name, None),
            ["pypi", name, version, "json"] => self.api(name, Some(version)),
            _ => Answer::new(404),
        }
    }
}

impl Pages {
    fn page(&self, name: &str, request: &Request<Bytes>) -> Answer {
        let normalised = normalise(name);
        if normalised != name {
            return Answer::new(301).with("location", &format!("/simple/{normalised}/"));
        }
        let projects = lock(&self.shelf.projects);
        let Some(project) = projects.get(name) else { return Answer::new(404) };
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let page =
            page::render(name, project, self.shelf.style, &self.files, accept.unwrap_or("*/*"));
        let answer = Answer::ok(page.content_type, page.text.clone());
        match self.shelf.style {
            Style::Full => compressed(validated(answer, &page.text, request), request)
                .with("x-pypi-last-serial", &project.serial.to_string())
                .with("vary", "Accept, Accept-Encoding"),
            Style::HtmlOnly => validated(answer, &page.text, request),
            Style::HeaderPoor | Style::MislabelledJson => answer,
        }
    }

    fn root(&self, _: &Request<Bytes>) -> Answer {
        let names: Vec<String> = lock(&self.shelf.projects).keys().cloned().collect();
        let projects: Vec<_> =
            names.iter().map(|name| serde_json::json!({ "name": name })).collect();
        let page = serde_json::json!({ "meta": { "api-version": "1.4" }, "projects": projects });
        Answer::ok(page::JSON, page.to_string())
    }

    fn api(&self, name: &str, version: Option<&str>) -> Answer {
        let projects = lock(&self.shelf.projects);
        let Some(project) = projects.get(name) else { return Answer::new(404) };
        let latest = project.listed().last().map(|upload| upload.version.as_str());
        let Some(version) = version.or(latest) else { return Answer::new(404) };
        let urls: Vec<_> = project
            .listed()
            .filter(|upload| upload.version == version)
            .map(|upload| {
                serde_json::json!({
                    "filename": upload.filename,
                    "url": format!("{}{}", self.files, upload.path),
                    "digests": { "sha256": upload.sha256 },
                })
            })
            .collect();
        let mut document = serde_json::json!({
            "info": { "name": name, "version": version }, "urls": urls, "vulnerabilities": [],
        });
        for (key, value) in &project.info {
            document["info"][key.as_str()] = value.clone();
        }
        if let Some(count) = project.maintainers {
            let role = serde_json::json!({ "role": "Owner", "user": "somebody" });
            document["ownership"] = serde_json::json!({ "roles": vec![role; count] });
        }
        Answer::ok("application/json", document.to_string())
            .with("cache-control", "max-age=900, public")
    }
}

/// Adds freshness and an entity tag, and answers 304 when the client has that one.
fn validated(answer: Answer, text: &str, request: &Request<Bytes>) -> Answer {
    let tag = format!("\"{}\"", &sha256(text.as_bytes())[..32]);
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let answer = match known == Some(tag.as_str()) {
        true => Answer::new(304),
        false => answer,
    };
    answer.with("etag", &tag).with("cache-control", "max-age=600, public")
}

fn compressed(answer: Answer, request: &Request<Bytes>) -> Answer {
    let accepted =
        request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let Content::Bytes(text) = &answer.content else { return answer };
    if text.is_empty() || !accepted.is_some_and(|codings| codings.contains("gzip")) {
        return answer;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory can be written");
    let bytes = encoder.finish().expect("the stream can be closed");
    answer.of(bytes).with("content-encoding", "gzip")
}

/// The host of files. Never 304, as the real one's edge takes conditions away.
struct Files(Arc<Shelf>);

impl super::origin::Respond for Files {
    fn respond(&self, request: &Request<Bytes>) -> Answer {
        let path = request.uri().path();
        let uploads = lock(&self.0.uploads);
        let rich = matches!(self.0.style, Style::Full | Style::HtmlOnly);
        if let Some(upload) = path.strip_suffix(".metadata").and_then(|path| uploads.get(path)) {
            let metadata = upload.metadata.clone();
            return metadata
                .map_or_else(|| Answer::new(404), |text| Answer::ok("text/plain", text));
        }
        let Some(upload) = uploads.get(path) else { return Answer::new(404) };
        let answer = Answer::ok("application/octet-stream", upload.content.clone());
        let answer = match rich {
            true => answer
                .with("cache-control", "max-age=365000000, immutable, public")
                .with("etag", &format!("\"{}\"", &upload.digest[..32]))
                .with("last-modified", "Mon, 06 May 2024 07:08:09 GMT"),
            false => answer,
        };
        answer.ranged(request.headers())
    }
}

/// The normal form of a project's name (PEP 503).
pub fn normalise(name: &str) -> String {
    let mut normal = String::new();
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normal.is_empty() {
            normal.push('-');
        }
        normal.push_str(&part.to_lowercase());
    }
    normal
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
