//! Python package indexes.

pub mod accept;
pub mod config;
pub mod links;
pub mod listing;
pub mod merge;
pub mod name;
pub mod offer;
pub mod page;
pub mod parse_html;
pub mod parse_json;
pub mod render_html;
pub mod render_json;
