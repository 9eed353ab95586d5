//! The policy over the API: what is in force, why something was decided, what other rules would have done.
//!
//! The address of a decision is in every message that a client gets of it, so it answers browsers with a page and everybody else with JSON.

use std::fmt::Write as _;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::super::page::{self, escape};
use super::{Call, Operation, Problem, Resource, Right, json};
use crate::policy::fact::Kind;
use crate::policy::{self, Fact, Ruleset};
use crate::rulings::{Record, Rulings, replay};
use crate::server::Body;
use crate::types::Timestamp;

/// The longest draft of a policy.
const DRAFT_LIMIT_BYTES: usize = 4 << 20;

/// The operations on the policy.
#[derive(Debug)]
pub struct Policy(pub Rulings);

/// A decision, with what can be done about it.
#[derive(Debug, Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    record: &'a Record,
    decided: String,
    /// What to put into the file of waivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiver: Option<String>,
    /// When the newest advisory that is known was written, where it rests on such.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_advisory: Option<String>,
}

/// A rule that is in force.
#[derive(Debug, Serialize)]
struct InForce<'a> {
    id: &'a str,
    line: usize,
    verdict: &'static str,
    mode: &'static str,
    on: Vec<&'static str>,
    at: Vec<&'static str>,
    looks_at: Vec<&'static str>,
    waivable: bool,
}

impl Resource for Policy {
    fn operations(&self) -> Vec<Operation> {
        vec![
            Operation::new("policy", Method::GET, "policy", Right::Client),
            Operation::new("why", Method::GET, "why/{id}", Right::Client),
            Operation::new("replay", Method::POST, "policy/replay", Right::Administrator),
        ]
    }

    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>> {
        let rulings = self.0.clone();
        async move {
            match call.operation {
                "why" => why(&rulings, &call).await,
                "replay" => replayed(rulings, call).await,
                _ => Ok(in_force(&rulings)),
            }
        }
        .boxed()
    }
}

fn in_force(rulings: &Rulings) -> Response<Body> {
    let rules = rulings.current();
    let told: Vec<InForce<'_>> = rules.rules().iter().map(|rule| InForce::of(rule)).collect();
    json(&serde_json::json!({ "standing": rulings.standing(), "rules": told }))
}

impl<'a> InForce<'a> {
    fn of(rule: &'a policy::rule::Rule) -> Self {
        let mut looks_at: Vec<&str> = rule.facts().map(Fact::name).collect();
        looks_at.sort_unstable();
        looks_at.dedup();
        Self {
            id: &rule.id,
            line: rule.line,
            verdict: rule.verdict.name(),
            mode: if rule.is_enforced { "enforce" } else { "dry-run" },
            on: rule.on.iter().map(|one| one.name()).collect(),
            at: rule.at.iter().map(|one| one.name()).collect(),
            looks_at,
            waivable: rule.is_waivable,
        }
    }
}

async fn why(rulings: &Rulings, call: &Call) -> Result<Response<Body>, Problem> {
    let id = call.captures.first().map(String::as_str).unwrap_or_default();
    let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = if is_id { rulings.find(id).await } else { None };
    let Some(record) = found else {
        let detail = "no such decision is remembered; decisions are named by 16 hexadecimal digits, and old ones are forgotten";
        return Err(Problem::absent(detail));
    };
    match wants_page(&call.headers) {
        true => Ok(page_of(&record, rulings.clock().now())),
        false => Ok(json(&Explained {
            record: &record,
            decided: record.at.to_rfc3339(),
            waiver: waiver(&record),
            newest_advisory: newest_advisory(rulings, &record),
        })),
    }
}

async fn replayed(rulings: Rulings, call: Call) -> Result<Response<Body>, Problem> {
    let since = call.query.get("since").map_or("30d", |text| &**text);
    let Some(span) = policy::words::parse_span(since) else {
        return Err(Problem::bad(format!(
            "`since` is a span such as 30d or 12h, and {since:?} is none"
        )));
    };
    let draft = Call::bytes(call.body, DRAFT_LIMIT_BYTES).await?;
    let draft = std::str::from_utf8(&draft)
        .map_err(|_| Problem::bad("the draft is not UTF-8; send the text of a policy file"))?;
    let file = policy::file::read(draft).map_err(|faults| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Problem::bad(told.join("\n"))
    })?;
    let in_force = rulings.current();
    let texts = [draft, ""];
    let waivers = in_force.waivers().to_vec();
    let draft = Ruleset::new(rulings.settings().clone(), file, waivers, texts);
    let since: Timestamp = rulings.clock().now().minus(span);
    let work = move || replay::replay(rulings.records(), &draft, since);
    match tokio::task::spawn_blocking(work).await {
        Ok(report) => Ok(json(&report)),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the replay broke off")),
    }
}

