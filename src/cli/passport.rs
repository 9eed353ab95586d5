//! The passport of a model, as people read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reach::{Reach, ReachError};
use crate::passport::{Parent, Passport};

/// Clients whose use is told.
const MOST_CLIENTS: usize = 20;

/// Asks for the passport of `hf:org/model@main`, or of the same without its scheme.
pub(super) async fn get(
    reach: &Reach,
    what: &str,
    may_fetch: bool,
) -> Result<Passport, ReachError> {
    reach.get(&address("models", what, may_fetch, &[])).await
}

/// An operation on a model as the API has it.
pub(super) fn address(
    operation: &str,
    what: &str,
    may_fetch: bool,
    more: &[(&str, &str)],
) -> String {
    let path = Reach::named(operation, what.strip_prefix("hf:").unwrap_or(what));
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(more);
    if may_fetch {
        query.append_pair("fetch", "true");
    }
    let query = query.finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The passport in lines.
pub(super) fn text(passport: &Passport) -> String {
    let mut page = Page { text: format!("{}\n", passport.name), passport };
    page.about();
    page.contents();
    page.build();
    page.terms();
    page.trust();
    page.usage();
    page.text
}

struct Page<'a> {
    text: String,
    passport: &'a Passport,
}

impl Page<'_> {
    fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  {name:<16}{value}");
    }

    /// A line for what may not be known; then why.
    fn maybe(&mut self, name: &str, field: &str, value: Option<String>) {
        let passport = self.passport;
        match (value.filter(|value| !value.is_empty()), passport.unknown.get(field)) {
            (Some(value), _) => self.line(name, &value),
            (None, Some(reason)) => self.line(name, &format!("unknown: {reason}")),
            (None, None) => {}
        }
    }

    fn about(&mut self) {
        let Passport { identity, reference, lifecycle, .. } = self.passport;
        self.line("is", &identity.purl);
        self.maybe("hub's id", "identity.id", identity.id.clone());
        if identity.namesake.is_some() {
            self.line("", "another repository has the name now; it is not taken for this one");
        }
        self.line("asked as", &format!("{} (commit {})", reference.asked, reference.commit));
        self.maybe("committed", "reference.committed_at", reference.committed_at.clone());
        if reference.history.len() > 1 {
            let moves = reference.history.len() - 1;
            self.line("moved", &format!("{moves} times since it was first seen"));
        }
        let since = lifecycle.since.as_ref().map(|since| format!(" since {since}"));
        let offline = if lifecycle.is_offline { ", the hub cannot be asked" } else { "" };
        let state = format!("{}{}{offline}", lifecycle.state, since.unwrap_or_default());
        self.line("upstream", &format!("{state}, confirmed {}", self.passport.as_of));
    }

    fn contents(&mut self) {
        let content = &self.passport.content;
        let count = content.file_count.map(|count| {
            let bytes = content.bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
            format!("{count}{bytes}; kept: {}, {} bytes", content.kept_files, content.kept_bytes)
        });
        self.maybe("files", "content.files", count);
        self.maybe("manifest root", "content.manifest_root", content.manifest_root.clone());
    }

    fn build(&mut self) {
        let Passport { parameters, precision, task, training, lineage, .. } = self.passport;
        let total = parameters.total.map(|total| total.to_string());
        self.maybe("parameters", "parameters.total", total);
        self.maybe("architecture", "parameters.architecture", parameters.architecture.clone());
        let context = parameters.context_length.map(|length| length.to_string());
        self.maybe("context", "parameters.context_length", context);
        let formats: Vec<&str> = precision.formats.iter().map(|format| format.name()).collect();
        self.maybe("formats", "precision.formats", Some(formats.join(", ")));
        self.maybe("numbers", "precision.types", Some(counted(&precision.types)));
        let quantization = precision.quantization.as_ref().map(|said| match said.bits {
            Some(bits) => format!("{}, {bits} bits", said.method),
            None => said.method.clone(),
        });
        self.maybe("quantization", "precision.quantization", quantization);
        self.maybe("task", "task", task.pipeline.clone());
        self.maybe("library", "task", task.library.clone());
        self.maybe("trained on", "training.datasets", Some(training.datasets.join(", ")));
        for parent in &lineage.ancestors {
            self.line("made from", &parent_line(parent));
        }
        if lineage.ancestors.is_empty() {
            self.maybe("made from", "lineage.ancestors", None);
        }
    }

    fn terms(&mut self) {
        let licence = &self.passport.licence;
        let text = |licence: &crate::licence::Licence| licence.to_string();
        self.maybe("licence", "licence.declared", licence.declared.as_ref().map(text));
        for found in &licence.detected {
            let rest = if found.is_whole { "" } else { ", with changes" };
            self.line("licence text", &format!("{} in {}{rest}", found.licence, found.file));
        }
        if licence.mismatch {
            self.line("", "the text is not what the card says");
        }
        let effective = licence.effective.as_ref().map(|effective| {
            let tags: Vec<String> = licence.tags.iter().map(ToString::to_string).collect();
            if tags.is_empty() {
                text(effective)
            } else {
                format!("{effective} ({})", tags.join(", "))
            }
        });
        self.maybe("in effect", "licence.effective", effective);
        if !licence.unknown_ancestors.is_empty() {
            let names = licence.unknown_ancestors.join(", ");
            self.line("", &format!("the terms of {names} are not known"));
        }
    }

    fn trust(&mut self) {
        let trust = &self.passport.trust;
        if trust.is_gated {
            self.line("gated", "the hub asks for consent");
        }
        if !trust.can_run_code.is_empty() {
            self.line("can run code", &trust.can_run_code.join(", "));
        }
        let remote = trust.remote_code.map(|remote| if remote { "yes" } else { "no" }.to_owned());
        self.maybe("remote code", "trust.remote_code", remote);
        let signed = trust.signed.as_ref().map(|signed| match &signed.until {
            Some(until) => format!("{}, until {until}", signed.by),
            None => signed.by.clone(),
        });
        self.maybe("signed by", "trust.signed", signed);
        if let Some(signed) = &trust.signed {
            for (what, files) in [
                ("not what was signed", &signed.changed),
                ("not signed", &signed.unsigned),
                ("not looked at", &signed.unseen),
            ] {
                if !files.is_empty() {
                    self.line("", &format!("{what}: {}", files.join(", ")));
                }
            }
        }
        for (file, fault) in &trust.broken {
            self.line("broken", &format!("{file}: {fault}"));
        }
    }

    fn usage(&mut self) {
        let Some(usage) = &self.passport.usage else { return self.maybe("used", "usage", None) };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let times = match usage.pulls {
            0 => format!("never, as recorded since {}", usage.recorded_since),
            pulls => {
                format!("{pulls} files, from {} to {}", text(&usage.first), text(&usage.last))
            }
        };
        self.line("pulled", &times);
        for by in usage.by.iter().flatten().take(MOST_CLIENTS) {
            let client = if by.client.is_empty() { "nobody in particular" } else { &by.client };
            self.line("", &format!("{} by {client}, last {}", by.pulls, by.last));
        }
    }
}

