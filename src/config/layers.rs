//! Where settings come from: TOML texts, environment variables and flags, as layers that [`figment`] lays over one another.
//!
//! A [`Layer`] knows on which line of its text each key stands, so that [`Settings::source`] can say of any value where it was
//! written. Left out: what the values mean (`extract`), and reading files and the environment (`super`).

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::Fault;

/// The name of the layer of built-in values.
pub(super) const DEFAULT: &str = "default";

/// What every variable of ours starts with.
pub(super) const PREFIX: &str = "LARDER_";

/// Keys that say the same thing in two forms.
const ALTERNATIVES: [&str; 2] = ["upstream", "upstreams"];

/// The key that everything beside it describes.
const DESCRIBED: &str = "url";

/// Settings of one source.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    name: String,
    values: Dict,
    lines: BTreeMap<Vec<String>, usize>,
}

impl Layer {
    /// Reads a TOML text. Of a text that is no TOML only the first mistake is told: what follows it is guesswork.
    pub(super) fn text(name: &str, text: &str) -> Result<Self, Fault> {
        match DeTable::parse(text) {
            Ok(table) => {
                let (values, lines) = (dict(table.get_ref()), lines(text, table.get_ref()));
                Ok(Self { name: name.to_owned(), values, lines })
            }
            Err(mistake) => {
                let line = mistake.span().map_or(1, |span| line_at(text, span.start));
                Err(Fault::new(format!("{name}:{line}"), "", mistake.message()))
            }
        }
    }

    /// Reads the variable `LARDER_A__B`: its value is TOML where it can be read as such (numbers, lists, inline tables, quoted
    /// text), else plain text.
    pub(super) fn variable(name: &str, value: &str) -> Result<Self, Fault> {
        let path: Vec<String> = name
            .trim_start_matches(PREFIX)
            .split("__")
            .map(|part| part.to_ascii_lowercase())
            .collect();
        if path.iter().any(String::is_empty) {
            let problem = "names no setting: write LARDER_SECTION__KEY";
            return Err(Fault::new(name, "", problem));
        }
        let value = match DeValue::parse(value) {
            Ok(parsed) => figment_value(parsed.get_ref()),
            Err(_) => Value::from(value),
        };
        Ok(Self::single(name, &path, value))
    }

    /// One value at one path: a flag, or a default that depends on the machine.
    pub(super) fn single(name: &str, path: &[impl AsRef<str>], value: Value) -> Self {
        let nested = path
            .iter()
            .rev()
            .fold(value, |inner, key| Value::from(Dict::from([(key.as_ref().to_owned(), inner)])));
        let values = nested.into_dict().unwrap_or_default();
        Self { name: name.to_owned(), values, lines: BTreeMap::new() }
    }

