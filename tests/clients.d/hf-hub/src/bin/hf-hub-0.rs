//! hf-hub 0.5: fetches every file of a model and prints their digests.

use std::collections::BTreeMap;
use std::error::Error;

use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let id = std::env::args().nth(1).ok_or("which repository?")?;
    let api = first::api::sync::ApiBuilder::from_env().with_progress(false).build()?;
    let model = api.model(id);
    let mut files = BTreeMap::new();
    for sibling in model.info()?.siblings {
        let path = model.get(&sibling.rfilename)?;
        files.insert(sibling.rfilename, hex::encode(Sha256::digest(std::fs::read(path)?)));
    }
    println!("got {}", serde_json::to_string(&files)?);
    Ok(())
}
