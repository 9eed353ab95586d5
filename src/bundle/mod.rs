//! Keeping things together: fetching ahead what a list names, saying what would be missing offline, and carrying it to a site without any upstream.
//!
//! ```text
//! walk       from a name to the files behind it, by the requests that clients make; nothing here reads a cache key
//! door       where they are asked for: at a Larder that runs, or at one in this process
//! take       those files, fetched through the mounts (`larder pull`)
//! offline    a Larder over the same store whose upstreams have vanished: what it cannot answer is not kept (`larder check`),
//!            and what it read to answer is what a bundle must hold (`larder export`)
//! archive    the form of a bundle: a tar that can be written and read in one pass; `record` is what stands in it, `key` who vouches for it
//! export     writes one       import    reads one       resource  both, and the check, as operations of the API
//! ```
//!
//! So what is exported for a name is, by construction, whatever it takes to answer for that name without an upstream. Left out: what lists mean
//! (`collect`), arguments and progress bars (`cli`).

pub mod archive;
pub mod door;
pub mod export;
pub mod import;
pub mod key;
pub mod offline;
pub mod record;
pub mod resource;
pub mod take;
pub mod walk;

pub use door::{Answer, Door, DoorError};

use serde::{Deserialize, Serialize};

use key::{NoKey, PublicKey};

/// Settings of bundles, `[bundle]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Keys of other Larders whose bundles are taken in, as `larder export --key` prints them there.
    pub trust: Vec<String>,
}

impl Config {
    /// The keys, or what is wrong with each that is none.
    pub fn trusted(&self) -> Result<Vec<PublicKey>, Vec<NoKey>> {
        let (good, bad): (Vec<_>, Vec<_>) =
            self.trust.iter().map(|text| text.parse()).partition(Result::is_ok);
        match bad.is_empty() {
            true => Ok(good.into_iter().filter_map(Result::ok).collect()),
            false => Err(bad.into_iter().filter_map(Result::err).collect()),
        }
    }
}
