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
    let mut list = None;
    for (index, line) in text.lines().enumerate() {
        let path = keys.get(&(index + 1));
        let place = path.map(|path| settings.written(path).unwrap_or_else(|| DEFAULT.to_owned()));
        let place = match line {
            _ if line.starts_with("[[") => {
                list = place.or(list);
                None
            }
            _ if line.starts_with('[') => {
                list = None;
                None
            }
            "" => None,
            _ => place.or_else(|| list.clone()),
        };
        let _ = match place {
            Some(place) => writeln!(shown, "{line:COLUMN$} # {place}"),
            None => writeln!(shown, "{line}"),
        };
    }
    shown
}
