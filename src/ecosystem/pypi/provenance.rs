//! Provenance objects (PEP 740): passed on as upstream wrote them, and verified where rules look at who vouches for a file.
//!
//! An object is verified once for as long as it is in memory: the outcome stays beside its text.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use url::Url;

use crate::cache::lookup::{Demand, Document, Fresh, Keep, Kept, Parsed};
use crate::ecosystem::pypi::config::Upstream;
use crate::ecosystem::pypi::links;
use crate::ecosystem::pypi::page::{File, Provenance};
use crate::ecosystem::pypi::reach::{self, Reach};
use crate::ecosystem::pypi::verbatim::{JsonText, VerbatimJson};
use crate::ecosystem::{Render, Rendered, Reply, View};
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};
use crate::signature::{self, Roots, Unverified, Vouched};

/// The largest provenance object.
const LIMIT_BYTES: u64 = 4 << 20;

/// The facts that only a verified provenance object knows.
pub const VERIFIED: [Fact; 5] = [
    Fact::AttestationVerified,
    Fact::AttestationFault,
    Fact::AttestedPublisher,
    Fact::SignedBy,
    Fact::PublisherChanged,
];

const UPSTREAMS: VerbatimJson = VerbatimJson { required: "attestation_bundles" };

/// An object's text, and what came of verifying it for the file that asked first.
#[derive(Debug)]
struct Text {
    text: Bytes,
    roots: Roots,
    outcome: OnceLock<Outcome>,
}

#[derive(Debug)]
struct Outcome {
    filename: String,
    digest: String,
    verified: Result<Vouched, Unverified>,
}

/// Whether rules look at what only a verified object knows.
pub fn is_needed(rules: &Ruleset) -> bool {
    VERIFIED.iter().any(|fact| rules.needs(Ecosystem::PyPi, *fact))
}

/// The object at `url`: a document, since no specification calls it immutable.
pub fn document(reach: &Reach, upstream: &Upstream, url: &Url, demand: Demand) -> Document {
    let accept = "application/vnd.pypi.integrity.v1+json, application/json;q=0.1";
    let origins = vec![reach.request(upstream, url.clone(), Some(accept))];
    let roots = reach.settings.roots.clone();
    let name = format!("provenance/{}", links::key_of(url.as_str()));
    let document = reach.document(&name, origins, Arc::new(KeepText { roots }), demand);
    Document { limit_bytes: LIMIT_BYTES, ..document }
}

/// Adds what the provenance object of a file comes to. One that upstream names and that could not be had leaves them unknown.
pub fn add(facts: &mut Facts<'_>, document: Option<&Parsed>, file: &File) {
    if file.attributes().provenance == Provenance::None {
        facts.set(Fact::AttestationVerified, false);
        facts.set(Fact::SignedBy, Vec::new());
        return;
    }
    let Some(text) = document.and_then(|document| document.get::<Text>()) else { return };
    let digest = facts.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
    let Some(digest) = digest.map(str::to_owned) else { return };
    match text.verified(&file.filename, &digest) {
        Ok(vouched) => {
            facts.set(Fact::AttestationVerified, true);
            facts.set(Fact::AttestedPublisher, vouched.publisher);
            facts.set(Fact::SignedBy, vec![vouched.signed_by]);
        }
        Err(fault) => {
            facts.set(Fact::AttestationVerified, false);
            facts.set(Fact::SignedBy, Vec::new());
            facts.set(Fact::AttestationFault, fault.to_string());
        }
    }
}

impl Text {
    fn new(text: Bytes, roots: &Roots) -> Self {
        Self { text, roots: roots.clone(), outcome: OnceLock::new() }
    }

    fn verified(&self, filename: &str, digest: &str) -> Result<Vouched, Unverified> {
        let verify = || signature::verify(&self.roots, &self.text, filename, digest);
        let first = self.outcome.get_or_init(|| Outcome {
            filename: filename.to_owned(),
            digest: digest.to_owned(),
            verified: verify(),
        });
        match first.filename == filename && first.digest == digest {
            true => first.verified.clone(),
            false => verify(),
        }
    }
}

/// Keeps an object as it is.
#[derive(Debug)]
struct KeepText {
    roots: Roots,
}

impl Keep for KeepText {
    fn read(&self, kept: &Bytes) -> Result<Parsed, String> {
        Ok(Parsed::new(Text::new(kept.clone(), &self.roots)))
    }

