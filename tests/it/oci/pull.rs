//! Clients that pull, replayed: what each sends, in its order, and what each insists on in an answer. A pull fails as the real client would.

use std::fmt::Write as _;

use futures_util::future::try_join_all;
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::support::client::{Client, Reply};
use crate::support::registry::image::{OCI_INDEX, OCI_MANIFEST, SCHEMA2, SCHEMA2_LIST};
use crate::support::registry::{Algorithm, Image};

const SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SIGNED_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A client that pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Puller {
    /// The engine of Debian 12 with its own image store.
    Docker,
    /// 1.6.
    Containerd,
    /// From 2.1 on: open-ended ranges of which it reads its part and leaves.
    ContainerdInParts,
    /// And Buildah, CRI-O, Skopeo.
    Podman,
    /// `skopeo copy --all`: every platform.
    SkopeoAll,
    Crane,
    Oras,
    Ollama,
}

pub const EVERY_PULLER: [Puller; 8] = [
    Puller::Docker,
    Puller::Containerd,
    Puller::ContainerdInParts,
    Puller::Podman,
    Puller::SkopeoAll,
    Puller::Crane,
    Puller::Oras,
    Puller::Ollama,
];

/// Where an image is pulled from, and how the client says so.
#[derive(Debug, Clone)]
pub struct Source {
    /// `http://127.0.0.1:8484`, or with a path before `/v2/`.
    pub base: String,
    /// The repository as it stands behind `/v2/`.
    pub repository: String,
    /// The registry's name, for those who send it.
    pub namespace: Option<String>,
    pub authorization: Option<String>,
}

impl Source {
    pub fn new(base: &str, repository: &str) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            repository: repository.to_owned(),
            namespace: None,
            authorization: None,
        }
    }

    pub fn of(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }
}

/// What came of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The digest of what the tag led to.
    pub digest: String,
    /// Digests of everything that was fetched, sorted.
    pub parts: Vec<String>,
    /// Warnings that answers carried.
    pub warnings: String,
}

impl Pulled {
    /// Panics if this is not that image, as far as `puller` pulls it.
    pub fn expect(&self, puller: Puller, image: &Image) {
        assert_eq!(self.digest, image.digest(), "{puller:?}");
        if puller == Puller::SkopeoAll || image.children.is_empty() {
            let mut whole: Vec<_> = image.manifests().map(|held| held.digest.clone()).collect();
            whole.extend(image.blobs.iter().map(|blob| blob.digest.clone()));
            whole.sort();
            whole.dedup();
            assert_eq!(self.parts, whole, "{puller:?}");
        }
        assert!(self.parts.len() >= 3, "{puller:?}: {:?}", self.parts);
    }
}

impl Puller {
    /// Pulls `reference`, a tag or a digest.
    pub async fn pull(self, source: &Source, reference: &str) -> Result<Pulled, String> {
        let client = Client::new();
        let session = Session { puller: self, source, client, token: None, pulled: Vec::new() };
        session.pull(reference).await.map_err(|error| format!("{self:?}: {error}"))
    }

    fn pings(self) -> bool {
        !matches!(self, Self::Containerd | Self::ContainerdInParts | Self::Oras | Self::Ollama)
    }

    /// Whether it resolves a tag by `HEAD` and gets what it finds by digest.
    fn resolves(self) -> bool {
        matches!(self, Self::Docker | Self::Containerd | Self::ContainerdInParts | Self::Oras)
    }

    /// Whether a `HEAD` must have a type and a length beside the digest.
    fn is_strict(self) -> bool {
        matches!(self, Self::Oras | Self::Crane)
    }

