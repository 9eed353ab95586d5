//! Bills of made-up models and locks, compared with the official schema.
