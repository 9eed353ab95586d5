//! A fake container registry: the registry on one host, its blobs on another behind signed links, its tokens on a third, all over real
//! sockets; and a shelf and manners that tests change while it runs.
//!
//! It does what registries do to those who pull, well or badly: challenges, pages, redirects, limits, missing fields, hidden repositories. It
//! takes nothing in over the wire. Faults of transport are those of [`Origin`], by path: see [`manifest_path`], [`blob_path`], [`edge_path`].

pub mod cosign;
pub mod door;
pub mod image;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;

use super::origin::{Content, Logged, Origin};
pub use door::{Door, Form, Realm, Tokens};
pub use image::{Algorithm, Blob, Family, Image, Manifest};

/// A running registry.
pub struct FakeRegistry {
    /// Serves `/v2/`, and `/token` when the realm is [`Realm::Here`].
    pub front: Origin,
    /// Serves blobs to whoever has a signed link.
    pub edge: Origin,
    /// Serves `/token` when the realm is [`Realm::Beside`].
    pub tokens: Origin,
    shelf: Arc<Shelf>,
}

/// What the registry holds and how it behaves, shared by its hosts.
#[derive(Default)]
struct Shelf {
    repositories: Mutex<BTreeMap<String, Repository>>,
    /// By digest, whichever repository they belong to.
    blobs: Mutex<BTreeMap<String, Content>>,
    manners: Mutex<Manners>,
    register: door::Register,
    /// Links with a lower number than the second have expired; the first counts them.
    links: AtomicU64,
    links_expired: AtomicU64,
}

#[derive(Default, Clone)]
struct Repository {
    tags: BTreeMap<String, String>,
    manifests: BTreeMap<String, Manifest>,
    blobs: BTreeSet<String>,
    /// Who may read it; everybody with `None`.
    readers: Option<BTreeSet<String>>,
}

impl Repository {
    fn is_read_by(&self, user: Option<&str>) -> bool {
        self.readers.as_ref().is_none_or(|readers| user.is_some_and(|user| readers.contains(user)))
    }
}

/// How the registry behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    pub door: Door,
    pub blobs: Delivery,
    pub head: Head,
    pub named: Named,
    /// Whether there is an API for referrers; without it, 404.
    pub referrers: bool,
    /// Most entries of a list in one answer.
    pub page: Option<usize>,
    pub limits: Option<Limits>,
    /// The edge compresses what it sends, whatever the client accepts.
    pub edge_encodes: bool,
    /// The edge's signatures are good for `HEAD`, too.
    pub edge_heads: bool,
    /// Blobs are given in parts.
    pub ranges: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            door: Door::Open,
            blobs: Delivery::Straight,
            head: Head::Whole,
            named: Named::Right,
            referrers: true,
            page: None,
            limits: None,
            edge_encodes: false,
            edge_heads: false,
            ranges: true,
        }
    }
}

/// How blobs are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Straight,
    /// By a redirect with this status to the edge.
    Redirected(u16),
}

/// What `HEAD` of a manifest is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    Whole,
    /// No `Content-Length`.
    WithoutLength,
    /// 405.
    NotAllowed,
}

/// The digest that answers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Right,
    Wrong,
    Missing,
}

/// A budget of manifest downloads. `HEAD` costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub limit: u64,
    pub remaining: u64,
    /// Told with a 429.
    pub retry_after_secs: Option<u64>,
}

impl FakeRegistry {
    pub async fn start() -> Self {
        let shelf = Arc::new(Shelf::default());
        let edge = Origin::start("127.0.0.2", serve::Edge(Arc::clone(&shelf))).await;
        let tokens = Origin::start("127.0.0.3", serve::TokenHost(Arc::clone(&shelf))).await;
        let front = serve::Front {
            shelf: Arc::clone(&shelf),
            edge: edge.url(""),
            tokens: tokens.url("/token"),
        };
        Self { front: Origin::start("127.0.0.1", front).await, edge, tokens, shelf }
    }