    fn accept_encoding(self) -> &'static str {
        match self {
            Self::ContainerdInParts => "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5",
            _ => "gzip",
        }
    }

    fn user_agent(self) -> &'static str {
        match self {
            Self::Docker => "docker/20.10.24 go/go1.19.8 os/linux arch/amd64",
            Self::Containerd => "containerd/1.6.20~ds1",
            Self::ContainerdInParts => "containerd/2.3.4+unknown",
            Self::Podman => "containers/5.23.1 (github.com/containers/image)",
            Self::SkopeoAll => "skopeo/1.9.3",
            Self::Crane => "crane/(devel) go-containerregistry/v0.20.2",
            Self::Oras => "oras-go",
            Self::Ollama => "ollama/0.12.0 (amd64 linux) Go/go1.24.1",
        }
    }

    /// The lines of `Accept` on a manifest. Order does not matter: the engine shuffles them.
    fn accept(self, by: &By<'_>) -> Vec<String> {
        let lines = |types: &[&str]| types.iter().map(|line| (*line).to_owned()).collect();
        match (self, by) {
            (Self::Docker, _) => lines(&[
                "application/json",
                SIGNED_SCHEMA1,
                OCI_MANIFEST,
                SCHEMA2,
                OCI_INDEX,
                SCHEMA2_LIST,
            ]),
            (Self::Containerd | Self::ContainerdInParts | Self::Oras, By::Digest(kind)) => {
                vec![format!("{kind}, */*")]
            }
            (Self::Containerd | Self::ContainerdInParts | Self::Oras, By::Tag) => {
                vec![format!("{SCHEMA2}, {SCHEMA2_LIST}, {OCI_MANIFEST}, {OCI_INDEX}, */*")]
            }
            (Self::Podman | Self::SkopeoAll, _) => {
                lines(&[OCI_MANIFEST, SCHEMA2, SIGNED_SCHEMA1, SCHEMA1, SCHEMA2_LIST, OCI_INDEX])
            }
            (Self::Crane, _) => vec![format!(
                "{SCHEMA1},{SIGNED_SCHEMA1},{SCHEMA2},{OCI_MANIFEST},{SCHEMA2_LIST},{OCI_INDEX}"
            )],
            (Self::Ollama, _) => lines(&[SCHEMA2]),
        }
    }
}

/// How a manifest is asked for.
enum By<'a> {
    Tag,
    /// Whose media type is known.
    Digest(&'a str),
}

/// One pull under way.
struct Session<'a> {
    puller: Puller,
    source: &'a Source,
    client: Client,
    /// What the ping's challenge led to.
    token: Option<String>,
    /// What has been fetched.
    pulled: Vec<String>,
}

/// A descriptor within a manifest.
struct Part {
    digest: String,
    media_type: String,
    size: u64,
}

