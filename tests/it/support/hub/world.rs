//! States of the world in which what was fetched before must be served: outages, refusals, and what people do to their repositories.

use super::{FakeHub, Files, Kind};
use crate::support::origin::Fault;

/// A state of upstream. A cache that has seen the repository before serves it in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    Up,
    Refused,
    BlackHoled,
    Unavailable,
    RateLimited,
    /// The repository is gone: 401 to the anonymous, 404 to everybody else.
    Deleted,
    /// It is there for those who were let in, of whom there are none.
    GatedLater,
    /// Its branch shows another commit, and the one that it showed is gone.
    ForcePushed,
}

pub const EVERY_WORLD: [World; 8] = [
    World::Up,
    World::Refused,
    World::BlackHoled,
    World::Unavailable,
    World::RateLimited,
    World::Deleted,
    World::GatedLater,
    World::ForcePushed,
];

impl World {
    pub fn named(name: &str) -> Option<Self> {
        EVERY_WORLD.into_iter().find(|world| world.name() == name)
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Refused => "refused",
            Self::BlackHoled => "black-holed",
            Self::Unavailable => "503",
            Self::RateLimited => "429",
            Self::Deleted => "deleted",
            Self::GatedLater => "gated later",
            Self::ForcePushed => "force-pushed",
        }
    }
}

impl FakeHub {
    /// Brings about a state of the world, as far as `main` of one repository shows it. `pushed` is what a forced push leaves there.
    pub async fn turn(&self, world: World, kind: Kind, id: &str, pushed: Files) {
        match world {
            World::Up => {}
            World::Refused => self.refuse().await,
            World::BlackHoled => self.fault_everywhere(&Fault::Silence),
            World::Unavailable => self.fault_everywhere(&Fault::status(503)),
            World::RateLimited => self.fault_everywhere(&Self::rate_limited(30)),
            World::Deleted => self.delete(kind, id),
            World::GatedLater => self.gate(kind, id, &[]),
            World::ForcePushed => {
                self.force_push(kind, id, "main", pushed);
            }
        }
    }
}
