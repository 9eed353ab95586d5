//! Hosts of bytes: signed links that expire, to large files and to xorbs. Whoever sends a credential here has leaked it.

use sha2::{Digest as _, Sha256};

use super::repository::{File, Repository, Storage};
use super::{Asked, cas, encoded, files, framed};
use crate::support::origin::Answer;

/// The link to a large file, good for a while.
pub fn file_link(asked: &Asked<'_>, repository: &Repository, file: &File, path: &str) -> String {
    let hosts = asked.shelf.hosts();
    let cdn = asked.switches().cdn_instead.as_ref().unwrap_or(&hosts.cdn);
    let place = match file.storage {
        Storage::Xet => format!("/xet-bridge-us/{}/{}", folder(repository), file.xet),
        _ => format!("/repos/{}/{}", folder(repository), file.sha256),
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let disposition = encoded(&files::disposition(name));
    format!("{cdn}{}&response-content-disposition={disposition}", signed(asked, &place))
}

/// A link to `path` of this host, good for a while.
pub fn signed(asked: &Asked<'_>, path: &str) -> String {
    let expires = asked.shelf.now() + asked.switches().link_seconds;
    format!("{path}?Expires={expires}&Signature={}&Key-Pair-Id=K1", signature(path, expires))
}

fn signature(path: &str, expires: u64) -> String {
    hex::encode(&Sha256::digest(format!("secret of the CDN {path} {expires}"))[..16])
}

fn folder(repository: &Repository) -> String {
    hex::encode(&Sha256::digest(&repository.id)[..12])
}

/// Whether the link is one of ours and still good.
fn holds(asked: &Asked<'_>) -> bool {
    let expires: u64 = asked.query("Expires").and_then(|text| text.parse().ok()).unwrap_or(0);
    expires > asked.shelf.now()
        && asked.query("Signature") == Some(signature(asked.path, expires).as_str())
}

pub fn answer(asked: &Asked<'_>) -> Answer {
    if !holds(asked) {
        const DENIED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
        return Answer::new(403).with("content-type", "application/xml").of(DENIED);
    }
    match asked.segments.as_slice() {
        ["xet-bridge-us", _, xet] => match find(asked, |file| file.xet == *xet) {
            Some(file) if asked.switches().bridge_limit.is_some_and(|most| file.size > most) => {
                Answer::new(400).of("Bad Request")
            }
            // The real bridge's entity tag is the Xet hash, not the sha256.
            Some(file) => sent(asked, file, &file.xet),
            None => Answer::new(404),
        },
        ["repos", _, sha256] | ["blobs", sha256] => {
            match find(asked, |file| file.sha256 == *sha256) {
                Some(file) => sent(asked, file, &format!("{}-7", &file.sha256[..32])),
                None => super::registry::small_blob(asked, sha256),
            }
        }
        ["xorbs", "default", xorb] => cas::xorb(asked, xorb),
        _ => Answer::new(404),
    }
}

fn sent(asked: &Asked<'_>, file: &File, tag: &str) -> Answer {
    let answer = Answer::ok("application/octet-stream", file.content.clone())
        .with("etag", &format!("\"{tag}\""))
        .with("last-modified", "Mon, 05 Jan 2026 07:08:09 GMT")
        .with("cache-control", "public, max-age=31536000");
    let answer = match asked.query("response-content-disposition") {
        Some(text) => answer.with("content-disposition", text),
        None => answer,
    };
    framed(asked, answer.ranged(asked.headers))
}

/// The first file of any repository, deleted commits aside, that is meant.
pub fn find<'a>(asked: &Asked<'a>, is_meant: impl Fn(&File) -> bool) -> Option<&'a File> {
    let commits = asked.state.repositories.values().flat_map(|repository| &repository.commits);
    let kept = commits.flat_map(|commit| commit.files.values());
    let shelved = asked.state.models.iter().map(|model| &model.file);
    kept.chain(shelved)
        .map(|file| &**file)
        .find(|file| file.storage != Storage::Plain && is_meant(file))
}
