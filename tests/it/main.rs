//! Behaviour over loopback: one binary, folders that mirror the product.

mod layers;
mod upstream;
