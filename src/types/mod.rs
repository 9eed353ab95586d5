//! Pure values that every layer speaks: no I/O, no clock, nothing of ours imported.

pub mod digest;
pub mod event;
pub mod head;
pub mod key;
pub mod network;
pub mod presence;
pub mod secret;
pub mod signer;
pub mod size;
pub mod time;

pub use digest::{Algorithm, BlobId, Digest, Hasher};
pub use event::{Event, What};
pub use head::Head;
pub use key::{Audience, CacheKey};
pub use network::{Network, NetworkError};
pub use presence::Presence;
pub use secret::Secret;
pub use signer::Signer;
pub use size::ByteSize;
pub use time::Timestamp;
