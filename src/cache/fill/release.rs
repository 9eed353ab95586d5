//! How much of an unverified body readers may see. Pure.

use std::ops::Range;

/// Bodies up to this many bytes are not released before their digest is right, so that a wrong one is a clean refusal.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;

/// Of larger ones this much is held at the end, so that no reader completes a wrong body.
pub(super) const TAIL_BYTES: u64 = 64 << 10;

/// Whether a digest will decide at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Promise {
    /// Trusted on first use: the length alone decides, and bytes are released as they come.
    #[default]
    None,
    Digest,
}

/// What kind of reader asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// The whole body, or a part of it that leads up to its end.
    Sequential,
    /// A look at a small part that lies ahead of what has arrived (the directory of a wheel, the footer of a layer): it
    /// cannot complete a body, so it need not wait for the whole of it.
    Glance,
    /// Waits for the digest: a range, where the configuration says so.
    Verified,
}

impl View {
    /// The view of a reader that asks for `range` when `prefix` bytes have come.
    pub(super) fn of(range: Option<&Range<u64>>, prefix: u64, verify_before_range: bool) -> Self {
        match range {
            None => Self::Sequential,
            Some(_) if verify_before_range => Self::Verified,
            Some(range) if range.start > prefix && range.end - range.start <= SMALL_BYTES => {
                Self::Glance
            }
            Some(_) => Self::Sequential,
        }
    }
}

/// What inspection leaves to be seen of a body that it has not done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// So much was read and found harmless.
    pub(super) inspected: u64,
    /// Before so much was, nothing is seen.
    pub(super) first: u64,
}

impl Hold {
    /// The offset up to which the body may be seen. Nobody may look ahead, and the last bytes read stay behind: whatever is found next, nobody has
    /// all of it.
    pub(super) const fn limit(self, view: View) -> u64 {
        match view {
            View::Sequential if self.inspected >= self.first => {
                self.inspected.saturating_sub(TAIL_BYTES)
            }
            _ => 0,
        }
    }
}

/// The offset up to which an unverified body may be seen; `prefix` bytes of it have come.
pub(super) fn limit(promise: Promise, total: Option<u64>, prefix: u64, view: View) -> u64 {
    match (promise, view, total) {
        (Promise::Digest, View::Verified, _) => 0,
        (Promise::None, _, _) => u64::MAX,
        (Promise::Digest, _, Some(total)) if total <= SMALL_BYTES => 0,
        (Promise::Digest, View::Glance, Some(_)) => u64::MAX,
        (Promise::Digest, View::Sequential, Some(total)) => total - TAIL_BYTES,
        (Promise::Digest, _, None) if prefix <= SMALL_BYTES => 0,
        (Promise::Digest, _, None) => prefix - TAIL_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_decides_before_the_end_is_seen() {
        use Promise::{Digest, None as Nothing};
        use View::{Glance, Sequential, Verified};
        let mib = SMALL_BYTES;
        let check = |promise, total, prefix, view, expected| {
            assert_eq!(limit(promise, total, prefix, view), expected, "{promise:?} {total:?}");
        };
        check(Nothing, Some(10), 5, Sequential, u64::MAX);
        check(Nothing, None, 5, Sequential, u64::MAX);
        check(Digest, Some(mib), mib, Sequential, 0);
        check(Digest, Some(mib), mib, Glance, 0);
        check(Digest, Some(mib + 1), 0, Sequential, mib + 1 - TAIL_BYTES);
        check(Digest, Some(9 * mib), 0, Glance, u64::MAX);
        check(Digest, Some(9 * mib), 9 * mib, Verified, 0);
        check(Digest, None, mib, Sequential, 0);
        check(Digest, None, mib + 10, Sequential, mib + 10 - TAIL_BYTES);
    }

    #[test]
    fn what_is_not_judged_is_held() {
        let check = |inspected, first, view, expected| {
            assert_eq!(Hold { inspected, first }.limit(view), expected, "{inspected} {first}");
        };
        check(10, 100, View::Sequential, 0);
        check(100, 100, View::Sequential, 0);
        check(TAIL_BYTES + 5, 100, View::Sequential, 5);
        check(TAIL_BYTES + 5, 100, View::Glance, 0);
        check(TAIL_BYTES + 5, 100, View::Verified, 0);
    }

    #[test]
    fn only_a_small_look_ahead_is_a_glance() {
        let check = |range: Option<Range<u64>>, prefix, strict, expected| {
            assert_eq!(View::of(range.as_ref(), prefix, strict), expected, "{range:?}");
        };
        check(None, 0, true, View::Sequential);
        check(Some(100..200), 50, false, View::Glance);
        check(Some(100..200), 50, true, View::Verified);
        check(Some(100..200), 100, false, View::Sequential);
        check(Some(100..101 + SMALL_BYTES), 50, false, View::Sequential);
    }
}
