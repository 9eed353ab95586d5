//! Prints the effective configuration, each setting with the place it was decided.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::de::DeTable;

use super::Config;
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
