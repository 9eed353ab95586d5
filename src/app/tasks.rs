//! The task sets in which everything is spawned, and the order in which they end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::Metrics;

/// Everything that is spawned, by what must end before what.
#[derive(Default)]
pub(super) struct Tasks {
    /// Listeners and connections.
    pub(super) serving: TaskTracker,
    /// Transfers and refreshes.
    pub(super) transfers: TaskTracker,
    /// What is recorded of answers, ended when there are no more of them.
    pub(super) recording: TaskTracker,
    /// The store's upkeep and the ledger, ended last.
    pub(super) upkeep: TaskTracker,
    pub(super) stop_transfers: CancellationToken,
    pub(super) stop_recording: CancellationToken,
    pub(super) stop_upkeep: CancellationToken,
}

impl Tasks {
    /// Ends what is left, in order: connections are gone, transfers note how far they are, what was counted is written down, the index is closed.
    pub(super) async fn wind_up(self) {
        self.serving.close();
        self.transfers.close();
        self.stop_transfers.cancel();
        if tokio::time::timeout(WIND_UP, self.transfers.wait()).await.is_err() {
            tracing::warn!("transfers did not end in time; they go on from their last note");
        }
        self.recording.close();
        self.stop_recording.cancel();
        self.recording.wait().await;
        self.upkeep.close();
        self.stop_upkeep.cancel();
        self.upkeep.wait().await;
    }
}

/// Longest that transfers may take to note how far they are, once no client is left.
const WIND_UP: Duration = Duration::from_secs(5);

/// How often samples of histograms are folded together.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Folds the raw samples of histograms together now and then; they would pile up where nobody scrapes.
pub(super) async fn fold_samples(metrics: Metrics, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(FOLD_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.upkeep();
    }
}
