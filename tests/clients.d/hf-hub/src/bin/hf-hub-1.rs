//! hf-hub 1.0, with its own Xet: fetches a model as a whole and prints the digests of its files.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use sha2::{Digest, Sha256};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let id = std::env::args().nth(1).ok_or("which repository?")?;
    let (owner, name) = id.split_once('/').ok_or("whose?")?;
    let client = second::HFClient::new()?;
    let root = client.model(owner, name).snapshot_download().send().await?;
    let mut files = BTreeMap::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(&root)?.to_string_lossy().into_owned();
            files.insert(name, hex::encode(Sha256::digest(fs::read(&path)?)));
        }
    }
    println!("got {}", serde_json::to_string(&files)?);
    Ok(())
}
