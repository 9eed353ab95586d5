//! What every command takes from the command line before all else.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Faults, Flags, Loaded, Sources};

/// Settings that a flag overrides.
#[derive(Debug, Clone, Args)]
pub(super) struct Overrides {
    /// Configuration in TOML [default: /etc/larder/larder.toml, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8484; may be given several times
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Vec<String>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl Overrides {
    /// The effective configuration, or every fault in it.
    pub(super) fn load(self) -> Result<Loaded, Faults> {
        let flags = Flags { listen: self.listen, data_dir: self.data_dir };
        Loaded::read(&Sources::of_process(self.config, flags))
    }
}
