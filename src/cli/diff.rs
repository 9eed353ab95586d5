//! `larder diff`: what is different between two commits of a model.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::reach::Reach;
use super::{Outcome, Overrides, passport};
use crate::passport::change::{Change, Changes, Class, Deed};

/// Say what changed between two commits of a model: weights, behaviour or documentation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Diff {
    /// The model at the first revision, such as hf:org/model@v1.0
    from: String,
    /// The second revision, such as @main
    to: String,
    /// Ask the hub for lists of files that are not kept
    #[arg(long)]
    fetch: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder diff hf:org/model@v1.0 @main
  larder diff --json hf:org/model@0123456789abcdef0123456789abcdef01234567 @main

Weights are what formats of weights are called, and their indexes. Documentation is text and pictures for people, and licences. Everything else may change what the model
does: configuration, tokenizer, chat template, code. A class with a question mark is no more than likely: the kind of file is not known.

Exit codes: 0 it was compared, 1 it could not be, 2 wrong arguments or configuration.";

impl Diff {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let to = self.to.trim_start_matches('@');
            let address = passport::address("changes", &self.from, self.fetch, &[("to", to)]);
            let changes: Changes = reach.get(&address).await?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&changes)?),
                false => put!("{}", text(&changes)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn text(changes: &Changes) -> String {
    let mut text = format!("from {} to {}\n", changes.from, changes.to);
    let overall = match changes.class {
        None => "nothing is different",
        Some(Class::Documentation) => "documentation changed, nothing else",
        Some(Class::Behaviour) => "behaviour may have changed, the weights are the same",
        Some(Class::Weights) => "the weights changed",
    };
    let _ = writeln!(text, "{overall}");
    if changes.is_other_repository {
        text.push_str("these are two repositories that had the same name\n");
    }
    if changes.is_licence_changed {
        let said =
            |licence: &Option<String>| licence.clone().unwrap_or_else(|| "unknown".to_owned());
        let (before, after) = (said(&changes.licence_before), said(&changes.licence_after));
        let _ = writeln!(text, "the licence was {before} and is {after}");
    }
    for change in &changes.files {
        let _ = writeln!(text, "  {}", line(change));
    }
    text
}

fn line(change: &Change) -> String {
    let class = match change.class {
        Class::Documentation => "documentation",
        Class::Behaviour => "behaviour",
        Class::Weights => "weights",
    };
    let mark = if change.is_guessed { "?" } else { "" };
    let deed = match change.deed {
        Deed::Added => "added",
        Deed::Removed => "removed",
        Deed::Changed => "changed",
        Deed::Moved => "moved",
    };
    let from = change.from.as_ref().map(|from| format!(" (was {from})")).unwrap_or_default();
    format!("{:<15}{deed:<9}{}{from}", format!("{class}{mark}"), change.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_line_by_line() {
        let change = Change {
            path: "b.bin".to_owned(),
            deed: Deed::Moved,
            class: Class::Weights,
            is_guessed: true,
            from: Some("a.bin".to_owned()),
            size_before: None,
            size_after: None,
        };
        let changes = Changes {
            class: Some(Class::Weights),
            files: vec![change],
            licence_after: Some("MIT".to_owned()),
            is_licence_changed: true,
            ..Changes::default()
        };
        let text = text(&changes);
        assert!(text.contains("the weights changed\n"), "{text}");
        assert!(text.contains("the licence was unknown and is MIT\n"), "{text}");
        assert!(text.ends_with("  weights?       moved    b.bin (was a.bin)\n"), "{text}");
    }
}
