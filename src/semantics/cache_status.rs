//! The `Cache-Status` field (RFC 9211).

use std::fmt;

/// How one response came about. [`fmt::Display`] writes the field's value: `larder; hit; ttl=300`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Why the request went forward; `None` is a hit.
    pub forward: Option<Forward>,
    /// Status that upstream answered the forwarded request with.
    pub forward_status: Option<u16>,
    /// Whether the answer was kept.
    pub stored: bool,
    /// Whether it joined a request that was under way.
    pub collapsed: bool,
    /// Remaining freshness in seconds, negative when stale.
    pub ttl_secs: Option<i64>,
    /// A token of our own: `upstream-unreachable`, `gone-upstream`, ...
    pub detail: Option<&'static str>,
}

/// The `fwd` parameter's values (RFC 9211 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
    Partial,
}

impl CacheStatus {
    /// Served from what is kept.
    pub fn hit() -> Self {
        Self::default()
    }

    /// Went upstream.
    pub fn forwarded(why: Forward) -> Self {
        Self { forward: Some(why), ..Self::default() }
    }

    #[must_use]
    pub const fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    pub const fn is_hit(&self) -> bool {
        self.forward.is_none()
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        })
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("larder")?;
        match self.forward {
            None => f.write_str("; hit")?,
            Some(why) => write!(f, "; fwd={why}")?,
        }
        if let Some(status) = self.forward_status {
            write!(f, "; fwd-status={status}")?;
        }
        if let Some(ttl) = self.ttl_secs {
            write!(f, "; ttl={ttl}")?;
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        match self.detail {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_rfc_9211() {
        let check = |status: CacheStatus, expected: &str| assert_eq!(status.to_string(), expected);
        check(CacheStatus { ttl_secs: Some(30), ..CacheStatus::hit() }, "larder; hit; ttl=30");
        check(
            CacheStatus {
                forward_status: Some(304),
                stored: true,
                collapsed: true,
                ..CacheStatus::forwarded(Forward::Stale)
            },
            "larder; fwd=stale; fwd-status=304; stored; collapsed",
        );
        check(
            CacheStatus::hit().with_detail("upstream-unreachable"),
            "larder; hit; detail=upstream-unreachable",
        );
    }
}
