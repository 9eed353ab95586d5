//! Standard output, whose reader may be gone before the end: `larder ls | head`.
//!
//! There is nobody left to tell anything then, so the command ends without a word, by the code that shells know from `SIGPIPE`. `print!` would panic.
//! Left out: standard error, and the server, which goes on whoever reads what it says at its start.

use std::fmt::Arguments;
use std::io::{self, Write};

/// What shells say of a process that `SIGPIPE` has ended.
pub(super) const CUT_OFF: u8 = 141;

/// Writes to standard output, or ends the process where that cannot be.
pub(super) fn write(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        end(&error);
    }
}

fn end(error: &io::Error) -> ! {
    if error.kind() != io::ErrorKind::BrokenPipe {
        eprintln!("larder: standard output cannot be written: {error}");
        std::process::exit(1);
    }
    std::process::exit(CUT_OFF.into())
}

/// As `print!`, by way of [`write`].
macro_rules! put {
    ($($text:tt)*) => { $crate::cli::out::write(format_args!($($text)*)) };
}

/// As `println!`, by way of [`write`].
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
