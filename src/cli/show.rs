//! `larder show`: what is kept of one thing.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method};

use super::reach::Reach;
use super::{Outcome, Overrides};
use crate::ecosystem::oci;

/// Say what is kept of an image, and what not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// What to look at, such as oci:registry.example.org/team/app:1.0
    what: String,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder show oci:registry.example.org/team/app:1.0
  larder show oci:alpine:latest           the default registry
  larder show --listen 127.0.0.1:9000 oci:alpine:latest

It asks the Larder that the configuration describes: at `public_url`, or at the first address of `listen`. Where none runs it looks itself.";

/// Something that names nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} names nothing that can be shown: write oci:NAME:TAG, as in oci:registry.example.org/team/app:1.0"
)]
struct Unnamed(String);

impl Show {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let image = self.what.strip_prefix("oci:").filter(|image| !image.is_empty());
            let image = image.ok_or_else(|| Unnamed(self.what.clone()))?;
            let address = format!("{}{image}", oci::SHOWN_AT.trim_start_matches('/'));
            let answer = reach.send(Method::GET, &address, HeaderMap::new(), Bytes::new()).await?;
            print!("{}", String::from_utf8_lossy(&Reach::accepted(answer).await?));
            Ok(ExitCode::SUCCESS)
        }
    }
}