fn parent_line(parent: &Parent) -> String {
    let relation = parent.relation.as_ref().map(|word| format!(" ({word})")).unwrap_or_default();
    let licence = match (&parent.licence, &parent.unknown) {
        (Some(licence), _) => licence.to_string(),
        (None, Some(reason)) => format!("unknown: {reason}"),
        (None, None) => "unknown".to_owned(),
    };
    format!("{}{relation}, licence {licence}", parent.repository)
}

fn counted(types: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = types.iter().map(|(name, count)| format!("{count} {name}")).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passport::Signing;

    #[test]
    fn names_become_addresses() {
        let check =
            |what: &str, expected: &str| assert_eq!(address("models", what, false, &[]), expected);
        check("hf:org/model@main", "models/org/model@main");
        check("org/model", "models/org/model");
        check("hf:org/model@refs/pr/1", "models/org/model@refs/pr/1");
        check("hf:org/model@a b?c", "models/org/model@a%20b%3Fc");
        let more = address("changes", "hf:a/b@x", true, &[("to", "v1+2")]);
        assert_eq!(more, "changes/a/b@x?to=v1%2B2&fetch=true");
    }

    #[test]
    fn gaps_are_told_with_their_reasons() {
        let mut passport = Passport { name: "org/m@0123456".to_owned(), ..Passport::default() };
        passport.unknown.insert("licence.declared".to_owned(), "nobody said".to_owned());
        passport.parameters.total = Some(7);
        let (by, changed) = ("key:team".to_owned(), vec!["a.bin".to_owned()]);
        passport.trust.signed = Some(Signing { by, changed, ..Signing::default() });
        let text = text(&passport);
        assert!(text.starts_with("org/m@0123456\n"), "{text}");
        for expected in [
            "licence         unknown: nobody said\n",
            "parameters      7\n",
            "signed by       key:team\n                  not what was signed: a.bin\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
        assert!(!text.contains("gated"), "{text}");
    }
}
