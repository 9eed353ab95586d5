//! Composition root: the only file that names every module.
//!
//! Builds each component from its own part of the configuration, wires them, owns the task sets in which everything is
//! spawned, and winds them up in order: the server stops taking requests, its clients finish, transfers note how far they
//! are, the index is closed. Left out: arguments and exit codes (`main`), what any component does.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::Config;
use crate::ecosystem::{generic, pypi};
use crate::proxy::access::Access;
use crate::proxy::routes::{Route, RouteConflict, Routes};
use crate::proxy::{self, Proxy};
use crate::server::Server;
use crate::store::disk::DiskStore;
use crate::store::{Store, StoreError};
use crate::upstream::Upstream;
use crate::upstream::client::Client;
