//! Events in: what EventBridge, SQS and Lambda deliver. One file per source.

pub mod bus;
pub mod classify;
pub(crate) mod failure_report;
pub mod invalid;
pub(crate) mod queued;
pub mod schedule;
