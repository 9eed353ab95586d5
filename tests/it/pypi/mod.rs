//! Python packages, from the outside.

mod clients;
