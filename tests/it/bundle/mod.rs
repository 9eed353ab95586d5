//! What is kept together: lists fetched ahead and checked offline, by the commands, with and without a running server.

mod carried;
mod clients;
mod locks;
mod pulls;
mod site;
