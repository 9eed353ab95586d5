//! Any HTTP origin.
