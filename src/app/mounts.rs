//! The ways into every mount. An ecosystem is two lines here.

use std::fmt;
use std::fs;
use std::sync::Arc;

use super::AppError;
use crate::config::Config;
use crate::ecosystem::{Ecosystem, generic, huggingface, oci, pypi};
use crate::proxy::routes::{Route, Routes};
use crate::signature::Roots;
use crate::types::{Secret, Signer};

/// The ways into every mount that the configuration has.
pub(super) fn routes(config: &Config, signer: &Signer) -> Result<Routes, AppError> {
    let roots = trust_roots(config)?;
    let mut mounts = Mounts::default();
    if config.huggingface.is_on() {
        mounts.add(config.huggingface.resolve(read_secret), |hub| hub_routes(hub, signer));
    }
    for (name, index) in &config.pypi.indexes {
        let index = index.resolve(name, read_secret).map(|index| index.trusting(&roots));
        mounts.add(index, pypi_routes);
    }
    for (name, origin) in &config.generic {
        mounts.add(origin.resolve(name, read_secret), |mount| generic_routes(name, origin, mount));
    }
    mounts.add(config.oci.resolve(read_secret), |all| oci_routes(all, signer));
    let Mounts { routes, faults } = mounts;
    if !faults.is_empty() {
        return Err(AppError::Settings(faults));
    }
    Routes::new(routes).map_err(|conflict| AppError::settings(vec![conflict]))
}

/// Whom signatures must lead back to.
fn trust_roots(config: &Config) -> Result<Roots, AppError> {
    let Some(path) = &config.signature.trust_root else { return Ok(Roots::default()) };
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
    let roots = text.and_then(|text| {
        Roots::read(&text).map_err(|error| format!("is no trust root of Sigstore: {error}"))
    });
    let fault = |fault| vec![format!("`signature.trust_root`: {} {fault}", path.display())];
    roots.map_err(|error| AppError::Settings(fault(error)))
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
    fn a_trust_root_that_is_none_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("trusted_root.json");
        let mut config = Config::default();
        config.signature.trust_root = Some(path.clone());
        let check = |expected: &str| {
            let fault = routes(&config, &Signer::new([0; 32])).expect_err("it is refused");
            let told = fault.to_string();
            assert!(
                told.starts_with("`signature.trust_root`: ") && told.contains(expected),
                "{told}"
            );
        };
        check("cannot be read");
        fs::write(&path, "{}").expect("the folder can be written");
        check("is no trust root of Sigstore");
    }
}
