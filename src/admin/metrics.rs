//! The store's sizes as metrics. They are read when somebody asks, not counted along.

use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::store::Usage;

const ENTRIES: &str = "larder_store_entries";
const BLOBS: &str = "larder_store_blobs";
const BLOB_BYTES: &str = "larder_store_blob_bytes";
const INDEX_BYTES: &str = "larder_store_index_bytes";
const BUDGET_BYTES: &str = "larder_store_budget_bytes";
const EVICTED: &str = "larder_store_evicted_total";
const WRITABLE: &str = "larder_store_writable";

pub(super) fn describe() {
    describe_gauge!(ENTRIES, "Entries in the index.");
    describe_gauge!(BLOBS, "Kept blobs.");
    describe_gauge!(BLOB_BYTES, "Bytes of all kept blobs.");
    describe_gauge!(INDEX_BYTES, "Size of the index.");
    describe_gauge!(BUDGET_BYTES, "Budget for blobs; absent when there is none.");
    describe_counter!(EVICTED, "Blobs evicted to stay within the budget.");
    describe_gauge!(WRITABLE, "1 while the index takes writes, else 0.");
}

pub(super) fn note(usage: &Usage) {
    gauge!(ENTRIES).set(usage.entries as f64);
    gauge!(BLOBS).set(usage.blobs as f64);
    gauge!(BLOB_BYTES).set(usage.blob_bytes as f64);
    gauge!(INDEX_BYTES).set(usage.index_bytes as f64);
    gauge!(WRITABLE).set(if usage.writable { 1.0 } else { 0.0 });
    counter!(EVICTED).absolute(usage.evicted_blobs);
    if let Some(budget) = usage.budget_bytes {
        gauge!(BUDGET_BYTES).set(budget as f64);
    }
}
