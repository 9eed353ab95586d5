//! The cache from the outside: one transfer for everybody, what is kept and for how long, parts of files.

mod crowd;
mod delivery;
mod warm;
