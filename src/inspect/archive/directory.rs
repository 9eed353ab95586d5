//! What the heads of a ZIP archive's members say, and what its directory says: the two must be one.
//!
//! Some readers believe the heads, others the directory at the end, and scanners that look at one are led astray by the other.

use std::collections::HashMap;

/// Members of one archive that are looked into, at most, and the bytes of their names.
const MOST_MEMBERS: usize = 1 << 20;
const MOST_NAME_BYTES: usize = 64 << 20;

/// What is said of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) name: Box<[u8]>,
    pub(super) method: u16,
    /// Its length in the archive.
    pub(super) stored: u64,
}

/// The members met so far, and those that the directory confirmed.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// By where their heads are.
    members: HashMap<u64, Said>,
    name_bytes: usize,
    confirmed: usize,
}

impl Directory {
    /// A member was met. False when there are too many.
    pub(super) fn met(&mut self, at: u64, said: Said) -> bool {
        self.name_bytes += said.name.len();
        self.members.insert(at, said);
        self.members.len() <= MOST_MEMBERS && self.name_bytes <= MOST_NAME_BYTES
    }

    /// The directory names a member. `Err` tells in what it contradicts the member's head.
    pub(super) fn confirm(&mut self, at: u64, said: &Said) -> Result<(), &'static str> {
        let met = self.members.remove(&at).ok_or("names a member that is not there")?;
        self.confirmed += 1;
        match () {
            () if met.name != said.name => Err("gives a member another name than its head"),
            () if met.method != said.method => {
                Err("says of a member that it is compressed in another way than its head says")
            }
            () if met.stored != said.stored => {
                Err("gives a member another length than its head, or than it has")
            }
            () => Ok(()),
        }
    }

    /// How many members the directory confirmed.
    pub(super) const fn confirmed(&self) -> u64 {
        self.confirmed as u64
    }

    /// Whether there is a member that the directory does not name.
    pub(super) fn has_hidden(&self) -> bool {
        !self.members.is_empty()
    }
}
