//! What Larder records: events in the ledger, and who pulled what.

mod bills;
mod ledger;
mod pulls;
