//! The ledger: an append-only, tamper-evident log of what happened upstream and what was decided here.
//!
//! - `files`: the format, and appending; `head`: how much counts
//! - `keeper`: the task that writes what witnesses say
//! - `read`: lines and proofs; `audit`: all of it again
//!
//! Records are the leaves of an RFC 6962 tree ([`merkle`](super::merkle)), and each state of it is signed ([`note`](super::note)). Who keeps a checkpoint elsewhere
//! can tell whether anything that it covers was removed, changed or put in another order since, whoever had the disk meanwhile. Nothing is ever removed from a
//! ledger: a record takes about 250 bytes, and there is one for each change, not for each request.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::files::Files;
use self::head::Head;
use self::keeper::{Batch, Keeper};
use crate::clock::Clock;
use crate::store::disk::device::{Device, Machine};
use crate::trace::note::Verifier;

mod audit;
mod files;
mod head;
mod keeper;
mod read;

pub use audit::Audit;
pub use keeper::Scribe;
pub use read::{Lines, Proof, ProofError, View};

/// The ledger, for those who read it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    directory: Arc<std::path::PathBuf>,
    key: Arc<Verifier>,
    head: watch::Receiver<Arc<Head>>,
}

impl Ledger {
    /// Opens the ledger in `directory`, making it if need be, and starts the task on `tasks` that writes it. Cancelling `stop` lets the task write what
    /// it was told so far, and end. `queue` is how many events may wait for the disk.
    pub fn open(
        directory: &Path,
        queue: usize,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<(Self, Scribe)> {
        Self::open_on(Arc::new(Machine), directory, queue, clock, tasks, stop)
    }

    fn open_on(
        device: Arc<dyn Device>,
        directory: &Path,
        queue: usize,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<(Self, Scribe)> {
        let (files, damage) = Files::open(device, directory)?;
        let (heads, head) = watch::channel(Arc::new(files.head().clone()));
        let (sender, batches) = mpsc::channel::<Batch>(queue.max(1));
        let scribe = Scribe::new(sender);
        let ledger = Self {
            directory: Arc::new(directory.to_owned()),
            key: Arc::new(files.signer().verifier().clone()),
            head,
        };
        let keeper = Keeper::new(files, heads, batches, scribe.lost(), clock);
        tasks.spawn(keeper.run(damage, stop.clone()));
        Ok((ledger, scribe))
    }

    /// The ledger as it is now.
    pub fn view(&self) -> View {
        let head = Arc::clone(&self.head.borrow());
        View { directory: Arc::clone(&self.directory), head, key: Arc::clone(&self.key) }
    }

    /// The key that its checkpoints are signed by.
    pub fn key(&self) -> &Verifier {
        &self.key
    }
}
