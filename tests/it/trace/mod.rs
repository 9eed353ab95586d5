//! What Larder records: events in the ledger, and who pulled what.

mod ledger;
mod pulls;
