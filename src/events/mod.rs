//! Events in: what EventBridge, SQS and Lambda deliver.

pub mod bus;
pub mod schedule;
