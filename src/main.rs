//! The binary: hands the process to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    larder::cli::run()
}
