//! Keeping things together: fetching ahead what a list names, saying what would be missing offline, and carrying it to a site without any upstream.
//!
//! ```text
//! walk       from a name to the files behind it, by the requests that clients make; nothing here reads a cache key
//! take       those files, fetched through the mounts (`larder pull`)
//! offline    a Larder over the same store whose upstreams have vanished: what it cannot answer is not kept (`larder check`),
//!            and what it read to answer is what a bundle must hold (`larder export`)
//! archive    the form of a bundle: a tar that can be written and read in one pass
//! export     writes one       import    reads one       resource  both, and the check, as operations of the API
//! ```
//!
//! So what is exported for a name is, by construction, whatever it takes to answer for that name without an upstream. Left out: what lists mean
//! (`collect`), arguments and progress bars (`cli`).

pub mod door;
pub mod offline;
pub mod resource;
pub mod take;
pub mod walk;

pub use door::{Answer, Door, DoorError};
