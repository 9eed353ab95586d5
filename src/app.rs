//! The composition root: to come with the modules it composes.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;

/// The running product.
#[derive(Debug)]
pub struct App {
    addresses: Vec<SocketAddr>,
}

/// Why it cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {}

impl App {
    pub fn build(config: Config, _clock: Clock) -> Result<Self, AppError> {
        Ok(Self { addresses: config.listen })
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        stop.cancelled().await;
        Ok(())
    }
}
