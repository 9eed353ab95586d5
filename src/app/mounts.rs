//! The ways into every mount. An ecosystem is two lines here.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::AppError;
use crate::config::Config;
use crate::ecosystem::{Ecosystem, generic, huggingface, oci, pypi};
use crate::proxy::routes::{Family, Route, Routes};
use crate::signature::{Authority, PublicKey, Roots, Trust};
use crate::types::{Secret, Signer};

/// The ways into every mount that the configuration has.
pub(super) fn routes(config: &Config, signer: &Signer) -> Result<Routes, AppError> {
    let trust = trust(config)?;
    let mut mounts = Mounts::default();
    if config.huggingface.is_on() {
        let hub = config.huggingface.resolve(read_secret).map(|hub| hub.trusting(&trust));
        mounts.add(hub, |hub| hub_routes(hub, signer));
    }
    for (name, index) in &config.pypi.indexes {
        let index = index.resolve(name, read_secret).map(|index| index.trusting(trust.roots()));
        mounts.add(index, pypi_routes);
    }
    for (name, origin) in &config.generic {
        mounts.add(origin.resolve(name, read_secret), |mount| generic_routes(name, origin, mount));
    }
    let registries = config.oci.resolve(read_secret);
    let registries = registries.map(|all| all.map(|all| all.trusting(&trust)));
    mounts.add(registries, |all| oci_routes(all, signer));
    let Mounts { routes, faults } = mounts;
    if !faults.is_empty() {
        return Err(AppError::Settings(faults));
    }
    let routes = Routes::new(routes).map_err(|conflict| AppError::settings(vec![conflict]))?;
    Ok(routes.with_families(&FAMILIES))
}

/// Places for mounts of one kind, each by its name.
const FAMILIES: [Family; 2] = [
    Family { kind: "Python index", prefix: "/pypi/", claims: pypi::routes::is_below_index },
    Family { kind: "generic mount", prefix: "/generic/", claims: |_| true },
];

/// Whom signatures must lead back to.
pub(super) fn trust(config: &Config) -> Result<Trust, AppError> {
    let read = |path: &Path| {
        fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let mut faults = Vec::new();
    let mut roots = Roots::default();
    if let Some(path) = &config.signature.trust_root {
        let fault = |error| format!("{} is no trust root of Sigstore: {error}", path.display());
        match read(path).and_then(|text| Roots::read(&text).map_err(fault)) {
            Ok(own) => roots = own,
            Err(fault) => faults.push(format!("`signature.trust_root`: {fault}")),
        }
    }
    let mut keys = Vec::new();
    for (name, path) in &config.signature.keys {
        let fault = |error| format!("{} {error}", path.display());
        match read(path).and_then(|text| PublicKey::from_pem(name, &text).map_err(fault)) {
            Ok(key) => keys.push(key),
            Err(fault) => faults.push(format!("`signature.keys.{name}`: {fault}")),
        }
    }
    let mut authorities = Vec::new();
    for path in &config.signature.authorities {
        let fault = |error| format!("{} {error}", path.display());
        match read(path).and_then(|text| Authority::all_from_pem(&text).map_err(fault)) {
            Ok(all) => authorities.extend(all),
            Err(fault) => faults.push(format!("`signature.authorities`: {fault}")),
        }
    }
    match faults.is_empty() {
        true => Ok(Trust::new(roots, keys).with_authorities(authorities)),
        false => Err(AppError::Settings(faults)),
    }
}

/// Routes collected so far, and what is wrong with the settings of some.
#[derive(Default)]
struct Mounts {
    routes: Vec<Route>,
    faults: Vec<String>,
}

impl Mounts {
    fn add<T, E: fmt::Display>(
        &mut self,
        resolved: Result<T, Vec<E>>,
        routes: impl FnOnce(T) -> Vec<Route>,
    ) {
        match resolved {
            Ok(mount) => self.routes.extend(routes(mount)),
            Err(errors) => self.faults.extend(errors.iter().map(ToString::to_string)),
        }
    }
}

pub(super) fn hub_routes(settings: huggingface::Settings, signer: &Signer) -> Vec<Route> {
    let hub = huggingface::Hub::new(settings, signer.clone());
    let vhosts = hub.vhosts().to_vec();
    let mount: Arc<dyn Ecosystem> = Arc::new(hub);
    let mut routes = vec![
        Route::below("/".to_owned(), "", &mount),
        Route::at_label("datasets-server", huggingface::DATASETS_SERVER, &mount),
    ];
    routes.extend(vhosts.iter().map(|host| Route::at_root_of(host, &mount)));
    routes
}

fn pypi_routes(settings: pypi::Settings) -> Vec<Route> {
    let index = pypi::Index::new(settings);
    let (entrances, hosts) = (index.entrances(), index.hosts().to_vec());
    let mount: Arc<dyn Ecosystem> = Arc::new(index);
    let by_path = entrances
        .into_iter()
        .map(|entrance| Route::below(entrance.prefix, entrance.relative, &mount));
    by_path.chain(hosts.iter().map(|host| Route::at_root_of(host, &mount))).collect()
}

fn oci_routes(settings: Option<oci::Settings>, signer: &Signer) -> Vec<Route> {
    let Some(settings) = settings else { return Vec::new() };
    let registries = oci::Registries::new(settings, signer.clone());
    let entrances = registries.entrances();
    let mount: Arc<dyn Ecosystem> = Arc::new(registries);
    let below = |one: oci::Entrance| Route::below(one.prefix, &one.relative, &mount);
    entrances.into_iter().map(below).collect()
}

fn generic_routes(name: &str, settings: &generic::Config, mount: generic::Generic) -> Vec<Route> {
    let mount: Arc<dyn Ecosystem> = Arc::new(mount);
    let by_path = Route::below(format!("/generic/{name}/"), "", &mount);
    let by_host = settings.hosts.iter().map(|host| Route::at_root_of(host, &mount));
    by_host.chain([by_path]).collect()
}

/// Secrets come from files or the environment, never from the configuration itself.
pub(super) fn read_secret(source: &pypi::SecretSource) -> Result<Secret, String> {
    let text = match source {
        pypi::SecretSource::File(path) => fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
        pypi::SecretSource::Environment(name) => std::env::var(name)
            .map_err(|_| format!("the environment variable {name} is not set, or not text"))?,
    };
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_believed_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("file");
        let (mut with_root, mut with_key) = (Config::default(), Config::default());
        let mut with_authority = Config::default();
        with_authority.signature.authorities.push(path.clone());
        with_root.signature.trust_root = Some(path.clone());
        with_key.signature.keys.insert("team".to_owned(), path.clone());
        let check = |config: &Config, setting: &str, expected: &str| {
            let fault = routes(config, &Signer::new([0; 32])).expect_err("it is refused");
            let told = fault.to_string();
            assert!(told.starts_with(setting) && told.contains(expected), "{told}");
        };
        check(&with_root, "`signature.trust_root`: ", "cannot be read");
        check(&with_key, "`signature.keys.team`: ", "cannot be read");
        fs::write(&path, "{}").expect("the folder can be written");
        check(&with_root, "`signature.trust_root`: ", "is no trust root of Sigstore");
        check(&with_key, "`signature.keys.team`: ", "is no public key in PEM");
        check(&with_authority, "`signature.authorities`: ", "holds no certificate in PEM");
    }
}