impl Session<'_> {
    async fn pull(mut self, reference: &str) -> Result<Pulled, String> {
        if self.puller.pings() {
            let ping = self.ask(Method::GET, "/v2/", &[]).await;
            match ping.status.as_u16() {
                401 => self.authenticate(&ping).await?,
                _ => expect(ping.status == 200, "the ping", &ping)?,
            }
        }
        let (wanted, kind) = match self.puller.resolves() {
            true => self.resolve(reference).await?,
            false => (reference.to_owned(), None),
        };
        let by = kind.as_deref().map_or(By::Tag, By::Digest);
        let (root, reply) = self.manifest(&wanted, by).await?;
        let digest = Algorithm::Sha256.digest(&reply.body);
        let digest = if wanted.starts_with("sha512:") { wanted } else { digest };
        for child in self.children(&root) {
            let (manifest, _) = self.manifest(&child.digest, By::Digest(&child.media_type)).await?;
            self.blobs(&manifest).await?;
        }
        self.blobs(&root).await?;
        self.pulled.sort();
        self.pulled.dedup();
        let warnings = warnings(&reply);
        Ok(Pulled { digest, parts: self.pulled, warnings })
    }

    /// Goes where the ping's challenge leads, with no credentials, unless a token is at hand already.
    async fn authenticate(&mut self, ping: &Reply) -> Result<(), String> {
        let challenge = ping.header("www-authenticate");
        let field = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (realm, service) = (field("realm").unwrap_or_default(), field("service"));
        if self.source.authorization.is_some() {
            return Ok(());
        }
        let mut address = url::Url::parse(&realm).map_err(|error| format!("{realm}: {error}"))?;
        let scope = format!("repository:{}:pull", self.source.repository);
        address.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            address.query_pairs_mut().append_pair("service", &service);
        }
        let reply = self.client.get(address.as_str()).send().await;
        expect(reply.status == 200, "a token for nobody", &reply)?;
        let token = reply.json()["token"].as_str().unwrap_or_default().to_owned();
        self.token = Some(format!("Bearer {token}"));
        Ok(())
    }

    /// `HEAD`: the digest and the type behind a reference.
    async fn resolve(&self, reference: &str) -> Result<(String, Option<String>), String> {
        let path = self.path("manifests", reference);
        let fields = self.fields("accept", self.puller.accept(&By::Tag));
        let head = self.ask(Method::HEAD, &path, &fields).await;
        expect(head.status == 200, "HEAD of the tag", &head)?;
        check_head(&head, self.puller)?;
        let kind = head.header("content-type").to_owned();
        Ok((head.header("docker-content-digest").to_owned(), Some(kind)))
    }

    async fn manifest(&mut self, reference: &str, by: By<'_>) -> Result<(Value, Reply), String> {
        let path = self.path("manifests", reference);
        let fields = self.fields("accept", self.puller.accept(&by));
        let reply = self.ask(Method::GET, &path, &fields).await;
        expect(reply.status == 200 && !reply.cut, &format!("manifest {reference}"), &reply)?;
        check_identity(&reply)?;
        let kind = reply.header("content-type");
        expect(!kind.is_empty() && !kind.contains(';'), "the manifest's type", &reply)?;
        let algorithm = algorithm(reply.header("docker-content-digest"));
        let digest = algorithm.digest(&reply.body);
        expect(reply.header("docker-content-digest") == digest, "the named digest", &reply)?;
        if reference.contains(':') {
            expect(digest == reference, "the digest that was asked for", &reply)?;
        }
        self.check_namespace(&reply.headers)?;
        let manifest: Value = serde_json::from_slice(&reply.body).map_err(|e| e.to_string())?;
        expect(manifest["mediaType"] == kind, "the type inside and outside", &reply)?;
        self.pulled.push(digest);
        Ok((manifest, reply))
    }

    /// The manifests of an index that this client goes on to.
    fn children(&self, index: &Value) -> Vec<Part> {
        let children = index["manifests"].as_array().into_iter().flatten();
        let ours = |child: &&Value| {
            self.puller == Puller::SkopeoAll || child["platform"]["architecture"] == "amd64"
        };
        children.filter(ours).map(part).collect()
    }

    async fn blobs(&mut self, manifest: &Value) -> Result<(), String> {
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let parts: Vec<Part> = manifest.get("config").into_iter().chain(layers).map(part).collect();
        let this = &*self;
        try_join_all(parts.iter().map(|part| this.blob(part))).await?;
        self.pulled.extend(parts.into_iter().map(|part| part.digest));
        Ok(())
    }

    async fn blob(&self, part: &Part) -> Result<(), String> {
        let path = self.path("blobs", &part.digest);
        let body = match self.puller {
            Puller::ContainerdInParts => self.in_parts(&path, part).await?,
            Puller::Ollama => self.as_ollama(&path, part).await?,
            _ => {
                let reply = self.ask(Method::GET, &path, &self.blob_fields(part)).await;
                expect(
                    reply.status == 200 && !reply.cut,
                    &format!("blob {}", part.digest),
                    &reply,
                )?;
                check_identity(&reply)?;
                let length = reply.header("content-length");
                expect(length == part.size.to_string(), "the blob's length", &reply)?;
                self.check_namespace(&reply.headers)?;
                reply.body.to_vec()
            }
        };
        let digest = algorithm(&part.digest).digest(&body);
        match digest == part.digest {
            true => Ok(()),
            false => Err(format!("{} came as {digest}", part.digest)),
        }
    }

    /// Two streams of open-ended ranges: the first is read to the middle and left, the second gives the rest.
    async fn in_parts(&self, path: &str, part: &Part) -> Result<Vec<u8>, String> {
        let middle = part.size / 2;
        let mut body = Vec::new();
        let mut first = self.open(path, part, "bytes=0-").await?;
        while (body.len() as u64) < middle {
            match first.next().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        body.truncate(middle as usize);
        drop(first);
        let rest = self.open(path, part, &format!("bytes={middle}-")).await?.rest().await;
        expect(!rest.cut, "the rest of the blob", &rest)?;
        body.extend_from_slice(&rest.body);
        Ok(body)
    }

    async fn open(
        &self,
        path: &str,
        part: &Part,
        range: &str,
    ) -> Result<crate::support::client::Open, String> {
        let fields = self.blob_fields(part);
        let ask = self.client.get(self.address(path));
        let ask = fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value));
        let open = ask.with("range", range).open().await;
        match open.status.as_u16() {
            206 => Ok(open),
            status => Err(format!("{range} of {} was answered {status}", part.digest)),
        }
    }

    /// `HEAD`, a `GET` that must lead somewhere even when it is the thing itself, and ranges without credentials.
    async fn as_ollama(&self, path: &str, part: &Part) -> Result<Vec<u8>, String> {
        let head = self.ask(Method::HEAD, path, &[]).await;
        expect(head.status == 200, "HEAD of the blob", &head)?;
        expect(head.header("content-length") == part.size.to_string(), "its length", &head)?;
        let whole = self.ask(Method::GET, path, &[]).await;
        expect(matches!(whole.status.as_u16(), 200 | 307), "the blob", &whole)?;
        expect(!whole.header("location").is_empty(), "no Location header in response", &whole)?;
        let base = url::Url::parse(&self.address(path)).map_err(|error| error.to_string())?;
        let link = base.join(whole.header("location")).map_err(|error| error.to_string())?;
        let middle = part.size / 2;
        let mut body = Vec::new();
        for range in [
            format!("bytes=0-{}", middle.max(1) - 1),
            format!("bytes={}-{}", middle.max(1), part.size - 1),
        ] {
            let reply = self.client.get(link.as_str()).with("range", &range).send().await;
            expect(reply.status == 206 && !reply.cut, &range, &reply)?;
            body.extend_from_slice(&reply.body);
        }
        Ok(body)
    }

    fn blob_fields(&self, part: &Part) -> Vec<(&'static str, String)> {
        match self.puller {
            Puller::Containerd | Puller::ContainerdInParts => {
                self.fields("accept", vec![format!("{}, */*", part.media_type)])
            }
            _ => self.fields("accept", Vec::new()),
        }
    }

    fn fields(&self, name: &'static str, lines: Vec<String>) -> Vec<(&'static str, String)> {
        let mut fields: Vec<_> = lines.into_iter().map(|line| (name, line)).collect();
        fields.push(("accept-encoding", self.puller.accept_encoding().to_owned()));
        if let Some(authorization) = self.source.authorization.as_ref().or(self.token.as_ref()) {
            fields.push(("authorization", authorization.clone()));
        }
        fields
    }

    fn path(&self, route: &str, reference: &str) -> String {
        format!("/v2/{}/{route}/{reference}", self.source.repository)
    }

    fn address(&self, path: &str) -> String {
        let mut address = format!("{}{path}", self.source.base);
        if let Some(namespace) = &self.source.namespace {
            // Writing to a string cannot fail.
            let _ = write!(address, "?ns={namespace}");
        }
        address
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&'static str, String)]) -> Reply {
        let ask = self.client.ask(method, self.address(path));
        let ask = ask.with("user-agent", self.puller.user_agent());
        fields.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).send().await
    }

    fn check_namespace(&self, headers: &HeaderMap) -> Result<(), String> {
        let echoed = headers.get("oci-namespace").and_then(|value| value.to_str().ok());
        match self.source.namespace.is_none() || echoed == self.source.namespace.as_deref() {
            true => Ok(()),
            false => Err(format!("OCI-Namespace is {echoed:?}")),
        }
    }
}

