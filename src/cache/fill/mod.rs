//! One transfer from upstream into a partial file, followed by any number of readers.

/// A transfer under way.
#[derive(Debug)]
pub struct Fill {}
