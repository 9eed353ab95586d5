//! Clients that are not the hub's own library: llama.cpp, Ollama, git.

use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{Fetched, Follow, Outcome, Session, Wanted, resolve, succeeded, text};
use crate::support::index::sha256;

impl Session {
    pub(super) async fn llama_cpp(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let id = &wanted.id;
        let (refs, _) = self.json(&format!("/api/models/{id}/refs")).await?;
        let branches = refs["branches"].as_array().ok_or("no branches")?;
        let main = branches.iter().find(|branch| branch["name"] == wanted.revision.as_str());
        let sha = text(&main.ok_or("no such branch")?["targetCommit"], "targetCommit")?.to_owned();
        // Whatever else there may be of the tree is never asked for.
        let (tree, _) = self.json(&format!("/api/models/{id}/tree/{sha}?recursive=true")).await?;
        let mut fetched = Fetched::new();
        for entry in tree.as_array().ok_or("no array")? {
            let path = text(&entry["path"], "path")?;
            if !path.ends_with(".gguf") {
                continue;
            }
            let url = resolve(wanted, &sha, path);
            let agent = ("user-agent", "llama-cpp/b7000");
            let head = self.go(Method::HEAD, &url, &[agent], Follow::All).await?;
            succeeded(&head, &url)?;
            let length = head.header("content-length").parse::<u64>();
            let length = length.map_err(|_| format!("{url}: no Content-Length"))?;
            if head.header("accept-ranges") != "bytes" {
                return Err(format!("{url}: no Accept-Ranges"));
            }
            let mut bytes = Vec::new();
            for range in [format!("bytes=0-{}", length / 2), format!("bytes={}-", length / 2 + 1)] {
                let part =
                    self.go(Method::GET, &url, &[agent, ("range", &range)], Follow::All).await?;
                if part.status != 206 {
                    return Err(format!("{url} {range}: {}", part.status));
                }
                bytes.extend_from_slice(&part.body);
            }
            fetched.insert(path.to_owned(), sha256(&bytes));
        }
        Ok(fetched)
    }

    pub(super) async fn ollama(&self, wanted: &Wanted) -> Outcome<Fetched> {
        let base = format!("/v2/{}", wanted.id);
        let accept = ("accept", "application/vnd.docker.distribution.manifest.v2+json");
        let agent = ("user-agent", "ollama/0.13.0 (amd64 linux) Go/go1.24.1");
        let url = format!("{base}/manifests/latest");
        let reply = self.go(Method::GET, &url, &[accept, agent], Follow::All).await?;
        succeeded(&reply, &url)?;
        let manifest = reply.json();
        let mut fetched = Fetched::new();
        let layers = manifest["layers"].as_array().ok_or("no layers")?;
        for layer in layers.iter().chain([&manifest["config"]]) {
            let digest = text(&layer["digest"], "digest")?;
            let got = self.blob(&format!("{base}/blobs/{digest}")).await?;
            if format!("sha256:{got}") != digest {
                return Err(format!("digest mismatch, {digest} and {got}"));
            }
            fetched.insert(text(&layer["mediaType"], "mediaType")?.to_owned(), got);
        }
        Ok(fetched)
    }

    /// A blob in parts, at the address that Go's `Response.Location` names once the host has changed or the answer is no redirect.
    async fn blob(&self, path: &str) -> Outcome<String> {
        let head = self.go(Method::HEAD, path, &[], Follow::All).await?;
        succeeded(&head, path)?;
        let length: u64 = head
            .header("content-length")
            .parse()
            .map_err(|_| format!("{path}: no Content-Length"))?;
        let answer = self.go(Method::GET, path, &[], Follow::Endpoint).await?;
        if !answer.status.is_redirection() {
            succeeded(&answer, path)?;
        }
        if answer.header("location").is_empty() {
            return Err(format!("{path}: http: no Location header in response"));
        }
        let base = Url::parse(&self.absolute(path)).map_err(|error| error.to_string())?;
        let direct = base.join(answer.header("location")).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        for range in parts(length) {
            let part = self.ask(Method::GET, direct.as_str(), &[("range", &range)], "").await?;
            if !matches!(part.status.as_u16(), 200 | 206) {
                return Err(format!("{direct} {range}: {}", part.status));
            }
            bytes.extend_from_slice(&part.body);
        }
        Ok(sha256(&bytes))
    }

    pub(super) async fn git_lfs(&self, wanted: &Wanted) -> Outcome<Fetched> {
        const TYPE: &str = "application/vnd.git-lfs+json";
        let objects: Vec<Value> = wanted
            .pointers
            .values()
            .map(|(oid, size)| json!({ "oid": oid, "size": size }))
            .collect();
        let body = json!({
            "operation": "download", "objects": objects, "transfers": ["lfs-standalone-file", "basic", "ssh"],
            "ref": { "name": "refs/heads/main" }, "hash_algo": "sha256",
        });
        let url = format!(
            "{}/{}{}.git/info/lfs/objects/batch",
            self.base,
            wanted.kind.prefix(),
            wanted.id
        );
        let fields = [
            ("accept", TYPE),
            ("content-type", "application/vnd.git-lfs+json; charset=utf-8"),
            ("user-agent", "git-lfs/3.3.0 (GitHub; linux amd64; go 1.19.8)"),
        ];
        let reply = self.ask(Method::POST, &url, &fields, &body.to_string()).await?;
        succeeded(&reply, &url)?;
        let told = reply.json();
        let mut fetched = Fetched::new();
        for (path, (oid, size)) in &wanted.pointers {
            let objects = told["objects"].as_array().ok_or("no objects")?;
            let object = objects.iter().find(|object| object["oid"] == oid.as_str());
            let action =
                &object.ok_or_else(|| format!("{oid} is not answered"))?["actions"]["download"];
            let href = text(&action["href"], "href")?;
            let got = self.ask(Method::GET, href, &[("accept-encoding", "identity")], "").await?;
            succeeded(&got, href)?;
            if (sha256(&got.body), got.body.len() as u64) != (oid.clone(), *size) {
                return Err(format!("expected OID {oid}, got {}", sha256(&got.body)));
            }
            fetched.insert(path.clone(), oid.clone());
        }
        Ok(fetched)
    }
}

/// Ranges of a download in parts.
fn parts(length: u64) -> Vec<String> {
    const PART: u64 = 100_000;
    (0..length.div_ceil(PART))
        .map(|number| {
            let first = number * PART;
            format!("bytes={first}-{}", (first + PART).min(length) - 1)
        })
        .collect()
}
