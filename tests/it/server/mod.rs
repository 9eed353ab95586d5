//! The way in: what must be refused before anybody thinks about it.

mod framing;
mod memory;
mod paths;
mod root;
