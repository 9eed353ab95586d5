//! What the tests stand on: an origin that can be broken at will, a package index on top of it, Larder itself (in this
//! process or as a child), and two clients: one that speaks HTTP and one that speaks bytes.

pub mod child;
pub mod client;
pub mod disk;
pub mod hub;
pub mod index;
pub mod installer;
pub mod larder;
pub mod names;
pub mod origin;
pub mod raw;
pub mod registry;
pub mod sigstore;
pub mod team;
pub mod wait;
