//! What the tests of container registries share: a registry, Larder over it, and the ways to name what is pulled.

use http::Method;

use super::pull::Source;
use crate::support::client::Reply;
use crate::support::larder::{Larder, QUICK, impatient};
use crate::support::registry::{FakeRegistry, Family, Image};

/// The name that the registry goes by.
pub const HUB: &str = "hub.example";
/// A repository of the default registry, with the prefix that clients leave out.
pub const REPOSITORY: &str = "library/demo";
pub const TAG: &str = "1.0";

/// Longer than a tag is trusted.
pub const PAST_FRESHNESS: u64 = 3600;

/// A registry and a Larder whose default registry it is.
pub struct Setting {
    pub registry: FakeRegistry,
    pub larder: Larder,
}

impl Setting {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With `more` settings of the registry.
    pub async fn with(more: &str) -> Self {
        let registry = FakeRegistry::start().await;
        let larder = Larder::start(&over(&registry, more)).await;
        Self { registry, larder }
    }

    /// One that does not wait for an upstream that is slow.
    pub async fn impatient() -> Self {
        let registry = FakeRegistry::start().await;
        let larder = Larder::start(&impatient(&over(&registry, ""))).await;
        Self { registry, larder }
    }

    /// Publishes an image for two platforms as `library/demo:1.0`.
    pub fn stock(&self) -> Image {
        let image = Image::multi(Family::Oci, 1);
        self.registry.publish(REPOSITORY, TAG, &image);
        image
    }

    /// By the first segment of the path, as Podman, Skopeo, Crane, Helm, Oras and Ollama do.
    pub fn by_prefix(&self) -> Source {
        Source::new(&self.larder.url("/"), &format!("{HUB}/{REPOSITORY}"))
    }

    /// By `?ns=`, as containerd does.
    pub fn by_namespace(&self) -> Source {
        Source::new(&self.larder.url("/"), REPOSITORY).of(HUB)
    }

    /// By saying nothing, as the engine does with its mirrors.
    pub fn by_default(&self) -> Source {
        Source::new(&self.larder.url("/"), REPOSITORY)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.larder.get(path).await
    }

    pub async fn head(&self, path: &str) -> Reply {
        self.larder.client.head(self.larder.url(path)).send().await
    }

    /// How often the tag was resolved upstream, and how often it was downloaded.
    pub fn tag_requests(&self) -> (usize, usize) {
        let count = |method| self.registry.manifest_requests(&method, REPOSITORY, TAG);
        (count(Method::HEAD), count(Method::GET))
    }
}

/// Settings of a Larder whose default registry is `registry`.
pub fn over(registry: &FakeRegistry, more: &str) -> String {
    format!(
        "{QUICK}[oci]\ndefault = {HUB:?}\n[oci.registries.{HUB:?}]\nnamespace = \"library\"\nupstream = {:?}\n\
         blob_hosts = [\"{}\"]\ntoken_hosts = [\"{}\"]\n{more}\n",
        registry.front.url(""),
        registry.edge.address.ip(),
        registry.tokens.address.ip(),
    )
}

/// Panics if `reply` is not an error as registries word it: one of these codes, and a sentence.
pub fn assert_error(reply: &Reply, statuses: &[u16], codes: &[&str]) {
    assert!(statuses.contains(&reply.status.as_u16()), "{reply:?}");
    assert!(reply.header("content-type").starts_with("application/json"), "{reply:?}");
    let error = &reply.json()["errors"][0];
    let code = error["code"].as_str().unwrap_or_default();
    assert!(codes.is_empty() || codes.contains(&code), "{reply:?}");
    assert!(!error["message"].as_str().unwrap_or_default().is_empty(), "{reply:?}");
}
