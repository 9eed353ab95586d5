//! What is in the data directory: the store, the ledger, and the keys of what is signed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::AppError;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;
use crate::store::disk::DiskStore;
use crate::trace::Recording;

/// The key of everything that is signed or named by a keyed hash; made once for a data directory.
const SECRET_FILE: &str = "secret";

/// The key that vouches for bundles; made once for a data directory.
pub(super) const BUNDLE_KEY_FILE: &str = "bundle-key";

pub(super) fn open_store(
    config: &Config,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<Arc<dyn Store>, AppError> {
    let clock = clock.clone();
    let store = DiskStore::open(
        &config.data_dir,
        &config.store,
        move || clock.now(),
        &tasks.upkeep,
        &tasks.stop_upkeep,
    );
    Ok(Arc::new(store.map_err(AppError::Store)?))
}

/// What is recorded in the data directory, which the store's lock has made ours.
pub(super) fn open_recording(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<Recording, AppError> {
    let directory = config.data_dir.join("ledger");
    let (upkeep, stop) = (&tasks.upkeep, &tasks.stop_upkeep);
    let opened = Recording::open(&config.trace, &directory, store, clock, upkeep, stop);
    let fault = |source| AppError::Io {
        action: format!("the ledger in {} cannot be used", directory.display()),
        source,
    };
    let recording = opened.map_err(fault)?;
    recording.pulls.keep_writing(&config.trace, &tasks.recording, &tasks.stop_recording);
    Ok(recording)
}

/// Reads the data directory's key, or makes it.
pub(super) fn secret(data_dir: &Path) -> Result<[u8; 32], AppError> {
    key_of(data_dir, SECRET_FILE)
}

/// Reads one of the data directory's keys, or makes it.
pub(super) fn key_of(data_dir: &Path, name: &str) -> Result<[u8; 32], AppError> {
    let path = data_dir.join(name);
    let fault = |source| AppError::Io {
        action: format!("{} cannot be read or made", path.display()),
        source,
    };
    let mut key = [0; 32];
    match fs::File::open(&path) {
        Ok(mut file) => file.read_exact(&mut key).map_err(fault)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            random(&mut key).and_then(|()| write_key(data_dir, name, &key)).map_err(fault)?;
        }
        Err(error) => return Err(fault(error)),
    }
    Ok(key)
}

/// Writes the key so that it is there as a whole or not at all, whenever the machine stops. The data directory's lock is held, so nobody else does.
fn write_key(data_dir: &Path, name: &str, key: &[u8; 32]) -> io::Result<()> {
    let fresh = data_dir.join(format!("{name}.fresh"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&fresh, data_dir.join(name))?;
    fs::File::open(data_dir)?.sync_all()
}

/// Random bytes of the kernel's.
fn random(bytes: &mut [u8]) -> io::Result<()> {
    fs::File::open("/dev/urandom")?.read_exact(bytes)
}
