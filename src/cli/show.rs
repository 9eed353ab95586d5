//! `larder show`: what is kept of one thing; of a model, its passport.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method};

use super::reach::Reach;
use super::{Outcome, Overrides, passport};
use crate::ecosystem::oci;

/// Say what is kept of an image, and what not, or everything that is known of a model.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Show {
    /// What to look at, such as oci:registry.example.org/team/app:1.0 or hf:org/model@main
    what: String,
    /// Of a model: ask the hub for what is small and not kept
    #[arg(long)]
    fetch: bool,
    /// Of a model: tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder show oci:registry.example.org/team/app:1.0
  larder show oci:alpine:latest           the default registry
  larder show hf:org/model@main           its passport
  larder show --json hf:org/model@main
  larder show --listen 127.0.0.1:9000 oci:alpine:latest

It asks the Larder that the configuration describes: at `public_url`, or at the first address of `listen`. Where none runs it looks itself.";

/// Something that names nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} names nothing that can be shown: write oci:NAME:TAG or hf:ORG/MODEL@REVISION, as in oci:registry.example.org/team/app:1.0"
)]
struct Unnamed(String);

impl Show {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if self.what.starts_with("hf:") {
                let passport = passport::get(reach, &self.what, self.fetch).await?;
                match self.json {
                    true => println!("{}", serde_json::to_string_pretty(&passport)?),
                    false => print!("{}", passport::text(&passport)),
                }
                return Ok(ExitCode::SUCCESS);
            }
            let image = self.what.strip_prefix("oci:").filter(|image| !image.is_empty());
            let image = image.ok_or_else(|| Unnamed(self.what.clone()))?;
            let address = format!("{}{image}", oci::SHOWN_AT.trim_start_matches('/'));
            let answer = reach.send(Method::GET, &address, HeaderMap::new(), Bytes::new()).await?;
            print!("{}", String::from_utf8_lossy(&Reach::accepted(answer).await?));
            Ok(ExitCode::SUCCESS)
        }
    }
}