    fn merge(&self, _: Option<&Parsed>, fresh: &Fresh<'_>) -> Result<Kept, String> {
        let kept = UPSTREAMS.merge(None, fresh)?;
        let text = kept.parsed.get::<JsonText>().map(|text| text.0.clone()).unwrap_or_default();
        Ok(Kept { parsed: Parsed::new(Text::new(text, &self.roots)), ..kept })
    }
}

/// Passes an object on.
#[derive(Debug)]
pub struct Verbatim {
    pub shareability: &'static str,
}

impl Render for Verbatim {
    fn variant(&self) -> String {
        self.shareability.to_owned()
    }

    fn render(&self, view: &View<'_>) -> Rendered {
        let body = view.document.get::<Text>().map(|text| text.text.clone()).unwrap_or_default();
        let control = reach::cache_control(&view.standing, self.shareability);
        let reply = Reply::new(StatusCode::OK, "application/vnd.pypi.integrity.v1+json", body)
            .with(header::CACHE_CONTROL, control)
            .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        Rendered { reply, valid_until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ecosystem::pypi::page::{Attributes, Hashes, Spell};
    use crate::policy::fact::Value;
    use crate::types::Timestamp;

    const OBJECT: &str =
        include_str!("../../../tests/fixtures/attestations/pypi_attestations-0.0.19.tar.gz.json");
    const DIGEST: &str = "sha256:9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";

    fn file(provenance: Provenance) -> File {
        let value = Attributes { provenance, ..Attributes::default() };
        File {
            filename: "pypi_attestations-0.0.19.tar.gz".into(),
            url: "https://files.example/pypi_attestations-0.0.19.tar.gz".into(),
            former_urls: Vec::new(),
            hashes: Hashes::default(),
            size: None,
            upload_time: None,
            source: 0,
            is_twin: false,
            first_seen: Timestamp(0),
            spells: vec![Spell { from: Timestamp(0), end: None, value }],
        }
    }

    fn of(text: Bytes) -> Text {
        Text::new(text, &Roots::default())
    }

    fn facts(object: Option<&str>, provenance: Provenance, digest: &str) -> Facts<'static> {
        let mut facts = Facts::of(Ecosystem::PyPi, "pypi-attestations");
        facts.digest = Some(digest.to_owned().into());
        let parsed = object.map(|text| Parsed::new(of(Bytes::copy_from_slice(text.as_bytes()))));
        add(&mut facts, parsed.as_ref(), &file(provenance));
        facts
    }

    #[test]
    fn what_could_not_be_had_is_not_known() {
        let named = Provenance::At("https://index.example/provenance".into());
        let without = facts(None, named, DIGEST);
        assert_eq!(without.get(Fact::AttestationVerified), &Value::Unknown);
        let none = facts(None, Provenance::None, DIGEST);
        assert_eq!(none.get(Fact::AttestationVerified), &Value::Flag(false));
        let unsaid = facts(None, Provenance::Unsaid, DIGEST);
        assert_eq!(unsaid.get(Fact::AttestationVerified), &Value::Unknown);
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn the_facts_say_who_vouches_or_what_is_wrong() {
        let named = || Provenance::At("https://index.example/provenance".into());
        let good = facts(Some(OBJECT), named(), DIGEST);
        assert_eq!(good.get(Fact::AttestationVerified), &Value::Flag(true));
        let publisher = good.text(Fact::AttestedPublisher);
        assert_eq!(publisher, Some("GitHub:trailofbits/pypi-attestations"));
        let Value::Texts(by) = good.get(Fact::SignedBy) else { panic!("{good:?}") };
        assert!(by.iter().any(|by| by.contains("release.yml")));
        let other = facts(Some(OBJECT), named(), &format!("sha256:{}", "0".repeat(64)));
        assert_eq!(other.get(Fact::AttestationVerified), &Value::Flag(false));
        assert!(
            other.text(Fact::AttestationFault).is_some_and(|told| told.contains("another file"))
        );
        assert_eq!(other.text(Fact::AttestedPublisher), None);
    }

    #[cfg(feature = "signatures")]
    #[test]
    fn an_outcome_is_that_of_the_file_that_asked() {
        let text = of(Bytes::from_static(OBJECT.as_bytes()));
        let digest = DIGEST.trim_start_matches("sha256:");
        assert!(text.verified("pypi_attestations-0.0.19.tar.gz", digest).is_ok());
        assert!(text.verified("other-0.0.19.tar.gz", digest).is_err());
        assert!(text.verified("pypi_attestations-0.0.19.tar.gz", digest).is_ok());
    }
}
