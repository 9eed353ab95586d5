//! How many connections there may be, and how to go on when the system has no more to give.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// So many connections beyond the limits are told so with 503; further ones are closed at once.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// Counts connections, in all and by address. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    most: usize,
    most_per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    admitted: usize,
    turned_away: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) admission: Admission,
    client: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

/// How a connection is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// Gets 503 to whatever it asks.
    TurnedAway,
}

impl Places {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, taken: Arc::default() }
    }

    /// Finds a place for a connection. `None`: not even to be told that there is none. `is_crowded`: whether there is no memory for one beside so many
    /// others.
    pub(crate) fn take(
        &self,
        address: SocketAddr,
        is_crowded: impl FnOnce(usize) -> bool,
    ) -> Option<Place> {
        let client = client(address.ip());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_address.get(&client).copied().unwrap_or_default();
        let has_place = taken.admitted < self.most && own < self.most_per_address;
        let admission = if has_place && !is_crowded(taken.admitted) {
            taken.admitted += 1;
            *taken.by_address.entry(client).or_default() += 1;
            Admission::Admitted
        } else if taken.turned_away < TURNED_AWAY_AT_ONCE {
            taken.turned_away += 1;
            Admission::TurnedAway
        } else {
            return None;
        };
        drop(taken);
        Some(Place { admission, client, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if self.admission == Admission::TurnedAway {
            taken.turned_away -= 1;
            return;
        }
        taken.admitted -= 1;
        if let Some(own) = taken.by_address.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_address.remove(&self.client);
            }
        }
    }
}

/// Who counts as one client: an IPv4 address, or an IPv6 network as providers give to one customer.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

/// How long to leave a listener alone after it failed. Without a pause, a process that is out of descriptors spins, because the connection that
/// it cannot take stays in the queue.
pub(crate) fn pause_after(error: &io::Error) -> Duration {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted => Duration::ZERO,
        _ => Duration::from_millis(100),
    }
}

/// How many of `wanted` connections this process has descriptors for: half of those that the system allows, because each client may want a file, and
/// files need upstream. Who comes beyond is told so; out of descriptors, nobody could even be told.
pub(crate) fn affordable(wanted: usize) -> usize {
    affordable_of(wanted, getrlimit(Resource::Nofile).current)
}

fn affordable_of(wanted: usize, descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(u64::MAX, |limit| limit / 2);
    let half = usize::try_from(half).unwrap_or(usize::MAX);
    wanted.min(half.saturating_sub(TURNED_AWAY_AT_ONCE).max(1))
}

/// Raises this process's limit of open files to what the system allows, because the usual 1024 is less than one busy proxy needs.
/// Gives the limit that then holds; `None` is no limit. Never fails: what cannot be raised stays.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 9)
    }

    #[test]
    fn places_run_out_and_come_back() {
        let places = Places::new(3, 2);
        let admission =
            |text| places.take(address(text), |_| false).map(|place| (place.admission, place));
        let (first, _a) = admission("192.0.2.1").expect("it is not refused");
        let (second, b) = admission("::ffff:192.0.2.1").expect("it is not refused");
        let (third, _c) = admission("192.0.2.1").expect("it is not refused");
        assert_eq!(
            (first, second, third),
            (Admission::Admitted, Admission::Admitted, Admission::TurnedAway),
            "an address has two"
        );
        let (fourth, _d) = admission("2001:db8::1").expect("it is not refused");
        let (fifth, _e) = admission("2001:db8::2").expect("it is not refused");
        assert_eq!((fourth, fifth), (Admission::Admitted, Admission::TurnedAway), "all are taken");
        drop(b);
        assert_eq!(
            admission("192.0.2.1").expect("it is not refused").0,
            Admission::Admitted,
            "one was freed"
        );
    }

    #[test]
    fn there_are_no_more_places_than_descriptors_for_them() {
        for (wanted, descriptors, expected) in [
            (8192, None, 8192),
            (8192, Some(1 << 20), 8192),
            (8192, Some(1024), 448),
            (100, Some(1024), 100),
            (8192, Some(64), 1),
        ] {
            assert_eq!(affordable_of(wanted, descriptors), expected, "{wanted} {descriptors:?}");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_client() {
        let places = Places::new(9, 1);
        let _first = places.take(address("2001:db8::1"), |_| false);
        let second = places.take(address("2001:db8::2"), |_| false).expect("there is a place");
        let other = places.take(address("2001:db8:0:1::1"), |_| false).expect("there is a place");
        assert_eq!(second.admission, Admission::TurnedAway);
        assert_eq!(other.admission, Admission::Admitted);
    }

    #[test]
    fn who_cannot_be_told_is_not_kept() {
        let places = Places::new(0, 1);
        let told: Vec<_> =
            (0..TURNED_AWAY_AT_ONCE).map(|_| places.take(address("::1"), |_| false)).collect();
        assert!(told.iter().all(Option::is_some));
        assert!(places.take(address("::1"), |_| false).is_none());
        drop(told);
        let taken = places.taken.lock().expect("no test panics with the lock held");
        assert_eq!((taken.admitted, taken.turned_away, taken.by_address.len()), (0, 0, 0));
    }
}
