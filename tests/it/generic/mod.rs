//! The generic mount: RFC 9111 by the book, and Larder's promises with `keep = true`.

mod by_the_book;
mod keep;
