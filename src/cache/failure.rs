//! Why the cache could not give what was asked. Closed, so that every adapter words each case for its client.

use crate::store::StoreError;
use crate::upstream::UpstreamError;

/// When whoever met [`Failure::Unjudged`] is to ask again, in seconds.
pub const UNJUDGED_RETRY_SECS: u64 = 5;

/// Why there is no answer, by what the client is told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// Every origin says that it does not exist, just now or a moment ago: 404.
    #[error("upstream has no such thing")]
    Absent,
    /// Upstream refused: its own 401 or 403.
    #[error("upstream refused with {status}")]
    Refused { status: u16 },
    /// No answer, and nothing kept: 504.
    #[error("upstream cannot be reached")]
    Unreachable(#[source] UpstreamError),
    /// Upstream answered with an outage of its own (5xx, 429) and nothing is kept: 503 or 502 to the client.
    #[error("upstream answered {status}")]
    Unavailable { status: u16, retry_after_secs: Option<u64> },
    /// Upstream answered with something that must not be passed on: wrong digest, error page, too large: 502.
    #[error("upstream's answer cannot be used: {0}")]
    BadAnswer(String),
    /// It is there, and what is in it may not pass: 403. The text says what that is.
    #[error("it may not pass: {reason}")]
    Unsafe { reason: String },
    /// It is being looked into, and that takes longer than a client should wait without a word: 503, and whoever asks again hears more.
    #[error("it is still being looked into")]
    Unjudged,
    /// Only what is kept was allowed (`only-if-cached`, no origins), and nothing is: 504.
    #[error("nothing is kept and upstream may not be asked")]
    NotKept,
    /// Our own disk or index failed: 500.
    #[error("the store failed: {0}")]
    Store(String),
}

impl Failure {
    /// Whether the same question may have another answer soon.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Unavailable { .. }
            | Self::BadAnswer(_)
            | Self::Unjudged
            | Self::NotKept
            | Self::Store(_) => true,
            Self::Absent | Self::Refused { .. } | Self::Unsafe { .. } => false,
        }
    }

    /// Whether it says no more than that a host is away, which the log has said once when that was noticed.
    pub const fn is_known_outage(&self) -> bool {
        matches!(self, Self::Unreachable(UpstreamError::CircuitOpen { .. }))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Malformed { .. }
            | UpstreamError::RedirectLoop { .. }
            | UpstreamError::ForbiddenAddress { .. } => Self::BadAnswer(error.to_string()),
            other => Self::Unreachable(other),
        }
    }
}
