//! What the name of an image, and the image itself, say that rules may rest on.

use serde_json::Value;

use crate::ecosystem::oci::place::Place;
use crate::policy::{Ecosystem, Fact, Facts, Ruleset};
use crate::types::Timestamp;

/// The facts that only the image itself knows.
const OF_IMAGE: [Fact; 5] =
    [Fact::Licence, Fact::LicenceUnknown, Fact::LicenceChanged, Fact::Source, Fact::Release];

/// Names of labels and annotations begin so.
const LABEL: &str = "org.opencontainers.image.";

/// Whether rules look at what only the image itself knows.
pub fn needs_image(rules: &Ruleset) -> bool {
    OF_IMAGE.iter().any(|fact| rules.needs(Ecosystem::Oci, *fact))
}

/// What is known of something of a repository by its name. `version` is a tag or a digest.
pub fn of_name<'a>(place: &Place, version: Option<&'a str>) -> Facts<'a> {
    let repository = place.repository.as_str();
    let namespace = repository.rsplit_once('/').map(|(namespace, _)| namespace.to_owned());
    let is_official =
        place.registry.namespace.as_deref().is_some_and(|own| namespace.as_deref() == Some(own));
    let mut facts = Facts::of(Ecosystem::Oci, format!("{}/{repository}", place.registry.name))
        .with(Fact::Version, version)
        .with(Fact::Upstream, place.registry.name.to_string())
        .with(Fact::Publisher, namespace)
        .with(Fact::OfficialImage, is_official);
    let digest = version.filter(|version| version.contains(':'));
    facts.set(Fact::MutableReference, version.map(|_| digest.is_none()));
    facts.digest = digest.map(Into::into);
    facts
}

/// Adds what an image's labels say.
pub fn add_image(facts: &mut Facts<'_>, image: &Image) {
    facts.set(Fact::LicenceUnknown, image.licences.is_none());
    facts.set(Fact::Licence, image.licences.clone());
    facts.set(Fact::Source, image.source.clone());
    // Builds that are to be the same every time are dated to the epoch.
    let created = image.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let created = created.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    facts.set(Fact::Release, created.filter(|millis| *millis > 0).map(Timestamp));
}

/// What an image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Image {
    pub licences: Option<String>,
    pub source: Option<String>,
    pub created: Option<String>,
}

impl Image {
    /// Reads a configuration: its labels, and when it was created.
    pub fn of_config(json: &Value) -> Self {
        let labels = json.pointer("/config/Labels").or_else(|| json.pointer("/config/labels"));
        let mut image = Self::of_labels(labels.unwrap_or(&Value::Null));
        if image.created.is_none() {
            image.created = json["created"].as_str().map(str::to_owned);
        }
        image
    }

    /// Reads the annotations of a manifest, or labels.
    pub fn of_labels(labels: &Value) -> Self {
        let label = |name: &str| {
            let text = labels[format!("{LABEL}{name}")].as_str().map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Self { licences: label("licenses"), source: label("source"), created: label("created") }
    }

    /// What this says, and where it says nothing, what `other` does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            licences: self.licences.or(other.licences),
            source: self.source.or(other.source),
            created: self.created.or(other.created),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_read_from_configurations_and_annotations() {
        let config = json!({
            "created": "2026-01-02T00:00:00Z",
            "config": {"Labels": {"org.opencontainers.image.licenses": "MIT", "org.opencontainers.image.source": " "}},
        });
        let image = Image::of_config(&config);
        assert_eq!(image.licences.as_deref(), Some("MIT"));
        assert_eq!(image.source, None);
        assert_eq!(image.created.as_deref(), Some("2026-01-02T00:00:00Z"));
        let annotations = json!({"org.opencontainers.image.source": "https://git.example/x"});
        let both = Image::of_labels(&annotations).or(image);
        assert_eq!(both.source.as_deref(), Some("https://git.example/x"));
        assert_eq!(both.licences.as_deref(), Some("MIT"));
        for odd in [json!(null), json!([]), json!({"config": 1}), json!({"config": {"Labels": []}})]
        {
            assert_eq!(Image::of_config(&odd), Image::default(), "{odd}");
        }
    }

    #[test]
    fn what_is_dated_to_the_epoch_has_no_date() {
        let mut facts = Facts::of(Ecosystem::Oci, "x");
        let created = Some("1970-01-01T00:00:00Z".to_owned());
        add_image(&mut facts, &Image { created, ..Image::default() });
        assert_eq!(*facts.get(Fact::Release), crate::policy::fact::Value::Unknown);
    }
}
