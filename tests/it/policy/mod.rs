//! Rules of one's own, from the outside: what is refused, hidden or warned of, at every point and in every ecosystem, and how clients are told.

mod clients;
mod history;
mod hub;
mod index;
mod inspection;
mod registry;
mod reload;
mod signed;
mod signed_images;
mod stand;
