//! Events in: how each payload is read, classified and refused.

pub mod agent_report;
pub mod bus;
pub mod classify;
pub(crate) mod failure_report;
pub mod invalid;
pub(crate) mod queued;
pub mod schedule;