    /// The paths of all keys of a text, in order.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.lines.keys().map(Vec::as_slice)
    }

    /// The name, and the line of `path` or of the closest table around it.
    fn place(&self, path: &[String]) -> String {
        let line = (1..=path.len()).rev().find_map(|depth| self.lines.get(&path[..depth]));
        match line {
            Some(line) if self.name != DEFAULT => format!("{}:{line}", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// All layers, merged.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    layers: Vec<Layer>,
    figment: Figment,
    tree: Value,
}

impl Settings {
    /// Lays later layers over earlier ones: tables are merged, everything else is replaced.
    pub(super) fn merge(layers: Vec<Layer>) -> Self {
        let figment = layers.iter().cloned().fold(Figment::new(), Figment::merge);
        let tree = figment.find_value("").unwrap_or_else(|_| Value::from(Dict::new()));
        let mut settings = Self { layers, figment, tree };
        let mut tree = settings.tree.clone();
        settings.drop_overridden(&mut tree);
        settings.tree = tree;
        settings
    }

    /// All merged values.
    pub(super) fn tree(&self) -> &Value {
        &self.tree
    }

    /// The merged value at `path`.
    #[cfg(test)]
    pub(super) fn value(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.tree, |value, key| value.as_dict()?.get(key))
    }

    /// Where the value at `path` was written: `FILE:LINE`, a variable, a flag, or `default`. A plain value stands for all that it means
    /// (an address for the table that it is read into). `None` when no layer has it.
    pub(super) fn written(&self, path: &[String]) -> Option<String> {
        let mut value = &self.tree;
        for key in path {
            let Some(table) = value.as_dict() else { break };
            value = table.get(key)?;
        }
        self.rank(value).map(|rank| self.layers[rank].place(path))
    }

    /// The same, or else where the innermost table around it was written.
    pub(super) fn source(&self, path: &[String]) -> String {
        let written = (1..=path.len()).rev().find_map(|depth| self.written(&path[..depth]));
        written.unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// Where a source stands among all that was read: its layer, and the line within it. What could not be read at all comes before everything.
    pub(super) fn place(&self, source: &str) -> (Option<usize>, usize) {
        let parts = source.rsplit_once(':');
        let numbered = parts.and_then(|(name, line)| Some((name, line.parse::<usize>().ok()?)));
        let (name, line) = numbered.unwrap_or((source, 0));
        (self.layers.iter().rposition(|layer| layer.name == name), line)
    }

    fn rank(&self, value: &Value) -> Option<usize> {
        let metadata = self.figment.get_metadata(value.tag())?;
        self.layers.iter().rposition(|layer| layer.name == metadata.name)
    }

    /// Drops what a higher layer has made meaningless: `upstreams` in a file is meant instead of the default `upstream`, not beside it,
    /// and what a lower layer said of one address does not hold for another. Within one layer everything stays; two forms are then a fault.
    fn drop_overridden(&self, value: &mut Value) {
        let Value::Dict(_, table) = value else { return };
        let ranks: BTreeMap<String, Option<usize>> =
            table.iter().map(|(key, value)| (key.clone(), self.rank(value))).collect();
        let outranks = |higher: &str, lower: &str| {
            ranks.contains_key(higher) && ranks.contains_key(lower) && ranks[higher] > ranks[lower]
        };
        let [one, many] = ALTERNATIVES;
        table.retain(|key, _| {
            let other_form = if key == one { many } else { one };
            let is_overridden = ALTERNATIVES.contains(&key.as_str()) && outranks(other_form, key);
            !is_overridden && !outranks(DESCRIBED, key)
        });
        table.values_mut().for_each(|inner| self.drop_overridden(inner));
    }
}

/// The line on which each key of a TOML text stands, by path. Keys inside lists are not told apart.
pub(super) fn lines(text: &str, table: &DeTable<'_>) -> BTreeMap<Vec<String>, usize> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        let path = vec![key.get_ref().to_string()];
        if let DeValue::Table(inner) = value.get_ref() {
            let below = lines(text, inner).into_iter();
            found.extend(below.map(|(rest, line)| ([path.as_slice(), &rest].concat(), line)));
        }
        found.insert(path, line_at(text, key.span().start));
    }
    found
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn dict(table: &DeTable<'_>) -> Dict {
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), figment_value(value.get_ref())))
        .collect()
}

fn figment_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Boolean(truth) => Value::from(*truth),
        // No setting is a date of TOML's own kind; as text it reaches whoever wants one.
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => {
            let items: Vec<Value> =
                items.iter().map(|item| figment_value(item.get_ref())).collect();
            Value::from(items)
        }
        DeValue::Table(table) => Value::from(dict(table)),
    }
}

/// A number that fits no integer stays text, so that the setting it is meant for can refuse it.
fn integer(number: &DeInteger<'_>) -> Value {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(value) => Value::from(value),
        Err(_) => Value::from(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn merged(texts: &[&str]) -> Settings {
        let layer = |(rank, text): (usize, &&str)| {
            Layer::text(&format!("layer{rank}"), text).expect("TOML")
        };
        Settings::merge(texts.iter().enumerate().map(layer).collect())
    }

    #[test]
    fn a_higher_layers_form_of_a_setting_replaces_the_other_form() {
        let has = |texts: &[&str], key: &str| merged(texts).value(&path(key)).is_some();
        let (one, many) = ("a.upstream = \"x\"", "a.upstreams = [\"y\", \"z\"]");
        assert!(!has(&[one, many], "a.upstream") && has(&[one, many], "a.upstreams"));
        assert!(has(&[many, one], "a.upstream") && !has(&[many, one], "a.upstreams"));
        let both = format!("{one}\n{many}");
        assert!(has(&[&both], "a.upstream") && has(&[&both], "a.upstreams"), "a fault to be told");
    }

    #[test]
    fn what_was_said_of_one_address_does_not_hold_for_another() {
        let default = "a.upstream = { url = \"x\", file_hosts = [\"f\"] }";
        let hosts = path("a.upstream.file_hosts");
        let check = |above: &str, stays: bool| {
            assert_eq!(merged(&[default, above]).value(&hosts).is_some(), stays, "{above}");
        };
        check("a.upstream = \"y\"", false);
        check("a.upstream = { url = \"y\" }", false);
        check("a.upstream.names = [\"n\"]", true);
        check("a.upstream = { url = \"y\", file_hosts = [] }", true);
    }

    #[test]
    fn every_value_knows_where_it_was_written() {
        let settings = merged(&["[a]\nb = 1\nc = \"x\"\n", "\n\na.b = 2\n"]);
        let check = |key: &str, expected: Option<&str>| {
            assert_eq!(settings.written(&path(key)).as_deref(), expected, "{key}");
        };
        check("a.b", Some("layer1:3"));
        check("a.c", Some("layer0:3"));
        check("a.c.within", Some("layer0:3"));
        check("a.d", None);
        assert_eq!(settings.source(&path("a.d")), "layer1:3");
    }
}