/// How old what is known of packages is: what a decision that rests on it is worth.
fn newest_advisory(rulings: &Rulings, record: &Record) -> Option<String> {
    let facts = [Fact::Malicious, Fact::Vulnerability, Fact::Cvss, Fact::FixAvailable];
    let rests = facts.iter().any(|fact| record.facts.contains_key(fact.name()));
    let newest = rulings.current().advisories().newest().filter(|_| rests)?;
    Some(newest.to_rfc3339())
}

/// The entry for the file of waivers that would except this from the rule that decided, to be filled in.
fn waiver(record: &Record) -> Option<String> {
    let voice = record.fired.iter().find(|voice| voice.effect == "enforced")?;
    if voice.rule.starts_with("policy.") {
        return None;
    }
    let exact = || {
        let subject = record.subject.rsplit(" of ").next().unwrap_or(&record.subject);
        format!("what = {subject:?}")
    };
    let bound = record.digest.as_ref().map_or_else(exact, |digest| format!("digest = {digest:?}"));
    let rule = &voice.rule;
    Some(format!(
        "[[waiver]]\nrule = {rule:?}\n{bound} # {}\nreason = \"\" # why this may be excepted\napproved_by = \"\"\nexpires = # a date, such as 2027-02-01\n",
        record.subject
    ))
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn page_of(record: &Record, now: Timestamp) -> Response<Body> {
    let mut html = page::HEAD.replace("<title>Larder</title>", "<title>Why? - Larder</title>");
    let subject = escape(&record.subject);
    let verdict = record.verdict.name();
    let _ = writeln!(html, "<h2>Why? {subject}</h2>");
    let _ = writeln!(
        html,
        "<p>Decision <code>{}</code> of {}: <strong>{verdict}</strong>, when it was asked for as {}.</p>",
        escape(&record.id),
        record.at.to_rfc3339(),
        record.point.name(),
    );
    html.push_str("<h3>Who said so</h3>\n<table>\n<tr><th>rule<th>verdict<th>effect<th>reason\n");
    for voice in &record.fired {
        let (rule, reason) = (escape(&voice.rule), escape(&voice.reason));
        let (verdict, effect) = (voice.verdict.name(), escape(&voice.effect));
        let _ = writeln!(html, "<tr><td>{rule}<td>{verdict}<td>{effect}<td>{reason}");
    }
    html.push_str("</table>\n<h3>What it rested on</h3>\n<table>\n");
    for (name, value) in &record.facts {
        let kind = Fact::ALL.iter().find(|fact| fact.name() == name).map(|fact| fact.kind());
        let value = escape(&value.told(kind.unwrap_or(Kind::Text), now));
        let _ = writeln!(html, "<tr><td>{}<td>{value}", escape(name));
    }
    if let Some(digest) = &record.digest {
        let _ = writeln!(html, "<tr><td>digest<td>{}", escape(digest));
    }
    if let Some(state) = &record.state {
        let _ = writeln!(html, "<tr><td>state upstream<td>{}", escape(state));
    }
    html.push_str("</table>\n");
    if let Some(waiver) = waiver(record) {
        let _ = writeln!(
            html,
            "<h3>How to ask for an exception</h3>\n<p>Send this, with a reason and an end, to whoever runs this server; it goes into the file that <code>policy.waivers</code> names. <code>larder waive request {}</code> prints it.</p>\n<pre>{}</pre>",
            escape(&record.id),
            escape(&waiver),
        );
    }
    let mut answer = super::super::response(StatusCode::OK, "text/html; charset=utf-8", html);
    answer.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Ecosystem, Facts, Point};

    fn record(rule: &str, digest: Option<&'static str>) -> Record {
        let text = format!("[[rule]]\nid = \"{rule}\"\ndeny_if = {{ name_in = \"*\" }}");
        let file = policy::file::read(&text).expect("a rule");
        let rules = Ruleset::new(policy::Config::default(), file, Vec::new(), [&text, ""]);
        let mut facts = Facts::of(Ecosystem::PyPi, "<six>")
            .with(Fact::Version, "1.0")
            .with(Fact::File, "six-1.0.tar.gz");
        facts.digest = digest.map(Into::into);
        let judged = rules.judged(facts, Point::Content, Timestamp(1));
        Record::of(&judged, judged.id())
    }

    #[test]
    fn the_entry_for_the_waivers_lacks_only_what_people_decide() {
        let digest = "sha256:abababababababababababababababababababababababababababababababab";
        for digest in [None, Some(digest)] {
            let entry = waiver(&record("x", digest)).expect("an entry");
            assert!(policy::waiver::read(&entry).is_err(), "as it is, it is refused");
            let filled = entry
                .replace("reason = \"\"", "reason = \"r\"")
                .replace("expires =", "expires = 2027-01-01");
            let read = policy::waiver::read(&filled);
            assert!(read.is_ok(), "{filled}: {read:?}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_the_page() {
        assert!(wants_page(&HeaderMap::from_iter([(
            header::ACCEPT,
            HeaderValue::from_static("text/html,*/*")
        )])));
        let answer = page_of(&record("x", None), Timestamp(1));
        assert_eq!(answer.status(), 200);
        assert_eq!(escape("<six>"), "&lt;six&gt;");
    }
}
