//! The time, as whoever opened the store tells it.

use std::fmt;
use std::sync::Arc;

use crate::types::Timestamp;

/// Reads the wall clock.
#[derive(Clone)]
pub(super) struct Now(pub(super) Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    pub(super) fn get(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}
