//! Behaviour over loopback: one binary, folders that mirror the product.

mod fakes;
mod layers;
mod pypi;
mod support;
mod upstream;
