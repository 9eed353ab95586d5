//! The settings of access, and what can be wrong with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::types::Network;

/// Settings of access, `[access]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks whose clients are admitted. Default: this machine alone.
    pub networks: Vec<Network>,
    /// Admits clients from any address; tokens are asked for all the same if there are any. Default: false.
    pub open: bool,
    /// Tokens, of which a client must show one. Default: none, and then none is asked for.
    pub tokens: Vec<TokenConfig>,
    /// Names of tokens whose holders are administrators: they may do what changes or empties the store, and read who did what. Clients on this
    /// machine itself are that without a name, if they may come in at all. Default: none.
    pub admins: Vec<String>,
    /// Proxies in front of this server whose word on the client's address, scheme and host is taken. Default: none.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        let networks = loopback.map(|text| text.parse().expect("these are networks"));
        Self {
            networks: networks.into(),
            open: false,
            tokens: Vec::new(),
            admins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// Where a token is read from. Exactly one of `file` and `env` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// What clients with this token are called in grants and logs.
    pub name: String,
    /// A file that holds the token and nothing else, white space around it aside.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(default)]
    pub env: Option<String>,
}

/// What is wrong with `[access]`.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("access.tokens: {name:?} is no name for a token, or not the only one of that name")]
    Name { name: String },
    #[error(
        "access.admins: {name:?} is the name of no token in access.tokens; that of a certificate begins with \"cert:\""
    )]
    Admin { name: String },
    #[error("access.tokens: {name:?} needs either `file` or `env`")]
    Source { name: String },
    #[error("access.tokens: {name:?} cannot be read from {}: {source}", .path.display())]
    File { name: String, path: PathBuf, source: io::Error },
    #[error(
        "access.tokens: {name:?} is to come from the environment variable {variable}, which is not set"
    )]
    Variable { name: String, variable: String },
    #[error(
        "access.tokens: {name:?} is empty or holds white space or characters that are not ASCII"
    )]
    Token { name: String },
    #[error(
        "listening on {address} lets other machines in, and `[access]` admits none: name their networks in access.networks, or set \
         access.open = true to admit everybody who can reach it"
    )]
    Listener { address: SocketAddr },
}

pub(super) fn read_token(config: &TokenConfig) -> Result<Vec<u8>, AccessError> {
    let name = || config.name.clone();
    let text = match (&config.file, &config.env) {
        (Some(path), None) => std::fs::read(path).map_err(|source| AccessError::File {
            name: name(),
            path: path.clone(),
            source,
        })?,
        (None, Some(variable)) => match std::env::var(variable) {
            Ok(text) => text.into_bytes(),
            Err(_) => {
                return Err(AccessError::Variable { name: name(), variable: variable.clone() });
            }
        },
        _ => return Err(AccessError::Source { name: name() }),
    };
    let token = text.trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(AccessError::Token { name: name() });
    }
    Ok(token.to_vec())
}