    /// Changes how it behaves from the next request on.
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut lock(&self.shelf.manners));
    }

    /// What is left of the budget.
    pub fn remaining(&self) -> Option<u64> {
        lock(&self.shelf.manners).limits.map(|limits| limits.remaining)
    }

    /// Puts an image on the shelf and a tag on it, which moves if it was elsewhere.
    pub fn publish(&self, repository: &str, tag: &str, image: &Image) {
        self.stock(repository, image);
        self.edit(repository, |held| held.tags.insert(tag.to_owned(), image.root.digest.clone()));
    }

    /// Puts an image on the shelf, to be had by digest.
    pub fn stock(&self, repository: &str, image: &Image) {
        for blob in &image.blobs {
            self.add_blob(repository, blob);
        }
        for manifest in image.manifests() {
            self.add_manifest(repository, manifest);
        }
    }

    pub fn add_blob(&self, repository: &str, blob: &Blob) {
        lock(&self.shelf.blobs).insert(blob.digest.clone(), blob.content.clone());
        self.edit(repository, |held| held.blobs.insert(blob.digest.clone()));
    }

    pub fn add_manifest(&self, repository: &str, manifest: &Manifest) {
        self.edit(repository, |held| {
            held.manifests.insert(manifest.digest.clone(), manifest.clone())
        });
    }

    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        self.edit(repository, |held| held.tags.insert(tag.to_owned(), digest.to_owned()));
    }

    /// Publishes something that refers to `subject`, to be found by its referrers.
    pub fn refer(&self, repository: &str, subject: &Manifest, artifact_type: &str) -> Manifest {
        let payload = Blob::new("text/plain", format!("{artifact_type} of {}", subject.digest));
        let referrer = Manifest::referrer(subject, artifact_type, &payload);
        self.add_blob(repository, &Blob::new("application/vnd.oci.empty.v1+json", "{}"));
        self.add_blob(repository, &payload);
        self.add_manifest(repository, &referrer);
        referrer
    }

    /// Publishes a signature under the tag that is made of the digest it signs: `sha256-….sig`.
    pub fn sign(&self, repository: &str, digest: &str) -> Image {
        let layers = vec![Blob::new(
            "application/vnd.dev.cosign.simplesigning.v1+json",
            format!("{{\"signed\":{digest:?}}}"),
        )];
        let signature = Image::of_layers(Family::Oci, "", layers);
        self.publish(repository, &format!("{}.sig", digest.replace(':', "-")), &signature);
        signature
    }

    pub fn delete_tag(&self, repository: &str, tag: &str) {
        self.edit(repository, |held| held.tags.remove(tag));
    }

    pub fn delete_repository(&self, repository: &str) {
        lock(&self.shelf.repositories).remove(repository);
    }

    /// Takes a blob away everywhere.
    pub fn destroy_blob(&self, digest: &str) {
        lock(&self.shelf.blobs).remove(digest);
    }

    /// Lets only these people read a repository; with `None` everybody.
    pub fn restrict(&self, repository: &str, readers: Option<&[&str]>) {
        let readers = readers.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        self.edit(repository, |held| held.readers = readers);
    }

    pub fn admit(&self, user: &str, password: &str) {
        self.shelf.register.admit(user, password);
    }

    pub fn dismiss(&self, user: &str) {
        self.shelf.register.dismiss(user);
    }

    /// Every token given out so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.shelf.register.revoke_tokens();
    }

    /// Every signed link given out so far is refused from now on.
    pub fn expire_links(&self) {
        let given = self.shelf.links.load(Ordering::Acquire);
        self.shelf.links_expired.store(given, Ordering::Release);
    }

    /// Requests to all hosts so far, each as `GET /path`, in no particular order between hosts.
    pub fn journal(&self) -> Vec<String> {
        self.logged().map(|logged| format!("{} {}", logged.method, logged.path)).collect()
    }

    /// How often a manifest was asked for with this method.
    pub fn manifest_requests(&self, method: &Method, repository: &str, reference: &str) -> usize {
        let path = manifest_path(repository, reference);
        self.front.asked(&path).iter().filter(|logged| logged.method == method).count()
    }

    /// How often the bytes of a blob, or some of them, were sent, and how many bytes in all.
    pub fn crossings(&self, digest: &str) -> (usize, u64) {
        let ending = format!("/{digest}");
        let given = |logged: &Arc<Logged>| {
            logged.method == Method::GET
                && logged.path.ends_with(&ending)
                && matches!(logged.status(), 200 | 206)
        };
        self.logged()
            .filter(given)
            .fold((0, 0), |(count, bytes), logged| (count + 1, bytes + logged.sent()))
    }

    /// Requests for tokens so far.
    pub fn token_requests(&self) -> Vec<Arc<Logged>> {
        self.logged().filter(|logged| logged.path == "/token").collect()
    }

    pub fn forget(&self) {
        for origin in self.origins() {
            origin.forget();
        }
    }

    pub fn heal(&self) {
        for origin in self.origins() {
            origin.heal();
        }
    }

    /// Every host refuses connections.
    pub async fn refuse(&self) {
        for origin in self.origins() {
            origin.refuse().await;
        }
    }

    /// Every host takes connections again.
    pub fn listen(&self) {
        for origin in self.origins() {
            origin.listen();
        }
    }

    pub fn origins(&self) -> [&Origin; 3] {
        [&self.front, &self.edge, &self.tokens]
    }

    fn logged(&self) -> impl Iterator<Item = Arc<Logged>> {
        self.origins().map(Origin::log).into_iter().flatten()
    }

    fn edit<T>(&self, repository: &str, change: impl FnOnce(&mut Repository) -> T) {
        change(lock(&self.shelf.repositories).entry(repository.to_owned()).or_default());
    }
}

pub fn manifest_path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

pub fn blob_path(repository: &str, digest: &str) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

/// Where the edge has a blob.
pub fn edge_path(digest: &str) -> String {
    format!("/store/{digest}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
