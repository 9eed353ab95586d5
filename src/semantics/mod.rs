//! HTTP as pure functions: RFC 9110, 9111, 9211, 5861, 8246, 9213. Values and `now` in, decisions out.

pub mod cache_control;
pub mod cache_status;
pub mod conditional;
pub mod freshen;
pub mod freshness;
pub mod hop_by_hop;
pub mod invalidation;
pub mod range;
pub mod storing;
pub mod targeted;
pub mod vary;
pub mod warning;
