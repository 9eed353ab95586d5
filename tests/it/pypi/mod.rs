//! Python packages, from the outside.

mod bad_input;
mod clients;
mod faults;
mod history;
mod replay;
mod routing;
