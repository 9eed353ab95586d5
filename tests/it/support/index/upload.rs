//! One file of a release, as somebody uploaded it, and what the index says of it.

use crate::support::origin::{Content, Pattern};

use super::wheel;

/// A file on a project's page. Public fields are what a test may want to be otherwise.
#[derive(Clone)]
pub struct Upload {
    pub filename: String,
    /// Its path on the file host, named after the first content like the real one's.
    pub path: String,
    pub version: String,
    pub content: Content,
    /// The true sha256 of `content`.
    pub digest: String,
    /// The sha256 that the page names; `None`: no hash at all.
    pub sha256: Option<String>,
    pub metadata: Option<String>,
    pub requires_python: Option<String>,
    pub yanked: Option<String>,
    pub uploaded: Option<String>,
    /// The address of its provenance object, as the page names it.
    pub provenance: Option<String>,
    /// Whether the page says that there is a `.metadata` file.
    pub advertises_metadata: bool,
    /// The link on the page; `None`: absolute, on the file host. May hold `{path}`, the file's path there.
    pub link: Option<String>,
}

impl Upload {
    /// A wheel that installs.
    pub fn wheel(name: &str, version: &str) -> Self {
        Self::built(name, version, "", 0)
    }

    /// A wheel for other Pythons: the page says so, and so does the metadata in the wheel.
    pub fn wheel_for_python(name: &str, version: &str, range: &str) -> Self {
        let upload = Self::built(name, version, &format!("Requires-Python: {range}\n"), 0);
        Self { requires_python: Some(range.to_owned()), ..upload }
    }

    /// A wheel that needs other projects (`attrs>=1`).
    pub fn wheel_with(name: &str, version: &str, depends_on: &[&str]) -> Self {
        let needs: String =
            depends_on.iter().map(|need| format!("Requires-Dist: {need}\n")).collect();
        Self::built(name, version, &needs, 0)
    }

    /// A wheel of at least `bytes` bytes that installs.
    pub fn large_wheel(name: &str, version: &str, bytes: usize) -> Self {
        Self::built(name, version, "", bytes)
    }

    /// A file that is no archive at all, of any length: what is in it does not matter to a cache.
    pub fn blob(name: &str, version: &str, length: u64) -> Self {
        let filename = format!("{name}-{version}-py3-none-any.whl");
        let seed =
            filename.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        Self::new(filename, version, Pattern::new(seed, length).into(), None)
    }

    /// A source distribution in name only.
    pub fn sdist(name: &str, version: &str) -> Self {
        let bytes = format!("source of {name} {version}");
        Self::new(format!("{name}-{version}.tar.gz"), version, bytes.into(), None)
    }

    #[must_use]
    pub fn uploaded(mut self, time: &str) -> Self {
        self.uploaded = Some(time.to_owned());
        self
    }

    #[must_use]
    pub fn linked(mut self, link: &str) -> Self {
        self.link = Some(link.to_owned());
        self
    }

    #[must_use]
    pub fn with_hash(mut self, sha256: Option<&str>) -> Self {
        self.sha256 = sha256.map(str::to_owned);
        self
    }

    fn built(name: &str, version: &str, metadata: &str, ballast: usize) -> Self {
        let wheel = wheel::build(name, version, metadata, ballast);
        let module = name.replace(['-', '.'], "_");
        let filename = format!("{module}-{version}-py3-none-any.whl");
        Self::new(filename, version, wheel.bytes.into(), Some(wheel.metadata))
    }

    fn new(filename: String, version: &str, content: Content, metadata: Option<String>) -> Self {
        let digest = content.sha256();
        Self {
            path: format!(
                "/packages/{}/{}/{}/{filename}",
                &digest[..2],
                &digest[2..4],
                &digest[4..]
            ),
            filename,
            version: version.to_owned(),
            sha256: Some(digest.clone()),
            digest,
            content,
            advertises_metadata: metadata.is_some(),
            metadata,
            requires_python: None,
            yanked: None,
            uploaded: Some("2024-05-06T07:08:09.123456Z".to_owned()),
            provenance: None,
            link: None,
        }
    }
}
