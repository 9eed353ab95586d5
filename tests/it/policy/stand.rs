//! A Larder whose rules a test writes, and the table of conditions that each ecosystem is tried with.

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

/// A text of the answer by which its client tells why.
pub fn said(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}
