//! The card of a model: what its author says of it, in the hub's reading of the head of `README.md`.
//!
//! Authors write lists as single words and numbers as texts; both are taken as they are meant. Left out: the text below the head.

use serde_json::Value;

use crate::licence::Licence;

/// What a card says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    pub licence: Option<Licence>,
    /// The licence in the author's word, where there is one.
    pub licence_text: Option<String>,
    pub base_models: Vec<String>,
    pub relation: Option<String>,
    pub datasets: Vec<String>,
    pub languages: Vec<String>,
    pub pipeline: Option<String>,
    pub library: Option<String>,
    pub tags: Vec<String>,
}

/// The most of anything that a card lists.
const MOST: usize = 1000;

impl Card {
    /// Reads a description of the hub's. `None`: it holds no card.
    pub fn of(description: &Value) -> Option<Self> {
        let card = description.get("cardData").filter(|card| card.is_object());
        let tags = texts(description.get("tags"));
        if card.is_none() && tags.is_empty() {
            return None;
        }
        let field = |name: &str| card.and_then(|card| card.get(name));
        let tagged = |prefix: &str| -> Vec<String> {
            tags.iter().filter_map(|tag| tag.strip_prefix(prefix).map(str::to_owned)).collect()
        };
        let mut licences = texts(field("license"));
        if licences.is_empty() {
            licences = tagged("license:");
        }
        let name = text(field("license_name"));
        let read = licences.iter().filter_map(|id| Licence::of_card(id, name.as_deref()));
        let mut base_models = texts(field("base_model"));
        let mut relation = text(field("base_model_relation"));
        if base_models.is_empty() {
            (base_models, relation) = tagged_bases(&tagged("base_model:"), relation);
        }
        let mut datasets = texts(field("datasets"));
        if datasets.is_empty() {
            datasets = tagged("dataset:");
        }
        let said = |name: &str| text(description.get(name)).or_else(|| text(field(name)));
        Some(Self {
            licence: Licence::all(read),
            licence_text: match (licences.is_empty(), name) {
                (true, _) => None,
                (false, Some(name)) => Some(format!("{} ({name})", licences.join(", "))),
                (false, None) => Some(licences.join(", ")),
            },
            base_models,
            relation,
            datasets,
            languages: texts(field("language")),
            pipeline: said("pipeline_tag"),
            library: said("library_name"),
            tags,
        })
    }
}

/// `org/name` and `finetune:org/name` alike.
fn tagged_bases(tags: &[String], said: Option<String>) -> (Vec<String>, Option<String>) {
    let mut relation = said;
    let mut bases: Vec<String> = Vec::new();
    for tag in tags {
        let base = match tag.split_once(':') {
            Some((word, base)) => {
                relation.get_or_insert_with(|| word.to_owned());
                base
            }
            None => tag,
        };
        if !bases.iter().any(|known| known == base) {
            bases.push(base.to_owned());
        }
    }
    (bases, relation)
}

/// A text, or a number as one.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list of texts, or a single one.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(all)) => {
            all.iter().take(MOST).filter_map(|one| text(Some(one))).collect()
        }
        one => text(one).into_iter().collect(),
    }
}
