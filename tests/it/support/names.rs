//! Addresses of upstream's names, which a test changes while Larder runs: names that fail, lead into a black hole, are bound anew, or are not told for a
//! while.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::upstream::Resolve;

use super::origin::Gate;

/// A name service. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    asked: Vec<String>,
    gate: Option<Gate>,
}

impl Names {
    /// Lets `name` lead to `address` from now on.
    pub fn bind(&self, name: &str, address: &str) {
        let address = address.parse().expect("an address");
        self.state().addresses.insert(name.to_owned(), vec![address]);
    }

    /// Lets `name` be unknown from now on.
    pub fn forget(&self, name: &str) {
        self.state().addresses.remove(name);
    }

    /// Answers nobody until the gate is opened.
    pub fn hold(&self) -> Gate {
        let gate = Gate::closed();
        self.state().gate = Some(gate.clone());
        gate
    }

    /// Names that were looked up so far, known or not.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut state = self.state();
        state.asked.push(name.to_owned());
        let (found, gate) = (state.addresses.get(name).cloned(), state.gate.clone());
        drop(state);
        async move {
            if let Some(gate) = gate {
                gate.passed().await;
            }
            found.ok_or_else(|| io::Error::other("no such name"))
        }
        .boxed()
    }
}
