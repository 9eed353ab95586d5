//! Reads merged settings into a type and finds every fault on the way, though serde stops at the first.
//!
//! A value that cannot be read is noted and taken out, then the whole is read again, until it can be. So the types themselves are
//! the only description of what is allowed, and there is no second one that could drift from them.

use figment::error::Kind;
use figment::value::Value;
use serde::de::DeserializeOwned;

use super::fault::{Fault, explain, key_of, misplaced};
use super::layers::Settings;

/// The settings as a `T`, and what is wrong with them. With faults, the value holds defaults in their places, good for nothing but finding
/// more faults; `None` when not even that is possible.
pub(super) fn extract<T: DeserializeOwned>(settings: &Settings) -> (Option<T>, Vec<Fault>) {
    let mut tree = settings.tree().clone();
    let mut faults = Vec::new();
    loop {
        let error = match T::deserialize(&tree) {
            Ok(value) => return (Some(value), faults),
            Err(error) => error,
        };
        let key = key_of(&without_places(&tree, &error.path));
        let problem = match (&error.kind, error.path.as_slice()) {
            (Kind::UnknownField(name, known), [_]) => misplaced(name, known),
            _ => None,
        };
        let problem = problem.unwrap_or_else(|| explain(&error.kind));
        faults.push(Fault::new(settings.source(&error.path), key, problem));
        // Every round makes the tree smaller, so this ends.
        if !take_out(&mut tree, &error.path) {
            return (None, faults);
        }
    }
}

/// The path without places in lists: they shift when an item is taken out, and the message quotes the item.
fn without_places(root: &Value, path: &[String]) -> Vec<String> {
    let mut value = Some(root);
    let mut kept = Vec::new();
    for part in path {
        if value.and_then(Value::as_array).is_none() {
            kept.push(part.clone());
        }
        value = value.and_then(|value| child(value, part));
    }
    kept
}

fn child<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(_, table) => table.get(part),
        Value::Array(_, items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Removes what stands at `path`, or else the innermost thing around it. False when nothing but the root is left to remove.
fn take_out(value: &mut Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, table) => {
            let inner = table.get_mut(first);
            inner.is_some_and(|inner| take_out(inner, rest)) || table.remove(first).is_some()
        }
        Value::Array(_, items) => match first.parse::<usize>() {
            Ok(index) if index < items.len() => {
                if !take_out(&mut items[index], rest) {
                    items.remove(index);
                }
                true
            }
            _ => false,
        },
        _ => false,
    }
}