/// What clients need of a `HEAD` of a manifest.
fn check_head(head: &Reply, puller: Puller) -> Result<(), String> {
    expect(head.header("docker-content-digest").contains(':'), "a digest on HEAD", head)?;
    let complete = !head.header("content-type").is_empty()
        && head.header("content-length").parse::<u64>().is_ok_and(|length| length > 0);
    expect(complete || !puller.is_strict(), "type and length on HEAD", head)
}

/// Nothing below `/v2/` is ever encoded: digests are of the bytes as they are.
fn check_identity(reply: &Reply) -> Result<(), String> {
    expect(reply.header("content-encoding").is_empty(), "no content coding", reply)
}

fn algorithm(digest: &str) -> Algorithm {
    match digest.starts_with("sha512:") {
        true => Algorithm::Sha512,
        false => Algorithm::Sha256,
    }
}

fn part(descriptor: &Value) -> Part {
    let text = |name: &str| descriptor[name].as_str().unwrap_or_default().to_owned();
    let size = descriptor["size"].as_u64().unwrap_or_default();
    Part { digest: text("digest"), media_type: text("mediaType"), size }
}

/// Everything that an answer warns of.
pub fn warnings(reply: &Reply) -> String {
    let lines = reply.headers.get_all("warning").iter();
    lines.filter_map(|line| line.to_str().ok()).collect::<Vec<_>>().join("; ")
}

fn expect(holds: bool, what: &str, reply: &Reply) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(format!(
            "{what}: {} {:?} {:.600}",
            reply.status,
            reply.headers,
            String::from_utf8_lossy(&reply.body)
        )),
    }
}
