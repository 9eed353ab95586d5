//! The fake hub as a process, for `tests/clients`, which drives real clients through a real Larder: orders come in as lines of JSON, answers go out
//! as lines that begin with `hub `, and the end of the input is the end of the process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::hub::{FakeHub, File, Files, Kind, World};

/// What the process is told.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Order {
    /// Adds the files below `folder` to a branch. Answers the commit and every file's sha256.
    Publish { kind: String, id: String, branch: String, folder: PathBuf },
    /// Brings about a state of the world; a forced push leaves the files below `folder`.
    Turn { world: String, kind: String, id: String, folder: PathBuf },
    /// Takes faults away and listens again.
    Heal,
    /// Answers the requests since the last time.
    Journal,
    /// Entries on a page.
    Page { entries: usize },
}

/// Larger files are in Xet, and so are those of these kinds whatever their size.
const LARGEST_PLAIN: u64 = 1 << 20;
const IN_XET: [&str; 5] = ["safetensors", "bin", "gguf", "parquet", "onnx"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that tests/clients starts"]
async fn serves_until_its_input_ends() {
    // A run of all tests, the ignored ones too, has nobody at the other end.
    if std::env::var_os("LARDER_FAKE_HUB").is_none() {
        return;
    }
    let now = Clock::system().now().secs();
    let hub = FakeHub::start_at(now).await;
    say(&json!({
        "hub": hub.endpoint(), "cdn": hub.cdn.url(""), "cas": hub.cas.url(""),
        "viewer": hub.viewer.url(""), "library": hub.library.url(""),
    }));
    let mut orders = lines();
    while let Some(line) = orders.recv().await {
        let answer = match serde_json::from_str(&line) {
            Ok(order) => carry_out(&hub, order).await,
            Err(error) => Err(error.to_string()),
        };
        say(&answer.unwrap_or_else(|error| json!({ "error": error })));
    }
}

fn say(answer: &Value) {
    println!("hub {answer}");
}

/// Lines of the input, read where waiting for them holds nothing up.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn carry_out(hub: &FakeHub, order: Order) -> Result<Value, String> {
    match order {
        Order::Publish { kind, id, branch, folder } => {
            let files = below(&folder)?;
            let digests: BTreeMap<String, String> =
                files.iter().map(|(path, file)| (path.clone(), file.sha256.clone())).collect();
            let sha = hub.commit(kind_of(&kind)?, &id, &branch, files);
            Ok(json!({ "sha": sha, "files": digests }))
        }
        Order::Turn { world, kind, id, folder } => {
            let world = World::named(&world).ok_or_else(|| format!("no world {world}"))?;
            hub.turn(world, kind_of(&kind)?, &id, below(&folder)?).await;
            Ok(json!({}))
        }
        Order::Heal => {
            hub.heal();
            Ok(json!({}))
        }
        Order::Journal => {
            let journal = hub.journal();
            hub.forget();
            Ok(json!(journal))
        }
        Order::Page { entries } => {
            hub.switch(|switches| switches.page_entries = entries);
            Ok(json!({}))
        }
    }
}

fn kind_of(name: &str) -> Result<Kind, String> {
    Kind::of(name).ok_or_else(|| format!("no kind {name}"))
}

/// The files below a folder, by path.
fn below(folder: &Path) -> Result<Files, String> {
    let mut files = Files::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        let entries =
            fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).map_err(|error| error.to_string())?;
            files.insert(name.to_string_lossy().into_owned(), read(&path)?);
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Arc<File>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let is_large = bytes.len() as u64 > LARGEST_PLAIN || IN_XET.contains(&extension.as_ref());
    Ok(if is_large { File::xet(bytes) } else { File::plain(bytes) })
}
