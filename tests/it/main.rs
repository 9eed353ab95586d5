//! Behaviour over loopback: one binary, folders that mirror the product.

mod advisories;
mod attack;
mod bundle;
mod cache;
mod crash;
mod deploy;
mod fakes;
mod faults;
mod generic;
mod heal;
mod huggingface;
mod keep;
mod layers;
mod oci;
mod policy;
mod pypi;
mod server;
mod soak;
mod support;
mod time;
mod trace;
mod upstream;
