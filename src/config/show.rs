//! Prints the effective configuration, each setting with the place it was decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use toml::de::DeTable;

use super::Config;
use super::fault::key_of;
use super::layers::{DEFAULT, Settings, lines};

/// Column at which the places stand, unless a line is longer.
const COLUMN: usize = 56;

/// `config` as TOML that can be read back, but for the secrets, which serialise as `***`.
pub(super) fn show(config: &Config, settings: &Settings) -> String {
    let text = toml::to_string(config).expect("every setting has a form in TOML");
    let table = DeTable::parse(&text).expect("what was just written is TOML");
    let keys: BTreeMap<usize, Vec<String>> =
        lines(&text, table.get_ref()).into_iter().map(|(path, line)| (line, path)).collect();
    let mut shown = String::new();
    // A list of tables is written in one place, and its items have no paths of their own.
    let mut list: Option<(&str, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let place = keys
            .get(&(index + 1))
            .map(|path| settings.written(path).unwrap_or_else(|| DEFAULT.to_owned()));
        if let Some(header) = line.strip_prefix("[[") {
            let header = header.trim_end_matches(']');
            list = place.or_else(|| list.map(|(_, place)| place)).map(|place| (header, place));
            let _ = writeln!(shown, "{line}");
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            list = list.filter(|(outer, _)| header.starts_with(outer));
        }
        let place = match line.is_empty() || line.starts_with('[') {
            true => None,
            false => place.or_else(|| list.as_ref().map(|(_, place)| place.clone())),
        };
        let _ = match place {
            Some(place) => writeln!(shown, "{line:COLUMN$} # {place}"),
            None => writeln!(shown, "{line}"),
        };
    }
    shown
}

/// `config` as JSON, and where each of its values was written.
pub(super) fn json(config: &Config, settings: &Settings) -> Value {
    let shown = serde_json::to_value(config).expect("every setting has a form in JSON");
    let mut sources = Map::new();
    places(&shown, &mut Vec::new(), settings, &mut sources);
    serde_json::json!({ "settings": shown, "sources": sources })
}

/// Adds where the values in `value`, which stands at `path`, were written.
fn places(
    value: &Value,
    path: &mut Vec<String>,
    settings: &Settings,
    found: &mut Map<String, Value>,
) {
    match value {
        Value::Null => {}
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                path.push(key.clone());
                places(value, path, settings, found);
                path.pop();
            }
        }
        _ => {
            let place = settings.written(path).unwrap_or_else(|| DEFAULT.to_owned());
            found.insert(key_of(path), Value::from(place));
        }
    }
}
