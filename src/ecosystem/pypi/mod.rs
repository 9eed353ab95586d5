//! Python packages.
