//! What real clients print when rules refuse, hide or warn: of every row of the ecosystems' tables, with nothing kept, and kept with upstream gone.

mod hub;
mod images;
mod orders;
mod packages;

use tokio::process::Command;

use crate::support::wait::soon;

/// Panics unless the client showed which rule refused it and where that is explained.
fn shows_why(said: &str, why: &str) {
    for expected in ["rule it", "/-/why/"] {
        assert!(said.contains(expected), "{why}: {expected:?} in {said}");
    }
}

/// Runs a command to its end: whether it succeeded, and what it printed.
async fn ended(name: &str, mut command: Command) -> (bool, String) {
    let output = soon(name, command.output()).await.expect("the client can be run");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}
