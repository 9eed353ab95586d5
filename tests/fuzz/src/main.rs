//! Gives one of Larder's fuzzing targets to libFuzzer: the one that `LARDER_FUZZ_TARGET` names. `tests/fuzz/run` builds and starts it.

#![no_main]

use std::sync::OnceLock;

use larder::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

fn target() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("LARDER_FUZZ_TARGET").unwrap_or_default();
        let known = TARGETS.iter().find(|target| target.name == name);
        known.unwrap_or_else(|| panic!("LARDER_FUZZ_TARGET={name:?} names no target of {TARGETS:?}"))
    })
}

fuzz_target!(|bytes: &[u8]| (target().run)(bytes));
