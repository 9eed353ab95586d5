//! The effective configuration: one field per module's own `Config`, read in layers, every fault reported at once.
//!
//! Layers, each over the one before: `config/default.toml` (embedded), a file, environment variables, flags. A value knows which layer it
//! came from, so that a fault names its line and `larder config` prints where everything was decided. What a module's settings mean stands
//! in that module; here stands only what concerns several of them (`validate`).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::value::Value;
use serde::{Deserialize, Serialize};

use crate::ecosystem::grant::Grant;
use crate::ecosystem::{generic, huggingface, oci, pypi};
use crate::proxy::access;
use crate::server::{self, TlsConfig};
use crate::store::disk;
use crate::types::Network;
use crate::{bundle, cache, feed, heal, inspect, policy, signature, telemetry, trace, upstream};

mod amounts;
mod extract;
mod fault;
mod layers;
mod listen;
pub mod secret;
mod show;
mod validate;

pub use fault::{Fault, Faults};
use layers::{DEFAULT, Layer, PREFIX, Settings};

/// Every setting, its default and why, as it is shipped. The one place that names public services.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Read when no file is named, if it is there.
pub const SYSTEM_FILE: &str = "/etc/larder/larder.toml";

/// Where a service keeps its data unless it is told otherwise.
const SERVICE_DATA_DIR: &str = "/var/lib/larder";

/// All settings of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on. Several are allowed; port 0 lets the system choose.
    #[serde(deserialize_with = "listen::deserialize")]
    pub listen: Vec<SocketAddr>,
    /// Everything that is kept, and nothing else. One process at a time.
    pub data_dir: PathBuf,
    /// How the outside sees the root of this server, when it stands behind something that hides it.
    pub public_url: Option<String>,
    pub log: telemetry::Config,
    pub server: server::Config,
    pub tls: TlsConfig,
    pub access: access::Config,
    pub store: disk::Config,
    pub cache: cache::Config,
    pub upstream: upstream::Config,
    pub trace: trace::Config,
    pub policy: policy::Config,
    pub advisories: feed::Config,
    pub inspect: inspect::Config,
    pub signature: signature::Config,
    pub heal: heal::Config,
    pub bundle: bundle::Config,
    pub huggingface: huggingface::Config,
    pub pypi: pypi::Config,
    pub oci: oci::Config,
    /// Any HTTP origins, by name.
    pub generic: BTreeMap<String, generic::Config>,
}

impl Config {
    /// Networks that the grants of mounts name.
    pub fn granted_networks(&self) -> Vec<Network> {
        let indexes = self.pypi.indexes.values().map(|index| &index.grant);
        let origins = self.generic.values().map(|mount| &mount.grant);
        let registries = self.oci.registries.values().map(|registry| &registry.grant);
        let all = indexes.chain(origins).chain(registries).chain([&self.huggingface.grant]);
        all.flat_map(Grant::networks).collect()
    }

    /// The same for a Larder whose only client is Larder itself: it may read whatever a mount's own credential opens.
    #[must_use]
    pub fn granting_all(mut self) -> Self {
        let indexes = self.pypi.indexes.values_mut().map(|index| &mut index.grant);
        let origins = self.generic.values_mut().map(|mount| &mut mount.grant);
        let registries = self.oci.registries.values_mut().map(|registry| &mut registry.grant);
        let all = indexes.chain(origins).chain(registries).chain([&mut self.huggingface.grant]);
        all.for_each(|grant| *grant = Grant::to_everybody());
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8484))],
            data_dir: PathBuf::from(SERVICE_DATA_DIR),
            public_url: None,
            log: telemetry::Config::default(),
            server: server::Config::default(),
            tls: TlsConfig::default(),
            access: access::Config::default(),
            store: disk::Config::default(),
            cache: cache::Config::default(),
            upstream: upstream::Config::default(),
            trace: trace::Config::default(),
            policy: policy::Config::default(),
            advisories: feed::Config::default(),
            inspect: inspect::Config::default(),
            signature: signature::Config::default(),
            heal: heal::Config::default(),
            bundle: bundle::Config::default(),
            huggingface: huggingface::Config::default(),
            pypi: pypi::Config::default(),
            oci: oci::Config::default(),
            generic: BTreeMap::new(),
        }
    }
}

/// What the layers above the embedded defaults are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file in TOML.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<OsString, OsString>,
    pub flags: Flags,
}

/// Settings given on the command line, as they were typed.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--listen`, in order. Empty: not given.
    pub listen: Vec<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

/// A configuration, and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    settings: Settings,
}

