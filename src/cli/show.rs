//! `larder show`: what is kept of one thing, and what not; of a model at a revision, its passport as well.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::reach::{Reach, ReachError, chained};
use super::{Outcome, Overrides, lines, passport};
use crate::keep::listing::{Showing, Shown, ShownPart, Upstream};
use crate::passport::Passport;

/// Say what is kept of a model, a package or an image, and what not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// What to look at, such as hf:org/model@main, pypi:six==1.17.0, oci:registry.example.org/team/app:1.0
    what: String,
    /// Of a model: ask the hub for what is small and not kept
    #[arg(long)]
    fetch: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder show hf:org/model                every revision of which something is kept
  larder show hf:org/model@main           with its passport; also @v1.0, or a commit
  larder show --fetch hf:org/model@main   and the hub is asked for what is small and not kept
  larder show pypi:six==1.17.0
  larder show oci:registry.example.org/team/app:1.0
  larder show oci:alpine                  as engines read it: the default registry, and :latest
  larder show --listen 127.0.0.1:9000 --json oci:alpine:3

It asks the Larder that the configuration describes: at `public_url`, or at the first address of `listen`. Where none runs it looks itself.";

impl Show {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let showing: Result<Showing, ReachError> =
                reach.get(&Reach::named("entries", &self.what)).await;
            let passport = match is_model(&self.what) {
                true => Some(passport::get(reach, &self.what, self.fetch).await),
                false => None,
            };
            let (showing, passport) = match (showing, passport) {
                // What is kept of a model may be nothing yet, while the hub tells of it.
                (Err(_), Some(Ok(passport))) => (None, Some(Ok(passport))),
                (showing, passport) => (Some(showing?), passport),
            };
            let passport = passport.map(|passport| passport.map_err(|error| chained(&error)));
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&told(&showing, &passport)?)?),
                false => {
                    let things = showing.iter().flat_map(|showing| &showing.things).map(text);
                    let passport = passport.iter().map(|passport| match passport {
                        Ok(passport) => passport::text(passport),
                        Err(reason) => format!("no passport: {reason}\n"),
                    });
                    put!("{}", things.chain(passport).collect::<Vec<String>>().join("\n"));
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether a name is that of a model, or of something like it, at a revision.
fn is_model(what: &str) -> bool {
    let name = what.strip_prefix("hf:").and_then(|rest| rest.split_once('@'));
    name.is_some_and(|(id, _)| !id.starts_with("ollama/"))
}

/// What is kept, with the passport beside it or the reason why there is none.
fn told(
    showing: &Option<Showing>,
    passport: &Option<Result<Passport, String>>,
) -> Result<serde_json::Value, serde_json::Error> {
    let mut told = match showing {
        Some(showing) => serde_json::to_value(showing)?,
        None => serde_json::json!({ "things": [] }),
    };
    match passport {
        Some(Ok(passport)) => told["passport"] = serde_json::to_value(passport)?,
        Some(Err(reason)) => told["no_passport"] = reason.as_str().into(),
        None => {}
    }
    Ok(told)
}

fn text(shown: &Shown) -> String {
    let item = &shown.item;
    let mut text = format!("{}\n", item.name);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<12}{value}");
        }
    };
    line("kind", item.kind.clone());
    line("is", item.identity.clone());
    line("also", item.also.join(", "));
    line("files", lines::part(item.kept_files, item.files));
    line("size", format!("{} of {}", lines::size(item.kept_bytes), lines::size(item.bytes)));
    line("kept since", item.first_kept.clone().unwrap_or_default());
    line("confirmed", item.validated.clone().unwrap_or_default());
    line("upstream", upstream(&shown.upstream));
    line("upstream id", shown.upstream.identity.clone().unwrap_or_default());
    line("licence", shown.upstream.licence.clone().unwrap_or_default());
    line("kept for", item.audience.clone());
    line("pinned", if item.pinned { "yes" } else { "no" }.to_owned());
    let rows: Vec<Vec<String>> =
        shown.parts.iter().filter(|part| part.role != "note").map(row).collect();
    let table = lines::table(&["PART", "IS", "SIZE", "STATE", "DIGEST"], &rows);
    for row in table.lines() {
        let _ = writeln!(text, "  {row}");
    }
    if shown.more_parts > 0 {
        let _ = writeln!(text, "  and {} more", shown.more_parts);
    }
    text
}

/// What has become of a thing upstream.
pub(super) fn upstream(upstream: &Upstream) -> String {
    let Upstream { state, since, reason, .. } = upstream;
    let since = since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{state}{since}{reason}")
}

fn row(part: &ShownPart) -> Vec<String> {
    let state = match (part.kept, part.pinned, part.presence.as_deref()) {
        (false, ..) => "not kept".to_owned(),
        (true, true, _) => "pinned".to_owned(),
        (true, false, Some("present") | None) => "kept".to_owned(),
        (true, false, Some(other)) => format!("kept, {other} upstream"),
    };
    vec![
        part.name.clone(),
        part.role.clone(),
        part.bytes.map_or_else(|| "-".to_owned(), lines::size),
        state,
        part.digest.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_told_part_by_part_without_notes() {
        let json = serde_json::json!({"things": [{
            "name": "x:a@1", "also": ["2"], "kind": "edition", "identity": "abc", "audience": "public",
            "files": 2, "kept_files": 1, "bytes": 2048, "kept_bytes": 1024, "first_kept": null,
            "validated": "2026-03-01T00:00:00.000Z", "presence": "gone", "pinned": false, "more_parts": 3,
            "upstream": {"licence": "MIT", "identity": "7, a number", "state": "yanked",
                         "since": "2026-03-01T00:00:00.000Z", "reason": "broken"},
            "parts": [
                {"name": "b", "role": "content", "digest": "sha256:1", "bytes": 1024, "kept": true, "pinned": false,
                 "first_kept": null, "validated": null, "presence": "gone", "origin": null},
                {"name": "c", "role": "content", "digest": null, "bytes": null, "kept": false, "pinned": false,
                 "first_kept": null, "validated": null, "presence": null, "origin": null},
                {"name": "d", "role": "note", "digest": null, "bytes": 1, "kept": true, "pinned": false,
                 "first_kept": null, "validated": null, "presence": "present", "origin": null}
            ]
        }]});
        let showing: Showing = serde_json::from_value(json).expect("the form of the API");
        let told = text(&showing.things[0]);
        for expected in [
            "x:a@1\n",
            "  also        2\n",
            "  files       1 of 2\n",
            "  upstream    yanked since 2026-03-01T00:00:00.000Z: broken\n",
            "  upstream id 7, a number\n",
            "  licence     MIT\n",
            "  size        1.0 KiB of 2.0 KiB\n",
            "  b     content  1.0 KiB  kept, gone upstream  sha256:1\n",
            "  c     content  -        not kept\n",
            "  and 3 more\n",
        ] {
            assert!(told.contains(expected), "{expected:?} in\n{told}");
        }
        assert!(!told.contains("note"), "{told}");
    }

    /// A passport that could not be made was left out without a word.
    #[test]
    fn why_there_is_no_passport_is_told() {
        let reason = "the hub is away".to_owned();
        let told = told(&None, &Some(Err(reason))).expect("plain values");
        assert_eq!(told, serde_json::json!({"things": [], "no_passport": "the hub is away"}));
    }
}
