//! The model hub: that the fake is one, and what clients get of it through Larder.

mod fake;
mod process;
mod xet;
