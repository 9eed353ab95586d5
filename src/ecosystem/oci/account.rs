//! What an image says of itself, and where its tags have gone since: from what is kept of it.

use serde_json::Value;

use crate::ecosystem::naming::{Account, Shelf, Thing, Unreadable};
use crate::ecosystem::oci::blob;
use crate::ecosystem::oci::facts::Image;
use crate::ecosystem::oci::image::{More, of_manifest};
use crate::ecosystem::oci::manifest::Manifest;
use crate::ecosystem::oci::registry::MANIFEST_LIMIT_BYTES;
use crate::ecosystem::oci::tag::Pointer;

/// How deep the first image of an index lies.
const MOST_LEVELS: usize = 4;

/// The account of an image.
pub fn account(shelf: &Shelf<'_>, thing: &Thing) -> Result<Account, Unreadable> {
    let mut account = Account {
        licence: image(shelf, &thing.group, &thing.identity, MOST_LEVELS)?.licences,
        identity: thing.group.split_once('/').map(|(registry, _)| registry.to_owned()),
        ..Account::default()
    };
    // What a tag leads to still is where it was.
    if thing.versions.is_empty() {
        moved(shelf, thing, &mut account)?;
    }
    Ok(account)
}

/// That a tag stood for it once, and stands for something else now.
fn moved(shelf: &Shelf<'_>, thing: &Thing, account: &mut Account) -> Result<(), Unreadable> {
    let under = format!("tag/{}:", thing.group);
    for key in shelf.keys(&under)? {
        let Some(pointer) = shelf.read(key.name(), Pointer::read)? else { continue };
        let moves = &pointer.history;
        let place = moves.iter().rposition(|one| one.digest.to_string() == thing.identity);
        let next = place.and_then(|place| moves.get(place + 1));
        if let Some(next) = next.filter(|next| Some(next.seen) > account.since) {
            let tag = &key.name()[under.len()..];
            account.state = Some("moved");
            account.since = Some(next.seen);
            account.reason = Some(format!("{tag} stands for {} now", pointer.digest));
        }
    }
    Ok(())
}

/// What a manifest and the configuration that it names say; an index speaks by its first image.
fn image(shelf: &Shelf<'_>, group: &str, digest: &str, levels: usize) -> Result<Image, Unreadable> {
    let manifest = shelf.read(&format!("manifest/{group}@{digest}"), Manifest::read)?;
    let Some(manifest) = manifest.filter(|_| levels > 0) else { return Ok(Image::default()) };
    let (said, more) = of_manifest(&manifest);
    Ok(match more {
        Some(More::Child(child)) => said.or(image(shelf, group, &child.to_string(), levels - 1)?),
        Some(More::Config(config)) => {
            let named = manifest.content.blobs.iter().find(|blob| blob.digest == config);
            let is_small =
                named.and_then(|blob| blob.size).is_some_and(|size| size <= MANIFEST_LIMIT_BYTES);
            let body = is_small.then(|| shelf.contents.body(&blob::key(&config))).transpose()?;
            let json: Value = body
                .flatten()
                .and_then(|body| serde_json::from_slice(&body).ok())
                .unwrap_or_default();
            said.or(Image::of_config(&json))
        }
        None => said,
    })
}
