//! What is read when somebody asks, not counted along, as metrics: what the store holds, and who waits.

use metrics::gauge;

use crate::store::Usage;

pub(super) fn note(usage: &Usage, waiting: usize) {
    gauge!("larder_cache_waiting").set(waiting as f64);
    gauge!("larder_store_entries").set(usage.entries as f64);
    gauge!("larder_store_blobs").set(usage.blobs as f64);
    gauge!("larder_store_blob_bytes").set(usage.blob_bytes as f64);
    gauge!("larder_store_index_bytes").set(usage.index_bytes as f64);
    gauge!("larder_store_writable").set(if usage.writable { 1.0 } else { 0.0 });
    if let Some(budget) = usage.budget_bytes {
        gauge!("larder_store_budget_bytes").set(budget as f64);
    }
}
