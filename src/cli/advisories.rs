//! `larder advisories`: which records of vulnerabilities are in force, and what they say of packages.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::lines::count;
use super::reach::Reach;
use super::{Outcome, Overrides};

/// Say which advisories are in force, or what they say of packages.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// Versions of packages, such as six==1.16.0; none: how many records there are, and of when
    packages: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder advisories                          how many records, of when, and which could not be read
  larder advisories jinja2==2.4.1 six==1.16.0
  larder advisories --json pypi:jinja2==2.4.1

Records are read from `advisories.folder`. Exit code 1: something is known of a package that was asked for.";

/// Something that is no version of a package.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no version of a package: write NAME==VERSION, as in six==1.16.0")]
struct Unnamed(String);

impl Show {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| match self.packages.is_empty() {
            true => {
                let state: Value = reach.get("advisories").await?;
                self.print(&state, &told_state(&state))?;
                Ok(ExitCode::SUCCESS)
            }
            false => self.packages(reach).await,
        }
    }

    async fn packages(&self, reach: &Reach) -> Outcome {
        let mut all = Vec::new();
        let mut text = String::new();
        for package in &self.packages {
            let address = address(package).ok_or_else(|| Unnamed(package.clone()))?;
            let known: Value = reach.get(&address).await?;
            text.push_str(&told_findings(package, &known));
            all.push(known);
        }
        let is_clean = all.iter().all(|known| findings(known).is_empty());
        self.print(&Value::Array(all), &text)?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn print(&self, json: &Value, text: &str) -> Result<(), serde_json::Error> {
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(json)?),
            false => put!("{text}"),
        }
        Ok(())
    }
}

/// The operation that knows of `NAME==VERSION`.
fn address(package: &str) -> Option<String> {
    let package = package.strip_prefix("pypi:").unwrap_or(package);
    let (name, version) = package.split_once("==")?;
    let encoded = |text: &str| utf8_percent_encode(text.trim(), NON_ALPHANUMERIC).to_string();
    let is_whole = !name.trim().is_empty() && !version.trim().is_empty();
    is_whole.then(|| format!("advisories/PyPI/{}/{}", encoded(name), encoded(version)))
}

fn findings(known: &Value) -> &[Value] {
    known["findings"].as_array().map_or(&[], Vec::as_slice)
}

fn told_findings(package: &str, known: &Value) -> String {
    let found = findings(known);
    if found.is_empty() {
        return format!("{package}: nothing is known\n");
    }
    let mut text = String::new();
    for one in found {
        let id = one["id"].as_str().unwrap_or_default();
        let _ = write!(text, "{package}: {id}");
        if one["malicious"] == true {
            text.push_str(", malicious");
        }
        if let Some(score) = one["severity"].as_f64() {
            let _ = write!(text, ", severity {score:.1}");
        }
        match one["fix"].as_str() {
            Some(fix) => {
                let _ = write!(text, ", mended in {fix}");
            }
            None => text.push_str(", no fix"),
        }
        let aliases = one["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let aliases: Vec<&str> = aliases.collect();
        if !aliases.is_empty() {
            let _ = write!(text, " ({})", aliases.join(", "));
        }
        text.push('\n');
    }
    text
}

fn told_state(state: &Value) -> String {
    if state["on"] != true {
        return "there are no advisories: `advisories.folder` is not set\n".to_owned();
    }
    let mut text = format!(
        "{}, {} of them of malicious packages\nnewest of {}, read {}\n",
        count(state["records"].as_u64().unwrap_or_default(), "record"),
        state["malicious"],
        state["newest"].as_str().unwrap_or("-"),
        state["read"].as_str().unwrap_or("-"),
    );
    if state["faulty"] != 0 {
        let _ = writeln!(text, "{} could not be read:", state["faulty"]);
        for fault in state["faults"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(text, "  {fault}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_are_named_by_version() {
        for text in ["six", "six==", "==1", "six>=1", ""] {
            assert_eq!(address(text), None, "{text}");
        }
        assert_eq!(address("six==1.0").as_deref(), Some("advisories/PyPI/six/1%2E0"));
        assert_eq!(address("pypi:a == 1+x").as_deref(), Some("advisories/PyPI/a/1%2Bx"));
    }

    #[test]
    fn each_finding_has_a_line() {
        let known = json!({"findings": [
            {"id": "PYSEC-1", "aliases": ["CVE-1"], "severity": 9.0, "fix": "2.0", "malicious": false},
            {"id": "MAL-1", "aliases": [], "severity": null, "fix": null, "malicious": true}]});
        assert_eq!(
            told_findings("a==1", &known),
            "a==1: PYSEC-1, severity 9.0, mended in 2.0 (CVE-1)\na==1: MAL-1, malicious, no fix\n"
        );
        assert_eq!(told_findings("a==1", &json!({"findings": []})), "a==1: nothing is known\n");
    }

    #[test]
    fn the_state_says_when_there_is_none() {
        assert!(told_state(&json!({"on": false})).contains("`advisories.folder`"));
        let state = json!({"on": true, "records": 2, "malicious": 1, "newest": "n", "read": "r", "faulty": 1,
            "faults": ["x.json: it is broken"]});
        let text = told_state(&state);
        assert!(text.starts_with("2 records, 1 of them of malicious packages\n"), "{text}");
        assert!(text.ends_with("  x.json: it is broken\n"), "{text}");
    }
}