impl Sources {
    /// This process's environment, and the named file or else [`SYSTEM_FILE`] if there is one.
    pub fn of_process(file: Option<PathBuf>, flags: Flags) -> Self {
        let system_file = || Some(PathBuf::from(SYSTEM_FILE)).filter(|path| path.exists());
        let file = file.or_else(system_file);
        Self { file, environment: std::env::vars_os().collect(), flags }
    }

    fn layers(&self) -> (Vec<Layer>, Vec<Fault>) {
        let mut layers = Vec::new();
        let mut faults = Vec::new();
        let mut add = |read: Result<Layer, Fault>| match read {
            Ok(layer) => layers.push(layer),
            Err(fault) => faults.push(fault),
        };
        add(Layer::text(DEFAULT, DEFAULT_TOML));
        add(Ok(self.data_dir_of_machine()));
        if let Some(path) = &self.file {
            add(read_file(path));
        }
        for (name, value) in &self.environment {
            if let Some(name) = name.to_str().filter(|name| is_setting(name)) {
                add(read_variable(name, value));
            }
        }
        self.flags.layers().into_iter().for_each(|layer| add(Ok(layer)));
        (layers, faults)
    }

    /// The service manager's directory (systemd sets `STATE_DIRECTORY`), else the user's own data directory (XDG base directories), else
    /// the service's: a process without a home is one.
    fn data_dir_of_machine(&self) -> Layer {
        let absolute = |name: &str| {
            let first = std::env::split_paths(self.environment.get(&OsString::from(name))?).next();
            first.filter(|path| path.is_absolute())
        };
        let path = absolute("STATE_DIRECTORY")
            .or_else(|| absolute("XDG_DATA_HOME").map(|data| data.join("larder")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share/larder")))
            .unwrap_or_else(|| PathBuf::from(SERVICE_DATA_DIR));
        Layer::single(DEFAULT, &["data_dir"], Value::from(path.to_string_lossy().into_owned()))
    }
}

impl Flags {
    fn layers(&self) -> Vec<Layer> {
        let listen = (!self.listen.is_empty())
            .then(|| Layer::single("--listen", &["listen"], Value::from(self.listen.clone())));
        let data_dir = self.data_dir.as_ref().map(|path| {
            let path = path.to_string_lossy().into_owned();
            Layer::single("--data-dir", &["data_dir"], Value::from(path))
        });
        listen.into_iter().chain(data_dir).collect()
    }
}

impl Loaded {
    /// Reads and checks all layers.
    pub fn read(sources: &Sources) -> Result<Self, Faults> {
        let (layers, faults) = sources.layers();
        Self::of(layers, faults)
    }

    /// Reads and checks one text over the defaults, as if it were the only file.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_text(text: &str) -> Result<Self, Faults> {
        let layers = [Layer::text(DEFAULT, DEFAULT_TOML), Layer::text("text", text)];
        let (layers, faults): (Vec<_>, Vec<_>) = layers.into_iter().partition(Result::is_ok);
        let layers = layers.into_iter().filter_map(Result::ok).collect();
        Self::of(layers, faults.into_iter().filter_map(Result::err).collect())
    }

    fn of(layers: Vec<Layer>, mut faults: Vec<Fault>) -> Result<Self, Faults> {
        let settings = Settings::merge(layers);
        let (config, mut found) = extract::extract::<Config>(&settings);
        faults.append(&mut found);
        if let Some(config) = &config {
            validate::validate(config, &settings, &mut faults);
        }
        // Who mends a file goes through it from the top.
        faults.sort_by_cached_key(|fault| settings.place(&fault.source));
        match config {
            Some(config) if faults.is_empty() => Ok(Self { config, settings }),
            _ => Err(Faults(faults)),
        }
    }

    /// The effective configuration in TOML, each line with the place its value came from. Secrets are masked.
    pub fn to_toml(&self) -> String {
        show::show(&self.config, &self.settings)
    }

    /// The same in JSON: `settings`, and `sources` by the path of each. What is not set is null, and has no source.
    pub fn to_json(&self) -> serde_json::Value {
        show::json(&self.config, &self.settings)
    }
}

fn read_file(path: &Path) -> Result<Layer, Fault> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Layer::text(&name, &text),
        Err(error) => Err(Fault::new(name, "", format!("cannot be read: {error}"))),
    }
}

fn read_variable(name: &str, value: &OsStr) -> Result<Layer, Fault> {
    match value.to_str() {
        Some(value) => Layer::variable(name, value),
        None => Err(Fault::new(name, "", "is not valid UTF-8")),
    }
}

/// Whether a variable of the environment is a setting. The token that a command shows is none.
fn is_setting(name: &str) -> bool {
    name.starts_with(PREFIX) && name != crate::cli::reach::TOKEN_VARIABLE
}

#[cfg(test)]
mod tests;
