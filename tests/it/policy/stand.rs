//! A Larder whose rules a test writes, and the table of conditions that each ecosystem is tried with.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Reply;
use crate::support::larder::Larder;
use crate::support::wait::eventually;

/// A Larder with a policy file.
pub struct Stand {
    pub larder: Larder,
    folder: TempDir,
}

/// One condition, and where it can be told.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Such as `yanked = true`; what is offered meets it.
    pub met: &'static str,
    /// The same of something else: nothing that is offered meets it.
    pub unmet: &'static str,
    pub listing: bool,
    pub metadata: bool,
    pub content: bool,
}

impl Case {
    pub const fn new(met: &'static str, unmet: &'static str, known: [bool; 3]) -> Self {
        Self { met, unmet, listing: known[0], metadata: known[1], content: known[2] }
    }
}

impl Stand {
    /// Starts one with these settings and rules.
    pub async fn start(settings: &str, rules: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let (file, waivers) = (path(&folder, "policy.toml"), path(&folder, "waivers.toml"));
        fs::write(&file, rules).expect("the folder can be written");
        fs::write(&waivers, "").expect("the folder can be written");
        let settings = format!("{settings}\n[policy]\nfile = {file:?}\nwaivers = {waivers:?}\n");
        Self { larder: Larder::start(&settings).await, folder }
    }

    /// Puts other rules in force, and starts again on the same data.
    pub async fn with(self, rules: &str) -> Self {
        self.write("policy.toml", rules);
        let Self { larder, folder } = self;
        Self { larder: larder.restart().await, folder }
    }

    /// Writes one of the policy's files while it runs.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(path(&self.folder, name), text).expect("the folder can be written");
    }

    /// Gets something, and waits until it is kept.
    pub async fn keep(&self, address: &str) {
        let get = || self.larder.client.get(self.larder.url(address));
        let reply = get().send().await;
        assert_eq!(reply.status, 200, "{address}: {reply:?}");
        let kept =
            async || get().with("cache-control", "only-if-cached").send().await.status == 200;
        eventually(&format!("{address} is kept"), kept).await;
    }

    pub async fn head(&self, address: &str) -> Reply {
        self.larder.client.head(self.larder.url(address)).send().await
    }

    /// What `/-/why` says of the decision that a text names the address of.
    pub async fn why(&self, text: &str) -> Value {
        let start = text.find("/-/why/").unwrap_or_else(|| panic!("no address in {text:?}"));
        let id: String = text[start + 7..].chars().take_while(char::is_ascii_hexdigit).collect();
        let reply = self.larder.get(&format!("/-/why/{id}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// Replays what was recorded against a draft.
    pub async fn replay(&self, draft: &str) -> Value {
        let address = self.larder.url("/-/api/v1/policy/replay");
        let asked = self.larder.client.ask(Method::POST, address);
        let reply = asked.body(draft.to_owned()).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }
}

fn path(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

/// A rule with this condition.
pub fn rule(verdict: &str, condition: &str) -> String {
    format!("[[rule]]\nid = \"it\"\n{verdict}_if = {{ {condition} }}\n")
}

/// Refuses what no condition of a table is met by.
///
/// No client of those that resolve a tag or a branch first asks for its file by that: they go on by what it stood for, and so by no name that moves.
pub fn unmet_rules(cases: &[Case]) -> String {
    let unmet = cases.iter().map(|case| case.unmet);
    let told = unmet.filter(|condition| *condition != "mutable_reference = false");
    let rule = |(index, condition): (usize, &str)| {
        format!("[[rule]]\nid = \"it-{index}\"\ndeny_if = {{ {condition} }}\n")
    };
    told.enumerate().map(rule).collect()
}

/// All conditions of a table at once, each as a rule of its own: `met-0`, `unmet-0`, ….
pub fn all_rules(verdict: &str, cases: &[Case]) -> String {
    let rule = |(index, case): (usize, &Case)| {
        [("met", case.met), ("unmet", case.unmet)].map(|(name, condition)| {
            format!("[[rule]]\nid = \"{name}-{index}\"\n{verdict}_if = {{ {condition} }}\n")
        })
    };
    cases.iter().enumerate().flat_map(rule).collect()
}

/// The rules among them that hold at one point.
fn holding(cases: &[Case], is_told: fn(&Case) -> bool) -> BTreeSet<String> {
    let told = cases.iter().enumerate().filter(|(_, case)| is_told(case));
    told.map(|(index, _)| format!("met-{index}")).collect()
}

/// Every key warns wherever it can be told and nowhere else, and a dry run of every key changes nothing and records all of it. `metadata` and `content` are
/// addresses of what the table is about, the first with the method that is judged so.
pub async fn warns_and_runs_dry(
    mut stand: Stand,
    cases: &[Case],
    (method, metadata): (Method, &str),
    content: &str,
) {
    for address in [metadata, content] {
        stand.keep(address).await;
    }
    let asked = async |stand: &Stand, is_content: bool| {
        let (method, address) =
            if is_content { (Method::GET, content) } else { (method.clone(), metadata) };
        stand.larder.client.ask(method, stand.larder.url(address)).send().await
    };
    stand = stand.with(&all_rules("warn", cases)).await;
    for (is_content, expected) in
        [(false, holding(cases, |case| case.metadata)), (true, holding(cases, |case| case.content))]
    {
        let reply = asked(&stand, is_content).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let why = stand.why(reply.header("warning")).await;
        let fired = why["fired"].as_array().expect("rules").iter();
        let fired: BTreeSet<String> =
            fired.filter_map(|one| one["rule"].as_str().map(str::to_owned)).collect();
        assert_eq!(fired, expected, "content: {is_content}");
    }
    let dry = format!("mode = \"dry-run\"\n{}", all_rules("deny", cases));
    stand = stand.with(&dry).await;
    for is_content in [false, true] {
        let reply = asked(&stand, is_content).await;
        assert_eq!((reply.status.as_u16(), reply.header("warning")), (200, ""), "{reply:?}");
    }
    let report = assert_recorded(stand, cases).await;
    for (index, case) in cases.iter().enumerate() {
        assert_eq!(report["rules"][format!("unmet-{index}")], 0, "{}: {report}", case.unmet);
    }
}

/// Panics unless a dry run of every key was written down; answers what a replay of it tells.
pub async fn assert_recorded(stand: Stand, cases: &[Case]) -> Value {
    // What was decided is written down at the end at the latest.
    let stand = stand.with("").await;
    let report = stand.replay(&all_rules("deny", cases)).await;
    for (index, case) in cases.iter().enumerate() {
        let held = report["rules"][format!("met-{index}")].as_u64();
        let is_told = case.metadata || case.content;
        assert_eq!(held.is_some_and(|count| count > 0), is_told, "{}: {report}", case.met);
    }
    report
}

/// A text of the answer by which its client tells why.
pub fn said(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}
